"""recur(): one step repeated over time. A plain loop in torch; a placeholder while a network is being exported."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import torch
from edgeseq_runtime.signature import BATCH
from torch import Tensor, nn

DOMAIN = "edgeseq"
PLACEHOLDER = "Recurrence"
"""Inputs: states, then what a step reads, time first, then what every step reads alike. Outputs: last states, then what
every step gives, time first. Attributes: body (the step's name), states and fixed (how many), backward (1: from the
last step to the first), stops (1: once all rows have ended), count (how many steps, where no input says it, else 0)."""

Tensors = tuple[Tensor, ...]


@dataclass(frozen=True)
class Body:
    """A step to be traced by itself: the module, and the axes and type of each input, in a step's order.

    axes: a number where the size is fixed, a name where it is free; the first is the batch's.
    """

    step: nn.Module
    axes: tuple[tuple[int | str, ...], ...]
    dtypes: tuple[torch.dtype, ...]

    def example(self) -> Tensors:
        """Inputs to trace it with: free sizes differ from each other and are never 1, which the tracer would freeze."""
        names = dict.fromkeys(axis for axes in self.axes for axis in axes if isinstance(axis, str))
        sizes = {name: 3 + 2 * position for position, name in enumerate(names)}
        shapes = [[sizes[axis] if isinstance(axis, str) else axis for axis in axes] for axes in self.axes]
        return tuple(torch.ones(shape, dtype=dtype) for shape, dtype in zip(shapes, self.dtypes, strict=True))


@dataclass
class Bodies:
    """The steps met while a network is traced, by the name their placeholders carry."""

    by_name: dict[str, Body] = field(default_factory=dict)
    names: dict[tuple[int, bool], str] = field(default_factory=dict)

    def add(self, step: nn.Module, ragged: bool, body: Body) -> str:
        """Note a step; its name. A step that is repeated in several places is noted, and later written, once."""
        key = (id(step), ragged)
        if key not in self.names:
            self.names[key] = f"step{len(self.names)}"
            self.by_name[self.names[key]] = body
        return self.names[key]


_recording: ContextVar[Bodies | None] = ContextVar("recording", default=None)


@contextmanager
def recording() -> Iterator[Bodies]:
    """Inside, recur() leaves placeholders, and their steps are noted in what is yielded."""
    bodies = Bodies()
    token = _recording.set(bodies)
    try:
        yield bodies
    finally:
        _recording.reset(token)


class HeldStep(nn.Module):
    """A step that holds its states and gives zeros after a row's end.

    Inputs: states, for ragged rows valid (batch, 1) bool, per-step inputs and what every step reads, each (batch, …).
    Outputs: next states, then the step's outputs (batch, …).
    """

    def __init__(self, step: nn.Module, states: int, ragged: bool) -> None:
        super().__init__()
        self.step = step
        self._states = states
        self.ragged = ragged

    def forward(self, *tensors: Tensor) -> Tensors:
        """The next states, then the outputs."""
        states, read = tensors[: self._states], tensors[self._states :]
        results: Tensors = self.step(*states, *(read[1:] if self.ragged else read))
        following, outputs = results[: self._states], results[self._states :]
        if not self.ragged:
            return *following, *(y + 0 for y in outputs)  # a graph may not name one value twice, as state and output
        valid = read[0]
        held = tuple(torch.where(_like(valid, new), new, old) for new, old in zip(following, states, strict=True))
        return *held, *(torch.where(_like(valid, y), y, y.new_zeros(())) for y in outputs)


def _like(valid: Tensor, tensor: Tensor) -> Tensor:
    """`valid` (batch, 1) with as many axes as the tensor (batch, …)."""
    return valid if tensor.dim() == 2 else valid.reshape(-1, *(1,) * (tensor.dim() - 1))


def recur(
    step: nn.Module,
    states: Tensors,
    inputs: Tensors,
    lengths: Tensor | None = None,
    *,
    backward: bool = False,
    fixed: Tensors = (),
    count: int = 0,
    stops: bool = False,
) -> tuple[Tensors, Tensors]:
    """Repeat a step over time.

    Args:
        step: called as step(*states, *inputs of one step, *fixed); returns the next states, then its outputs. All
            tensors are (batch, …). What does not depend on the states belongs before the recurrence, for all steps at
            once.
        states: what the first step starts from, each (batch, …).
        inputs: what the steps read, each (time, batch, …).
        lengths: int64 (batch,), from 1 to time; None: every row is whole.
        backward: from the last step (of each row) to the first.
        fixed: what every step reads alike, each (batch, …).
        count: how many steps, where there are no inputs to say it.
        stops: the last state, bool (batch, 1), says which rows have ended. Once all have, no step need be made any
            more: for a row that has ended a step gives zeros, and leaves alone what is used of its states in the end.
            Stands without lengths, and not backward.

    Returns: the states after each row's last step, each (batch, …); the outputs, each (time, batch, …), zero after a
        row's end.
    """
    if bool(inputs) == bool(count):
        raise ValueError("a recurrence needs inputs, or else a count of its steps, and not both")
    if (stops or not inputs) and (backward or lengths is not None):
        raise ValueError("a recurrence that stops early, or has no inputs, goes forward and takes no lengths")
    time = inputs[0].shape[0] if inputs else count
    held = HeldStep(step, len(states), lengths is not None)
    if lengths is not None:
        inputs = ((torch.arange(time, device=lengths.device)[:, None] < lengths[None, :])[:, :, None], *inputs)
    bodies = _recording.get()
    if bodies is not None:
        kind = {"backward": int(backward), "stops": int(stops), "count": 0 if inputs else time}
        return _placeholder(held, (states, inputs, fixed), bodies, kind)
    collected: list[Tensors] = []
    for t in reversed(range(time)) if backward else range(time):
        results = held(*states, *(x[t] for x in inputs), *fixed)
        states = results[: len(states)]
        collected.append(results[len(states) :])
        if stops and states[-1].all():
            collected += [tuple(torch.zeros_like(y) for y in collected[-1])] * (time - t - 1)
            break
    ordered = reversed(collected) if backward else collected
    return states, tuple(torch.stack(values) for values in zip(*ordered, strict=True))


def _axes(shape: torch.Size) -> tuple[int | str, ...]:
    """The axes of a batch's tensor: the tracer knows a free size as a symbol, whose name is the same wherever it is."""
    return BATCH, *(size if isinstance(size, int) else f"axis_{size}" for size in shape[1:])


def _placeholder(
    held: HeldStep, given: tuple[Tensors, Tensors, Tensors], bodies: Bodies, kind: Mapping[str, int]
) -> tuple[Tensors, Tensors]:
    """What stands for a recurrence in the graph.

    given: states, inputs and what every step reads alike. kind: the last attributes of PLACEHOLDER.
    """
    states, inputs, fixed = given
    one = (*states, *(x[0] for x in inputs), *fixed)
    body = Body(held, tuple(_axes(each.shape) for each in one), tuple(each.dtype for each in one))
    outputs = held(*one)[len(states) :]  # for their widths; the tracer drops it
    name = bodies.add(held.step, held.ragged, body)
    time = inputs[0].shape[0] if inputs else kind["count"]
    results = torch.onnx.ops.symbolic_multi_out(
        f"{DOMAIN}::{PLACEHOLDER}",
        [*states, *inputs, *fixed],
        {"body": name, "states": len(states), "fixed": len(fixed), **kind},
        dtypes=[x.dtype for x in (*states, *outputs)],
        shapes=[*(list(s.shape) for s in states), *([time, *y.shape] for y in outputs)],
        version=1,
    )
    return tuple(results[: len(states)]), tuple(results[len(states) :])
