"""A sequence too long for memory: the answers in pieces are those of a whole run, also up to an early end."""

import errno
import io
import re
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgeseq_runtime import load
from edgeseq_runtime.errors import UsageError
from edgeseq_runtime.signature import Signature, Tensor
from typer.testing import CliRunner, Result

from edgeseq.cli.app import app
from edgeseq.files import Answers, csv, growing, pieces
from edgeseq.files.pieces import open_pieces
from edgeseq.piecewise import run_pieces

STORED = Path(__file__).parents[2] / "models"
STEPS = 53


def run(*arguments: object, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], input=stdin, prog_name="edgeseq")


def drawn(features: int, steps: int = STEPS) -> np.ndarray:
    return np.round(np.random.default_rng(5).standard_normal((steps, features)), 3).astype(np.float32)


def written(path: Path, x: np.ndarray) -> Path:
    if path.suffix == ".npy":
        np.save(path, x)
    else:
        path.write_text("".join(",".join(map(str, row)) + "\n" for row in x.tolist()))
    return path


def numbers(path: Path) -> np.ndarray:
    """What a file of answers holds: numbers, and text as it stands."""
    if path.suffix == ".npy":
        return np.load(path)
    return np.array([line.split(",") for line in path.read_text().splitlines()])


def assert_same(one: Path, other: Path) -> None:
    a, b = numbers(one), numbers(other)
    assert a.shape == b.shape
    assert a.dtype.kind == b.dtype.kind
    if a.dtype.kind == "f":
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
        return
    for row, expected in zip(a, b, strict=True):
        for cell, wanted in zip(row, expected, strict=True):
            assert cell == wanted or float(cell) == pytest.approx(float(wanted), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("chunk", [1, 7, STEPS, 1000])
@pytest.mark.parametrize(
    ("name", "source", "target"),
    [("gru", ".npy", ".npy"), ("gru", ".csv", ".csv"), ("lstm", ".npy", ".csv"), ("lstm", ".csv", ".npy")],
)
def test_pieces_are_the_whole(models: Path, tmp_path: Path, name: str, source: str, target: str, chunk: int) -> None:
    model = models / f"{name}.onnx"
    x = written(tmp_path / f"x{source}", drawn(2 if name == "gru" else 3))
    whole, parts = tmp_path / f"whole{target}", tmp_path / f"parts{target}"
    assert run("run", model, "--input", x, "-o", whole).exit_code == 0
    result = run("run", model, "--input", x, "--chunk", chunk, "-o", parts)
    assert result.exit_code == 0, result.output
    assert f"answers of {STEPS} steps" in result.stdout
    assert_same(parts, whole)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted({x.name, whole.name, parts.name})


@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_lines_in_and_lines_out(models: Path, tmp_path: Path, name: str) -> None:
    text = written(tmp_path / "x.csv", drawn(2 if name == "gru" else 3)).read_text()
    whole = run("run", models / f"{name}.onnx", "--input", "-", stdin=text)
    parts = run("run", models / f"{name}.onnx", "--input", "-", "--chunk", 20, stdin=text)
    assert parts.exit_code == 0
    for target, result in (("a.csv", whole), ("b.csv", parts)):
        (tmp_path / target).write_text(result.stdout.replace("\t", ","))
    assert_same(tmp_path / "a.csv", tmp_path / "b.csv")


def test_a_score_of_windows_counts_on_from_piece_to_piece(tmp_path: Path) -> None:
    model = STORED / "alarm-pressure" / "alarm.onnx"
    x = written(tmp_path / "x.csv", 100 + 10 * drawn(1, 90))
    for flags, target in (([], "whole.csv"), (["--chunk", 16], "parts.csv")):
        assert run("run", model, "--input", x, *flags, "-o", tmp_path / target).exit_code == 0
    assert_same(tmp_path / "parts.csv", tmp_path / "whole.csv")
    assert numbers(tmp_path / "parts.csv")[39, 2] == ""
    short = written(tmp_path / "short.csv", drawn(1, 39))
    result = run("run", model, "--input", short, "--chunk", 16, "-o", tmp_path / "parts.csv")
    assert result.exit_code == 2
    assert "there are 39 steps, but alarm.onnx scores windows of 40" in result.stderr
    assert_same(tmp_path / "parts.csv", tmp_path / "whole.csv")  # the old file is as it was
    assert not (tmp_path / "parts.partial.csv").exists()


def test_several_inputs_are_read_side_by_side(tmp_path: Path) -> None:
    model = STORED / "rnn-load" / "rnn.onnx"
    with np.load(STORED / "rnn-load" / "sample.npz") as sample:
        given = {name: sample[name][0][:30] for name in ("x", "baseline")}
    flags = [f"--input={name}={written(tmp_path / f'{name}.npy', array)}" for name, array in given.items()]
    assert run("run", model, *flags, "-o", tmp_path / "whole.npy").exit_code == 0
    assert run("run", model, *flags, "-o", tmp_path / "parts.npy", "--chunk", 8).exit_code == 0
    np.testing.assert_allclose(np.load(tmp_path / "parts.npy"), np.load(tmp_path / "whole.npy"), rtol=1e-4)
    written(tmp_path / "baseline.npy", given["baseline"][:20])
    result = run("run", model, *flags, "-o", tmp_path / "parts.npy", "--chunk", 8)
    assert result.exit_code == 2
    assert "different numbers of steps (so far 'x' 24, 'baseline' 20)" in result.stderr
    assert np.load(tmp_path / "parts.partial.npy").shape[1] == 20


GOOD = [",".join(map(str, row)) for row in drawn(2, 20).tolist()]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,", r"'.*x.csv', line 12: column 2: the value is missing"),
        ("1", r"line 12: column 2 has no value; 2 columns are expected, 1 are there"),
        ("1,2,3", r"line 12: column 3 is one too many"),
        ("1,nan", r"line 12: column 2 is nan"),
        ("1,1_0", r"line 12: column 2: '1_0' is not a number"),
        ("1,1e39", r"'x' has inf at step 11"),
    ],
)
@pytest.mark.parametrize("target", ["a.npy", "a.csv"])
@pytest.mark.parametrize("chunk", [1, 4, 100])
def test_a_line_that_cannot_be_used_leaves_the_answers_before_it(
    models: Path, tmp_path: Path, line: str, message: str, target: str, chunk: int
) -> None:
    (tmp_path / "x.csv").write_text("\n".join([*GOOD[:11], line, *GOOD[11:]]))
    (tmp_path / target).write_text("the old answers")
    result = run("run", models / "gru.onnx", "--input", tmp_path / "x.csv", "--chunk", chunk, "-o", tmp_path / target)
    assert result.exit_code == 2
    stderr = " ".join(result.stderr.split())
    assert re.search(message, stderr), stderr
    assert "11 steps were answered; their answers are in" in stderr
    assert (tmp_path / target).read_text() == "the old answers"
    (tmp_path / "good.csv").write_text("\n".join(GOOD[:11]))
    whole = tmp_path / f"whole{Path(target).suffix}"
    assert run("run", models / "gru.onnx", "--input", tmp_path / "good.csv", "-o", whole).exit_code == 0
    assert_same((tmp_path / target).with_suffix(f".partial{Path(target).suffix}"), whole)


