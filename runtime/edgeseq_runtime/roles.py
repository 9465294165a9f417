"""Which axes of a foreign file are the batch and the time: by their names, by the states, and by running it."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeseq_runtime.infer import Pair
from edgeseq_runtime.layout import Axes, Layout, user_axes
from edgeseq_runtime.signature import BATCH, TIME, Axis, Limit, Signature, StatePair, Tensor

Array = NDArray[Any]
Shapes = Mapping[str, tuple[int, ...]]
Probe = Callable[[Mapping[str, Array]], Shapes | None]
"""Runs the graph on inputs by name and tells the shapes of all outputs; None where it refuses."""

_BATCH_NAME = re.compile(r"(?i)batch|^(n|b|bs)$")
_TIME_NAME = re.compile(r"(?i)time|seq|frame|step|sample|length|^(t|l|s|len)$")

_OTHER_NAME = re.compile(r"(?i)feat|chan|dim|hidden|unit|width|height|class|^(c|d|f|h|w)$")

_SIZES = ({BATCH: 3, TIME: 5}, {BATCH: 2, TIME: 7})
"""What a file is tried with: of what comes out, time grows with it and the batch falls, half the time is neither."""


@dataclass(frozen=True)
class Roles:
    """A foreign file in the project's own terms. problem: why its states cannot be carried."""

    signature: Signature
    layout: Layout
    problem: str | None = None


def find_roles(inputs: Sequence[Tensor], outputs: Sequence[Tensor], pairs: Sequence[Pair], probe: Probe) -> Roles:
    """Name the axes of a file whose states are known.

    Args:
        inputs, outputs: as the session declares them, without the inputs that are fixed.
        pairs: its states; at least one. probe: to try what the declarations leave open.
    """
    by_name = {t.name: t for t in (*inputs, *outputs)}
    before = {p.input for p in pairs}
    states = {p.input: _merged(by_name[p.input], by_name[p.output]) for p in pairs}
    data = [t for t in inputs if t.name not in before]
    free = any(isinstance(axis, str) for axes in states.values() for axis in axes) and any(
        isinstance(axis, str) and not _TIME_NAME.search(axis) for t in data for axis in t.axes
    )  # where one side alone declares it, a fixed batch is what both take
    names = {axis for axes in states.values() for axis in axes if isinstance(axis, str) and "." not in axis}
    batch_sizes = {1, *(size for axes in states.values() for size in axes[:2])}
    laid = {t.name: _data_axes(t, names, batch_sizes, free) for t in data}
    one_step = not any(TIME in axes and by_name[n].axes[axes.index(TIME)] != 1 for n, axes in laid.items())
    if not one_step:  # beside a sequence, an input with one entry along some axis is no sequence
        laid = {n: a if not _is_one(by_name[n], a) else _without(by_name[n], a, TIME) for n, a in laid.items()}
    rows = _rows(data, laid, states)
    states_laid, problem = _state_axes(states, rows)
    if problem:
        return Roles(Signature(tuple(inputs), tuple(outputs)), Layout({}), problem)
    fixed = {} if free else {BATCH: rows}
    tried = _Tried(probe, {**{n: (by_name[n], a) for n, a in laid.items()}}, states_laid, by_name, fixed)
    if not one_step:
        tried.turn_round(laid)
    shapes = tried.shapes(laid, one_step)
    after = {p.output for p in pairs}
    main = next((axes for axes in laid.values() if TIME in axes), next(iter(laid.values()), ()))
    answers = [t for t in outputs if t.name not in after]
    out = {t.name: _answer_axes(t, shapes, main, by_name, laid, names, free, one_step) for t in answers}
    if shapes and (problem := _unlike(pairs, tried.state_shapes(), shapes[0])):
        return Roles(Signature(tuple(inputs), tuple(outputs)), Layout({}), problem)
    signature = Signature(
        inputs=tuple(_as_user(t, laid[t.name], one_step) for t in data),
        outputs=tuple(_as_answer(t, out[t.name], free, one_step) for t in answers),
        states=tuple(
            StatePair(p.input, p.output, user_axes_of_state(states_laid[p.input]), dtype=by_name[p.input].dtype)
            for p in pairs
        ),
        limits={BATCH: Limit() if free else Limit(rows, rows)},
        typical={BATCH: 1 if free else rows, TIME: 1},
        streamable=True,
    )
    both = {**laid, **out, **states_laid, **{p.output: states_laid[p.input] for p in pairs}}
    tensors = (*signature.inputs, *signature.outputs, *(s.input_tensor for s in signature.states))
    tensors += tuple(s.output_tensor for s in signature.states)
    return Roles(signature, Layout({t.name: both[t.name] for t in tensors if both[t.name] != t.axes}, one_step))


