"""From what a caller gives to what the session takes: names, shapes, types, and what may be left out."""

import sys
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgeseq_runtime.errors import InputError, LongInputWarning, UsageError
from edgeseq_runtime.signature import BATCH, TIME, Limit, Signature, StatePair, Tensor

Array = NDArray[Any]
Inputs = ArrayLike | Mapping[str, ArrayLike]


LARGEST_FLOAT32 = float(np.finfo(np.float32).max)
_LARGEST_INT64 = int(np.iinfo(np.int64).max)


class Feed:
    """Checks and completes the inputs of one model.

    initial: the learned initial value of each state that has one, shape (directions, 1, hidden).
    values: scalars that are fed with every call, by name.
    """

    def __init__(
        self, name: str, signature: Signature, initial: Mapping[str, Array], values: Mapping[str, Array]
    ) -> None:
        self.values = values
        states = tuple(s.input_tensor for s in signature.states)
        self._name = name
        self._signature = signature
        self._initial = initial
        self._required = tuple(t for t in signature.inputs if t.of is None)
        self._lengths = tuple(t for t in signature.inputs if t.of is not None)
        self._tables = tuple(t for t in self._required if t.earlier)
        self._known = frozenset(signature.input_names)
        self._dtypes = {t.name: np.dtype(t.dtype) for t in (*signature.inputs, *states)}
        self._states = states
        self._learned = frozenset(s.input for s in signature.states if s.initial == "learned")
        self._zero_cache: tuple[int, dict[str, Array]] = (0, {})
        self._length_cache: tuple[int, int, Array] = (0, 0, np.zeros(0, np.int64))
        self._warned: set[str] = set()
        self._seen: tuple[tuple[int, ...] | None, dict[str, Array]] = (None, {})

    def complete(self, inputs: Inputs) -> dict[str, Array]:
        """What the session is fed, by name: lengths default to the whole, states to zeros.

        A learned initial state that is not given stays out: the graph holds it.

        Raises:
            InputError: a name, rank, size, type or length that does not fit, naming what was given and expected.
        """
        if isinstance(inputs, np.ndarray):
            return self._complete_array(inputs)
        given = inputs if isinstance(inputs, Mapping) else self._single(inputs)
        return self._complete_mapping(given)

    def _complete_array(self, array: Array) -> dict[str, Array]:
        """The common call, one array: a shape that was checked before needs no second look."""
        shape, rest = self._seen
        name = self._required[0].name if self._required else ""
        if array.shape == shape and array.dtype is self._dtypes[name]:
            check_range(self._required[0], array)
            return {**rest, name: array}
        feeds = self._complete_mapping(self._single(array))
        if self._tables:  # to be looked at every time
            return feeds
        self._seen = (array.shape, {key: value for key, value in feeds.items() if key != name})
        return feeds

    def _complete_mapping(self, given: Mapping[str, ArrayLike]) -> dict[str, Array]:
        sizes: dict[str, int] = {}
        feeds = {t.name: self.array(t, given.get(t.name), sizes) for t in self._required}
        for tensor in self._lengths:
            value = given.get(tensor.name)
            feeds[tensor.name] = (
                self._whole(sizes[BATCH], sizes[TIME]) if value is None else self._check_lengths(tensor, value, sizes)
            )
        if len(given) > 1 and not self._known.issuperset(given):
            raise self._unknown(given)
        if self._states:
            feeds.update(self._complete_states(given, sizes))
        if self._tables:
            self._check_tables(feeds)
        feeds.update(self.values)
        return feeds

    def _check_tables(self, feeds: Mapping[str, Array]) -> None:
        from edgeseq_runtime.table import check_table  # few models have such an input

        lengths = next((feeds[t.name] for t in self._lengths), None)
        for tensor in self._tables:
            check_table(tensor.name, feeds[tensor.name], lengths)

    def array(self, tensor: Tensor, value: ArrayLike | None, sizes: dict[str, int]) -> Array:
        """`value` as the array that `tensor` takes; the sizes of its named axes are checked and noted in `sizes`."""
        if value is None:
            raise InputError(f"input '{tensor.name}' of {self._name} is missing ({describe(tensor)})")
        array = cast(tensor.name, value, self._dtypes[tensor.name])
        if array.ndim != len(tensor.axes):
            raise self._wrong_rank(tensor, array)
        for position, axis in enumerate(tensor.axes):
            size = array.shape[position]
            if isinstance(axis, int):
                if size != axis:
                    raise self._wrong_size(tensor, array, position)
            elif sizes.setdefault(axis, size) != size:
                raise InputError(
                    f"input '{tensor.name}' has {size} along '{axis}' (shape {array.shape}), but the other inputs "
                    f"have {sizes[axis]}"
                )
            else:
                self._check_limit(tensor, axis, size)
        check_range(tensor, array)
        return array

    def initial_states(self, batch: int) -> dict[str, Array]:
        """The states a fresh sequence starts from, by input name; shared arrays that must not be written to."""
        cached_batch, cached = self._zero_cache
        if cached_batch != batch:
            cached = {s.input: self._initial_state(s, batch) for s in self._signature.states}
            self._zero_cache = (batch, cached)
        return cached

    def _initial_state(self, state: StatePair, batch: int) -> Array:
        shape = state.shape({BATCH: batch})
        if state.initial == "learned":
            return np.ascontiguousarray(np.broadcast_to(self._initial[state.input], shape))
        return np.zeros(shape, state.dtype)

    def _complete_states(self, given: Mapping[str, ArrayLike], sizes: dict[str, int]) -> dict[str, Array]:
        states = self.initial_states(sizes[BATCH])
        return {
            t.name: self.array(t, given[t.name], sizes) if t.name in given else states[t.name]
            for t in self._states
            if t.name in given or t.name not in self._learned
        }

    def _single(self, value: ArrayLike) -> Mapping[str, ArrayLike]:
        if len(self._required) != 1:
            names = ", ".join(t.name for t in self._required)
            raise InputError(f"{self._name} takes {len(self._required)} inputs ({names}); give a dict by name")
        return {self._required[0].name: value}

    def _whole(self, batch: int, time: int) -> Array:
        cached_batch, cached_time, lengths = self._length_cache
        if (cached_batch, cached_time) != (batch, time):
            lengths = np.full(batch, time, np.int64)
            self._length_cache = (batch, time, lengths)
            self._warn_of_length(self._lengths[0].of, TIME, time)
        return lengths

    def _check_lengths(self, tensor: Tensor, value: ArrayLike, sizes: dict[str, int]) -> Array:
        lengths = self.array(tensor, value, sizes)
        time, least = sizes[TIME], self._signature.limits.get(TIME, _AT_LEAST_ONE).min
        if lengths.size and (lengths.min() < least or lengths.max() > time):
            row = int(np.flatnonzero((lengths < least) | (lengths > time))[0])
            raise InputError(
                f"'{tensor.name}' has {lengths[row]} in row {row}, but a length is at least {least} and at most the "
                f"{time} steps of '{tensor.of}'"
            )
        self._warn_of_length(tensor.of, TIME, int(lengths.max(initial=0)))
        return lengths

    def _check_limit(self, tensor: Tensor, axis: str, size: int) -> None:
        limit = self._signature.limits.get(axis, _AT_LEAST_ONE)
        if size < limit.min:
            raise InputError(
                f"input '{tensor.name}' has {size} along '{axis}', but {self._name} takes at least {limit.min}"
            )
        if limit.max is not None and size > limit.max:
            raise InputError(
                f"input '{tensor.name}' has {size} along '{axis}', but {self._name} takes at most {limit.max}"
            )
        if axis != TIME or not self._lengths:  # with lengths, what lies behind a row's end is no input
            self._warn_of_length(tensor.name, axis, size)

    def _warn_of_length(self, name: str | None, axis: str, size: int) -> None:
        trained = self._signature.limits.get(axis, _AT_LEAST_ONE).trained
        if trained is None or size <= trained or axis in self._warned:
            return
        self._warned.add(axis)
        warnings.warn(
            f"input '{name}' has {size} along '{axis}', but {self._name} was trained on at most {trained}; its answer "
            "may be poor (this is told once)",
            LongInputWarning,
            stacklevel=_outside(),
        )

    def _wrong_rank(self, tensor: Tensor, array: Array) -> InputError:
        hint = ""
        if array.ndim == len(tensor.axes) - 1 and tensor.axes[0] == BATCH:
            hint = ". One sequence is a batch of one: x[None]"
        return InputError(
            f"input '{tensor.name}' has {array.ndim} axes (shape {array.shape}), but {self._name} takes "
            f"{len(tensor.axes)} ({describe(tensor)}){hint}"
        )

    def _wrong_size(self, tensor: Tensor, array: Array, position: int) -> InputError:
        last = position == len(tensor.axes) - 1
        what = "features" if last else f"along axis {position}"
        return InputError(
            f"input '{tensor.name}' has {array.shape[position]} {what}, but {self._name} takes "
            f"{tensor.axes[position]} ({describe(tensor)})"
        )

    def _unknown(self, given: Mapping[str, ArrayLike]) -> InputError:
        unknown = ", ".join(f"'{name}'" for name in given if name not in self._known)
        return InputError(f"{self._name} has no input {unknown}; it takes {', '.join(self._signature.input_names)}")


