"""The live filter: every line is answered at once, in order, and a bad one leaves the state as it was."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from edgeseq_runtime import load
from edgeseq_runtime.errors import InputError, StreamError, UsageError

from edgeseq import live

STEPS = np.array([[1, 2], [0.5, -1], [3, 0], [0, 0.25], [2, 2]], np.float32)
LINES = [",".join(map(str, step)) for step in STEPS]


def follow(file: Path, text: str | bytes, *, chunk: int = 1, as_json: bool = False) -> tuple[list[str], list[str]]:
    """The lines that come out and the warnings."""
    out: list[str] = []
    warnings: list[str] = []
    model = load(file)
    content = text.encode() if isinstance(text, str) else text
    steps = live.read_steps(io.BytesIO(content), model.signature)
    tally = live.follow(model, steps, out.append, warnings.append, chunk=chunk, as_json=as_json)
    assert tally.bad == len(warnings)
    return out, warnings


def numbers(lines: list[str]) -> list[list[float]]:
    return [[float(cell) for cell in line.split(",")] for line in lines]


@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 99])
def test_a_stream_answers_as_a_whole_run(models: Path, chunk: int) -> None:
    out, _ = follow(models / "gru.onnx", "\n".join(LINES), chunk=chunk)
    whole = load(models / "gru.onnx").run(STEPS[None])["values"][0]
    np.testing.assert_allclose(numbers(out), whole, rtol=1e-5, atol=1e-6)


def test_json_lines_and_objects_are_steps_too(models: Path) -> None:
    plain, _ = follow(models / "gru.onnx", "\n".join(LINES))
    mixed = [LINES[0], *(json.dumps(step.tolist()) for step in STEPS[1:4]), json.dumps({"x": [2, 2], "t": 9})]
    assert follow(models / "gru.onnx", "\n".join(mixed))[0] == plain
    answers = [json.loads(line) for line in follow(models / "gru.onnx", "\n".join(mixed), as_json=True)[0]]
    assert [a["line"] for a in answers] == [1, 2, 3, 4, 5]
    assert [a["version"] for a in answers] == [1] * 5
    np.testing.assert_array_equal([a["values"] for a in answers], numbers(plain))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("nan,1", "'x' has nan"),
        ("1e39,1", "'x' has inf"),
        ("1", "'x' has 1 values, but a step takes 2"),
        ("1,2,3", "'x' has 3 values, but a step takes 2"),
        ("1,oops", "column 2: 'oops' is not a number"),
        ("1,", "column 2: the value is missing"),
        ("", "empty"),
        ('"1,2', "not csv"),
        ("[1,", "not JSON"),
        ("[[1,2]]", r"'x' has the shape \(1, 2\), but a step takes 2"),
        ('{"y": [1, 2]}', "the key 'x' is missing"),
        ('["a", "b"]', "not a number"),
    ],
)
@pytest.mark.parametrize("chunk", [1, 3])
def test_a_bad_line_leaves_the_state_and_the_alignment(models: Path, bad: str, message: str, chunk: int) -> None:
    good, _ = follow(models / "gru.onnx", "\n".join(LINES))
    out, warnings = follow(models / "gru.onnx", "\n".join([*LINES[:2], bad, *LINES[2:]]), chunk=chunk)
    assert out[2] == "error,"
    np.testing.assert_allclose(numbers(out[:2] + out[3:]), numbers(good), rtol=1e-5, atol=1e-6)
    assert len(warnings) == 1
    assert warnings[0].startswith("line 3: ")
    assert re.search(message, warnings[0])


def test_text_that_is_not_utf8_is_one_bad_line(models: Path) -> None:
    out, warnings = follow(models / "gru.onnx", b"1,2\n\xff\xfe,2\n1,2\n")
    assert len(out) == 3
    assert "not UTF-8" in warnings[0]


def test_a_header_is_skipped_in_line_1_alone(models: Path) -> None:
    out, warnings = follow(models / "gru.onnx", "left,right\n1,2\nleft,right\n")
    assert len(out) == 2
    assert len(warnings) == 1
    assert warnings[0].startswith("line 3")


def test_a_header_with_the_names_of_the_features_chooses_the_columns(models: Path) -> None:
    plain, _ = follow(models / "lstm.onnx", "1,2,3\n4,5,6\n")
    out, warnings = follow(models / "lstm.onnx", "high,time,low,middle\n3,now,1,2\n3,1,2\n6,later,4,5\n")
    assert [out[0], out[2]] == plain
    assert out[1] == "error,"
    assert warnings == ["line 3: column 4 ('middle') has no value; 4 columns are expected, 3 are there"]
    assert follow(models / "lstm.onnx", "1,2,3\n3,4,5,6\n")[1] == ["line 2: 'x' has 4 values, but a step takes 3"]


def test_a_table_of_several_sequences_is_no_stream(models: Path) -> None:
    with pytest.raises(UsageError, match="the column 'sequence' says that there are several"):
        follow(models / "lstm.onnx", "sequence,low,middle,high\na,1,2,3\nb,1,2,3\n")


def test_a_classifier_answers_label_and_probability(models: Path) -> None:
    text = "1,2,3\n1,2,3\n1,2,3\n"
    out, _ = follow(models / "lstm.onnx", text)
    label, probability = out[2].split(",")
    whole = load(models / "lstm.onnx").run(np.tile(np.array([1, 2, 3], np.float32), (1, 3, 1)))["probabilities"][0]
    assert label == ("ae", "oe", "ue")[whole.argmax()]
    assert float(probability) == pytest.approx(float(whole.max()), rel=1e-5)
    assert len(follow(models / "lstm.onnx", text, chunk=2)[0]) == 2  # one answer a chunk
    answer = json.loads(follow(models / "lstm.onnx", text, as_json=True)[0][2])
    assert answer == {"version": 1, "line": 3, "label": label, "probability": float(probability)}


def test_tokens_are_streamed_and_one_the_model_refuses_is_its_line_alone(models: Path) -> None:
    out, warnings = follow(models / "tokens.onnx", "1\n2\n9\n3\n", chunk=4)
    assert [line.split(",")[0] == "error" for line in out] == [False, False, True, False]
    assert warnings[0].startswith("line 3: ")
    good, _ = follow(models / "tokens.onnx", "1\n2\n3\n", chunk=3)
    assert [line.split(",")[0] for line in out if "error" not in line] == [line.split(",")[0] for line in good]


def test_a_model_that_needs_the_whole_is_refused(models: Path) -> None:
    with pytest.raises(StreamError, match="both directions"):
        follow(models / "bidirectional.onnx", "1,2,3\n")


def test_files_of_arrays_are_stepped_through(models: Path, tmp_path: Path) -> None:
    model = load(models / "lstm.onnx")
    x = np.ones((1, 4, 3), np.float32)
    x[0, 1, 2] = np.nan
    np.savez(tmp_path / "one.npz", x=x, lengths=np.array([3]))
    steps = list(live.open_steps([str(tmp_path / "one.npz")], model.signature))
    assert [type(step) for step in steps] == [live.Step, live.BadStep, live.Step]
    np.save(tmp_path / "two.npy", np.ones((2, 4, 3), np.float32))
    with pytest.raises(InputError, match="one sequence, but 2"):
        list(live.open_steps([str(tmp_path / "two.npy")], model.signature))
    with pytest.raises(UsageError, match="one input"):
        list(live.open_steps(["-", str(tmp_path / "two.npy")], model.signature))


def test_a_closed_output_ends_the_stream(models: Path) -> None:
    def closed(line: str) -> None:
        raise BrokenPipeError

    model = load(models / "gru.onnx")
    steps = live.read_steps(io.BytesIO("\n".join(LINES).encode()), model.signature)
    assert live.follow(model, steps, closed, print).closed


@contextmanager
def filtering(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "edgeseq", "run", *arguments]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    options = {"text": True, "bufsize": 1, **pipes}
    if os.name != "nt":  # where the tests run in the background, an interrupt may be ignored, and children inherit that
        options["preexec_fn"] = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, **options) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.kill()


def test_each_line_is_answered_before_the_next_is_sent(models: Path) -> None:
    expected = load(models / "gru.onnx").run(STEPS[None])["values"][0]
    with filtering(str(models / "gru.onnx"), "--input", "-", "--stream") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for line, values in zip(LINES, expected, strict=True):
            process.stdin.write(line + "\n")
            process.stdin.flush()
            np.testing.assert_allclose(numbers([process.stdout.readline()])[0], values, rtol=1e-5, atol=1e-6)
        process.stdin.close()
        assert process.wait(20) == 0


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for a single process")
def test_an_interrupt_ends_a_stream_cleanly(models: Path, tmp_path: Path) -> None:
    target = tmp_path / "answers.csv"
    with filtering(str(models / "gru.onnx"), "--stream", "-o", str(target)) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write("oops\nbad,line\n" + LINES[0] + "\n")  # the warning tells that the lines were read
        process.stdin.flush()
        assert "line 2" in process.stderr.readline()
        process.stdin.write("bad\n")
        process.stdin.flush()
        assert "line 4" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 2
        assert "Traceback" not in process.stderr.read()
    assert len(target.read_text().splitlines()) == 3


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for a single process")
def test_an_interrupt_answers_the_lines_of_a_chunk_that_is_not_full(models: Path, tmp_path: Path) -> None:
    target = tmp_path / "answers.csv"
    with filtering(str(models / "gru.onnx"), "--stream", "--chunk", "1000", "-o", str(target)) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write("\n".join(LINES) + "\n")
        process.stdin.flush()
        time.sleep(3)  # nothing tells that lines of a chunk were read
        for _ in range(3):  # a terminal that closes sends more than one
            process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0, process.stderr.read()
    assert len(target.read_text().splitlines()) == len(LINES)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for a single process")
def test_an_interrupt_answers_the_lines_of_a_piece_that_is_not_full(models: Path, tmp_path: Path) -> None:
    target = tmp_path / "answers.csv"
    with filtering(str(models / "gru.onnx"), "--chunk", "1000", "-o", str(target)) as process:
        assert process.stdin is not None
        process.stdin.write("\n".join(LINES) + "\n")
        process.stdin.flush()
        time.sleep(3)  # nothing tells that lines of a piece were read
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
        assert process.stderr is not None
        assert f"interrupted after {len(LINES)} steps" in process.stderr.read()
    assert not target.exists()
    assert len(target.with_name("answers.partial.csv").read_text().splitlines()) == 1 + len(LINES)


@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell closes them")
@pytest.mark.parametrize(
    ("closed", "code", "told"), [("<&-", 2, "has no rows"), (">&-", 0, ""), ("2>&-", 0, ""), (">&- 2>&-", 0, "")]
)
def test_standard_streams_that_are_closed_are_no_accident(
    models: Path, tmp_path: Path, closed: str, code: int, told: str
) -> None:
    (tmp_path / "x.csv").write_text("\n".join(LINES) + "\n")
    source = "-" if "<" in closed else tmp_path / "x.csv"
    command = (
        f"{sys.executable} -m edgeseq run {models / 'gru.onnx'} --input {source} --chunk 2 -o {tmp_path / 'y.csv'}"
    )
    done = subprocess.run(f"{command} {closed}", shell=True, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "y.csv").exists() == (code == 0)


def test_a_recording_on_standard_input_is_no_lines(models: Path, tmp_path: Path) -> None:
    with filtering(str(models / "gru.onnx"), "--input", "-", "--stream") as process:
        out, error = process.communicate("RIFF" + 4000 * "\n", 20)
    assert (process.returncode, out) == (2, "")
    assert "give --input FILE.wav" in error


def test_a_reader_that_leaves_is_no_error(models: Path) -> None:
    with filtering(str(models / "gru.onnx"), "--stream") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(LINES[0] + "\n")
        process.stdin.flush()
        process.stdout.readline()
        process.stdout.close()
        process.stdin.write(LINES[1] + "\n")
        process.stdin.flush()
        assert process.wait(20) == 141
        assert process.stderr.read() == ""
