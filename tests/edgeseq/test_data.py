"""Data: every format gives the same sequences, splits keep their promises, errors name the place."""

from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from edgeseq_runtime.errors import DamagedFileError, MissingFileError, MissingPackageError, UsageError

from edgeseq.data import csv_table, npz, open_data, read_file, ts
from edgeseq.data.dataset import About, Dataset, Loaded
from edgeseq.data.split import cut, split
from edgeseq.nn import Batch, Network, Outputs
from edgeseq.recipe import DataTable
from edgeseq.training.evaluate import evaluate

TS = """# two channels
@problemName p
@timeStamps false
@classLabel true no yes
@data
1,2,3:4,5,6:yes
7,8:9,10:no
"""
CSV = "sequence,a,b,label\n1,1,4,yes\n1,2,5,yes\n1,3,6,yes\n2,7,9,no\n2,8,10,no\n"
SEQUENCES = np.array([[1, 2, np.nan, np.nan, np.nan], [3, 4, 5, 6, 7]], np.float32)[..., None]
"""Values of two target sequences, of 2 and of 5 steps."""

X = np.array([[[1, 4], [2, 5], [3, 6]], [[7, 9], [8, 10], [0, 0]]], np.float32)


def saved(path: Path, **arrays: Any) -> bytes:
    np.savez(path / "d.npz", **arrays)
    return (path / "d.npz").read_bytes()


def test_three_formats_give_the_same_dataset(tmp_path: Path) -> None:
    content = saved(tmp_path, x=X, y=np.array(["yes", "no"]), lengths=np.array([3, 2]))
    for data in (ts.parse(TS, "d.ts"), csv_table.parse(CSV, "d.csv"), npz.parse(content, "d.npz")):
        assert np.array_equal(data.x, X)
        assert (data.x.dtype, data.y.dtype, data.lengths.dtype) == (np.float32, np.int64, np.int64)
        assert data.lengths.tolist() == [3, 2]
        assert (data.labels, data.y.tolist()) == (("no", "yes"), [1, 0])
        assert (data.task, data.stepwise) == ("classify", False)


@pytest.mark.parametrize(
    ("text", "y", "task", "stepwise"),
    [
        ("sequence,a,target\n1,1,0.5\n1,2,0.5\n2,3,1\n", [[0.5], [1.0]], "forecast", False),
        ("sequence,a,target\n1,1,0.5\n1,2,0.7\n2,3,1\n", [[[0.5], [0.7]], [[1.0], [0.0]]], "forecast", True),
        ("sequence,a,label\n1,1,on\n1,2,off\n2,3,on\n", [[1, 0], [1, 0]], "classify", True),
        ("group,sequence,a,label\np,1,1,10\nq,2,2,9\n", [1, 0], "classify", False),
    ],
)
def test_csv_answers_a_sequence_or_a_step(text: str, y: list[Any], task: str, stepwise: bool) -> None:
    data = csv_table.parse(text, "d.csv")
    assert data.features == ("a",)
    assert (data.task, data.stepwise) == (task, stepwise)
    np.testing.assert_allclose(data.y, y, rtol=1e-6)


