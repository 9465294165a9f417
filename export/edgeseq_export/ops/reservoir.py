"""Reservoir layers: fixed random recurrent weights, of three topologies.

h(t) = (1 − a) h(t−1) + a f(u(t) + W h(t−1)),  u(t) = W_in x(t) + b

Jaeger, "The echo state approach to analysing and training recurrent neural networks", 2001; with leaky units as in
Lukoševičius, "A Practical Guide to Applying Echo State Networks", 2012, equations 2 and 3.
"""

from typing import Literal, cast

import torch
from torch import Tensor, nn

from edgeseq_export.ops.cells import ACTIVATIONS
from edgeseq_export.ops.layer import Layer
from edgeseq_export.ops.native import NativeLayer
from edgeseq_export.ops.recurrence import recur
from edgeseq_export.ops.recurrent import Cell

Topology = Literal["random", "block", "cycle"]
ReservoirActivation = Literal["tanh", "relu", "sigmoid"]
States = tuple[Tensor, ...]

_CELLS: dict[str, Cell] = {"tanh": "rnn_tanh", "relu": "rnn_relu", "sigmoid": "rnn_sigmoid"}
"""What one direction is, where ONNX has an operator for it."""


class DenseFeedback(nn.Module):
    """W h with every weight stored; most of them may be zero. Buffer: weights, W transposed, (units, units)."""

    weights: Tensor

    def __init__(self, units: int) -> None:
        super().__init__()
        self.register_buffer("weights", torch.zeros(units, units))

    def forward(self, h: Tensor) -> Tensor:
        """h: (batch, units)."""
        return h @ self.weights


class BlockFeedback(nn.Module):
    """W h where units stand in blocks of equal size, each fed by all units of a few blocks.

    Buffers: sources, int64 (blocks, fan_in), which blocks feed each; weights (blocks, fan_in · size, size).
    """

    sources: Tensor
    weights: Tensor

    def __init__(self, blocks: int, size: int, fan_in: int) -> None:
        super().__init__()
        self.register_buffer("sources", torch.zeros(blocks, fan_in, dtype=torch.int64))
        self.register_buffer("weights", torch.zeros(blocks, fan_in * size, size))

    def forward(self, h: Tensor) -> Tensor:
        """h: (batch, units). One gather of blocks, one batched product."""
        blocks, width, size = self.weights.shape
        gathered = h.reshape(-1, blocks, size).index_select(1, self.sources.flatten())
        products = gathered.reshape(-1, blocks, width).transpose(0, 1) @ self.weights  # (blocks, batch, size)
        return products.transpose(0, 1).reshape(-1, blocks * size)


class CycleFeedback(nn.Module):
    """W h where each unit is fed by the one before it, the first by the last (Rodan and Tiňo 2011).

    Buffer: weight, (), the one that all connections have.
    """

    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(()))

    def forward(self, h: Tensor) -> Tensor:
        """h: (batch, units)."""
        return self.weight * torch.cat([h[:, -1:], h[:, :-1]], 1)


Feedback = DenseFeedback | BlockFeedback | CycleFeedback


class ReservoirStep(nn.Module):
    """One step of one direction; what does not depend on the state is computed before."""

    def __init__(self, feedback: Feedback, activation: ReservoirActivation) -> None:
        super().__init__()
        self.feedback = feedback
        self._activation = ACTIVATIONS[_CELLS[activation]]

    def forward(self, h: Tensor, driven: Tensor, rate: Tensor) -> States:
        """The next state, twice. h: (batch, units); driven: u(t), likewise; rate: (batch, 1), a, or 0 to hold h."""
        h = h + rate * (self._activation(driven + self.feedback(h)) - h)
        return h, h