def interrupting(calls: int, failure: BaseException) -> Callable[..., None]:
    """Write, and in the midst of the last call fail."""
    done = iter(range(calls))
    written_whole = growing._write_all

    def write(file: Any, content: bytes) -> None:
        if next(done, None) is not None:
            written_whole(file, content)
        elif content and not failed:
            failed.append(True)
            written_whole(file, content[: len(content) // 2])
            raise failure
        else:
            written_whole(file, content)

    failed: list[bool] = []
    return write


@pytest.mark.parametrize("target", ["a.npy", "a.csv"])
@pytest.mark.parametrize(
    ("failure", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "interrupted after 15 of {total} steps; their answers are in"),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            2,
            "No space left on device (15 steps were answered; their answers",
        ),
    ],
)
def test_an_early_end_leaves_whole_answers(
    models: Path, tmp_path: Path, monkeypatch: Any, target: str, failure: BaseException, code: int, message: str
) -> None:
    x = written(tmp_path / "x.npy", drawn(2))
    command = ("run", models / "gru.onnx", "--input", x, "-o", tmp_path / target)
    assert run(*command).exit_code == 0
    old = (tmp_path / target).read_bytes()
    monkeypatch.setattr(growing, "_write_all", interrupting(3, failure))
    result = run(*command, "--chunk", 5)
    assert result.exit_code == code
    assert message.format(total=STEPS) in result.stderr.replace("\n", " ")
    assert (tmp_path / target).read_bytes() == old
    partial = numbers(growing.partial_path(str(tmp_path / target)))
    whole = numbers(tmp_path / target)
    expected = whole[:, :15] if target == "a.npy" else whole[:16]
    assert partial.shape == expected.shape
    np.testing.assert_allclose(partial[-1].astype(float), expected[-1].astype(float), rtol=1e-4, atol=1e-6)
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".tmp"]


