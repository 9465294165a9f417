"""Ridge regression in closed form, in float64, with the penalty chosen by leaving out one row at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from edgeseq_runtime.errors import UsageError
from numpy.typing import NDArray

Array = NDArray[Any]

PENALTIES = tuple(10.0 ** (exponent / 2) for exponent in range(-12, 13))
"""What is tried where no penalty is given: from 1e-6 to 1e6, two a power of ten."""


@dataclass(frozen=True)
class Ridge:
    """The solution: predictions are features @ weights + bias.

    weights: float64 (features, outputs). bias: (outputs,). penalty: the one taken.
    errors: by penalty, the mean squared error of rows left out. left_out: (rows, outputs), what each row is predicted
    to be by the solution of all others.
    """

    weights: Array
    bias: Array
    penalty: float
    errors: Mapping[float, float]
    left_out: Array


def ridge(features: Array, targets: Array, penalties: Sequence[float] = PENALTIES) -> Ridge:
    """Minimise |targets - features @ W - b|² + penalty · |W|², with the penalty whose left-out error is the smallest.

    Hoerl and Kennard 1970; the errors of all rows left out in turn follow from one decomposition (PRESS, Allen 1974):
    e_i / (1 - h_i), with the residuals e and the diagonal h of the matrix that maps targets to predictions. The bias
    is not penalised.

    Args:
        features: (rows, features). targets: (rows, outputs). penalties: to choose from, each more than 0.

    Raises:
        UsageError: fewer than two rows, values that are not finite, no penalty or one that is not positive.
    """
    x, y = np.asarray(features, np.float64), np.asarray(targets, np.float64)
    _check(x, y, penalties)
    x_mean, y_mean = x.mean(0), y.mean(0)
    left, values, right = np.linalg.svd(x - x_mean, full_matrices=False)
    projected = left.T @ (y - y_mean)
    best: tuple[float, float, Array] | None = None
    errors: dict[float, float] = {}
    for penalty in penalties:
        kept = values**2 / (values**2 + penalty)
        predicted = y_mean + left @ (kept[:, None] * projected)
        residuals = (y - predicted) / (1 - _leverage(left, kept))[:, None]
        errors[penalty] = float((residuals**2).mean())
        if best is None or errors[penalty] < best[0]:
            best = errors[penalty], penalty, y - residuals
    assert best is not None  # there is at least one penalty
    _, penalty, left_out = best
    weights = right.T @ ((values / (values**2 + penalty))[:, None] * projected)
    return Ridge(weights, y_mean - x_mean @ weights, penalty, errors, left_out)


def _leverage(left: Array, kept: Array) -> Array:
    """How far each row's prediction is its own target's doing, from 1 / rows to less than 1. left: (rows, rank)."""
    leverage: Array = 1 / len(left) + left**2 @ kept
    return np.minimum(leverage, 1 - 1e-12)  # a row that only itself explains: its error is huge, but a number


def _check(x: Array, y: Array, penalties: Sequence[float]) -> None:
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or len(x) < 2:
        raise UsageError(f"features {x.shape} and targets {y.shape} are not two tables of the same 2 or more rows")
    for name, values in (("features", x), ("targets", y)):
        if not np.isfinite(values).all():
            raise UsageError(f"the {name} hold a value that is not finite; standardise the data, or scale it down")
    if not penalties or min(penalties) <= 0:
        raise UsageError(f"the penalties are {list(penalties)}, but at least one, and each more than 0, is needed")