def user_axes_of_state(graph: Axes) -> Axes:
    """A state's axes as a stream has them: as in the graph, with a batch of one where that has none."""
    return graph if BATCH in graph else (BATCH, *graph)


def _merged(before: Tensor, after: Tensor) -> Axes:
    """A state's axes: a size that one side declares holds for both, but a 1 may be that of the exporter's example."""
    if len(before.axes) != len(after.axes):
        return before.axes
    both = zip(before.axes, after.axes, strict=True)
    return tuple(a if isinstance(b, str) and isinstance(a, int) and a != 1 else b for b, a in both)


def _data_axes(tensor: Tensor, batch_names: set[str], batch_sizes: set[Axis], free: bool) -> Axes:
    """Its axes with batch and time named.

    free: whether the states say that the batch is free; otherwise batch_sizes are those that it may have.
    """
    axes = list(tensor.axes)
    batch = _batch_position(tensor, batch_names, batch_sizes, free)
    if batch is not None:
        axes[batch] = BATCH
    left = [i for i in range(len(axes)) if i != batch]
    open_ = [i for i in left if isinstance(axes[i], str)]
    named = [i for i in open_ if "." not in str(axes[i]) and _TIME_NAME.search(str(axes[i]))]
    open_ = [i for i in open_ if "." in str(axes[i]) or not _OTHER_NAME.search(str(axes[i]))]
    ones = [i for i in left if axes[i] == 1 and (len(left) > 1 or "int" in tensor.dtype)]
    for choice in (named, open_, ones):
        if choice:
            axes[choice[0]] = TIME
            break
    return tuple(axes)


def _batch_position(tensor: Tensor, batch_names: set[str], batch_sizes: set[Axis], free: bool) -> int | None:
    axes = tensor.axes
    open_ = [i for i, axis in enumerate(axes) if isinstance(axis, str)]
    if not free:
        whole = [i for i, axis in enumerate(axes[:-1]) if isinstance(axis, int)]
        place = next((i for i in whole if axes[i] in batch_sizes), 0 if 0 in whole else None)
        if place is not None or len(open_) < 2:
            return place
    for told in (lambda axis: axis in batch_names, lambda axis: "." not in axis and _BATCH_NAME.search(axis)):
        if found := [i for i in open_ if told(str(axes[i]))]:
            return found[0]
    unnamed = [i for i in open_ if "." in str(axes[i]) or not _TIME_NAME.search(str(axes[i]))]
    return unnamed[0] if unnamed else None


def _is_one(tensor: Tensor, axes: Axes) -> bool:
    return TIME in axes and tensor.axes[axes.index(TIME)] == 1


def _without(tensor: Tensor, axes: Axes, name: str) -> Axes:
    return tuple(old if new == name else new for old, new in zip(tensor.axes, axes, strict=True))


def _rows(data: Sequence[Tensor], laid: Mapping[str, Axes], states: Mapping[str, Axes]) -> int:
    """How many rows a file takes whose batch is fixed."""
    sizes = [t.axes[laid[t.name].index(BATCH)] for t in data if BATCH in laid[t.name]]
    sizes = [size for size in sizes if isinstance(size, int) and any(size in axes for axes in states.values())]
    return next((size for size in sizes if isinstance(size, int)), 1)


