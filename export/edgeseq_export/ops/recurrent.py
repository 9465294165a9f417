"""One recurrent layer as torch computes it: in training, and as the judge of the proof."""

from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from edgeseq_export.ops.cells import CellStep
from edgeseq_export.ops.layer import Layer
from edgeseq_export.ops.recurrence import recur

Cell = Literal["lstm", "gru", "rnn_tanh", "rnn_relu", "rnn_sigmoid"]
States = tuple[Tensor, ...]


class RecurrentLayer(Layer):
    """An RNN, LSTM or GRU layer in one or two directions, over sequences of unequal length.

    The weights lie in `net`, a torch layer of depth one, under torch's own names. torch has no sigmoid RNN: that
    cell borrows the weights of `nn.RNN` and is computed step by step.

    Args:
        cell: which recurrence; input_size, hidden_size: features in and out (per direction).
    """

    def __init__(self, cell: Cell, input_size: int, hidden_size: int, bidirectional: bool = False) -> None:
        super().__init__()
        self.cell: Cell = cell
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.directions = 2 if bidirectional else 1
        self.net: nn.LSTM | nn.GRU | nn.RNN
        if cell == "lstm":
            self.net = nn.LSTM(input_size, hidden_size, bidirectional=bidirectional)
        elif cell == "gru":
            self.net = nn.GRU(input_size, hidden_size, bidirectional=bidirectional)
        else:
            nonlinearity = "relu" if cell == "rnn_relu" else "tanh"
            self.net = nn.RNN(input_size, hidden_size, bidirectional=bidirectional, nonlinearity=nonlinearity)

    def forward(self, x: Tensor, states: States, lengths: Tensor | None = None) -> tuple[Tensor, States]:
        """Run over a batch of sequences.

        Args:
            x: (time, batch, features).
            states: h, and for an LSTM c, each (directions, batch, hidden_size).
            lengths: int64 (batch,), from 1 to time; None: every row is whole.

        Returns: y (time, batch, directions · hidden_size), zero after a row's end; the states after each row's
            last step, for the backward direction after its first.
        """
        if self.cell == "rnn_sigmoid":
            return self._sigmoid(x, states[0], lengths)
        hidden = states if self.cell == "lstm" else states[0]
        if lengths is None:
            y, last = self.net(x, hidden)
        else:
            packed = pack_padded_sequence(x, lengths.cpu(), enforce_sorted=False)
            y, last = self.net(packed, hidden)
            y, _ = pad_packed_sequence(y, total_length=x.shape[0])
        return y, last if self.cell == "lstm" else (last,)

    def stepped(self) -> nn.Module:
        """As a step that is repeated."""
        from edgeseq_export.ops.stepped import SteppedLayer  # it is made from this class

        return SteppedLayer(self)

    def native(self) -> nn.Module | None:
        """As one LSTM, GRU or RNN node."""
        from edgeseq_export.ops.native import NativeLayer  # it is made from this class

        return NativeLayer(self)

    def direction_weights(self, direction: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """W_ih (gates · hidden, features), W_hh (gates · hidden, hidden), b_ih and b_hh (gates · hidden,)."""
        suffix = "_l0_reverse" if direction else "_l0"
        weights = [getattr(self.net, name + suffix) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        return weights[0], weights[1], weights[2], weights[3]

    def _sigmoid(self, x: Tensor, h: Tensor, lengths: Tensor | None) -> tuple[Tensor, States]:
        outputs, last = [], []
        for direction in range(self.directions):
            w_ih, w_hh, b_ih, b_hh = self.direction_weights(direction)
            step = CellStep(self.cell, w_hh, b_hh)
            driven = F.linear(x, w_ih, b_ih)
            (after,), (y,) = recur(step, (h[direction],), (driven,), lengths, backward=direction == 1)
            outputs.append(y)
            last.append(after)
        return torch.cat(outputs, -1), (torch.stack(last),)


class OperatorLayer(RecurrentLayer):
    """One that is its operator in every form: what goes on over a sequence of free length beside copies of a step."""

    def stepped(self) -> nn.Module:
        """As one LSTM, GRU or RNN node."""
        return cast(nn.Module, self.native())
