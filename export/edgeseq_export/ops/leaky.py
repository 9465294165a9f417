"""A plain recurrent layer with leaky units and a connection that skips steps; there is no operator of ONNX for it."""

import torch
from torch import Tensor, nn

from edgeseq_export.ops.cells import ACTIVATIONS
from edgeseq_export.ops.recurrence import recur

States = tuple[Tensor, ...]


class LeakyStep(nn.Module):
    """One step of one direction; what does not depend on the state is computed before.

    h(t) = (1 − a) h(t−1) + a f(u(t) + W h(t−1) + V h(t−d)), without V where no steps are skipped.

    Args:
        cell: "rnn_tanh", "rnn_relu" or "rnn_sigmoid", which f. leak_rate: a. skip: d, or 0 for none.
    """

    def __init__(self, cell: str, hidden_size: int, leak_rate: float, skip: int) -> None:
        super().__init__()
        self._activation = ACTIVATIONS[cell]
        self._hidden_size = hidden_size
        self._leak_rate = leak_rate
        self.recurrent = nn.Linear(hidden_size, hidden_size, bias=False)
        self.skipping = nn.Linear(hidden_size, hidden_size, bias=False) if skip else None

    def forward(self, state: Tensor, driven: Tensor) -> States:
        """The next state, and h(t).

        state: (batch, d · hidden), h(t−d) to h(t−1) side by side; h(t−1) alone without a skip. driven: u(t),
        (batch, hidden).
        """
        h = state[:, -self._hidden_size :]
        total = driven + self.recurrent(h)
        if self.skipping is not None:
            total = total + self.skipping(state[:, : self._hidden_size])
        h = (1 - self._leak_rate) * h + self._leak_rate * self._activation(total)
        return (h if self.skipping is None else torch.cat([state[:, self._hidden_size :], h], 1)), h


class LeakyLayer(nn.Module):
    """A plain recurrent layer in one or two directions whose units leak (Jaeger et al. 2007) and look back further.

    A leak rate below 1 makes a unit keep part of its value from step to step, so that it forgets slowly; a skip lets
    it read what it was d steps ago (Lin et al. 1996), so that a gradient has fewer steps to go.

    Args:
        cell: "rnn_tanh", "rnn_relu" or "rnn_sigmoid". input_size, hidden_size: features in and out (per direction).
        leak_rate: above 0, at most 1. skip: how many steps back, or 0 for none.
    """

    def __init__(
        self,
        cell: str,
        input_size: int,
        hidden_size: int,
        bidirectional: bool = False,
        leak_rate: float = 1.0,
        skip: int = 0,
    ) -> None:
        super().__init__()
        directions = range(2 if bidirectional else 1)
        self.state_size = hidden_size * max(skip, 1)
        self.inputs = nn.ModuleList(nn.Linear(input_size, hidden_size) for _ in directions)
        self.steps = nn.ModuleList(LeakyStep(cell, hidden_size, leak_rate, skip) for _ in directions)

    def forward(self, x: Tensor, states: States, lengths: Tensor | None = None) -> tuple[Tensor, States]:
        """Run over a batch of sequences.

        Args:
            x: (time, batch, features).
            states: one, (directions, batch, state_size).
            lengths: int64 (batch,), from 1 to time; None: every row is whole.

        Returns: y (time, batch, directions · hidden_size), zero after a row's end; the state after each row's last
            step, for the backward direction after its first.
        """
        outputs, last = [], []
        for direction, (given, step) in enumerate(zip(self.inputs, self.steps, strict=True)):
            (after,), (y,) = recur(step, (states[0][direction],), (given(x),), lengths, backward=direction == 1)
            outputs.append(y)
            last.append(after)
        return torch.cat(outputs, -1), (torch.stack(last),)
