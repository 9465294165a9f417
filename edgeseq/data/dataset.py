"""Examples with their answers in memory: one dataset, where it comes from, and the three parts it is divided into."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from edgeseq_runtime.errors import UsageError
from numpy.typing import NDArray

Array = NDArray[Any]

ABSENT = -1
"""Stands in `accepted` where there is no class: a target may be of class 0."""


@dataclass(frozen=True)
class Dataset:
    """Examples to learn from: sequences of unequal length, padded with zeros behind their end, or arrays of one shape.

    x: float32 (n, time, features), or token ids int64 (n, time), with `lengths`; without a time axis float32 (n, …),
        such as images (n, height, width).
    y: classes int64 (n,), or (n, time) where every step has one; values float32 (n, outputs) or (n, time, outputs);
        with `y_lengths` target sequences as long as they are, whatever x is: of classes int64 (n, longest), of values
        float32 (n, longest, outputs).
    lengths: int64 (n,), from 1 to time; None where x has no time axis.
    labels: class names by class number; None where y holds values.
    groups: (n,), what must not be torn apart by a split, such as the person recorded.
    y_lengths: int64 (n,), from 0 to longest, of values from 1; padding lies behind.
    more: further inputs by name, their first axis n and the second, where there are lengths, time.
    naive: what the naive forecast of y is, of its shape; errors are shown relative to its own.
    vocabulary: by input name, what the token ids stand for.
    token_count: where x holds token ids, how many there are in all parts of the data, if that is known.
    lyapunov_steps: in how many steps an error grows e-fold, where the data is chaotic and that is known.
    accepted: with `y_lengths`, every target sequence that counts as right for an example, int64 (n, most, longest),
        ABSENT behind each one's end, and all over where an example has fewer; None: y alone is right.
    steps_a_week: how many steps a week has, where steps are a fixed time apart and false alarms are counted by it.
    features: what the columns of x, its last axis, are called; None where they have no names.
    """

    x: Array
    y: Array
    lengths: Array | None = None
    labels: tuple[str, ...] | None = None
    groups: Array | None = None
    y_lengths: Array | None = None
    more: Mapping[str, Array] = field(default_factory=dict)
    naive: Array | None = None
    vocabulary: Mapping[str, tuple[str, ...]] | None = None
    token_count: int | None = None
    lyapunov_steps: float | None = None
    accepted: Array | None = None
    steps_a_week: int | None = None
    features: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not len(self.x):
            raise UsageError("the data holds no example")
        if self.features is not None and self.x.shape[-1] != len(self.features):
            raise UsageError(f"x has shape {self.x.shape}, but {len(self.features)} features have names")
        for name, array in self._arrays().items():
            if array.ndim == 0 or len(array) != len(self.x):
                raise UsageError(f"x has {len(self.x)} examples, but {name} has shape {array.shape}")
        if self.lengths is not None:
            _check_lengths("lengths", self.lengths, self.x.shape[1], "the steps of x", least=1)
            self._check_steps()
        if self.y_lengths is not None:
            self._check_targets(self.y_lengths)
        if self.naive is not None and self.naive.shape != self.y.shape:
            raise UsageError(
                f"y has shape {self.y.shape}, but naive has shape {self.naive.shape}; one shape is expected"
            )
        if self.accepted is not None:
            self._check_accepted(self.accepted)
        _check_finite("x", self.x, self.lengths)
        for name in ("y", "naive"):
            _check_finite(name, getattr(self, name), self.lengths if self.stepwise else self.y_lengths)
        for name, array in self.more.items():
            _check_finite(name, array, self.lengths)

    def _check_steps(self) -> None:
        """Raise UsageError where something that goes along with x has another number of steps."""
        stepped = {**self.more, **({"y": self.y, "naive": self.naive} if self.stepwise else {})}
        for name, array in stepped.items():
            if array is not None and (array.ndim < 2 or array.shape[1] != self.x.shape[1]):
                raise UsageError(f"x has {self.x.shape[1]} steps, but {name} has shape {array.shape}")

    def _check_targets(self, y_lengths: Array) -> None:
        """Raise UsageError where y holds no target sequences of these lengths."""
        forecast = self.task == "forecast"
        if self.y.ndim != (3 if forecast else 2):
            axes = "(examples, longest, outputs)" if forecast else "(examples, longest)"
            hint = "; one value a step is y[..., None]" if forecast and self.y.ndim == 2 else ""
            what = "values" if forecast else "classes"
            raise UsageError(f"y has shape {self.y.shape}, but with y_lengths {what} {axes} are expected{hint}")
        _check_lengths("y_lengths", y_lengths, self.y.shape[1], "the steps of y", least=1 if forecast else 0)

    def _check_accepted(self, accepted: Array) -> None:
        """Raise UsageError for what is no table of target sequences, or where y holds none."""
        if self.y_lengths is None or self.task == "forecast":
            raise UsageError(
                "accepted lists target sequences of classes, but y holds none; give y_lengths and classes, or leave it "
                "out"
            )
        if accepted.ndim != 3:
            raise UsageError(f"accepted has shape {accepted.shape}, but (examples, most, longest) is expected")

    def __len__(self) -> int:
        return len(self.x)

    @property
    def task(self) -> str:
        """What y asks for: "classify", "transcribe" (a sequence of classes of its own length), "forecast" (values)."""
        if not np.issubdtype(self.y.dtype, np.integer):
            return "forecast"
        return "classify" if self.y_lengths is None else "transcribe"

    @property
    def stepwise(self) -> bool:
        """Whether y has an answer for every step of x."""
        return self.y_lengths is None and self.y.ndim == (2 if self.task == "classify" else 3)

    @property
    def tokens(self) -> bool:
        """Whether x holds token ids."""
        return np.issubdtype(self.x.dtype, np.integer)

    @property
    def valid(self) -> Array:
        """Which steps lie before each sequence's end, bool (n, time). Only for data with a time axis."""
        if self.lengths is None:
            raise ValueError("data without a time axis has no steps")
        return np.asarray(np.arange(self.x.shape[1]) < self.lengths[:, None])

    @property
    def answered(self) -> Array:
        """Which entries of y's first axes are answers and no padding: bool (n, steps of y), or (n,) with one each."""
        if self.stepwise:
            return self.valid
        if self.y_lengths is None:
            return np.ones(len(self), bool)
        return np.asarray(np.arange(self.y.shape[1]) < self.y_lengths[:, None])

    @property
    def values(self) -> Array:
        """All valid x as rows: (steps of all sequences, features), or (n, …) without a time axis."""
        return self.x if self.lengths is None else np.asarray(self.x[self.valid])

    def timeless(self) -> "Dataset":
        """The same examples with x as one array each. Raises UsageError for sequences of unequal length."""
        if self.lengths is not None and (self.lengths != self.x.shape[1]).any():
            raise UsageError("this family takes arrays of one shape, but the sequences are of unequal length")
        return replace(self, lengths=None)

    def rows(self, rows: Array) -> "Dataset":
        """The examples of the given row numbers, in that order."""
        chosen: dict[str, Any] = {name: array[rows] for name, array in self._arrays(more=False).items()}
        return replace(self, **chosen, more={name: array[rows] for name, array in self.more.items()})

    def join(self, other: "Dataset") -> "Dataset":
        """These examples and then the other's; both must have come out of one source.

        Where one of them has no `accepted`, such as a training part with a row for every right answer, the result has
        none: y alone is right.
        """
        mine, theirs = self._arrays(more=False), other._arrays(more=False)
        both: dict[str, Any] = {name: _stack(array, theirs[name]) for name, array in mine.items() if name != "accepted"}
        more = {name: _stack(array, other.more[name]) for name, array in self.more.items()}
        accepted = None
        if self.accepted is not None and other.accepted is not None:
            accepted = _below(self.accepted, other.accepted, ABSENT)
        return replace(self, more=more, accepted=accepted, **both)

    def _arrays(self, more: bool = True) -> dict[str, Array]:
        """Everything that has one entry an example, by name."""
        names = ("x", "y", "lengths", "groups", "y_lengths", "naive", "accepted")
        arrays = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return {**arrays, **self.more} if more else arrays


