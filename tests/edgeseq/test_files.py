"""Files in and out: what each format takes, what it refuses and with which words, and what comes back."""

import io
import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgeseq_runtime import Signature, StatePair, Tensor, load
from edgeseq_runtime.errors import DamagedFileError, FileError, InputError, MissingFileError, UsageError
from edgeseq_runtime.signature import Limit

from edgeseq.files import Answers, Results, Sequences, csv, read_inputs, write_results

X = Tensor("x", "float32", ("batch", "time", 2))
NAMED = Signature(inputs=(replace(X, features=("left", "right")),), outputs=())
LENGTHS = Tensor("lengths", "int64", ("batch",), of="x")
UNEQUAL = replace(NAMED, inputs=(*NAMED.inputs, LENGTHS))
RAGGED = Signature(inputs=(X, LENGTHS), outputs=(), states=(StatePair("h0", "h0_next", (1, "batch", 4)),))
EQUAL = Signature(inputs=(X,), outputs=())
TOKENS = Signature(inputs=(Tensor("tokens", "int64", ("batch", "time"), range=(0, 5)),), outputs=())
LIMITED = replace(TOKENS, limits={"time": Limit(2, 3)})
TREE = Signature(
    inputs=(
        Tensor("x", "float32", ("batch", "time")),
        Tensor("children", "int64", ("batch", "time", "children"), earlier=True),
        LENGTHS,
    ),
    outputs=(),
)
MONO = Signature(inputs=(Tensor("x", "float32", ("batch", "time", 1)),), outputs=())
FIXED = Signature(inputs=(Tensor("x", "float32", (2, "time", 1)),), outputs=())
IMAGE = Signature(inputs=(Tensor("x", "float32", ("batch", "height", "width")),), outputs=())
TWO = Signature(inputs=(X, Tensor("mask", "float32", ("batch", "time"))), outputs=())


def read(folder: Path, name: str, content: str | bytes, signature: Signature = RAGGED) -> Sequences:
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return read_inputs([str(folder / name)], signature)


def packed(save: Callable[..., None], *args: Any, **kwargs: Any) -> bytes:
    buffer = io.BytesIO()
    save(buffer, *args, **kwargs)
    return buffer.getvalue()


def with_lengths(*lengths: int) -> bytes:
    return packed(np.savez, x=np.ones((2, 3, 2)), lengths=np.array(lengths))


ONE = packed(np.savez, x=np.ones((3, 2)), lengths=np.int64(2), y=np.zeros(9))
STATES = packed(np.savez, x=np.ones((5, 3, 2)), h0=np.ones((1, 5, 4)))
EXPLICIT = '{"x": [[1,2],[3,4]], "lengths": 1, "y": 3}'
NODES = '{"x": [1,2], "children": [[-1,-1],[0,-1]]}\n{"x": [3], "children": [[-1]]}\n'
TABLE = [[[-1, -1], [0, -1]], [[-1, -1], [-1, -1]]]
SEVERAL = "sequence,right,left,label\na,2,1,yes\na,4,3,yes\nb,6,5,no\n"
UNEVEN = "[[1,2],[3,4]]\n\n[[5,6]]\n"