def test_ts_targets_and_npz_numbers(tmp_path: Path) -> None:
    values = ts.parse("@targetLabel true\n@data\n1,2:0.25\n3:0.5\n", "d.ts")
    assert (values.task, values.y.tolist(), values.lengths.tolist()) == ("forecast", [[0.25], [0.5]], [2, 1])
    classes = npz.parse(saved(tmp_path, x=X, y=np.array([7, 3])), "d.npz")
    assert (classes.labels, classes.y.tolist(), classes.lengths.tolist()) == (("3", "7"), [1, 0], [3, 3])
    named = npz.parse(saved(tmp_path, x=X, y=np.array([0, 2]), labels=np.array(["a", "b", "c"])), "d.npz")
    assert (named.labels, named.y.tolist()) == (("a", "b", "c"), [0, 2])
    tokens = npz.parse(saved(tmp_path, x=np.array([[1, 2]]), y=np.array([0.5])), "d.npz")
    assert (tokens.tokens, tokens.task) == (True, "forecast")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TS.replace("@data", ""), "has no line @data"),
        (TS.replace("5", "?"), r"channel 2 of row 1 of d\.ts has '\?': a missing value"),
        (TS.replace("8:", "x:"), r"channel 1 of row 2 of d\.ts has 'x': no number"),
        (TS.replace("9,10", "9"), "the channels of row 2 .* unequal lengths: 2, 1"),
        (TS.replace("7,8:", ""), "row 2 of d.ts has 1 channels, but the first row has 2"),
        (TS.replace("10:no", "10:maybe"), "the class 'maybe' is none of those declared: no, yes"),
        (TS.replace("@classLabel true no yes", ""), "neither @classLabel true nor @targetLabel true"),
        (TS.replace("Stamps false", "stamps true"), "time stamps"),
        (TS.split("1,2,3")[0], "no sequence after @data"),
    ],
)
def test_a_malformed_ts_names_the_row(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ts.parse(text, "d.ts")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no rows"),
        (CSV.replace("label", "c"), "has the columns sequence, a, b, c, but needs one of 'label', 'target'"),
        (CSV.replace("a,b", "a,a"), "has the column 'a' twice"),
        (CSV.replace(",", ";"), "without a comma; cells are parted by commas"),
        (CSV.replace("2,5", "2,x"), r"line 3 of d\.csv has 'x' in column 'b': no number"),
        (CSV.replace("2,5", "2"), "line 3 of d.csv has 3 cells, but the header has 4"),
        (CSV + "1,1,1,yes\n", "line 7 of d.csv goes on with sequence '1' after another"),
        (CSV.replace("2,5", "nan,5"), r"x has nan at \(0, 1, 0\)"),
        ("sequence,label\n1,a\n", "has no feature column"),
    ],
)
def test_a_malformed_csv_names_the_line_and_column(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        csv_table.parse(text, "d.csv")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X}, "lacks the key 'y'; it has x"),
        (
            {"x": X[0, 0], "y": [0, 1]},
            r"'x' of d.npz is float32 of shape \(2,\), but numbers \(sequences, time",
        ),
        ({"x": X, "y": [0]}, r"x has 2 examples, but y has shape \(1,\)"),
        ({"x": X, "y": [0, 1], "characters": [[1]]}, r"x has 2 examples, but characters has shape \(1, 1\)"),
        ({"x": X, "y": [0, 1], "characters": [[1], [1]]}, r"x has 3 steps, but characters has shape \(2, 1\)"),
        ({"x": X, "y": [0, 1], "rate": 16000.0}, r"'rate' of d.npz is float64 of shape \(\), but a further input"),
        ({"x": X, "y": [0, 1], "names": ["a", "b"]}, "'names' of d.npz is <U1 of shape"),
        ({"x": X, "y": [[0, 1], [1, 0]]}, r"x has 3 steps, but y has shape \(2, 2\)"),
        ({"x": X, "y": [0, 1], "y_lengths": [1, 1]}, r"y has shape \(2,\), but with y_lengths classes \(ex"),
        ({"x": X, "y": SEQUENCES[..., 0], "y_lengths": [2, 5]}, r"y has shape \(2, 5\), .* is y\[..., None\]"),
        ({"x": X, "y": SEQUENCES, "y_lengths": [0, 5]}, r"y_lengths\[0\] is 0, but it must be from 1 to 5, the"),
        ({"x": X, "y": SEQUENCES, "y_lengths": [2, 6]}, r"y_lengths\[1\] is 6, but it must be from 1 to 5, the"),
        ({"x": X, "y": SEQUENCES, "y_lengths": [3, 5]}, r"y has nan at \(0, 2, 0\)"),
        ({"x": X, "y": SEQUENCES, "y_lengths": [[2, 5]] * 2}, r"y_lengths has shape \(2, 2\), but one length"),
        ({"x": X, "y": SEQUENCES}, r"x has 3 steps, but y has shape \(2, 5, 1\)"),
        ({"x": X, "y": [0, 1], "lengths": [3, 4]}, r"lengths\[1\] is 4, but it must be from 1 to 3"),
        ({"x": X, "y": [0, 1], "lengths": [0, 2]}, r"lengths\[0\] is 0, but"),
        ({"x": X, "y": [0, 1], "lengths": [1.0, 2.0]}, "'lengths' of d.npz is float64, but whole numbers"),
        ({"x": X, "y": [0, 1], "groups": ["a"]}, "'groups' of d.npz has shape"),
        ({"x": X, "y": [0, 5], "labels": ["a", "b"]}, "runs from 0 to 5, but there are 2 'labels'"),
        ({"x": X, "y": [0.5, np.inf]}, r"y has inf at \(1, 0\)"),
        ({"x": np.array([[1], [1, 2]], object), "y": [0, 1]}, "array of Python objects, not read here"),
        ({"x": np.array([[-1, 2]]), "y": [0]}, "holds the token -1"),
    ],
)
def test_a_malformed_npz_names_the_key(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        npz.parse(saved(tmp_path, **arrays), "d.npz")


def values_of(longest: int, *lengths: int, **more: Any) -> Dataset:
    """A dataset whose target sequences of values have these lengths."""
    count = len(lengths)
    x, y = np.zeros((count, 3, 2), np.float32), np.ones((count, longest, 1), np.float32)
    return Dataset(x, y, np.full(count, 3), y_lengths=np.array(lengths), **more)


@pytest.mark.parametrize(("kind", "outputs"), [(np.float64, 1), (np.float32, 3)])
def test_an_npz_with_target_sequences_of_values(tmp_path: Path, kind: type, outputs: int) -> None:
    y = SEQUENCES.repeat(outputs, 2).astype(kind)
    data = npz.parse(saved(tmp_path, x=X, y=y, lengths=[3, 2], y_lengths=[2, 5]), "d.npz")
    assert (data.task, data.stepwise, data.labels, data.y.dtype) == ("forecast", False, None, np.float32)
    assert data.y_lengths is not None
    assert (data.y_lengths.tolist(), data.y_lengths.dtype) == ([2, 5], np.int64)
    np.testing.assert_array_equal(data.y, y)
    assert data.y[data.answered].tolist() == [[value] * outputs for value in range(1, 8)]


def test_target_sequences_as_long_as_x_are_not_stepwise(tmp_path: Path) -> None:
    y = SEQUENCES[:, 2:]
    data = npz.parse(saved(tmp_path, x=X, y=np.zeros_like(y), y_lengths=[2, 3]), "d.npz")
    assert (y.shape[1], data.stepwise) == (X.shape[1], False)


def test_joined_target_sequences_are_padded() -> None:
    one, other = (values_of(n, n, 1, naive=np.full((2, n, 1), 2.0, np.float32)) for n in (2, 4))
    for first, second, lengths in ((one, other, [2, 1, 4, 1]), (other, one, [4, 1, 2, 1])):
        joined = first.join(second)
        assert joined.y_lengths is not None
        assert joined.naive is not None
        assert joined.y_lengths.tolist() == lengths
        assert joined.y.shape == joined.naive.shape == (4, 4, 1)
        assert joined.y[joined.answered].tolist() == [[1.0]] * sum(lengths)
        assert joined.rows(np.array([2])).y_lengths == lengths[2]


@pytest.mark.parametrize(
    ("y", "y_lengths", "answered"),
    [
        (np.zeros(2, np.int64), None, [True, True]),
        (np.zeros((2, 4)), None, [True, True]),
        (np.zeros((2, 3), np.int64), None, [[True, True, True], [True, True, False]]),
        (np.zeros((2, 3, 1)), None, [[True, True, True], [True, True, False]]),
        (np.zeros((2, 2), np.int64), [0, 2], [[False, False], [True, True]]),
        (np.zeros((2, 2, 1)), [1, 2], [[True, False], [True, True]]),
    ],
)
def test_which_answers_are_no_padding(y: Any, y_lengths: Any, answered: Any) -> None:
    data = Dataset(X, y, np.array([3, 2]), y_lengths=None if y_lengths is None else np.array(y_lengths))
    assert data.answered.tolist() == answered


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"naive": np.zeros((2, 3, 1))}, r"y has shape \(2, 4, 1\), but naive has shape \(2, 3, 1\); one"),
        ({"naive": np.full((2, 4, 1), np.inf)}, r"naive has inf at \(0, 0, 0\)"),
        ({"accepted": np.zeros((2, 1, 4), np.int64)}, "accepted lists target sequences of classes, but y holds none"),
    ],
)
def test_what_does_not_go_with_target_sequences_of_values(arrays: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        values_of(4, 2, 4, **arrays)


class Averages(Network):
    """Its figures are means over the steps of the targets, as of any network that answers with sequences of values."""

    def __init__(self) -> None:
        super().__init__(SimpleNamespace(task="forecast", output_size=1), None, "averages")

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Of the targets' shape."""
        return {"values": x.new_zeros(len(x), 4, 1)}

    def inputs(self, batch: Batch) -> dict[str, torch.Tensor]:
        """X alone."""
        return {"x": batch["x"]}

    def loss(self, outputs: Outputs, batch: Batch) -> torch.Tensor:
        """The mean of the targets before their ends."""
        valid = torch.arange(batch["y"].shape[1]) < batch["y_lengths"][:, None]
        return batch["y"][valid].mean()

    def metrics(self, outputs: Outputs, batch: Batch) -> dict[str, torch.Tensor]:
        """Their mean square."""
        valid = torch.arange(batch["y"].shape[1]) < batch["y_lengths"][:, None]
        return {"mse": batch["y"][valid].square().mean()}


def test_figures_count_each_value_of_a_target_sequence_once() -> None:
    """300 examples are two batches; what lies behind an end counts nowhere."""
    rng = np.random.default_rng(0)
    lengths = np.where(np.arange(300) < 256, 4, 1)
    y = rng.standard_normal((300, 4, 1)).astype(np.float32)
    data = Dataset(np.zeros((300, 3, 1), np.float32), y, np.full(300, 3), y_lengths=lengths)
    counted = y[np.arange(4) < lengths[:, None]]
    figures = evaluate(Averages(), data)
    np.testing.assert_allclose(figures["loss"], counted.mean(), atol=1e-6)
    np.testing.assert_allclose(figures["rmse"], np.sqrt(np.square(counted).mean()), rtol=1e-5)
    np.testing.assert_allclose(figures["nrmse"], figures["rmse"] / counted.std(), rtol=1e-5)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    whole = saved(tmp_path, x=X, y=[0, 1])
    for content in (b"", b"PK nonsense", whole[:-30], whole[:90] + b"?" + whole[91:], X.tobytes()):
        with pytest.raises((DamagedFileError, UsageError), match=r"d\.npz (is no npz file|lacks)"):
            npz.parse(content, "d.npz")
    with pytest.raises(MissingFileError, match="there is no data file"):
        read_file(tmp_path / "none.npz")
    with pytest.raises(UsageError, match=r"ends with '.parquet', but data is read from .npz, .csv, .ts"):
        read_file(tmp_path / "d.parquet")
    with pytest.raises(UsageError, match="'nowhere' is not known; known are japanese-vowels"):
        open_data(DataTable(source="nowhere"), tmp_path)


def numbered(count: int, classes: int, groups: int | None = None) -> Dataset:
    """Sequences whose only value is their own number, so that a split can be followed."""
    x = np.arange(count, dtype=np.float32).reshape(count, 1, 1)
    labels = tuple(str(c) for c in range(classes))
    group = None if groups is None else np.arange(count) % groups
    return Dataset(x, np.arange(count) % classes, np.ones(count, np.int64), labels, group)


@pytest.mark.parametrize("groups", [None, 10])
def test_a_split_divides_without_overlap(groups: int | None) -> None:
    loaded = Loaded(numbered(100, 4, groups), About("n", ""))
    parts = split(loaded, 0.2, 0.25, seed=1)
    numbers = [part.x.ravel().tolist() for part in (parts.train, parts.validation, parts.test)]
    assert [len(n) for n in numbers] == [60, 20, 20]
    assert sorted(n for part in numbers for n in part) == list(range(100))
    if groups is None:
        assert np.bincount(parts.test.y).tolist() == [5, 5, 5, 5]
    else:
        seen = [set(part.groups.tolist()) for part in (parts.train, parts.validation, parts.test)]
        assert sum(map(len, seen)) == len(set.union(*seen)) == groups
    assert np.array_equal(split(loaded, 0.2, 0.25, seed=1).test.x, parts.test.x)
    assert not np.array_equal(split(loaded, 0.2, 0.25, seed=2).test.x, parts.test.x)


def test_a_split_needs_enough_and_leaves_an_own_test_part_alone() -> None:
    with pytest.raises(UsageError, match="cannot be put aside from 1 examples"):
        cut(numbered(1, 1), 0.5, 0)
    own = Loaded(numbered(20, 2), About("n", ""), numbered(7, 2))
    assert len(split(own, None, 0.2, 0).test) == 7
    with pytest.raises(UsageError, match="n comes with its own test part"):
        split(own, 0.2, 0.2, 0)


def test_japanese_vowels_is_the_official_one() -> None:
    parts = open_data(DataTable(source="japanese-vowels"), Path())
    assert [len(p) for p in (parts.train, parts.validation, parts.test)] == [216, 54, 370]
    assert np.bincount(parts.validation.y).tolist() == [6] * 9
    assert np.bincount(parts.test.y).tolist() == [31, 35, 88, 44, 29, 24, 40, 50, 29]
    lengths = np.concatenate([p.lengths for p in (parts.train, parts.validation, parts.test)])
    assert (lengths.min(), lengths.max(), parts.train.x.shape[2]) == (7, 29, 12)
    assert parts.train.labels == tuple("123456789")


def test_a_missing_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(package: str) -> None:
        raise metadata.PackageNotFoundError(package)

    monkeypatch.setattr(metadata, "files", absent)
    with pytest.raises(MissingPackageError, match=r"run `make data`, or pip install --no-deps aeon==1\.6\.0"):
        open_data(DataTable(source="japanese-vowels"), Path())
