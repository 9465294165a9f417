"""Labelled sequences in memory: one dataset, where it comes from, and the three parts it is divided into."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from edgeseq_runtime.errors import UsageError
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Dataset:
    """Sequences of unequal length, padded with zeros behind their end.

    x: float32 (n, time, features), or token ids int64 (n, time). lengths: int64 (n,), from 1 to time.
    y: classes int64 (n,), or (n, time) where every step has one; values float32 (n, outputs) or (n, time,
    outputs).
    labels: class names by class number; None where y holds values. groups: (n,), what must not be torn apart
    by a split, such as the person recorded.
    """

    x: Array
    y: Array
    lengths: Array
    labels: tuple[str, ...] | None = None
    groups: Array | None = None

    def __post_init__(self) -> None:
        count, time = self.x.shape[:2]
        if not count:
            raise UsageError("the data holds no sequence")
        if len(self.y) != count or self.lengths.shape != (count,):
            raise UsageError(
                f"x has {count} sequences, but y has shape {self.y.shape} and lengths {self.lengths.shape}"
            )
        wrong = np.flatnonzero((self.lengths < 1) | (self.lengths > time))
        if wrong.size:
            row = int(wrong[0])
            raise UsageError(f"lengths[{row}] is {self.lengths[row]}, but it must be from 1 to {time}, the steps of x")
        _check_finite("x", self.x, self.lengths)
        _check_finite("y", self.y, self.lengths if self.stepwise else None)

    def __len__(self) -> int:
        return len(self.x)

    @property
    def task(self) -> str:
        """What y asks for: "classify" or "forecast"."""
        return "classify" if np.issubdtype(self.y.dtype, np.integer) else "forecast"

    @property
    def stepwise(self) -> bool:
        """Whether y has an answer for every step."""
        return self.y.ndim == (2 if self.task == "classify" else 3)

    @property
    def tokens(self) -> bool:
        """Whether x holds token ids."""
        return np.issubdtype(self.x.dtype, np.integer)

    @property
    def valid(self) -> Array:
        """Which steps lie before each sequence's end, bool (n, time)."""
        return np.asarray(np.arange(self.x.shape[1]) < self.lengths[:, None])

    def rows(self, rows: Array) -> "Dataset":
        """The sequences of the given row numbers, in that order."""
        groups = None if self.groups is None else self.groups[rows]
        return replace(self, x=self.x[rows], y=self.y[rows], lengths=self.lengths[rows], groups=groups)

    def join(self, other: "Dataset") -> "Dataset":
        """These sequences and then the other's; both must have come out of one dataset."""
        groups = None
        if self.groups is not None and other.groups is not None:
            groups = np.concatenate([self.groups, other.groups])
        x, y, lengths = (np.concatenate([getattr(d, name) for d in (self, other)]) for name in ("x", "y", "lengths"))
        return replace(self, x=x, y=y, lengths=lengths, groups=groups)


@dataclass(frozen=True)
class About:
    """Where a dataset comes from. sha256: of the files' bytes, in the order they were read."""

    name: str
    sha256: str
    citation: str = "the user's own data"
    licence: str = "not stated"


@dataclass(frozen=True)
class Loaded:
    """What a source gives: its sequences, and its own test part where it has one."""

    whole: Dataset
    about: About
    test: Dataset | None = None


@dataclass(frozen=True)
class Parts:
    """A dataset divided: fitted on, decided on, and looked at once when everything is decided."""

    train: Dataset
    validation: Dataset
    test: Dataset
    about: About


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


def _check_finite(name: str, values: Array, lengths: Array | None) -> None:
    if not np.issubdtype(values.dtype, np.floating):
        return
    bad = ~np.isfinite(values)
    if lengths is not None:
        bad[np.arange(values.shape[1]) >= lengths[:, None]] = False
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        raise UsageError(f"{name} has {values[where]} at {where} (row first); fill or remove missing values first")