@pytest.mark.parametrize(
    ("name", "content", "signature", "expected"),
    [
        ("a.csv", "1,2\n3,4\n", RAGGED, {"x": [[[1, 2], [3, 4]]]}),
        ("a.csv", "left,right\n1,2\n\n3, 4\n", RAGGED, {"x": [[[1, 2], [3, 4]]]}),
        ("a.csv", "\ufeff1,2\r\n3,4\r\n", RAGGED, {"x": [[[1, 2], [3, 4]]]}),
        ("a.csv", '"1","2"\n', RAGGED, {"x": [[[1, 2]]]}),
        ("a.csv", "id\n4\n0\n", TOKENS, {"tokens": [[4, 0]]}),
        ("a.csv", "time,right,left\nnow,2,1\nlater,4,3\n", NAMED, {"x": [[[1, 2], [3, 4]]]}),
        ("a.csv", "east,west\n1,2\n", NAMED, {"x": [[[1, 2]]]}),
        ("a.csv", SEVERAL, UNEQUAL, {"x": [[[1, 2], [3, 4]], [[5, 6], [0, 0]]], "lengths": [2, 1]}),
        ("a.jsonl", UNEVEN, RAGGED, {"x": [[[1, 2], [3, 4]], [[5, 6], [0, 0]]], "lengths": [2, 1]}),
        ("a.jsonl", EXPLICIT, RAGGED, {"x": [[[1, 2], [3, 4]]], "lengths": [1]}),
        ("a.jsonl", "[[1,2]]\n[[3,4]]", EQUAL, {"x": [[[1, 2]], [[3, 4]]]}),
        ("a.jsonl", "[1,2,3]\n", TOKENS, {"tokens": [[1, 2, 3]]}),
        ("a.jsonl", '{"x": [[1,2]], "mask": [1]}', TWO, {"x": [[[1, 2]]], "mask": [[1]]}),
        ("a.jsonl", NODES, TREE, {"x": [[1, 2], [3, 0]], "children": TABLE, "lengths": [2, 1]}),
        ("a.jsonl", "[[1]]\n[[2]]", FIXED, {"x": [[[1]], [[2]]]}),
        ("a.npy", packed(np.save, np.ones((3, 2), np.float32)), RAGGED, {"x": np.ones((1, 3, 2))}),
        ("a.npy", packed(np.save, np.arange(3)), MONO, {"x": [[[0], [1], [2]]]}),
        ("a.npy", packed(np.save, np.ones((4, 3, 2), np.float32)), RAGGED, {"x": np.ones((4, 3, 2))}),
        ("a.npz", ONE, RAGGED, {"x": np.ones((1, 3, 2)), "lengths": [2]}),
        ("a.npz", STATES, RAGGED, {"x": np.ones((5, 3, 2)), "h0": np.ones((1, 5, 4))}),
    ],
)  # fmt: skip
def test_a_file_becomes_arrays_by_input_name(
    tmp_path: Path, name: str, content: str | bytes, signature: Signature, expected: dict[str, Any]
) -> None:
    arrays = read(tmp_path, name, content, signature).arrays
    assert set(arrays) == set(expected)
    for key, values in expected.items():
        assert arrays[key].shape == np.shape(values)
        np.testing.assert_array_equal(arrays[key], values)


@pytest.mark.parametrize(
    ("name", "content", "signature", "message"),
    [
        ("a.csv", "", RAGGED, "has no rows"),
        ("a.csv", "x,y\n", RAGGED, "has no rows"),
        ("a.csv", "a,b\n1,2\n3,oops\n", RAGGED, r"a\.csv', line 3: column 2 \('b'\): 'oops' is not a number"),
        ("a.csv", "1,2\n3,\n", RAGGED, "line 2: column 2: the value is missing"),
        ("a.csv", "1,2\n3\n", RAGGED, "line 2: column 2 has no value; 2 columns are expected, 1 are there"),
        ("a.csv", "1,2\n3,4,5\n", RAGGED, "line 2: column 3 is one too many; 2 columns"),
        ("a.csv", "1,2\n3,1_000\n", RAGGED, "'1_000' is not a number"),
        ("a.csv", "1.5;2\n3;4\n", RAGGED, "cells are parted by commas, and decimals by a point"),
        ("a.csv", "1,2,3\n", RAGGED, r"has 3 columns, but 'x' takes 2 \(axes: batch, time, 2\)"),
        ("a.csv", "1,2\n3,nan\n", RAGGED, r"input 'x' has nan at \[0, 1, 1\]"),
        ("a.csv", "1,2\n3,1e300\n", RAGGED, r"input 'x' has inf at \[0, 1, 1\]"),
        ("a.csv", b"1,2\n\xff,4\n", RAGGED, "line 2: byte 1 is not UTF-8"),
        ("a.csv", "1.5\n", TOKENS, "takes whole numbers"),
        ("a.csv", "1,2\n", TWO, "takes x, mask; say which"),
        ("a.csv", "time,left,right\nnow,1,2\n1,2\n", NAMED, "line 3: column 3 \\('right'\\) has no value; 3 columns"),
        ("a.csv", "time,left,right\nnow,1,oops\n", NAMED, "line 2: column 3 \\('right'\\): 'oops' is not a number"),
        ("a.csv", SEVERAL + "a,0,0,yes\n", NAMED, "line 5: sequence 'a' goes on after another; sort the rows"),
        ("a.csv", "1,2,3\n", NAMED, r"has 3 columns, but 'x' takes 2 .*; a header with left, right would choose"),
        ("a.jsonl", "", RAGGED, "has no lines"),
        ("a.npz", packed(np.savez, y=np.ones(3)), RAGGED, "has the keys y, but x, lengths, h0 can be used"),
        ("a.npz", with_lengths(3, 0), RAGGED, "'lengths' has 0 in row 1"),
        ("a.npz", with_lengths(4, 1), RAGGED, "'lengths' has 4 in row 0"),
    ],
)  # fmt: skip
def test_bad_content_is_refused_with_its_place(
    tmp_path: Path, name: str, content: str | bytes, signature: Signature, message: str
) -> None:
    with pytest.raises((InputError, UsageError), match=message):
        read(tmp_path, name, content, signature)


