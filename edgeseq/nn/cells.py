"""The recurrence that a config names, the zero states it starts from, and one step of stacked layers."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from edgeseq_export.ops import Cell, RecurrentLayer
from edgeseq_export.ops.cells import CellStep
from torch import Tensor, nn


def cell_of(config: Any) -> Cell:
    """The cell of a config's layers: for the plain RNN (`cell` is "rnn") the one of its `nonlinearity`."""
    return cast(Cell, f"rnn_{config.nonlinearity}" if config.cell == "rnn" else config.cell)


def zero_states(config: Any, directions: int, like: Tensor) -> tuple[Tensor, ...]:
    """What a layer starts from: h, for the LSTM c too, (directions, batch, hidden_size) each. like: (time, batch, …)"""
    zeros = like.new_zeros(directions, like.shape[1], config.hidden_size)
    return (zeros, zeros) if config.cell == "lstm" else (zeros,)


class StackStep(nn.Module):
    """One step of recurrent layers on top of each other, with the weights they have when it is made.

    Attributes: states, how many there are, (batch, hidden_size) each: h of the first layer, for the LSTM its c, and so
    on upwards.
    """

    def __init__(self, layers: Sequence[RecurrentLayer]) -> None:
        super().__init__()
        self.cells = nn.ModuleList()
        for index, layer in enumerate(layers):
            w_ih, w_hh, b_ih, b_hh = (weight.detach() for weight in layer.direction_weights(0))
            self.register_buffer(f"w_ih{index}", w_ih.T)  # as a layer over all steps is traced, so that both are one
            self.register_buffer(f"b_ih{index}", b_ih)
            self.cells.append(CellStep(layer.cell, w_hh, b_hh))
        self._quantities = 2 if layers[0].cell == "lstm" else 1
        self.states = self._quantities * len(layers)

    def forward(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """The last layer's h, then the next states. x: (batch, features)."""
        following: list[Tensor] = []
        for index, cell in enumerate(self.cells):
            driven = torch.addmm(getattr(self, f"b_ih{index}"), x, getattr(self, f"w_ih{index}"))
            *after, x = cell(*states[index * self._quantities : (index + 1) * self._quantities], driven)
            following += after
        return x, *following
