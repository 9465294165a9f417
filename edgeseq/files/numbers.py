"""Numbers read from text, as the type and shape that an input takes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from edgeseq_runtime.errors import InputError
from edgeseq_runtime.signature import BATCH, Tensor
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
    """`array` in the type of an input. Raises InputError for a fraction where integers are taken."""
    dtype = np.dtype(tensor.dtype)
    if not np.issubdtype(dtype, np.integer) or np.issubdtype(array.dtype, np.integer):
        with np.errstate(over="ignore"):  # what overflows becomes infinite, and that is refused by name later
            return array.astype(dtype)
    if not np.array_equal(array, np.round(array)):
        fraction = array[array != np.round(array)].flat[0]
        raise InputError(f"'{tensor.name}' takes whole numbers ({tensor.dtype}), but has {fraction}")
    return array.astype(dtype)


def with_batch(array: Array, tensor: Tensor) -> Array:
    """One sequence as a batch of one; anything else as it is."""
    if array.ndim == len(tensor.axes) - 1 and tensor.axes[0] == BATCH:
        return array[None]
    return array


def pad(rows: Sequence[Array]) -> Array:
    """Sequences (time, …) as one array (batch, longest time, …), zeros after each end."""
    longest = max(len(row) for row in rows)
    padded = np.zeros((len(rows), longest, *rows[0].shape[1:]), rows[0].dtype)
    for target, row in zip(padded, rows, strict=True):
        target[: len(row)] = row
    return padded


def refuse_nonfinite(array: Array, name: str, where: str) -> None:
    """Raise InputError at the first NaN or infinity, naming its place: nobody means one."""
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return
    place = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
    index = ", ".join(map(str, place))
    raise InputError(f"{where}: input '{name}' has {array[place]} at [{index}]; repair or drop that value")