@dataclass(frozen=True)
class About:
    """Where a dataset comes from.

    sha256: of the files' bytes in the order they were read, or of what was made, or of what a generator was given.
    """

    name: str
    sha256: str
    citation: str = "the user's own data"
    licence: str = "not stated"


@dataclass(frozen=True)
class Loaded:
    """What a source gives: its examples, and the test and validation part where it has parts of its own."""

    whole: Dataset
    about: About
    test: Dataset | None = None
    validation: Dataset | None = None


@dataclass(frozen=True)
class Parts:
    """A dataset divided: fitted on, decided on, and looked at once when everything is decided."""

    train: Dataset
    validation: Dataset
    test: Dataset
    about: About

    def each(self, change: Callable[[Dataset], Dataset]) -> "Parts":
        """The parts, each changed."""
        return Parts(change(self.train), change(self.validation), change(self.test), self.about)


def pad(sequences: Sequence[Array]) -> tuple[Array, Array]:
    """Sequences (steps, features) as float32 (n, time, features), zero behind their end; int64 lengths."""
    lengths = np.array([len(s) for s in sequences], np.int64)
    x = np.zeros((len(sequences), lengths.max(initial=0), *sequences[0].shape[1:]), np.float32)
    for row, sequence in enumerate(sequences):
        x[row, : len(sequence)] = sequence
    return x, lengths


