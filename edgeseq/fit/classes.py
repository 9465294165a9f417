"""Linear scores of classes: the two of a pair, and those of classes that the training data lacks."""

from typing import Any

import numpy as np
from edgeseq_runtime.errors import UsageError
from numpy.typing import NDArray

Array = NDArray[Any]


def check_classes(y: Array) -> None:
    """Raise UsageError where classes y, int64 (rows,), are all the same."""
    held = np.unique(y)
    if len(held) < 2:
        which = f" (number {held[0]})" if len(held) else ""
        raise UsageError(f"the training data holds one class only{which}, but at least two are needed")


def both(weights: Array, bias: Array) -> tuple[Array, Array]:
    """Scores of two classes from the one decision between them: half of it less, and half of it more.

    Their softmax is the logistic function of the decision. weights: (features, 1). bias: (1,). Returned are weights
    (features, 2) and bias (2,).
    """
    return np.column_stack([-weights / 2, weights / 2]), np.concatenate([-bias / 2, bias / 2])


def spread(weights: Array, bias: Array, y: Array, outputs: int) -> tuple[Array, Array]:
    """Scores of all classes from those of the classes that y holds, in order.

    A class without an example scores as the others do on average, less the logarithm of the number of rows, and so
    never the most.

    Args:
        weights: (features, held). bias: (held,). y: classes int64 (rows,). outputs: how many classes there are.

    Returns:
        weights (features, outputs) and bias (outputs,).
    """
    held = np.unique(y)
    wide = np.repeat(weights.mean(1, keepdims=True), outputs, 1)
    offset = np.full(outputs, bias.mean() - np.log(len(y)))
    wide[:, held], offset[held] = weights, bias
    return wide, offset
