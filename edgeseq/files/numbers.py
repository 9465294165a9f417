"""Numbers read from text, as the type and shape that an input takes."""

from typing import Any

import numpy as np
from edgeseq_runtime.errors import InputError
from edgeseq_runtime.signature import BATCH, TIME, Tensor
from numpy.typing import NDArray

Array = NDArray[Any]


def from_nested(value: object, name: str) -> Array:
    """A number or nested lists of numbers as float64 or int64. Raises InputError for anything else."""
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InputError(f"'{name}' is not regular: its steps do not all have the same number of features") from error
    if array.dtype.kind not in "iuf":
        raise InputError(f"'{name}' holds something that is not a number")
    return array


def as_dtype(array: Array, tensor: Tensor) -> Array:
    """`array` in the type of an input. Raises InputError for what is no whole number where integers are taken."""
    dtype = np.dtype(tensor.dtype)
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused: here, or as infinite, by name
        found = array.astype(dtype)
    if dtype.kind in "iu" and (wrong := found != array).any():
        raise InputError(f"'{tensor.name}' takes whole numbers ({tensor.dtype}), but has {array[wrong].flat[0]}")
    return found


def with_batch(array: Array, tensor: Tensor) -> Array:
    """One sequence as a batch of one, of one feature also where only the steps are there; anything else as it is."""
    if array.ndim == 1 and tensor.axes == (BATCH, TIME, 1):
        return array[None, :, None]
    if array.ndim == len(tensor.axes) - 1 and tensor.axes[0] == BATCH:
        return array[None]
    return array


def refuse_nonfinite(array: Array, what: str) -> None:
    """Raise InputError at the first NaN or infinity, naming its place: nobody means one. what: the array."""
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return
    place = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
    at = f" at [{', '.join(map(str, place))}]" if place else ""
    raise InputError(f"{what} has {array[place]}{at}; repair or drop that value")
