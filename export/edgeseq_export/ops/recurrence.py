"""recur(): one step repeated over time. A plain loop in torch; a placeholder while a network is being exported."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import torch
from edgeseq_runtime.signature import BATCH
from torch import Tensor, nn

DOMAIN = "edgeseq"
PLACEHOLDER = "Recurrence"
"""Inputs: states, then what a step reads, time first. Outputs: last states, then what every step gives, time first.
Attributes: body (the step's name), states (how many), backward (1: from the last step to the first)."""

Tensors = tuple[Tensor, ...]


@dataclass(frozen=True)
class Body:
    """A step to be traced by itself: the module, and the axes and type of each input, states first.

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

    Inputs: states and per-step inputs (batch, …), and for ragged rows valid (batch, 1) bool. Outputs: next states,
    then the step's outputs (batch, …).
    """

    def __init__(self, step: nn.Module, states: int, ragged: bool) -> None:
        super().__init__()
        self.step = step
        self._states = states
        self.ragged = ragged

    def forward(self, *tensors: Tensor) -> Tensors:
        """The next states, then the outputs."""
        given = tensors[:-1] if self.ragged else tensors
        results: Tensors = self.step(*given)
        following, outputs = results[: self._states], results[self._states :]
        if not self.ragged:
            return *following, *(y + 0 for y in outputs)  # a graph may not name one value twice, as state and output
        valid = tensors[-1]
        held = tuple(torch.where(_like(valid, new), new, old) for new, old in zip(following, tensors, strict=False))
        return *held, *(torch.where(_like(valid, y), y, y.new_zeros(())) for y in outputs)


def _like(valid: Tensor, tensor: Tensor) -> Tensor:
    """`valid` (batch, 1) with as many axes as the tensor (batch, …)."""
    return valid if tensor.dim() == 2 else valid.reshape(-1, *(1,) * (tensor.dim() - 1))


def recur(
    step: nn.Module, states: Tensors, inputs: Tensors, lengths: Tensor | None = None, *, backward: bool = False
) -> tuple[Tensors, Tensors]:
    """Repeat a step over time.

    Args:
        step: called as step(*states, *inputs of one step); returns the next states, then its outputs. All tensors are
            (batch, …). What does not depend on the states belongs before the recurrence, for all steps at once.
        states: what the first step starts from, each (batch, …).
        inputs: what the steps read, each (time, batch, …).
        lengths: int64 (batch,), from 1 to time; None: every row is whole.
        backward: from the last step (of each row) to the first.

    Returns: the states after each row's last step, each (batch, …); the outputs, each (time, batch, …), zero after a
        row's end.
    """
    time = inputs[0].shape[0]
    held = HeldStep(step, len(states), lengths is not None)
    if lengths is not None:
        inputs = (*inputs, (torch.arange(time, device=lengths.device)[:, None] < lengths[None, :])[:, :, None])
    bodies = _recording.get()
    if bodies is not None:
        return _placeholder(held, states, inputs, bodies, backward)
    collected: list[Tensors] = [()] * time
    for t in reversed(range(time)) if backward else range(time):
        results = held(*states, *(x[t] for x in inputs))
        states, collected[t] = results[: len(states)], results[len(states) :]
    return states, tuple(torch.stack(values) for values in zip(*collected, strict=True))


def _axes(shape: torch.Size) -> tuple[int | str, ...]:
    """The axes of a batch's tensor: the tracer knows a free size as a symbol, whose name is the same wherever it is."""
    return BATCH, *(size if isinstance(size, int) else f"axis_{size}" for size in shape[1:])


def _placeholder(
    held: HeldStep, states: Tensors, inputs: Tensors, bodies: Bodies, backward: bool
) -> tuple[Tensors, Tensors]:
    tensors = (*states, *inputs)
    shapes = [*(s.shape for s in states), *(x.shape[1:] for x in inputs)]
    body = Body(held, tuple(_axes(shape) for shape in shapes), tuple(x.dtype for x in tensors))
    name = bodies.add(held.step, held.ragged, body)
    outputs = held(*states, *(x[0] for x in inputs))[len(states) :]  # for their widths; the tracer drops it
    time = inputs[0].shape[0]
    results = torch.onnx.ops.symbolic_multi_out(
        f"{DOMAIN}::{PLACEHOLDER}",
        list(tensors),
        {"body": name, "states": len(states), "backward": int(backward)},
        dtypes=[x.dtype for x in (*states, *outputs)],
        shapes=[*(list(s.shape) for s in states), *([time, *y.shape] for y in outputs)],
        version=1,
    )
    return tuple(results[: len(states)]), tuple(results[len(states) :])