def test_a_stream_into_a_file_leaves_whole_lines(models: Path, tmp_path: Path, monkeypatch: Any) -> None:
    target = tmp_path / "a.csv"
    command = ("run", models / "gru.onnx", "--input", written(tmp_path / "x.npy", drawn(2)), "--stream", "-o", target)
    assert run(*command).exit_code == 0
    old = target.read_text()
    monkeypatch.setattr(growing, "_write_all", interrupting(3, OSError(errno.ENOSPC, "No space left on device")))
    result = run(*command)
    assert result.exit_code == 2
    assert "No space left on device. The answers so far are in" in result.stderr.replace("\n", " ")
    assert target.read_text() == old
    assert growing.partial_path(str(target)).read_text().splitlines() == old.splitlines()[:3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("bidirectional.onnx --input x3.npy --chunk 4", "both directions"),
        ("gru.onnx --input x2.npy --chunk 4 -o a.npz", "is written whole"),
        ("gru.onnx --input x2.npy --chunk 4 --json", "one JSON object is written whole"),
        ("gru.onnx --input x2.npz --chunk 4", "is read whole; what is read piece by piece ends in .npy"),
        ("gru.onnx --input x3.npy --chunk 4", r"shape \(53, 3\), but 'x' takes \(axes: batch, time, 2\)"),
        ("gru.onnx --input two.npy --chunk 4", "has 2 sequences, but only one"),
        ("gru.onnx --input columns.npy --chunk 4", "stored column by column"),
        ("gru.onnx --input cut.npy --chunk 4", "is cut off: 53 steps of 8 bytes are expected, but only 40"),
        ("gru.onnx --input text.npy --chunk 4", "holds <U1, but numbers are expected"),
        ("gru.onnx --input none.npy --chunk 4", "there are 0 steps"),
        ("gru.onnx --input junk.npy --chunk 4", "not a readable .npy"),
        ("gru.onnx --input empty.csv --chunk 4", "has no rows"),
        ("gru.onnx --input json.csv --chunk 4", "line 1: it is JSON"),
        ("lstm.onnx --input several.csv --chunk 4", "the column 'sequence' says that there are several"),
        ("gru.onnx --input x2.partial.npy -o x2.npy --chunk 4", "is the input"),
        ("tokens.onnx --input tokens.csv --chunk 2", "step 3: input .* has 9 .*3 steps were answered"),
        ("lstm.onnx --input lengths=lengths.npy --chunk 4", "'lengths' has no steps"),
        ("lstm.onnx --input h0=lengths.npy --chunk 4", "the states are carried from piece to piece"),
        ("gru.onnx --text hello --chunk 4", "--text is for whole texts"),
    ],
)
def test_what_cannot_be_run_in_pieces(
    models: Path, tmp_path: Path, monkeypatch: Any, arguments: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    x = drawn(2)
    for name, array in {"x2": x, "x2.partial": x, "x3": drawn(3), "two": np.stack([x, x]), "none": x[:0]}.items():
        np.save(f"{name}.npy", array)
    np.save("columns.npy", np.asfortranarray(x))
    np.save("text.npy", np.full((4, 2), "a"))
    np.save("lengths.npy", np.array([3]))
    np.savez("x2.npz", x=x[None])
    Path("cut.npy").write_bytes(Path("x2.npy").read_bytes()[: 128 + 40 * 8])
    Path("junk.npy").write_bytes(b"\x93NUMPY\x01\x00\xff")
    Path("empty.csv").write_text("a,b\n\n")
    Path("several.csv").write_text("sequence,low,middle,high\na,1,2,3\nb,1,2,3\n")
    Path("json.csv").write_text("[[1, 2], [3, 4]]\n")
    Path("tokens.csv").write_text("1\n2\n3\n9\n")
    result = run("run", models / arguments.split()[0], *arguments.split()[1:])
    assert result.exit_code == 2, result.output
    assert re.search(message, result.stderr), result.stderr
    assert "Traceback" not in result.output


def test_a_value_beyond_float32_is_refused_at_its_step(models: Path, tmp_path: Path) -> None:
    x = drawn(2).astype(np.float64)
    x[20, 1] = 1e300
    source, target = written(tmp_path / "x.npy", x), tmp_path / "y.npy"
    for more, told in (((), "at (0, 20, 1)"), (("--chunk", 7), "step 20: ")):
        result = run("run", models / "gru.onnx", "--input", source, *more, "-o", target)
        assert result.exit_code == 2
        assert "has 1e+300 at" in result.stderr
        assert told in result.stderr
        assert not target.exists()
    assert np.load(tmp_path / "y.partial.npy").shape[1] == 20


def test_a_partial_output_that_cannot_be_written_is_told_before_the_work(models: Path, tmp_path: Path) -> None:
    (tmp_path / "y.partial.csv").mkdir()
    result = run(
        "run",
        models / "gru.onnx",
        "--input",
        written(tmp_path / "x.npy", drawn(2)),
        "--chunk",
        7,
        "-o",
        tmp_path / "y.csv",
    )
    assert result.exit_code == 2
    assert "y.partial.csv' is a folder" in result.stderr


def test_a_header_chooses_the_columns_and_blank_lines_are_skipped(models: Path, tmp_path: Path) -> None:
    x = drawn(3)
    rows = [f'{row[2]},"at {place}, or so",{row[0]},{row[1]}' for place, row in enumerate(x.tolist())]
    (tmp_path / "x.csv").write_text("\n\n".join(["high,time,low,middle", *rows]) + "\n\n")
    written(tmp_path / "plain.csv", x)
    for name, flags in (("plain", []), ("x", ["--chunk", 10])):
        result = run(
            "run", models / "lstm.onnx", "--input", tmp_path / f"{name}.csv", "-o", tmp_path / f"{name}.npy", *flags
        )
        assert result.exit_code == 0, result.output
    assert_same(tmp_path / "x.npy", tmp_path / "plain.npy")


@pytest.mark.parametrize(
    ("lines", "quick"),
    [
        ([b"1,2\n", b"3,4\n"], True),
        ([b" 1 , 2\r\n", b"-3e2,4"], True),
        ([b"1,2\n", b"\n"], False),
        ([b"1,2\n", b"3\n"], False),
        ([b"1,2,3\n", b"3\n"], False),
        ([b'"1",2\n'], False),
        ([b"1_0,2\n"], False),
        ([b"1,\n"], False),
        ([b"1,\xff\n"], False),
        ([b"1,x\n"], False),
    ],
)
def test_many_lines_are_read_as_one_by_one_or_not_at_all(lines: list[bytes], quick: bool) -> None:
    columns = csv.Columns()
    found = columns.block(lines, 2)
    assert (found is not None) == quick
    if found is not None:
        np.testing.assert_array_equal(found, [columns.numbers(csv.split(line.decode()), 2) for line in lines])


def test_the_missing_cell_of_a_column_that_is_left_aside_moves_no_other() -> None:
    columns = csv.Columns(("a", "b"))
    assert columns.take_header(["t", "a", "b", "c"])
    assert columns.block([b"0,1,2,3\n", b"1,2,3\n"], 2) is None
    np.testing.assert_array_equal(columns.block([b"x,1,2,y\n"], 2), [[1, 2]])


@pytest.mark.parametrize("suffix", [".npy", ".csv"])
def test_memory_does_not_grow_with_the_sequence(models: Path, tmp_path: Path, suffix: str) -> None:
    model = load(models / "gru.onnx")

    def peak(steps: int) -> int:
        path = written(tmp_path / f"x{suffix}", drawn(2, steps))
        tracemalloc.start()
        with (
            open_pieces([str(path)], model.signature) as read,
            growing.growing(str(tmp_path / f"a{suffix}"), Answers(model)) as sink,
        ):
            run_pieces(model, read, sink, chunk=500, told=lambda done, total, label: None)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(1_000)  # what is allocated once
    assert peak(20_000) - peak(2_000) < 60_000  # bytes; the input alone has 160,000


def test_what_is_left_is_estimated_from_the_bytes_of_a_file(tmp_path: Path, models: Path) -> None:
    signature = load(models / "gru.onnx").signature
    path = written(tmp_path / "x.csv", np.ones((1000, 2)))
    with open_pieces([str(path)], signature) as read:
        assert read.total() is None
        read.read(100)
        assert read.total() == 1000
    with pytest.raises(UsageError, match="given twice"), open_pieces([str(path), str(path)], signature):
        pass


def test_a_reader_that_leaves_is_no_error(models: Path, tmp_path: Path) -> None:
    path = written(tmp_path / "x.csv", drawn(2, 20_000))
    command = [sys.executable, "-m", "edgeseq", "run", str(models / "gru.onnx"), "--input", str(path), "--chunk", "10"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("sequence\tstep")
        process.stdout.close()
        assert process.wait(20) == 141
        assert process.stderr.read() == ""


def test_a_pipe_is_read_to_its_end_and_its_length_is_not_known(models: Path) -> None:
    tensor = load(models / "gru.onnx").signature.inputs[0]

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    found = pieces._pieces(Pipe(b"1,2\n3,4\n5,6"), ".csv", tensor, "standard input", None)
    assert found.read(2).shape == (1, 2, 2)
    assert found.total(2) is None
    assert found.read(2).tolist() == [[[5, 6]]]
    assert found.read(2).shape == (1, 0, 2)


def test_numbers_in_a_row_are_steps_of_one_feature(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(5, dtype=np.float32))
    signature = Signature(inputs=(Tensor("x", "float32", ("batch", "time", 1)),), outputs=())
    with open_pieces([str(tmp_path / "x.npy")], signature) as pieces:
        assert [pieces.read(3)["x"].tolist() for _ in range(3)] == [[[[0], [1], [2]]], [[[3], [4]]], [[]]]
