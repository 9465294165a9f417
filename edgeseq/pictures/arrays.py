"""What is to be drawn, checked before anything is drawn."""

from typing import Any

import numpy as np
from edgeseq_runtime.errors import UsageError
from numpy.typing import NDArray

Array = NDArray[Any]


def numbers(name: str, given: object, *axes: str) -> Array:
    """`given` as float64, of these axes, such as ("n", "height", "width").

    Raises:
        UsageError: it has other axes, an axis of size 0, or values that are not finite numbers.
    """
    array = np.asarray(given)
    expected = f"numbers of shape ({', '.join(axes)}) are expected"
    if array.ndim != len(axes):
        raise UsageError(f"{name} has shape {array.shape}, but {expected}; reshape it")
    if not array.size:
        raise UsageError(f"{name} has shape {array.shape}, but {expected}, at least 1 along each axis")
    if array.dtype.kind not in "biuf":
        raise UsageError(f"{name} is of type {array.dtype}, but {expected}; convert it")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        where = tuple(np.argwhere(~np.isfinite(array))[0].tolist())
        raise UsageError(f"{name} is {array[where]} at {where}, but finite {expected}; leave it out or fill it in")
    return array


def class_numbers(name: str, given: object, count: int, labels: tuple[str, ...] | None) -> Array:
    """`given` as class numbers int64 (count,). labels: the names of all classes; None: they have none.

    Raises:
        UsageError: it has another shape or type, or a class that has no label.
    """
    array = np.asarray(given)
    if array.shape != (count,):
        raise UsageError(f"{name} has shape {array.shape}, but ({count},) is expected: one class for each")
    if array.dtype.kind not in "biu":
        raise UsageError(f"{name} is of type {array.dtype}, but class numbers are expected, as integers")
    array = array.astype(np.int64)
    if array.min() < 0:
        raise UsageError(f"{name} has a class {array.min()}, but classes count from 0; leave out what has none")
    if labels is not None and array.max() >= len(labels):
        raise UsageError(
            f"{name} has a class {array.max()}, but there are {len(labels)} labels, for 0 to {len(labels) - 1}; "
            "give one label for each class"
        )
    return array


def same_shape(name: str, array: Array, other_name: str, other: Array) -> None:
    """Raise UsageError where two arrays that belong together have unequal shapes."""
    if array.shape != other.shape:
        raise UsageError(f"{name} has shape {array.shape}, but {other_name} has {other.shape}; one shape is expected")
