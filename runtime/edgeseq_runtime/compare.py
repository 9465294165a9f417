"""Equality as a number: how far an output is from its reference, the bound it must keep, and the verdict."""

from dataclasses import asdict, dataclass
from math import inf, isfinite, log10
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
    shape: of the expected values; empty where it is not known.
    max_rel: the largest |actual − expected| / |expected| of the entries whose |expected| is above the bound, since
        below it nothing but rounding is compared; None where there is none, and of integers.
    rms_ratio: the root mean square of the difference over that of the expected values; None of integers.
    error: why there was nothing to compare, such as what the runtime said where it gave no answer.
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
    shape: tuple[int, ...] = ()
    max_rel: float | None = None
    rms_ratio: float | None = None
    error: str = ""

    @property
    def passed(self) -> bool:
        """Within a bound that is a number, and every decision equal or excused."""
        return isfinite(self.bound) and self.max_abs <= self.bound and self.differing == self.excused

    @property
    def snr_db(self) -> float | None:
        """Signal to noise: −20 · log10(rms_ratio), in dB; infinite where all is equal."""
        if self.rms_ratio is None:
            return None
        return -20 * log10(self.rms_ratio) if 0 < self.rms_ratio < inf else inf if self.rms_ratio == 0 else -inf

    @property
    def equal_share(self) -> float | None:
        """The share of classes or integers that are equal, from 0 to 1; None where none was compared."""
        return 1 - self.differing / self.decisions if self.decisions else None

    @property
    def badness(self) -> tuple[int, float]:
        """What orders comparisons from the best to the worst: wrong decisions, then the share of the bound."""
        over = self.max_abs / self.bound if 0 < self.bound < inf else self.max_abs
        return self.differing - self.excused, over if isfinite(self.bound) else inf

    def to_json(self) -> dict[str, Any]:
        """The comparison as plain JSON values."""
        derived = {"snr_db": self.snr_db, "equal_share": self.equal_share, "passed": self.passed}
        return {**asdict(self), "shape": list(self.shape), **derived}


@dataclass(frozen=True)
class ParityReport:
    """All comparisons of one proof.

    problems: what makes the proof itself invalid (it could not have failed).
    notes: what a reader should know of how it was made, such as which input was taken for which.
    """

    subject: str
    reference: str
    comparisons: tuple[Comparison, ...]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

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
        return tuple(sorted(failed, key=lambda c: c.badness, reverse=True))

    @property
    def worst(self) -> Comparison | None:
        """The comparison that came closest to its bound, or went furthest beyond it."""
        return max(self.comparisons, key=lambda c: c.badness, default=None)

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {
            "version": 1,
            "subject": self.subject,
            "reference": self.reference,
            "passed": self.passed,
            "problems": list(self.problems),
            "notes": list(self.notes),
            "excused": sum(c.excused for c in self.comparisons),
            "comparisons": [c.to_json() for c in self.comparisons],
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
    shape = expected.shape
    if actual.shape != shape:
        wrong = f"its shape is {actual.shape}, but {shape} is expected"
        return refused(case, tensor, provider, expected, allowed, wrong)
    if not np.issubdtype(expected.dtype, np.floating):
        differs = np.argwhere(actual != expected)
        first = _told(differs[0], actual, expected) if len(differs) else ""
        return Comparison(
            case, tensor.name, provider, 0.0, 0.0, rms(expected), expected.size, len(differs), 0, first, shape
        )
    with np.errstate(invalid="ignore"):  # infinity less infinity
        distance = np.abs(actual.astype(np.float64) - expected)
    both_same = (actual == expected) | (np.isnan(actual) & np.isnan(expected))
    distance = np.where(both_same, 0.0, np.where(np.isfinite(distance), distance, inf))
    decisions, differing, excused = _decisions(tensor, actual, expected, allowed)
    return Comparison(
        case,
        tensor.name,
        provider,
        float(np.max(distance, initial=0.0)),
        allowed,
        rms(expected),
        decisions,
        differing,
        excused,
        shape=shape,
        max_rel=_max_rel(distance, expected, allowed),
        rms_ratio=_rms_ratio(distance, expected),
    )


def refused(case: str, tensor: Tensor, provider: str, expected: Array, allowed: float, error: str) -> Comparison:
    """The comparison of an output that cannot be compared: infinitely far off, with the reason in words."""
    return Comparison(case, tensor.name, provider, inf, allowed, rms(expected), shape=expected.shape, error=error)


def _max_rel(distance: Array, expected: Array, allowed: float) -> float | None:
    size = np.abs(expected)
    counted = (size > allowed) & np.isfinite(size)
    return float(np.max(distance[counted] / size[counted])) if counted.any() else None


def _rms_ratio(distance: Array, expected: Array) -> float:
    off, size = rms(distance), rms(expected[np.isfinite(expected)])
    return off / size if size else (inf if off else 0.0)


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