@pytest.mark.parametrize(
    ("good", "bad", "signature", "message"),
    [
        ("[[1,2]]", "[[1,2", RAGGED, "not JSON"),
        ("[[1,2]]", "\xff", RAGGED, "byte 1 is not UTF-8 text"),
        ("[[1,2]]", "[[1],[2,3]]", RAGGED, "'x' is not regular"),
        ("[[1,2]]", "[[1,2,3]]", RAGGED, "input 'x' has 3 features, but model takes 2"),
        ("[[1,2]]", "[1,2]", RAGGED, "'x' is nested 1 deep, but a sequence is 2 deep (time, 2)"),
        ("[[1,2]]", "5", RAGGED, "'x' is nested 0 deep"),
        ("[[1,2]]", "[]", RAGGED, "'x' is empty"),
        ("[[1,2]]", '[["1","2"]]', RAGGED, "not a number"),
        ("[[1,2]]", "[[1,null]]", RAGGED, "not a number"),
        ("[[1,2]]", "[[1,NaN]]", RAGGED, "input 'x' has nan at [0, 1]"),
        ("[[1,2]]", "[[1,2],[1e300,2]]", RAGGED, "input 'x' has inf at [1, 0]"),
        ("[[1,2]]", '{"z": 1}', RAGGED, "the key 'x' is missing"),
        ("[[1,2]]", '{"x": [[1,2]], "lengths": 2}', RAGGED, "'lengths' has 2 in row 0"),
        ("[[1,2]]", '{"x": [[1,2]], "lengths": "a"}', RAGGED, "'lengths' holds something that is not a number"),
        ("[[1,2]]", "[[1,2],[3,4]]", EQUAL, "'x' has 2 along 'time', but what was read before has 1"),
        ("[[1,2]]", "[[1]]", IMAGE, "'x' has 1 along 'width', but what was read before has 2"),
        ('{"x": [[1,2]], "mask": [1]}', "[[1,2]]", TWO, "ambiguous"),
        ('{"x": [1], "children": [[-1]]}', '{"x": [1], "children": [[0]]}', TREE, "input 'children'"),
        ("[1,2]", "[1,5]", TOKENS, "input 'tokens' has 5 at (0, 1), but its values go from 0 to 4"),
        ("[1,2]", "[1,0.5]", TOKENS, "'tokens' takes whole numbers (int64), but has 0.5"),
        ("[1,2]", "[1,Infinity]", TOKENS, "'tokens' takes whole numbers (int64), but has inf"),
        ("[1,2]", "[1]", LIMITED, "input 'tokens' has 1 along 'time', but model takes at least 2"),
        ("[1,2]", "[1,2,3,4]", LIMITED, "input 'tokens' has 4 along 'time', but model takes at most 3"),
    ],
)
def test_a_bad_line_is_an_item_with_its_error(
    tmp_path: Path, good: str, bad: str, signature: Signature, message: str
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(f"{good}\n{bad}\n\n{good}\n".encode("latin-1"))
    sequences = read_inputs([str(path)], signature, model="model")
    assert {len(array) for array in sequences.arrays.values()} == {2}
    first, second, third = sequences.items or ()
    assert (first.rows, first.error, third.rows, third.error) == (1, None, 1, None)
    assert (second.rows, second.place) == (0, f"'{path}', line 2")
    assert message in (second.error or "")
    beside = [f"{signature.inputs[0].name}={path}", str(path)]
    with pytest.raises(InputError, match=r"a\.jsonl', line 2: .*" + re.escape(message)):
        read_inputs(beside, signature, model="model")


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("a.npy", b"", DamagedFileError, "not a readable .npy"),
        ("a.npy", b"rubbish", DamagedFileError, "not a readable .npy"),
        (
            "a.npy",
            packed(np.save, np.array([{}], object), allow_pickle=True),
            DamagedFileError,
            "readable .npy",
        ),
        ("a.npz", b"", DamagedFileError, "not a readable .npz"),
        ("a.npz", packed(np.savez, x=np.array([{}], object)), DamagedFileError, "not a readable .npz"),
        ("a.npz", packed(np.savez, x=np.ones((1, 3, 2)))[:-40], DamagedFileError, "not a readable .npz"),
        ("a.npz", packed(np.save, np.ones((3, 2))), DamagedFileError, "not a readable .npz"),
        ("a.txt", b"1", UsageError, r"no known format.*\.npy, \.npz, \.csv, \.jsonl"),
    ],
)
def test_damaged_and_unknown_files_are_refused(
    tmp_path: Path, name: str, content: bytes, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        read(tmp_path, name, content)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="does not exist"):
        read_inputs([str(tmp_path / "a.csv")], RAGGED)
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(FileError, match="cannot read"):
        read_inputs([str(tmp_path / "folder.csv")], RAGGED)


