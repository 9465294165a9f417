"""How sharp class scores are: the factor that makes probabilities of them which are neither too sure nor too vague."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_SMALLEST, _LARGEST = 1e-3, 1e3


def sharpness(scores: NDArray[Any], y: NDArray[Any]) -> float:
    """The factor s, from 0.001 to 1000, for which softmax(s · scores) has the smallest cross entropy.

    One over the temperature of Guo et al., "On Calibration of Modern Neural Networks", 2017; give it scores of examples
    that were left out. The cross entropy is convex in s, so its slope has one root. Its targets are a little below
    certainty, 1 − 1 / (rows + 2) as in Platt, "Probabilistic Outputs for Support Vector Machines", 1999: where every
    example is right, no factor would be sharp enough.

    Args:
        scores: (rows, classes), at least two classes. y: classes int64 (rows,).
    """
    low, high = np.log(_SMALLEST), np.log(_LARGEST)
    for _ in range(50):
        middle = (low + high) / 2
        if _slope(np.asarray(scores, np.float64), y, float(np.exp(middle))) < 0:
            low = middle
        else:
            high = middle
    return float(np.exp((low + high) / 2))


def _slope(scores: NDArray[Any], y: NDArray[Any], factor: float) -> float:
    """The derivative of the mean cross entropy by the factor: the expected score less that of the targets."""
    shifted = scores - scores.max(1, keepdims=True)
    weights = np.exp(factor * shifted)
    expected = (weights * shifted).sum(1) / weights.sum(1)
    true, doubt = shifted[np.arange(len(y)), y], 1 / (len(y) + 2)
    others = (shifted.sum(1) - true) / (shifted.shape[1] - 1)
    return float((expected - (1 - doubt) * true - doubt * others).mean())