def _state_axes(states: Mapping[str, Axes], rows: int) -> tuple[dict[str, Axes], str | None]:
    """The states' axes with the batch named; the second value says why not."""
    laid: dict[str, Axes] = {}
    for name, axes in states.items():
        open_ = [i for i, axis in enumerate(axes) if isinstance(axis, str)]
        named = [i for i in open_ if "." not in str(axes[i]) and _BATCH_NAME.search(str(axes[i]))]
        if len(open_) > 1 and not (len(named) == 1 and len(open_) == 1):
            told = ", ".join(str(axes[i]) for i in open_)
            return {}, (
                f"state '{name}' has more than one free axis ({told}), so its size is unknown, or grows from call to "
                "call; a stream carries states of one size. Give the states to run, and take them from it"
            )
        if open_ and _TIME_NAME.search(str(axes[open_[0]])) and "." not in str(axes[open_[0]]):
            return {}, f"state '{name}' has the free axis '{axes[open_[0]]}', which grows from call to call"
        place = open_[0] if open_ else _fixed_batch(axes, rows)
        laid[name] = tuple(BATCH if i == place else axis for i, axis in enumerate(axes))
    return laid, None


def _fixed_batch(axes: Axes, rows: int) -> int | None:
    """Where the batch is in a state of fixed size: recurrent operators have it second."""
    places = [1, 0] if len(axes) > 2 else [0]
    return next((i for i in (*places, *range(len(axes))) if i < len(axes) and axes[i] == rows), None)


class _Tried:
    """A file run on zeros of known sizes."""

    def __init__(
        self,
        probe: Probe,
        data: Mapping[str, tuple[Tensor, Axes]],
        states: Mapping[str, Axes],
        by_name: Mapping[str, Tensor],
        fixed: Mapping[str, int],
    ) -> None:
        self._probe, self._data, self._states, self._by_name, self._fixed = probe, data, states, by_name, fixed

    def state_shapes(self) -> Shapes:
        """The states' shapes in the first try."""
        sizes = {**_SIZES[0], **self._fixed}
        return {name: tuple(_size(axis, sizes) for axis in axes) for name, axes in self._states.items()}

    def turn_round(self, laid: dict[str, Axes]) -> None:
        """Take the first two free axes of a file that names none as time and batch, where only that runs."""
        for name, (tensor, axes) in self._data.items():
            open_ = [i for i, axis in enumerate(tensor.axes) if isinstance(axis, str) and "." in axis]
            if BATCH not in axes or TIME not in axes or not {axes.index(BATCH), axes.index(TIME)} <= set(open_):
                continue
            turned = tuple({BATCH: TIME, TIME: BATCH}.get(str(axis), axis) for axis in axes)
            sizes = {**_SIZES[0], **self._fixed}
            if self._run(laid, sizes) is None and self._run({**laid, name: turned}, sizes) is not None:
                laid[name] = turned

    def shapes(self, laid: Mapping[str, Axes], one_step: bool) -> tuple[Shapes, Shapes] | None:
        """The shapes of all outputs at both sizes; None where the file does not run on such."""
        found = [self._run(laid, {**sizes, **self._fixed, **({TIME: 1} if one_step else {})}) for sizes in _SIZES]
        return (found[0], found[1]) if found[0] is not None and found[1] is not None else None

    def _run(self, laid: Mapping[str, Axes], sizes: Mapping[str, int]) -> Shapes | None:
        feeds: dict[str, Array] = {}
        for name, axes in {**laid, **self._states}.items():
            shape = tuple(_size(axis, sizes) for axis in axes)
            if -1 in shape:
                return None
            feeds[name] = np.zeros(shape, self._by_name[name].dtype)
        return self._probe(feeds)


def _size(axis: Axis, sizes: Mapping[str, int]) -> int:
    return axis if isinstance(axis, int) else sizes.get(axis, -1)


