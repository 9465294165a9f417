"""Equality as a number: how far an output is from its reference, the bound it must keep, and the verdict."""

from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeseq_runtime.signature import Tensor

Array = NDArray[Any]

EXCUSED_SHARE = 1e-3
"""At most this share of compared classes may differ where the reference itself is undecided."""

FLOAT32_FACTOR = 4.0
"""How many times PyTorch's own float32 error an output may be off."""


@dataclass(frozen=True)
class Comparison:
    """One output in one case.

    max_abs: the largest |actual − expected|, in the output's unit; bound: what it may be at most.
    rms: the root mean square of the expected values.
    decisions, differing, excused: how many classes or integers were compared, how many differ, and how many of
    those differ only where the reference's margin is below the bound.
    first: of integers, the place of the first entry that differs, and both values; empty where none does.
    """

    case: str
    output: str
    provider: str
    max_abs: float
    bound: float
    rms: float
    decisions: int = 0
    differing: int = 0
    excused: int = 0
    first: str = ""

    @property
    def passed(self) -> bool:
        """Within a bound that is a number, and every decision equal or excused."""
        return isfinite(self.bound) and self.max_abs <= self.bound and self.differing == self.excused


@dataclass(frozen=True)
class ParityReport:
    """All comparisons of one proof. problems: what makes the proof itself invalid (it could not have failed)."""

    subject: str
    reference: str
    comparisons: tuple[Comparison, ...]
    problems: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Every comparison passed, there was at least one, excuses are rare and the proof is valid."""
        decisions = sum(c.decisions for c in self.comparisons)
        excused = sum(c.excused for c in self.comparisons)
        return (
            bool(self.comparisons)
            and not self.problems
            and all(c.passed for c in self.comparisons)
            and excused <= EXCUSED_SHARE * max(decisions, 1)
        )

    @property
    def failures(self) -> tuple[Comparison, ...]:
        """The comparisons that did not pass, worst first."""
        failed = [c for c in self.comparisons if not c.passed]
        return tuple(sorted(failed, key=_badness, reverse=True))

    @property
    def worst(self) -> Comparison | None:
        """The comparison that came closest to its bound, or went furthest beyond it."""
        return max(self.comparisons, key=_badness, default=None)

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {
            "version": 1,
            "subject": self.subject,
            "reference": self.reference,
            "passed": self.passed,
            "problems": list(self.problems),
            "excused": sum(c.excused for c in self.comparisons),
            "comparisons": [{**asdict(c), "passed": c.passed} for c in self.comparisons],
        }


def bound(truth: Array, own_error: float, tolerance: float) -> float:
    """How far an output may be from `truth` (float64): tolerance · rms, or a few times PyTorch's own float32 error."""
    if not np.issubdtype(truth.dtype, np.floating):
        return 0.0
    return float(np.maximum(tolerance * rms(truth), FLOAT32_FACTOR * own_error))


def rms(values: Array) -> float:
    """The root mean square."""
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64)))) if values.size else 0.0


def compare(case: str, tensor: Tensor, provider: str, actual: Array, expected: Array, allowed: float) -> Comparison:
    """Compare one output with its reference, entry by entry and, where the tensor decides, decision by decision.

    A shape that differs, a NaN or an infinity where the reference has none is infinitely far off.
    """
    if actual.shape != expected.shape:
        return Comparison(case, tensor.name, provider, float("inf"), allowed, rms(expected))
    if not np.issubdtype(expected.dtype, np.floating):
        differs = np.argwhere(actual != expected)
        first = _told(differs[0], actual, expected) if len(differs) else ""
        return Comparison(
            case, tensor.name, provider, 0.0, 0.0, rms(expected), expected.size, len(differs), first=first
        )
    distance = np.abs(actual.astype(np.float64) - expected)
    both_same = (actual == expected) | (np.isnan(actual) & np.isnan(expected))
    distance = np.where(both_same, 0.0, np.where(np.isfinite(distance), distance, np.inf))
    decisions, differing, excused = _decisions(tensor, actual, expected, allowed)
    max_abs = float(np.max(distance, initial=0.0))
    return Comparison(case, tensor.name, provider, max_abs, allowed, rms(expected), decisions, differing, excused)


def _decisions(tensor: Tensor, actual: Array, expected: Array, allowed: float) -> tuple[int, int, int]:
    """Count the argmaxes compared, those that differ, and those where the reference's margin is below the bound."""
    if tensor.decision != "argmax" or expected.shape[-1] < 2 or not expected.size:
        return 0, 0, 0
    chosen, truth = actual.argmax(-1), expected.argmax(-1)
    margin = expected.max(-1) - np.take_along_axis(expected, chosen[..., None], -1)[..., 0]
    differs = chosen != truth
    return truth.size, int(differs.sum()), int((differs & (margin < allowed)).sum())


def _told(place: Array, actual: Array, expected: Array) -> str:
    """An entry that differs, in words. place: its indices, the batch's first."""
    names = {1: ("row",), 2: ("row", "position"), 3: ("row", "hypothesis", "position")}.get(len(place))
    index = tuple(place.tolist())
    where = ", ".join(f"{name} {i}" for name, i in zip(names, index, strict=True)) if names else f"entry {index}"
    return f"{where}: {actual[index]} in place of {expected[index]}"


def _badness(comparison: Comparison) -> tuple[int, float]:
    over = comparison.max_abs / comparison.bound if comparison.bound > 0 else comparison.max_abs
    return comparison.differing - comparison.excused, over
