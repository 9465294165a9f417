"""recur(): one step repeated over time. A plain loop in torch; a placeholder while a network is being exported."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

DOMAIN = "edgeseq"
PLACEHOLDER = "Recurrence"
"""Inputs: states, then what a step reads, time first. Outputs: last states, then what every step gives, time first.
Attributes: body (the step's name), states (how many), backward (1: from the last step to the first)."""

Tensors = tuple[Tensor, ...]


@dataclass(frozen=True)
class Body:
    """A step to be traced by itself: the module, and the width and type of each input (batch, width), states first."""

    step: nn.Module
    widths: tuple[int, ...]
    dtypes: tuple[torch.dtype, ...]

    def example(self, batch: int) -> Tensors:
        """Inputs to trace it with."""
        return tuple(torch.ones(batch, width, dtype=d) for width, d in zip(self.widths, self.dtypes, strict=True))


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

    Inputs: states and per-step inputs (batch, width), and for ragged rows valid (batch, 1) bool. Outputs: next states,
    then the step's outputs (batch, width).
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
        held = tuple(torch.where(valid, new, old) for new, old in zip(following, tensors, strict=False))
        return *held, *(torch.where(valid, y, y.new_zeros(())) for y in outputs)


def recur(
    step: nn.Module, states: Tensors, inputs: Tensors, lengths: Tensor | None = None, *, backward: bool = False
) -> tuple[Tensors, Tensors]:
    """Repeat a step over time.

    Args:
        step: called as step(*states, *inputs of one step); returns the next states, then its outputs. All tensors are
            (batch, width). What does not depend on the states belongs before the recurrence, for all steps at once.
        states: what the first step starts from, each (batch, width).
        inputs: what the steps read, each (time, batch, width).
        lengths: int64 (batch,), from 1 to time; None: every row is whole.
        backward: from the last step (of each row) to the first.

    Returns: the states after each row's last step, each (batch, width); the outputs, each (time, batch, width), zero
        after a row's end.
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


def _placeholder(
    held: HeldStep, states: Tensors, inputs: Tensors, bodies: Bodies, backward: bool
) -> tuple[Tensors, Tensors]:
    tensors = (*states, *inputs)
    body = Body(held, tuple(int(x.shape[-1]) for x in tensors), tuple(x.dtype for x in tensors))
    name = bodies.add(held.step, held.ragged, body)
    outputs = held(*states, *(x[0] for x in inputs))[len(states) :]  # for their widths; the tracer drops it
    time, batch = inputs[0].shape[0], inputs[0].shape[1]
    results = torch.onnx.ops.symbolic_multi_out(
        f"{DOMAIN}::{PLACEHOLDER}",
        list(tensors),
        {"body": name, "states": len(states), "backward": int(backward)},
        dtypes=[x.dtype for x in (*states, *outputs)],
        shapes=[*(list(s.shape) for s in states), *([time, batch, y.shape[-1]] for y in outputs)],
        version=1,
    )
    return tuple(results[: len(states)]), tuple(results[len(states) :])
