"""A published model that carries state, silero-vad, streamed as onnxruntime driven by hand does."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from edgeseq_runtime import load
from edgeseq_runtime.errors import InputError

pytestmark = pytest.mark.skipif(find_spec("silero_vad") is None, reason="silero-vad is not installed: make data")

CHUNK, CONTEXT = 512, 64

FILES = {
    "silero_vad.onnx": {"sr": 16000},
    "silero_vad_op18_ifless.onnx": {"sr": 16000},
    "silero_vad_half.onnx": {},
    "silero_vad_openvino_16k.onnx": {},
}
"""Files, and their inputs that are fixed."""


def folder() -> Path:
    spec = find_spec("silero_vad")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "data"


def sound(rows: int) -> np.ndarray:
    """Noise whose loudness changes, (rows, 8 chunks)."""
    rng = np.random.default_rng(5)
    return (0.2 * rng.standard_normal((rows, 8 * CHUNK)) * np.sin(np.arange(8 * CHUNK) / 700)).astype(np.float32)


def by_hand(path, x, values):
    """The probabilities that the file's own README's loop gives, (rows, chunks)."""
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    fixed = {name: np.array(value, np.int64) for name, value in values.items()}
    state, context = np.zeros((2, len(x), 128), np.float32), np.zeros((len(x), CONTEXT), np.float32)
    answers = []
    for start in range(0, x.shape[1], CHUNK):
        chunk = np.concatenate([context, x[:, start : start + CHUNK]], 1)
        output, state = session.run(["output", "stateN"], {"input": chunk, "state": state, **fixed})
        context = chunk[:, -CONTEXT:]
        answers.append(output)
    return np.concatenate(answers, 1)


@pytest.mark.parametrize(("name", "rows"), [(n, r) for n in FILES for r in (1, 3) if r == 1 or "openvino" not in n])
def test_streams_as_its_own_loop(name, rows):
    x = sound(rows)
    expected = by_hand(folder() / name, x, FILES[name])
    model = load(folder() / name, values=FILES[name])
    assert {p.input: p.output for p in model.pairs} == {"state": "stateN"}
    stream = model.stream(rows, context=CONTEXT)
    pieces = [x[:, a : a + CHUNK] for a in range(0, x.shape[1], CHUNK)]
    if model.signature.inputs[0].axes == ("batch", "time", CHUNK + CONTEXT):  # a call takes so many, and is a step
        pieces = [piece[:, None] for piece in pieces]
    answers = [stream.run(piece)["output"].reshape(rows, 1) for piece in pieces]
    np.testing.assert_allclose(np.concatenate(answers, 1), expected, atol=1e-6)
    assert np.ptp(expected) > 1e-3


def streamed(tmp_path, name, x, *more):
    """What the command line answers, as JSON objects, and its exit code."""
    np.save(tmp_path / "x.npy", x)
    command = [sys.executable, "-m", "edgeseq", "run", folder() / name, "--input", tmp_path / "x.npy", "--stream"]
    sizes = ["--chunk", str(CHUNK), "--context", str(CONTEXT)]
    done = subprocess.run([*command, *sizes, *more, "--json"], capture_output=True, text=True, check=False)
    return [json.loads(line) for line in done.stdout.splitlines()], done


@pytest.mark.parametrize(("name", "more"), [("silero_vad.onnx", ["--set", "sr=16000"]), ("silero_vad_half.onnx", [])])
def test_the_command_line_streams_as_its_own_loop(name, more, tmp_path):
    x = sound(1)
    told, done = streamed(tmp_path, name, x[0], *more)
    assert done.returncode == 0
    expected = by_hand(folder() / name, x, FILES[name])
    np.testing.assert_allclose(np.concatenate([np.ravel(line["output"]) for line in told]), expected[0], atol=1e-6)
    assert len(told) == expected.shape[1]


def test_a_chunk_with_a_bad_sample_is_left_out_whole(tmp_path):
    name = "silero_vad.onnx"
    x = sound(1)
    x[0, CHUNK + 5] = np.nan
    told, done = streamed(tmp_path, name, x[0], "--set", "sr=16000")
    assert done.returncode == 2
    assert f"line {CHUNK + 6} of its chunk: 'input' has nan" in told.pop(1)["error"]
    expected = by_hand(folder() / name, np.delete(x, np.s_[CHUNK : 2 * CHUNK], 1), FILES[name])
    np.testing.assert_allclose(np.concatenate([np.ravel(line["output"]) for line in told]), expected[0], atol=1e-6)


def test_a_chunk_that_is_refused_is_one_error(tmp_path):
    told, done = streamed(tmp_path, "silero_vad.onnx", sound(1)[0], "--set", "sr=44100")
    assert done.returncode == 2
    assert [line["line"] for line in told] == [CHUNK * n for n in range(1, 9)]
    assert all("onnxruntime refused" in line["error"] for line in told)


def test_a_sequence_of_chunks_with_two_states():
    """silero_vad_16k_sequence takes (chunks, 576) and carries h and c."""
    path = folder() / "silero_vad_16k_sequence.onnx"
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    x = sound(1).reshape(-1, CHUNK)
    chunks = np.concatenate([np.vstack([np.zeros((1, CONTEXT), np.float32), x[:-1, -CONTEXT:]]), x], 1)
    zeros = np.zeros((1, 1, 128), np.float32)
    expected = session.run(["speech_probs"], {"input": chunks, "h": zeros, "c": zeros})[0]
    model = load(path)
    assert {p.input: p.output for p in model.pairs} == {"h": "hn", "c": "cn"}
    stream = model.stream()
    answers = [stream.step(chunks[0])["speech_probs"].reshape(1), stream.run(chunks[None, 1:])["speech_probs"].ravel()]
    np.testing.assert_allclose(np.concatenate(answers), expected, atol=1e-6)


def test_a_chunk_that_the_file_refuses_leaves_the_state():
    stream = load(folder() / "silero_vad.onnx", values={"sr": 16000}).stream(context=CONTEXT)
    stream.run(sound(1)[:, :CHUNK])
    before = stream.state
    with pytest.raises(InputError, match="onnxruntime refused"):
        stream.run(sound(1)[:, :3])
    assert all((stream.state.arrays[name] == array).all() for name, array in before.arrays.items())


def test_a_size_that_the_file_refuses_is_told_with_what_to_do(tmp_path):
    np.save(tmp_path / "x.npy", sound(1))
    command = [sys.executable, "-m", "edgeseq", "run", folder() / "silero_vad.onnx", "--input", tmp_path / "x.npy"]
    done = subprocess.run([*command, "--set", "sr=16000"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "silero_vad.onnx does not take this size" in done.stderr
    assert "--stream --chunk N" in done.stderr