def _outside() -> int:
    """The `stacklevel` of the caller's warning that points at the code outside this package, whichever way it took."""
    package, level = __name__.partition(".")[0], 1
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        frame, level = frame.f_back, level + 1
    return level


def checked_values(
    name: str, defaults: Mapping[str, float | int], values: Mapping[str, float | int]
) -> dict[str, Array]:
    """Scalars as the graph takes them, float32 or int64 as their defaults are. Raises UsageError."""
    arrays = {}
    for key, value in values.items():
        if key not in defaults:
            known = f"its values are {', '.join(defaults)}" if defaults else "it has none"
            raise UsageError(f"{name} has no value '{key}'; {known}")
        whole = isinstance(defaults[key], int)
        if isinstance(value, bool) or not isinstance(value, (int, np.integer) if whole else (int, float, np.number)):
            raise UsageError(
                f"value '{key}' of {name} is {value!r}, but a {'whole ' if whole else ''}number is expected"
            )
        value = value.item() if isinstance(value, np.generic) else value
        if not -np.inf < value < np.inf:
            raise UsageError(f"value '{key}' of {name} is {value}, but a finite number is expected")
        if abs(value) > (_LARGEST_INT64 if whole else LARGEST_FLOAT32):  # before numpy warns of it
            raise UsageError(
                f"value '{key}' of {name} is {value}, which is too large for {'int64' if whole else 'float32'}"
            )
        arrays[key] = np.array(value, np.int64 if whole else np.float32)
    return arrays


