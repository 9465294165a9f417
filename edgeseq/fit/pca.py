"""Principal components: the directions in which rows of features differ most."""

from typing import Any

import numpy as np
from edgeseq_runtime.errors import UsageError
from numpy.typing import NDArray

Array = NDArray[Any]


def principal_components(rows: Array, count: int) -> tuple[Array, Array]:
    """The mean of the rows and the first `count` principal components of what is left (Pearson 1901), in float64.

    Reduced features are (rows - mean) @ components.T. The largest entry of each component is positive.

    Args:
        rows: (rows, features).

    Returns:
        mean (features,) and components (count, features), orthonormal, the largest variance first.

    Raises:
        UsageError: a count below 1, or above the number of rows or of features.
    """
    x = np.asarray(rows, np.float64)
    most = min(x.shape)
    if not 1 <= count <= most:
        raise UsageError(
            f"components is {count}, but {x.shape[0]} rows of {x.shape[1]} features have from 1 to {most} components"
        )
    mean = x.mean(0)
    centred = x - mean
    if len(x) > x.shape[1]:
        centred = np.linalg.qr(centred, mode="r")  # has the same components, in fewer rows
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    components: Array = directions[:count]
    largest = np.take_along_axis(components, np.abs(components).argmax(1)[:, None], 1)
    return mean, components * np.where(largest < 0, -1.0, 1.0)
