"""Cross-validation: rows scored by a fit that has seen neither them nor their group, and the penalty that does best."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeseq.fit.sharpness import sharpness

Array = NDArray[Any]

Fit = Callable[[Array, float], Callable[[Array], Array]]
"""Fits the rows of those numbers with that penalty; gives what scores the rows of further numbers, (rows, outputs)."""


@dataclass(frozen=True)
class Validated:
    """penalty: the best. left_out: (rows, outputs), what rows left out score with it; None where none can be."""

    penalty: float
    left_out: Array | None


def folds(y: Array, groups: Array | None, count: int, seed: int) -> Array | None:
    """The fold of each row, int64 (rows,): groups stay together, and each class is dealt out evenly.

    Args:
        y: classes int64 (rows,), or values (rows, outputs). groups: (rows,), or None: each row is one of its own.
        count: folds at the most; there are fewer where there are fewer groups.

    Returns:
        None where no two folds can be made, each of which leaves two classes to be told apart.
    """
    numbers = np.arange(len(y)) if groups is None else np.unique(groups, return_inverse=True)[1]
    size = int(numbers.max()) + 1
    count = min(count, size)
    if count < 2:
        return None
    shuffled = np.random.default_rng(seed).permutation(size)
    if y.ndim == 1:
        first = np.unique(numbers, return_index=True)[1]  # a group is dealt out by the class of its first row
        shuffled = shuffled[np.argsort(y[first][shuffled], kind="stable")]
    dealt = np.empty(size, np.int64)
    dealt[shuffled] = np.arange(size) % count
    fold: Array = dealt[numbers]
    if y.ndim == 1 and any(len(np.unique(y[fold != number])) < 2 for number in range(count)):
        return None
    return fold


def cross_validate(
    fit: Fit, loss: Callable[[Array], float], penalties: Sequence[float], fold: Array | None
) -> Validated:
    """The penalty with the smallest loss of scores (rows, outputs) of rows left out; the first of equals.

    fold: of each row. Where there is none, nothing can be left out, and the middle one of the penalties is taken.
    """
    if fold is None:
        return Validated(penalties[len(penalties) // 2], None)
    found = [(penalty, _left_out(fit, penalty, fold)) for penalty in penalties]
    losses = [loss(scores) for _, scores in found] if len(found) > 1 else [0.0]
    return Validated(*found[int(np.argmin(losses))])


def _left_out(fit: Fit, penalty: float, fold: Array) -> Array:
    parts = [np.flatnonzero(fold == number) for number in range(fold.max() + 1)]
    scores = [fit(np.setdiff1d(np.arange(len(fold)), part), penalty)(part) for part in parts]
    left_out = np.empty((len(fold), scores[0].shape[1]))
    left_out[np.concatenate(parts)] = np.concatenate(scores)
    return left_out


def cross_entropy(scores: Array, y: Array) -> float:
    """The mean cross entropy of softmax(scores), (rows, classes), with classes y, int64 (rows,)."""
    shifted = scores - scores.max(1, keepdims=True)
    return float((np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(y)), y]).mean())


def sharpened_cross_entropy(scores: Array, y: Array) -> float:
    """The same of scores that are first made as sharp as is best, for scores that are no log-probabilities."""
    return cross_entropy(sharpness(scores, y) * scores, y)
