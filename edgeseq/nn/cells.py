"""The recurrence that a config names, and the zero states it starts from."""

from typing import Any, cast

from edgeseq_export.ops import Cell
from torch import Tensor


def cell_of(config: Any) -> Cell:
    """The cell of a config's layers: for the plain RNN (`cell` is "rnn") the one of its `nonlinearity`."""
    return cast(Cell, f"rnn_{config.nonlinearity}" if config.cell == "rnn" else config.cell)


def zero_states(config: Any, directions: int, like: Tensor) -> tuple[Tensor, ...]:
    """What a layer starts from: h, for the LSTM c too, (directions, batch, hidden_size) each. like: (time, batch, …)"""
    zeros = like.new_zeros(directions, like.shape[1], config.hidden_size)
    return (zeros, zeros) if config.cell == "lstm" else (zeros,)
