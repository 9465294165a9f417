"""The cells, one step each, written as their equations; what the loop and unroll forms repeat."""

import torch
from torch import Tensor, nn

from edgeseq_export.ops.recurrent import Cell, RecurrentLayer, States


class CellStep(nn.Module):
    """One step of one direction of a recurrent layer, with what does not depend on the state computed before.

    Gate order is torch's. W_hh: (hidden, gates · hidden), b_hh: (gates · hidden,).
    """

    w_hh: Tensor
    b_hh: Tensor

    def __init__(self, layer: RecurrentLayer, direction: int) -> None:
        super().__init__()
        _, w_hh, _, b_hh = layer.direction_weights(direction)
        self.cell: Cell = layer.cell
        self.register_buffer("w_hh", w_hh.detach().T.contiguous())
        self.register_buffer("b_hh", b_hh.detach().clone())

    def forward(self, driven: Tensor, *states: Tensor) -> States:
        """The next states.

        driven: W_ih x + b_ih, (batch, gates · hidden). states: h, and c of an LSTM, (batch, hidden).
        """
        recurrent = torch.addmm(self.b_hh, states[0], self.w_hh)
        if self.cell == "lstm":
            return _lstm(driven + recurrent, states[1])
        if self.cell == "gru":
            return (_gru(driven, recurrent, states[0]),)
        activation = {"rnn_tanh": torch.tanh, "rnn_relu": torch.relu, "rnn_sigmoid": torch.sigmoid}[self.cell]
        return (activation(driven + recurrent),)


class HeldStep(nn.Module):
    """A step that holds its state and gives zeros after a row's end.

    Inputs: states, driven, and for ragged rows valid (batch, 1) bool. Outputs: next states, and y (batch, hidden).
    """

    def __init__(self, step: nn.Module, ragged: bool) -> None:
        super().__init__()
        self.step = step
        self._ragged = ragged

    def forward(self, *tensors: Tensor) -> States:
        """The next states, then y."""
        *states, driven = tensors[:-1] if self._ragged else tensors
        following = self.step(driven, *states)
        if not self._ragged:
            return *following, following[0] + 0.0  # an output of its own: a graph may not name one value twice
        valid = tensors[-1]
        held = tuple(torch.where(valid, new, old) for new, old in zip(following, states, strict=True))
        return *held, torch.where(valid, following[0], torch.zeros_like(following[0]))


def _lstm(gates: Tensor, c: Tensor) -> States:
    """Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000."""
    i, f, g, o = gates.chunk(4, -1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def _gru(driven: Tensor, recurrent: Tensor, h: Tensor) -> Tensor:
    """Cho et al. 2014, with the reset gate applied after the matrix product, as torch and cuDNN have it."""
    (r_x, z_x, n_x), (r_h, z_h, n_h) = driven.chunk(3, -1), recurrent.chunk(3, -1)
    r, z = torch.sigmoid(r_x + r_h), torch.sigmoid(z_x + z_h)
    n = torch.tanh(n_x + r * n_h)
    return (1 - z) * n + z * h
