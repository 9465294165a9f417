"""The tcn family: causal dilated convolutions in residual blocks, whose buffers of earlier steps are its states.

Bai, Kolter and Koltun, "An Empirical Evaluation of Generic Convolutional and Recurrent Networks for Sequence
Modeling", 2018, for the residual block; van den Oord et al., "WaveNet: A Generative Model for Raw Audio", 2016, for
dilated causal convolutions and the gated activation. Weights are not normalised.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from edgeseq_runtime.errors import UsageError
from edgeseq_runtime.signature import BATCH, TIME, Limit, Signature, StatePair
from edgeseq_runtime.signature import Tensor as TensorSpec
from torch import Tensor, nn

from edgeseq.data import Dataset
from edgeseq.nn.family import Hints
from edgeseq.nn.network import BASELINE, Network, check_choice, check_common, check_positive, check_sequences, last_step


@dataclass(frozen=True)
class TcnConfig:
    """How a temporal convolutional network is built.

    input_size: features a step. output_size: classes, or values to forecast.
    channels: of every convolution. kernel_size: taps of each. dilations: of the blocks, from the first to the last;
        the network sees 1 + convolutions · (kernel_size − 1) · (sum of dilations) steps.
    convolutions: in each block. activation: ReLU, or tanh times a sigmoid gate.
    head: one answer a step, or one after the last valid step.
    ragged: whether the network takes lengths. standardise: whether inputs (and forecast values) are standardised
        in the network, by the training data's mean and deviation.
    baseline: whether a first forecast is an input too, at every step, to which the answer is added.
    """

    input_size: int
    output_size: int
    channels: int = 32
    kernel_size: int = 3
    dilations: list[int] = field(default_factory=lambda: [1, 2, 4, 8, 16, 32])
    convolutions: int = 2
    activation: Literal["relu", "gated"] = "relu"
    dropout: float = 0.0
    head: Literal["step", "last"] = "last"
    task: Literal["classify", "forecast"] = "classify"
    ragged: bool = True
    standardise: bool = True
    baseline: bool = False

    def __post_init__(self) -> None:
        check_common(self)
        check_choice("task", self.task, ("classify", "forecast"))
        check_choice("activation", self.activation, ("relu", "gated"))
        check_choice("head", self.head, ("step", "last"))
        check_positive(self, "input_size", "channels", "convolutions")
        if self.baseline and self.task != "forecast":
            raise UsageError(f"a baseline is a first forecast, but the task is to {self.task}")
        if self.kernel_size < 2:
            raise UsageError(f"kernel_size is {self.kernel_size}, but a convolution over time needs at least 2 taps")
        if not self.dilations or min(self.dilations) < 1:
            raise UsageError(f"dilations are {self.dilations}, but one a block is needed, each at least 1")

    @property
    def receptive_field(self) -> int:
        """How many steps an answer depends on, its own included."""
        return 1 + self.convolutions * (self.kernel_size - 1) * sum(self.dilations)


class CausalConvolution(nn.Module):
    """y(t) = b + Σ_j W_j x(t − j · dilation), j from 0 to kernel_size − 1, over sequences that come in pieces."""

    def __init__(self, inputs: int, outputs: int, kernel_size: int, dilation: int) -> None:
        super().__init__()
        self.inputs = inputs
        self.memory = (kernel_size - 1) * dilation
        self.net = nn.Conv1d(inputs, outputs, kernel_size, dilation=dilation)

    def forward(self, x: Tensor, buffer: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        """Run over a piece.

        Args:
            x: (batch, inputs, time). buffer: (batch, inputs, memory), the steps before it.
            lengths: int64 (batch,), from 1 to time; None: every row is whole.

        Returns: y (batch, outputs, time); the buffer after each row's last step.
        """
        extended = torch.cat([buffer, x], 2)
        y: Tensor = self.net(extended)
        if lengths is None:
            return y, extended[:, :, -self.memory :]
        steps = lengths[:, None] + torch.arange(self.memory, device=lengths.device)
        return y, extended.gather(2, steps[:, None, :].expand(-1, self.inputs, -1))


class Block(nn.Module):
    """Causal convolutions of one dilation, each with its activation and dropout, and a way around them."""

    def __init__(self, inputs: int, dilation: int, config: TcnConfig) -> None:
        super().__init__()
        self._gated = config.activation == "gated"
        channels = config.channels
        sizes = [inputs] + [channels] * (config.convolutions - 1)
        self.convolutions = nn.ModuleList(
            CausalConvolution(size, channels * (2 if self._gated else 1), config.kernel_size, dilation)
            for size in sizes
        )
        self.around = nn.Conv1d(inputs, channels, 1) if inputs != channels else nn.Identity()
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, buffers: Iterator[Tensor], lengths: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        """x: (batch, inputs, time). Returns (batch, channels, time), and the next buffers."""
        y, following = x, []
        for convolution in self.convolutions:
            y, buffer = convolution(y, next(buffers), lengths)
            y = self.dropout(self._activate(y))
            following.append(buffer)
        return self.around(x) + y, following

    def _activate(self, y: Tensor) -> Tensor:
        if not self._gated:
            return torch.relu(y)
        value, gate = y.chunk(2, 1)
        return torch.tanh(value) * torch.sigmoid(gate)


class Tcn(Network):
    """Residual blocks of causal convolutions between input standardisation and a head.

    Inputs: `x` float32 (batch, time, input_size); `baseline` float32 (batch, time, output_size) where there is a first
    forecast; `lengths` int64 (batch,) where the network is ragged; one state a convolution, buffer0, buffer1, …
    (batch, channels, (kernel_size − 1) · dilation), the steps it still needs.
    """

    def __init__(self, config: TcnConfig, hints: Hints | None = None) -> None:
        super().__init__(config, hints, "tcn", (config.input_size,))
        sizes = [config.input_size] + [config.channels] * (len(config.dilations) - 1)
        pairs = zip(sizes, config.dilations, strict=True)
        self.blocks = nn.ModuleList(Block(size, dilation, config) for size, dilation in pairs)
        self.head = nn.Linear(config.channels, config.output_size)

    @classmethod
    def sizes(cls, data: Dataset) -> dict[str, Any]:
        """Features, classes or values, and whether there is a first forecast.

        Raises:
            UsageError: x is anything but sequences of features.
        """
        check_sequences(data, "tcn")
        sizes = {**super().sizes(data), "input_size": data.x.shape[2]}
        return {**sizes, "baseline": BASELINE in data.more}

    def forward(
        self, x: Tensor, lengths: Tensor | None = None, baseline: Tensor | None = None, **states: Tensor
    ) -> dict[str, Tensor]:
        """Outputs and next states by the signature's names; a state that is not given starts from zeros."""
        pairs = self._state_pairs()
        if unknown := states.keys() - {pair.input for pair in pairs}:
            raise UsageError(f"there is no state '{min(unknown)}'; this network has buffer0 to {pairs[-1].input}")
        y = self.standardised(x).transpose(1, 2)
        buffers = iter([states.get(pair.input, _initial(pair, y)) for pair in pairs])
        following: list[Tensor] = []
        for block in self.blocks:
            y, after = block(y, buffers, lengths)
            following += after
        y = y.transpose(1, 2)
        if self.config.head == "step":
            pooled = _ended(y, lengths)
        else:
            pooled = last_step(y, lengths)
            baseline = None if baseline is None else last_step(baseline, lengths)
        outputs = self.answer(self.head(pooled), baseline)
        return {**outputs, **{pair.output: buffer for pair, buffer in zip(pairs, following, strict=True)}}

    def signature(self) -> Signature:
        """What goes in and out, with the hints of the training data."""
        inputs = [TensorSpec("x", "float32", (BATCH, TIME, self.config.input_size), draw=self.drawn("x"))]
        if self.config.baseline:
            axes = (BATCH, TIME, self.config.output_size)
            inputs.append(TensorSpec(BASELINE, "float32", axes, draw=self.drawn(BASELINE)))
        if self.config.ragged:
            inputs.append(TensorSpec("lengths", "int64", (BATCH,), of="x"))
        return Signature(
            inputs=tuple(inputs),
            outputs=self.answers(self.config.head),
            states=self._state_pairs(),
            limits={TIME: Limit(1, None), BATCH: Limit(1, None)},
            typical=dict(self.hints.typical),
            streamable=True,
        )

    def _state_pairs(self) -> tuple[StatePair, ...]:
        convolutions = [layer for layer in self.modules() if isinstance(layer, CausalConvolution)]
        return tuple(
            StatePair(f"buffer{i}", f"buffer{i}_next", (BATCH, layer.inputs, layer.memory))
            for i, layer in enumerate(convolutions)
        )


def _initial(pair: StatePair, y: Tensor) -> Tensor:
    """No steps before the first: zeros (batch, channels, memory)."""
    return y.new_zeros([y.shape[0], *(axis for axis in pair.axes if isinstance(axis, int))])


def _ended(y: Tensor, lengths: Tensor | None) -> Tensor:
    """Each step, zero after a row's end. y: (batch, time, channels)."""
    if lengths is None:
        return y
    valid = torch.arange(y.shape[1], device=lengths.device) < lengths[:, None]
    return torch.where(valid[:, :, None], y, y.new_zeros(()))
