"""Recordings: every width, heads as recorders write them, and what is refused with a reason."""

import io
import re
import struct
import wave
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgeseq_runtime import load
from edgeseq_runtime.contract import Contract
from edgeseq_runtime.errors import DamagedFileError, EdgeseqError, InputError
from edgeseq_runtime.signature import Signature, Tensor
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from edgeseq.cli.app import app
from edgeseq.files.inputs import check_rate, known_rate
from edgeseq.files.wav import WavReader, as_input

RATE = 16_000


def samples_of(channels: int, count: int = 40) -> np.ndarray:
    x = np.random.default_rng(3).uniform(-1, 1, (count, channels))
    x[0], x[1] = -1, 0
    return x


def pcm(x: np.ndarray, bits: int) -> bytes:
    """Whole numbers of so many bits, little-endian."""
    values = np.clip(np.floor(x * 2 ** (bits - 1)), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1).astype("<i4")
    return b"".join(value.tobytes()[: bits // 8] for value in values.reshape(-1))


def riff(
    data: bytes,
    *,
    channels: int = 2,
    bits: int = 16,
    kind: int = 1,
    extensible: bool = False,
    announced: int | None = None,
    extra: bytes = b"",
    rate: int = RATE,
) -> bytes:
    block = channels * bits // 8
    head = struct.pack("<HHIIHH", 0xFFFE if extensible else kind, channels, rate, rate * block, block, bits)
    if extensible:
        head += struct.pack("<HHI", 22, bits, 0) + struct.pack("<H", kind) + bytes(14)
    size = len(data) if announced is None else announced
    content = extra + b"fmt " + struct.pack("<I", len(head)) + head + b"data" + struct.pack("<I", size) + data
    return b"RIFF" + struct.pack("<I", (4 + len(content)) & 0xFFFFFFFF) + b"WAVE" + content


def read(content: bytes, count: int | None = None) -> np.ndarray:
    return WavReader(io.BytesIO(content), "'x.wav'").read(count)


def run(*arguments: object, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], input=stdin, prog_name="edgeseq")


@pytest.mark.parametrize("bits", [16, 24, 32])
@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize("extensible", [False, True])
def test_whole_numbers_of_every_width(bits: int, channels: int, extensible: bool) -> None:
    x = samples_of(channels)
    content = riff(pcm(x, bits), channels=channels, bits=bits, extensible=extensible)
    found = read(content)
    assert found.dtype == np.float32
    assert found.min() == -1
    np.testing.assert_allclose(found, x, atol=2.0 ** (1 - bits) + 1e-7)
    if not extensible:
        with wave.open(io.BytesIO(content)) as standard:  # the standard library agrees on what is there
            assert (standard.getnchannels(), standard.getframerate(), standard.getsampwidth()) == (
                channels,
                RATE,
                bits // 8,
            )
            assert standard.readframes(1 << 20) == pcm(x, bits)


@pytest.mark.parametrize(("bits", "dtype"), [(32, "<f4"), (64, "<f8")])
def test_floats_stay_as_they_are(bits: int, dtype: str) -> None:
    x = samples_of(2)
    np.testing.assert_array_equal(read(riff(x.astype(dtype).tobytes(), bits=bits, kind=3)), x.astype(np.float32))


@pytest.mark.parametrize(
    "extra", [b"LIST\x04\x00\x00\x00INFO", b"junk\x03\x00\x00\x00abc\x00", b"bext\x00\x00\x00\x00"]
)
def test_other_chunks_are_passed_over(extra: bytes) -> None:
    x = pcm(samples_of(2), 16)
    np.testing.assert_array_equal(read(riff(x, extra=extra)), read(riff(x)))
    np.testing.assert_array_equal(read(riff(x) + extra), read(riff(x)))


@pytest.mark.parametrize("count", [1, 7, 40, 100])
@pytest.mark.parametrize("announced", [None, 0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_pieces_are_the_whole_and_a_pipe_may_not_know_its_length(count: int, announced: int | None) -> None:
    content = riff(pcm(samples_of(2), 16), announced=announced)
    reader = WavReader(io.BytesIO(content), "'x.wav'")
    assert reader.frames == (40 if announced is None else None)
    parts = []
    while len(part := reader.read(count)):
        parts.append(part)
    assert max(map(len, parts)) <= count
    np.testing.assert_array_equal(np.concatenate(parts), read(riff(pcm(samples_of(2), 16))))


X = pcm(samples_of(2), 16)


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"", DamagedFileError, "does not begin with RIFF"),
        (b"OggS" + bytes(40), DamagedFileError, "does not begin with RIFF"),
        (riff(X)[:30], DamagedFileError, "it has no samples|its format has"),
        (riff(X)[:-41], DamagedFileError, "is cut off: its head says that there are 11 samples more"),
        (riff(X)[:12] + b"data" + bytes(8), DamagedFileError, "its samples come before their format"),
        (riff(X, bits=8), InputError, "has 8 bits a sample, but PCM of 16, 24 or 32 bits is read"),
        (riff(X, kind=7), InputError, r"compressed samples \(format 7\)"),
        (riff(X, channels=0), DamagedFileError, "0 channels of 16 bits"),
    ],
)
def test_what_is_no_recording_is_told(content: bytes, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        read(content)


@given(st.data())
def test_a_changed_head_gives_samples_or_an_error_of_ours(data: st.DataObject) -> None:
    content = bytearray(riff(X, extensible=True))
    for place in data.draw(st.lists(st.integers(0, 67), min_size=1, max_size=3)):
        content[place] = data.draw(st.integers(0, 255))
    with suppress(EdgeseqError):
        assert read(bytes(content[: data.draw(st.integers(0, len(content)))])).dtype == np.float32


@pytest.mark.parametrize(
    ("axes", "channels", "shape"),
    [
        (("batch", "time", 2), 2, (1, 40, 2)),
        (("batch", "time", 1), 1, (1, 40, 1)),
        (("batch", "time"), 1, (1, 40)),
        (("batch", "time", 1), 2, None),
        (("batch", "time"), 2, None),
        (("batch", "time", 3), 2, None),
    ],
)
def test_channels_are_features(axes: tuple[Any, ...], channels: int, shape: tuple[int, ...] | None) -> None:
    tensor = Tensor("x", "float32", axes)
    if shape is not None:
        assert as_input(np.zeros((40, channels), np.float32), tensor, "'x.wav'").shape == shape
        return
    taken = axes[2] if len(axes) > 2 else 1
    with pytest.raises(InputError, match=f"'x.wav' has {channels} channels, but 'x' takes {taken}"):
        as_input(np.zeros((40, channels), np.float32), tensor, "'x.wav'")


@pytest.mark.parametrize("flags", [[], ["--chunk", "7"]])
def test_a_recording_is_answered_as_its_numbers(models: Path, tmp_path: Path, flags: list[str]) -> None:
    model, content = models / "gru.onnx", riff(X)
    (tmp_path / "x.wav").write_bytes(content)
    result = run("run", model, "--input", tmp_path / "x.wav", "-o", tmp_path / "a.npy", "--rate", RATE, *flags)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    expected = load(model).run(read(content)[None])["values"]
    np.testing.assert_allclose(np.load(tmp_path / "a.npy"), expected, rtol=1e-5, atol=1e-6)


def test_a_recording_is_streamed_and_may_come_through_a_pipe(models: Path, tmp_path: Path) -> None:
    model, content = models / "gru.onnx", riff(X)
    (tmp_path / "x.wav").write_bytes(content)
    expected = load(model).run(read(content)[None])["values"][0]
    stream = run("run", model, "--input", tmp_path / "x.wav", "--stream", "--rate", RATE)
    np.testing.assert_allclose(
        [[float(cell) for cell in line.split(",")] for line in stream.stdout.splitlines()],
        expected,
        rtol=1e-4,
        atol=1e-6,
    )
    piped = run("run", model, "--input", "-", stdin=content)
    rows = [line.split("\t")[2:] for line in piped.stdout.splitlines()[1:]]
    np.testing.assert_allclose(np.array(rows, float), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("flags", [[], ["--chunk", "7"], ["--stream"]])
@pytest.mark.parametrize(
    ("name", "rate", "message"),
    [
        ("gru", ["--rate", "8000"], r"'.*x.wav' has 16000 Hz, but 8000 Hz are expected; resample it first"),
        ("lstm", ["--rate", "16000"], r"'.*x.wav' has 2 channels, but 'x' takes 3"),
    ],
)
def test_another_rate_or_other_channels_are_refused(
    models: Path, tmp_path: Path, flags: list[str], name: str, rate: list[str], message: str
) -> None:
    (tmp_path / "x.wav").write_bytes(riff(X))
    result = run("run", models / f"{name}.onnx", "--input", tmp_path / "x.wav", *rate, *flags)
    assert result.exit_code == 2
    assert re.search(message, result.stderr), result.stderr


def test_a_rate_that_nobody_knows_is_told(models: Path, tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(riff(X))
    result = run("run", models / "gru.onnx", "--input", tmp_path / "x.wav")
    assert result.exit_code == 0
    assert "gru.onnx does not say which sample rate it takes" in result.stderr


class Said:
    """A model that says its sample rate, by a value or in its contract."""

    def __init__(self, values: dict[str, float], contract: Contract | None) -> None:
        self.values, self.contract = values, contract


CONTRACT = Contract(Signature((), ()), "lstm", "forecast", sample_rate_hz=16000)


@pytest.mark.parametrize(
    ("values", "contract", "rate"),
    [({}, None, None), ({"sr": 8000}, None, 8000), ({}, CONTRACT, 16000), ({"sr": 8000}, CONTRACT, 8000)],
)
def test_a_value_or_the_contract_says_the_rate(values: Any, contract: Any, rate: float | None) -> None:
    assert known_rate(Said(values, contract)) == rate  # type: ignore[arg-type]
    with pytest.raises(InputError, match="44100 Hz"):
        check_rate("'x.wav'", 44100, 8000)


def test_the_rate_that_an_export_says_is_checked(models: Path, tmp_path: Path) -> None:
    model = tmp_path / "gru.onnx"
    exported = run("export", models / "gru.pt", "-o", model, "--rate", 8000, "--no-verify")
    assert exported.exit_code == 0, exported.output
    assert "8000 Hz" in run("inspect", model).stdout
    (tmp_path / "x.wav").write_bytes(riff(X))
    result = run("run", model, "--input", tmp_path / "x.wav")
    assert result.exit_code == 2
    assert "has 16000 Hz, but 8000 Hz are expected" in result.stderr
    assert "--rate is 16000 Hz, but gru.onnx says 8000 Hz" in run("run", model, "--rate", 16000, stdin=b"1,2").stderr
    (tmp_path / "x.wav").write_bytes(riff(X, rate=8000))
    assert run("run", model, "--input", tmp_path / "x.wav").stderr == ""
