"""The cells, one step each, written as their equations; what the loop and unroll forms repeat."""

import torch
from torch import Tensor, nn

ACTIVATIONS = {"rnn_tanh": torch.tanh, "rnn_relu": torch.relu, "rnn_sigmoid": torch.sigmoid}


class CellStep(nn.Module):
    """One step of one direction of a recurrent layer, with what does not depend on the state computed before.

    Gate order is torch's.

    Args:
        cell: which recurrence. w_hh: (gates · hidden, hidden), b_hh: (gates · hidden,).
        w_hr: of an LSTM whose h is projected, (projection, hidden); w_hh then has as many columns as w_hr has rows.
    """

    w_hh: Tensor
    b_hh: Tensor
    w_hr: Tensor | None

    def __init__(self, cell: str, w_hh: Tensor, b_hh: Tensor, w_hr: Tensor | None = None) -> None:
        super().__init__()
        self.cell = cell
        self.register_buffer("w_hr", None if w_hr is None else w_hr.T)
        self.register_buffer("w_hh", w_hh.T)
        self.register_buffer("b_hh", b_hh)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The next states, and h once more as the step's output.

        tensors: the states, h and for an LSTM c, (batch, hidden); then W_ih x + b_ih, (batch, gates · hidden).
        """
        *states, driven = tensors
        recurrent = torch.addmm(self.b_hh, states[0], self.w_hh)
        if self.cell == "lstm":
            h, c = _lstm(driven + recurrent, states[1])
            if self.w_hr is not None:  # Sak et al. 2014, eq. 6
                h = h @ self.w_hr
            return h, c, h
        h = _gru(driven, recurrent, states[0]) if self.cell == "gru" else ACTIVATIONS[self.cell](driven + recurrent)
        return h, h


def _lstm(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
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