def _unlike(pairs: Sequence[Pair], states: Shapes, outputs: Shapes) -> str | None:
    for p in pairs:
        if p.output in outputs and states[p.input] != outputs[p.output]:
            return (
                f"state '{p.input}' was given as {states[p.input]}, but '{p.output}' came out as {outputs[p.output]}, "
                f"so they are not one state (paired by {p.why}). Say which are with --state IN=OUT, or "
                "load(states={...})"
            )
    return None


def _answer_axes(
    tensor: Tensor,
    shapes: tuple[Shapes, Shapes] | None,
    main: Axes,
    by_name: Mapping[str, Tensor],
    laid: Mapping[str, Axes],
    batch_names: set[str],
    free: bool,
    one_step: bool,
) -> Axes:
    """An output's axes with batch and time named: as it came out at two sizes, else as it is declared."""
    first = None if shapes is None else shapes[0].get(tensor.name)
    if shapes is not None and first is not None and len(first) == len(shapes[1][tensor.name]):
        axes = _measured(tensor, first, shapes[1][tensor.name])
    else:
        axes = _declared(tensor, by_name, laid, batch_names, free)
    if BATCH not in axes and not free:
        where = main.index(BATCH) if BATCH in main else None
        ones = [i for i, axis in enumerate(axes) if isinstance(axis, int) and i < max(1, len(axes) - 1)]
        place = where if where in ones else next((i for i in ones if axes[i] == 1), None)
        axes = tuple(BATCH if i == place and where is not None else axis for i, axis in enumerate(axes))
    if one_step and TIME in main and len(axes) > 2 and len(axes) > main.index(TIME) and axes[main.index(TIME)] == 1:
        axes = tuple(TIME if i == main.index(TIME) else axis for i, axis in enumerate(axes))
    return axes


def _measured(tensor: Tensor, first: tuple[int, ...], second: tuple[int, ...]) -> Axes:
    axes: list[Axis] = []
    for place, both in enumerate(zip(first, second, strict=True)):
        name = next((n for n in (BATCH, TIME) if both == (_SIZES[0][n], _SIZES[1][n]) and n not in axes), None)
        same = both[0] == both[1] and (both[0] or 0 in tensor.axes)  # of zeros, some operators keep nothing
        axes.append(name or (both[0] if same else f"{tensor.name}.{place}"))
    return tuple(axes)


def _declared(
    tensor: Tensor, by_name: Mapping[str, Tensor], laid: Mapping[str, Axes], batch_names: set[str], free: bool
) -> Axes:
    times = {by_name[n].axes[axes.index(TIME)] for n, axes in laid.items() if TIME in axes}
    axes: list[Axis] = list(tensor.axes)
    if free:
        open_ = [i for i, axis in enumerate(axes) if isinstance(axis, str) and axis not in times]
        named = [i for i in open_ if axes[i] in batch_names or _BATCH_NAME.search(str(axes[i]))]
        for i in (named or [i for i in open_ if i == 0])[:1]:
            axes[i] = BATCH
    for i, axis in enumerate(axes):
        if not isinstance(axis, str) or axis == BATCH or TIME in axes:
            continue
        if axis in times or ("." not in axis and _TIME_NAME.search(axis)):
            axes[i] = TIME
    return tuple(axes)


def _as_user(tensor: Tensor, graph: Axes, one_step: bool) -> Tensor:
    """An input as a caller gives it. What has neither batch nor time in a file of whole sequences stays as it is."""
    if not tensor.axes or (not one_step and BATCH not in graph and TIME not in graph):
        return tensor
    return replace(tensor, axes=user_axes(graph, True, one_step or TIME in graph))


def _as_answer(tensor: Tensor, graph: Axes, free: bool, one_step: bool) -> Tensor:
    """An output as a caller gets it: one a step, or one a call."""
    if BATCH not in graph and free:
        return replace(tensor, axes=graph, kind=None if TIME in graph else "last")
    stepwise = one_step or TIME in graph
    return replace(tensor, axes=user_axes(graph, True, stepwise), kind="step" if stepwise else "last")