def number(names: Sequence[str], labels: Sequence[str] | None = None) -> tuple[Array, tuple[str, ...]]:
    """Class numbers int64 of class names, and the names by number: as listed, or else sorted (10 after 9)."""
    known = tuple(labels) if labels is not None else tuple(sorted(set(names), key=_natural))
    index = {label: i for i, label in enumerate(known)}
    if strange := [name for name in names if name not in index]:
        raise UsageError(f"the class {strange[0]!r} is none of those declared: {', '.join(known)}")
    return np.array([index[name] for name in names], np.int64), known


def _natural(name: str) -> tuple[int, float, str]:
    try:
        return 0, float(name), name
    except ValueError:
        return 1, 0.0, name


def _stack(one: Array, other: Array) -> Array:
    """Two arrays below each other, the shorter padded with zeros behind its last step."""
    sizes = np.maximum(one.shape[1:], other.shape[1:])
    if (sizes[1:] != one.shape[2:]).any() or (sizes[1:] != other.shape[2:]).any():
        raise UsageError(f"arrays of shapes {one.shape} and {other.shape} cannot be put below each other")
    return _below(one, other, 0)


def _below(one: Array, other: Array, padding: int) -> Array:
    """Two arrays below each other, the smaller padded behind the end of each axis but the first."""
    sizes = np.maximum(one.shape[1:], other.shape[1:])
    padded = []
    for array in (one, other):
        missing = [(0, 0), *((0, int(n)) for n in sizes - array.shape[1:])]
        padded.append(np.pad(array, missing, constant_values=padding))
    return np.concatenate(padded)


def _check_lengths(name: str, lengths: Array, time: int, what: str, least: int) -> None:
    if lengths.ndim != 1:
        raise UsageError(f"{name} has shape {lengths.shape}, but one length an example is needed")
    wrong = np.flatnonzero((lengths < least) | (lengths > time))
    if wrong.size:
        row = int(wrong[0])
        raise UsageError(f"{name}[{row}] is {lengths[row]}, but it must be from {least} to {time}, {what}")


def _check_finite(name: str, values: Array | None, lengths: Array | None) -> None:
    if values is None or not np.issubdtype(values.dtype, np.floating):
        return
    bad = ~np.isfinite(values)
    if lengths is not None:
        bad[np.arange(values.shape[1]) >= lengths[:, None]] = False
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        raise UsageError(f"{name} has {values[where]} at {where} (row first); fill or remove missing values first")