class ReservoirLayer(Layer):
    """A reservoir in one or two directions over sequences of unequal length; its weights are set from outside.

    Buffers: w_in, W_in transposed, (directions, features, units); bias (directions, units); and those of each
    direction's feedback.

    Args:
        topology: how units feed each other. activation: f. input_size: features a step. units: in each direction.
        leak_rate: a, above 0, at most 1.
        block_size, fan_in: of the topology "block": units in a block, and how many blocks feed each.
    """

    w_in: Tensor
    bias: Tensor

    def __init__(
        self,
        topology: Topology,
        activation: ReservoirActivation,
        input_size: int,
        units: int,
        bidirectional: bool = False,
        leak_rate: float = 1.0,
        block_size: int = 32,
        fan_in: int = 1,
    ) -> None:
        super().__init__()
        self.topology: Topology = topology
        self.leak_rate = leak_rate
        self.hidden_size = units
        self.directions = 2 if bidirectional else 1
        self.cell: Cell = _CELLS[activation]
        self.register_buffer("w_in", torch.zeros(self.directions, input_size, units))
        self.register_buffer("bias", torch.zeros(self.directions, units))
        self.steps = nn.ModuleList()
        for _ in range(self.directions):
            feedback: Feedback
            if topology == "random":
                feedback = DenseFeedback(units)
            elif topology == "block":
                feedback = BlockFeedback(units // block_size, block_size, fan_in)
            else:
                feedback = CycleFeedback()
            self.steps.append(ReservoirStep(feedback, activation))

    def forward(
        self, x: Tensor, states: States, lengths: Tensor | None = None, noise: float = 0.0
    ) -> tuple[Tensor, States]:
        """Run over a batch of sequences.

        Args:
            x: (time, batch, features).
            states: one, (directions, batch, units).
            lengths: int64 (batch,), from 1 to time; None: every row is whole.
            noise: deviation of normal noise added to u(t); 0 for none.

        Returns: y (time, batch, directions · units), finite but of no meaning after a row's end; the state after each
            row's last step, for the backward direction after its first.
        """
        rate, valid = x.new_full((), self.leak_rate), None
        if lengths is None:
            rate = rate.expand(x.shape[0], x.shape[1], 1)
        else:  # a row that has ended holds its state by a rate of 0; what stands behind its end may be NaN
            valid = (torch.arange(x.shape[0], device=lengths.device)[:, None] < lengths)[:, :, None]
            rate, x = torch.where(valid, rate, 0.0), torch.where(valid, x, 0.0)
        outputs, last = [], []
        for direction, step in enumerate(self.steps):
            driven = self.drive(x, direction)
            if noise:
                driven = driven + noise * torch.randn_like(driven)
            (after,), (y,) = recur(step, (states[0][direction],), (driven, rate), backward=direction == 1)
            outputs.append(y)
            last.append(after)
        y = torch.cat(outputs, -1)
        if valid is not None and self.has_operator:  # which gives zeros after a row's end; others need not pay for it
            y = torch.where(valid, y, 0.0)
        return y, (torch.stack(last),)

    def drive(self, x: Tensor, direction: int = 0) -> Tensor:
        """The sums u = W_in x + b of any number of steps, (…, units). x: (…, features)."""
        return x @ self.w_in[direction] + self.bias[direction]

    def stepped(self) -> nn.Module:
        """Itself: its forward repeats a step."""
        return self

    def native(self) -> nn.Module | None:
        """As one RNN node, None where it is none."""
        return NativeLayer(self) if self.has_operator else None

    @property
    def has_operator(self) -> bool:
        """Whether this is an RNN node, which has no leak and needs every weight."""
        return self.leak_rate == 1 and self.topology == "random"

    def direction_weights(self, direction: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """W_in (units, features), W (units, units), b and zeros (units,), as those of a plain RNN."""
        feedback = cast(ReservoirStep, self.steps[direction]).feedback
        assert isinstance(feedback, DenseFeedback)  # native() is asked of no other
        bias = self.bias[direction]
        return self.w_in[direction].T, feedback.weights.T, bias, torch.zeros_like(bias)
