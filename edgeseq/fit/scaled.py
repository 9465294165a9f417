"""Features centred and divided by one common deviation, and linear scores of them as scores of the features."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Scaled:
    """Rows with a mean of 0, and a deviation of 1 over all features together.

    One deviation for all, since what hardly varies must not be blown up, and the shape of the cloud is kept.

    rows: float64 (rows, features). mean: (features,), taken away. deviation: then divided by.
    axes: (rows, features) where the rows stand for their coordinates along these orthonormal directions; else None.
    """

    rows: Array
    mean: Array
    deviation: float
    axes: Array | None = None

    def turned(self) -> "Scaled":
        """The same with as many coordinates as there are rows, where there are more features than rows.

        Distances and products of rows stay, and weights outside these directions would do nothing but cost.
        """
        if self.axes is not None or self.rows.shape[1] <= len(self.rows):
            return self
        left, values, axes = np.linalg.svd(self.rows, full_matrices=False)
        return Scaled(left * values, self.mean, self.deviation, axes)

    def unscaled(self, weights: Array, bias: Array) -> tuple[Array, Array]:
        """Weights (columns of `rows`, outputs) and bias (outputs,), as those for features as they are."""
        wide = (weights if self.axes is None else self.axes.T @ weights) / self.deviation
        return wide, bias - self.mean @ wide


def scaled(features: Array) -> Scaled:
    """Scale features (rows, features); a deviation of 1 where they do not vary."""
    rows = np.asarray(features, np.float64)
    mean = rows.mean(0)
    centred = rows - mean
    deviation = float(np.sqrt((centred**2).mean()))
    if deviation <= 1e-12 * float(np.abs(mean).max(initial=1.0)):
        deviation = 1.0
    return Scaled(centred / deviation, mean, deviation)
