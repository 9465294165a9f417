"""One recurrent layer as a step that recur() repeats: what the loop and unroll forms are written from."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgeseq_export.ops.cells import CellStep
from edgeseq_export.ops.native import Weighted
from edgeseq_export.ops.recurrence import recur
from edgeseq_export.ops.recurrent import States


class SteppedLayer(nn.Module):
    """What stands in a RecurrentLayer's place while loops or copies are written; same call, same answer.

    projections: of an LSTM that has them, W_hr (projection, hidden) of each direction.
    """

    def __init__(self, layer: Weighted, projections: Sequence[Tensor] = ()) -> None:
        super().__init__()
        self._directions = range(layer.directions)
        self.steps = nn.ModuleList()
        for direction in self._directions:
            w_ih, w_hh, b_ih, b_hh = (weight.detach() for weight in layer.direction_weights(direction))
            self.register_buffer(f"w_ih{direction}", w_ih)
            self.register_buffer(f"b_ih{direction}", b_ih)
            w_hr = projections[direction].detach() if projections else None
            self.steps.append(CellStep(layer.cell, w_hh, b_hh, w_hr))

    def forward(self, x: Tensor, states: States, lengths: Tensor | None = None) -> tuple[Tensor, States]:
        """Shapes as in RecurrentLayer."""
        outputs, last = [], []
        for direction in self._directions:
            driven = F.linear(x, getattr(self, f"w_ih{direction}"), getattr(self, f"b_ih{direction}"))
            given = tuple(state[direction] for state in states)
            after, (y,) = recur(self.steps[direction], given, (driven,), lengths, backward=direction == 1)
            outputs.append(y)
            last.append(after)
        return torch.cat(outputs, -1), tuple(torch.stack(state) for state in zip(*last, strict=True))
