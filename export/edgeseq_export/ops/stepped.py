"""One recurrent layer as a placeholder in the traced graph, whose step is traced by itself: loop and unroll."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from edgeseq_export.ops.cells import CellStep, HeldStep
from edgeseq_export.ops.recurrent import RecurrentLayer, States

DOMAIN = "edgeseq"
PLACEHOLDER = "Recurrence"
"""Inputs: states, then what a step reads, time first. Outputs: last states, then what every step gives, time first.
Attributes: body (the step's name), backward (1: from the last step to the first)."""


@dataclass(frozen=True)
class Body:
    """A step to be traced by itself: the module, and the width and type of each input, (batch, width), states first."""

    step: nn.Module
    widths: tuple[int, ...]
    dtypes: tuple[torch.dtype, ...]

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """Inputs to trace it with."""
        return tuple(torch.ones(batch, width, dtype=d) for width, d in zip(self.widths, self.dtypes, strict=True))


@dataclass
class Bodies:
    """The steps met while a network is traced, by the name their placeholders carry."""

    by_name: dict[str, Body] = field(default_factory=dict)

    def add(self, body: Body) -> str:
        """Note a step; its name."""
        name = f"step{len(self.by_name)}"
        self.by_name[name] = body
        return name


class SteppedLayer(nn.Module):
    """What stands in a RecurrentLayer's place while a network is traced; same call, same answer, in placeholders."""

    def __init__(self, layer: RecurrentLayer, bodies: Bodies) -> None:
        super().__init__()
        self.hidden_size = layer.hidden_size
        self.directions = layer.directions
        self._bodies = bodies
        self.steps = nn.ModuleList(CellStep(layer, direction) for direction in range(layer.directions))
        self.inputs = nn.ModuleList(_input_map(layer, direction) for direction in range(layer.directions))

    def forward(self, x: Tensor, states: States, lengths: Tensor | None = None) -> tuple[Tensor, States]:
        """Shapes as in RecurrentLayer. Only for tracing: outside of it the answer holds no values."""
        valid = None
        if lengths is not None:
            valid = (torch.arange(x.shape[0], device=x.device)[:, None] < lengths[None, :])[:, :, None]
        results = [self._run(d, x, [s[d] for s in states], valid) for d in range(self.directions)]
        y = torch.cat([result[-1] for result in results], -1)
        last = tuple(torch.stack([result[i] for result in results]) for i in range(len(states)))
        return y, last

    def _run(self, direction: int, x: Tensor, states: list[Tensor], valid: Tensor | None) -> list[Tensor]:
        """One direction: its last states (batch, hidden), and y (time, batch, hidden)."""
        driven = self.inputs[direction](x)
        per_step = [driven] if valid is None else [driven, valid]
        widths = (*[self.hidden_size] * len(states), int(driven.shape[-1]), 1)
        dtypes = (*[x.dtype] * (len(states) + 1), torch.bool)
        count = len(states) + len(per_step)
        step = HeldStep(self.steps[direction], valid is not None)
        name = self._bodies.add(Body(step, widths[:count], dtypes[:count]))
        state_shape = [x.shape[1], self.hidden_size]
        return list(
            torch.onnx.ops.symbolic_multi_out(
                f"{DOMAIN}::{PLACEHOLDER}",
                [*states, *per_step],
                {"body": name, "backward": direction},
                dtypes=[x.dtype] * (len(states) + 1),
                shapes=[*[state_shape] * len(states), [x.shape[0], *state_shape]],
                version=1,
            )
        )


def _input_map(layer: RecurrentLayer, direction: int) -> nn.Linear:
    """W_ih x + b_ih, for all steps at once."""
    w_ih, _, b_ih, _ = layer.direction_weights(direction)
    linear = nn.Linear(layer.input_size, w_ih.shape[0])
    with torch.no_grad():
        linear.weight.copy_(w_ih)
        linear.bias.copy_(b_ih)
    return linear