def check_range(tensor: Tensor, array: Array) -> None:
    """Refuse integers that mean nothing to the model: onnxruntime would take a negative token as one from the end."""
    if tensor.range is None or not array.size:
        return
    low, high = tensor.range
    if array.min() < low or array.max() >= high:
        place = tuple(int(i) for i in np.argwhere((array < low) | (array >= high))[0])
        raise InputError(
            f"input '{tensor.name}' has {array[place]}{f' at {place}' if place else ''}, but its values go from {low} "
            f"to {high - 1}"
        )


def cast(name: str, value: ArrayLike, dtype: np.dtype[Any]) -> Array:
    """`value` as an array of `dtype`. float64 may become float32; any other cast that can lose something is refused."""
    array = value if isinstance(value, np.ndarray) else as_array(name, value)
    if array.dtype == dtype:
        return array
    if np.can_cast(array.dtype, dtype, "safe"):
        return array.astype(dtype)
    if array.dtype.newbyteorder("=") == np.float64 and dtype == np.float32:
        with np.errstate(over="ignore"):
            single = array.astype(dtype)
        if (lost := np.isinf(single) & np.isfinite(array)).any():
            place = tuple(int(i) for i in np.argwhere(lost)[0])
            raise InputError(f"input '{name}' has {array[place]} at {place}, which is beyond {dtype}")
        return single
    raise InputError(
        f"input '{name}' is {array.dtype}, but {dtype} is expected and the cast may lose something. "
        f"Cast it yourself if that is meant: .astype('{dtype}')"
    )


def describe(tensor: Tensor) -> str:
    """A tensor's type and axes for a message: `float32, axes: batch, time, 12`."""
    return f"{tensor.dtype}, axes: {', '.join(map(str, tensor.axes)) or 'none, a scalar'}"


def as_array(name: str, value: ArrayLike) -> Array:
    """`value` as an array of whatever type it has. Raises InputError for ragged rows and what is no array at all."""
    try:
        return np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:
        raise InputError(
            f"input '{name}' is not a regular array: {error}. Pad ragged rows and give their lengths"
        ) from error


_AT_LEAST_ONE = Limit()