def test_inputs_by_name(tmp_path: Path) -> None:
    np.save(tmp_path / "data.npy", np.ones((2, 3, 2), np.float32))
    (tmp_path / "lengths.csv").write_text("3\n1\n")
    given = [f"x={tmp_path / 'data.npy'}", f"lengths={tmp_path / 'lengths.csv'}"]
    arrays = read_inputs(given, RAGGED).arrays
    assert arrays["x"].shape == (2, 3, 2)
    assert arrays["lengths"].tolist() == [3, 1]
    (tmp_path / "lengths.jsonl").write_text("3\n1\n")
    assert read_inputs([given[0], f"lengths={tmp_path / 'lengths.jsonl'}"], RAGGED).arrays["lengths"].tolist() == [3, 1]
    (tmp_path / "h0.jsonl").write_text("[[1,2,3,4],[5,6,7,8]]\n")
    assert read_inputs([given[0], f"h0={tmp_path / 'h0.jsonl'}"], RAGGED).arrays["h0"].shape == (1, 2, 4)
    with pytest.raises(UsageError, match="no input 'z'; it takes x, lengths, h0"):
        read_inputs([f"z={tmp_path / 'data.npy'}"], RAGGED)
    with pytest.raises(UsageError, match="only once"):
        read_inputs(["x=-", "lengths=-"], RAGGED)


@pytest.mark.parametrize(("text", "sequences"), [("[[1,2]]\n[[3,4]]\n", 2), (" 1,2\n3,4\n", 1)])
def test_standard_input_is_recognised(monkeypatch: pytest.MonkeyPatch, text: str, sequences: int) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert len(read_inputs(["-"], RAGGED).arrays["x"]) == sequences


@pytest.mark.parametrize("cells", [["a,b", 'say "hi"', "plain"], ["", "1.5", "two\nlines"]])
def test_a_csv_row_reads_back(cells: list[str]) -> None:
    import csv as standard

    assert next(standard.reader(io.StringIO(csv.format_row(cells), newline=""))) == cells


def classified(models: Path) -> Results:
    probabilities = np.array([[0.1, 0.7, 0.2], [0.5, 0.25, 0.25]], np.float32)
    outputs = {"logits": np.log(probabilities), "probabilities": probabilities}
    return Results(outputs, Answers(load(models / "lstm.onnx")), np.array([4, 2]), ["first", None])


def forecast(models: Path) -> Results:
    values = np.array([[[1.5, 2], [3, 4]], [[5, 6], [7, 8]]], np.float32)
    return Results({"values": values}, Answers(load(models / "gru.onnx")), np.array([2, 1]))


def test_answers_of_a_classifier(tmp_path: Path, models: Path) -> None:
    results = classified(models)
    write_results(str(tmp_path / "a.csv"), results)
    assert (tmp_path / "a.csv").read_text() == "sequence,label,probability\nfirst,oe,0.7\n1,ae,0.5\n"
    write_results(str(tmp_path / "a.jsonl"), results)
    assert [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()] == [
        {"sequence": "first", "label": "oe", "probability": 0.7},
        {"sequence": 1, "label": "ae", "probability": 0.5},
    ]
    write_results(str(tmp_path / "a.npy"), results)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), results.outputs["probabilities"])
    write_results(str(tmp_path / "a.npz"), results)
    with np.load(tmp_path / "a.npz") as archive:
        assert set(archive.files) == {"logits", "probabilities", "lengths"}


def test_answers_of_a_forecast_end_with_their_sequence(tmp_path: Path, models: Path) -> None:
    write_results(str(tmp_path / "a.csv"), forecast(models))
    assert (tmp_path / "a.csv").read_text().splitlines() == [
        "sequence,step,values_0,values_1",
        "0,0,1.5,2.0",
        "0,1,3.0,4.0",
        "1,0,5.0,6.0",
    ]
    write_results(str(tmp_path / "a.jsonl"), forecast(models))
    lines = (tmp_path / "a.jsonl").read_text().splitlines()
    assert json.loads(lines[1]) == {"sequence": 1, "values": [[5, 6]]}


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a.npz"
    target.write_bytes(b"old")

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(FileError, match="No space left"):
        write_results(str(target), classified(models))
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]
