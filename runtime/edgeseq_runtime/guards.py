"""What a stream looks at before it touches a state: who is using it, which rows, finite values, the caller's arrays."""

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any, Concatenate, NoReturn, ParamSpec, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgeseq_runtime.errors import InputError, StreamError

Array = NDArray[Any]
Rows = Iterable[int] | NDArray[Any]


class _Owned(Protocol):
    busy: bool


S = TypeVar("S", bound=_Owned)
P = ParamSpec("P")
T = TypeVar("T")


def alone(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """One call at a time: of the methods that have this, a second one is refused instead of mixing states.

    A flag and no lock: between looking and taking there is no call, so no other thread and no interrupt comes between
    the two. And no context manager: an interrupt could come before its __exit__ does anything.
    """

    @wraps(method)
    def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        if self.busy:
            refuse_second()
        self.busy = True
        try:
            return method(self, *args, **kwargs)
        finally:
            self.busy = False

    return call


def refuse_second() -> NoReturn:
    """Raise the StreamError of a stream that is in use."""
    raise StreamError(
        "this stream is in the middle of another call: two threads use it at once. A stream has one owner; open "
        "one for each thread (model.stream()), or hold a lock around every call. Its states are as that call "
        "leaves them"
    )


def chosen_rows(rows: Rows, batch: int) -> NDArray[np.intp]:
    """The numbers of the rows that are meant, in the order given: numbers, or a mask of one bool a row.

    Raises:
        StreamError: a row that is not there, a mask of another length, or no row numbers at all.
    """
    try:
        given = np.asarray(rows if isinstance(rows, np.ndarray) else list(rows))
    except (TypeError, ValueError):
        given = np.asarray(None)  # refused below
    if given.dtype == np.bool_:
        if given.shape != (batch,):
            raise StreamError(f"the mask of rows has shape {given.shape}, but the stream has {batch} rows")
        return np.flatnonzero(given)
    if given.size == 0 and given.ndim == 1:
        return np.zeros(0, np.intp)
    if given.ndim != 1 or not np.issubdtype(given.dtype, np.integer):
        raise StreamError(f"rows is {rows!r}, but a list of row numbers, or a mask of {batch} bools, is expected")
    if wrong := [int(row) for row in given if not 0 <= row < batch]:
        raise StreamError(f"there is no row {wrong[0]}: the stream has rows 0 to {batch - 1}")
    return given.astype(np.intp)


def refuse_nonfinite(name: str, array: Array) -> None:
    """Raise InputError where an array has NaN or infinity."""
    if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise InputError(
            f"input '{name}' has {array[where]} at {where}: it would stay in the state for ever. "
            "The state is as before; repair the sample, or open the stream with allow_nonfinite=True"
        )


def check_out(out: Mapping[str, Array], outputs: Mapping[str, Array]) -> None:
    """Raise InputError where the caller's arrays cannot take the outputs."""
    for name, array in out.items():
        wanted = outputs.get(name)
        if wanted is None:
            raise InputError(f"out has '{name}', but the outputs are {', '.join(outputs)}")
        if not isinstance(array, np.ndarray) or array.shape != wanted.shape or array.dtype != wanted.dtype:
            given = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
            raise InputError(f"out['{name}'] is {given}, but {wanted.dtype} {wanted.shape} is needed")
        if not array.flags.writeable:
            raise InputError(f"out['{name}'] is read-only")


def filled(out: dict[str, Array], outputs: Mapping[str, Array]) -> dict[str, Array]:
    """The caller's arrays with the outputs in them."""
    for name, array in out.items():
        array[...] = outputs[name]
    return out
