"""Ridge regression in closed form, in float64, with the penalty chosen by leaving out a row, or a group, at a time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from edgeseq_runtime.errors import UsageError
from numpy.typing import NDArray

Array = NDArray[Any]

PENALTIES = tuple(10.0 ** (exponent / 2) for exponent in range(-24, 13))
"""What is tried where no penalty is given: from 1e-12 to 1e6, two a power of ten.

Features that were computed in float32 carry rounding errors that add up to about 1e-11 in the squares of 10,000 rows;
a smaller penalty changes nothing.
"""

_NEARLY_NONE = 1e-15
"""The least that is taken for the part of a row's error which is not its own doing: a row that only itself explains
has a huge error, but a number."""


@dataclass(frozen=True)
class Ridge:
    """The solution: predictions are features @ weights + bias.

    weights: float64 (features, outputs). bias: (outputs,). penalty: the one taken.
    errors: by penalty, the mean squared error of rows left out. left_out: (rows, outputs), what each row is predicted
    to be by the solution of all others, or of all other groups.
    """

    weights: Array
    bias: Array
    penalty: float
    errors: Mapping[float, float]
    left_out: Array


@dataclass(frozen=True)
class _Parts:
    """The centred features as left · values · right, without what is rounding alone, and the targets along `left`.

    left: (rows, rank). values: (rank,). right: (rank, features). projected: left.T @ targets, (rank, outputs).
    rest: what of the centred targets no feature reaches, (rows, outputs). apart: how much of each row no other
    direction reaches, (rows,): 1 less its leverage without a penalty.
    full: all directions are reached, so that nothing is left, and the targets are met without a penalty.
    """

    left: Array
    values: Array
    right: Array
    projected: Array
    rest: Array
    apart: Array
    full: bool


def ridge(
    features: Array, targets: Array, penalties: Sequence[float] = PENALTIES, groups: Array | None = None
) -> Ridge:
    """Minimise |targets - features @ W - b|² + penalty · |W|², with the penalty whose left-out error is the smallest.

    Hoerl and Kennard 1970; the errors of all rows left out in turn follow from one decomposition (PRESS, Allen 1974):
    e_i / (1 - h_i), with the residuals e and the diagonal h of the matrix that maps targets to predictions. Of a group
    of rows it is (I - H_g)⁻¹ e_g with that matrix' rows and columns of the group. The bias is not penalised.

    Args:
        features: (rows, features). targets: (rows, outputs). penalties: to choose from, each at least 0.
        groups: (rows,), the group of each row, such as its sequence: left out together. One group alone cannot be
            left out, and is taken row by row.

    Raises:
        UsageError: fewer than two rows, values that are not finite, no penalty or a negative one, or a penalty of 0
            where features depend on each other.
    """
    x, y = np.asarray(features, np.float64), np.asarray(targets, np.float64)
    _check(x, y, penalties)
    x_mean, y_mean = x.mean(0), y.mean(0)
    parts = _decompose(x - x_mean, y - y_mean)
    if min(penalties) == 0 and len(parts.values) < x.shape[1]:
        raise UsageError(
            f"penalty is 0, but {len(x)} rows of {x.shape[1]} features tell only {len(parts.values)} of them apart, so "
            "that many solutions are equally good; penalty must be more than 0"
        )
    best: tuple[float, float, Array] | None = None
    errors: dict[float, float] = {}
    for penalty, residuals in zip(penalties, _left_out_residuals(parts, penalties, groups), strict=True):
        errors[penalty] = float((residuals**2).mean())
        if best is None or errors[penalty] < best[0]:
            best = errors[penalty], penalty, y - residuals
    assert best is not None  # there is at least one penalty
    _, penalty, left_out = best
    weights = parts.right.T @ ((parts.values / (parts.values**2 + penalty))[:, None] * parts.projected)
    return Ridge(weights, y_mean - x_mean @ weights, penalty, errors, left_out)


def _decompose(x: Array, y: Array) -> _Parts:
    """Decompose centred features x (rows, features), with centred targets y (rows, outputs)."""
    left, values, right = np.linalg.svd(x, full_matrices=False)
    rank = int((values > values[0] * max(x.shape) * np.finfo(np.float64).eps).sum())
    left, values, right = left[:, :rank], values[:rank], right[:rank]
    projected = left.T @ y
    full = rank >= len(x) - 1
    rest = np.zeros_like(y) if full else y - left @ projected
    apart = np.zeros(len(x)) if full else np.maximum(1 - 1 / len(x) - np.einsum("nr,nr->n", left, left), 0)
    return _Parts(left, values, right, projected, rest, apart, full)


def _shrinkage(parts: _Parts, penalty: float) -> Array:
    """How much of each direction a penalty takes away, (rank,).

    Where nothing is left over, it stands above and below the line of every left-out error, which is the same for any
    multiple of it: there without the factor `penalty`, which may be too small for float64 to divide by.
    """
    shrunk: Array = (1.0 if parts.full else penalty) / (parts.values**2 + penalty)
    return shrunk


def _left_out_residuals(parts: _Parts, penalties: Sequence[float], groups: Array | None) -> Iterator[Array]:
    """For each penalty, targets less what rows left out are predicted to be, (rows, outputs)."""
    members = _members(groups)
    leave_out = _each_left_out if len(members) in (0, 1, len(parts.left)) else _groups_left_out
    shrinkage = np.stack([_shrinkage(parts, penalty) for penalty in penalties])
    return leave_out(parts, shrinkage, members)


def _each_left_out(parts: _Parts, shrinkage: Array, _: Sequence[Array]) -> Iterator[Array]:
    """Row by row. shrinkage: (penalties, rank)."""
    alone = parts.apart[:, None] + parts.left**2 @ shrinkage.T
    if not parts.full:
        alone = np.maximum(alone, _NEARLY_NONE)
    for shrunk, share in zip(shrinkage, alone.T, strict=True):
        yield _residuals(parts, shrunk) / share[:, None]


def _groups_left_out(parts: _Parts, shrinkage: Array, members: Sequence[Array]) -> Iterator[Array]:
    """Group by group. shrinkage: (penalties, rank). members: the row numbers of each."""
    solvers = [_group_left_out(parts, rows) for rows in members]
    for shrunk in shrinkage:
        residuals = _residuals(parts, shrunk)
        for rows, solver in zip(members, solvers, strict=True):
            residuals[rows] = solver(shrunk, residuals[rows])
        yield residuals


def _residuals(parts: _Parts, shrunk: Array) -> Array:
    """Targets less predictions where all rows are fitted to, (rows, outputs); where all can be met, by its multiple."""
    residuals: Array = parts.rest + parts.left @ (shrunk[:, None] * parts.projected)
    return residuals


def _members(groups: Array | None) -> list[Array]:
    """The row numbers of each group."""
    if groups is None:
        return []
    _, numbers, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    ordered: Array = np.argsort(numbers, kind="stable")
    return list(np.split(ordered, np.cumsum(sizes)[:-1]))


def _group_left_out(parts: _Parts, rows: Array) -> Callable[[Array, Array], Array]:
    """What makes (I - H_g)⁻¹ e_g of one group, of the shrinkage (rank,) and e_g (rows, outputs). rows: its numbers."""
    left, count = parts.left[rows], len(parts.left)
    if len(rows) <= left.shape[1]:
        beside = np.zeros(()) if parts.full else np.eye(len(rows)) - 1 / count - left @ left.T
        return lambda shrunk, e: _solve(beside + (left * shrunk) @ left.T, e)
    table = np.column_stack([left, np.full(len(rows), count**-0.5)])
    gram = table.T @ table

    def leave_out(shrunk: Array, e: Array) -> Array:  # by Woodbury's identity, with H_g = A Aᵀ and A = table · roots
        roots = np.sqrt(np.append(1 - shrunk, 1.0))
        inner = np.eye(len(gram)) - roots[:, None] * gram * roots
        corrected: Array = e + table @ (roots[:, None] * _solve(inner, roots[:, None] * (table.T @ e)))
        return corrected

    return leave_out


def _solve(matrix: Array, right: Array) -> Array:
    """Solve a positive semidefinite system; directions that are rounding alone give huge numbers, not errors."""
    size = len(matrix)
    solved: Array = np.linalg.solve(matrix + np.eye(size) * (_NEARLY_NONE * np.trace(matrix) / size), right)
    return solved


def _check(x: Array, y: Array, penalties: Sequence[float]) -> None:
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or len(x) < 2:
        raise UsageError(f"features {x.shape} and targets {y.shape} are not two tables of the same 2 or more rows")
    for name, values in (("features", x), ("targets", y)):
        if not np.isfinite(values).all():
            raise UsageError(f"the {name} hold a value that is not finite; standardise the data, or scale it down")
    if not penalties or min(penalties) < 0:
        raise UsageError(f"the penalties are {list(penalties)}, but at least one, and none less than 0, is needed")
