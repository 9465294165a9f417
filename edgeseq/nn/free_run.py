"""Free-running generation of an echo state network: its forecast is fed back as the next input."""

from collections.abc import Sequence

import torch
from edgeseq_export.ops import Layer, recur
from edgeseq_export.ops.reservoir import ReservoirLayer, ReservoirStep
from torch import Tensor, nn

from edgeseq.nn.network import Network


class StateReader(nn.Module):
    """From reservoir states, and the input where it is read too, to what the readout reads.

    Buffers: mean (width,) and components (width, components) of a principal component analysis, where there is one.
    """

    mean: Tensor
    components: Tensor

    def __init__(self, width: int, components: int | None, read_input: bool) -> None:
        super().__init__()
        self._reduces, self._read_input = components is not None, read_input
        if components is not None:
            self.register_buffer("mean", torch.zeros(width))
            self.register_buffer("components", torch.zeros(width, components))

    def forward(self, h: Tensor, x: Tensor) -> Tensor:
        """h: (…, width), x: standardised, (…, features) -> (…, what the readout reads)."""
        z = (h - self.mean) @ self.components if self._reduces else h
        return torch.cat([z, x], -1) if self._read_input else z


class Standardiser(nn.Module):
    """Between the data's units and those of the network. Buffers: mean and deviation, (features,)."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Tensor, deviation: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)

    def forward(self, values: Tensor) -> Tensor:
        """To mean 0 and deviation 1."""
        return (values - self.mean) / self.deviation

    def back(self, values: Tensor) -> Tensor:
        """To the data's units."""
        return values * self.deviation + self.mean


class Same(nn.Module):
    """In place of a Standardiser, where the network takes and gives values as they are."""

    def forward(self, values: Tensor) -> Tensor:
        """The values."""
        return values

    back = forward


class FreeStep(nn.Module):
    """One step of a network whose input is its own last forecast."""

    def __init__(
        self,
        layers: Sequence[ReservoirLayer],
        reader: StateReader,
        readout: nn.Module,
        scales: Sequence[Standardiser | Same],
    ) -> None:
        super().__init__()
        for index, layer in enumerate(layers):
            self.register_buffer(f"w_in{index}", layer.w_in[0].detach())
            self.register_buffer(f"bias{index}", layer.bias[0].detach())
        self.steps = nn.ModuleList(layer.steps[0] for layer in layers)
        self.reader, self.readout = reader, readout
        self.inputs, self.outputs = scales

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The next states and forecast, and once more the forecast given, which is what was generated.

        tensors: a state a layer, (batch, units); the last forecast, (batch, features); the leak rate, (batch, 1).
        """
        *states, value, rate = tensors
        x = signal = self.inputs(value)
        following: list[Tensor] = []
        for index, (step, h) in enumerate(zip(self.steps, states, strict=True)):
            assert isinstance(step, ReservoirStep)
            driven = signal @ getattr(self, f"w_in{index}") + getattr(self, f"bias{index}")
            signal, _ = step(h, driven, rate)
            following.append(signal)
        forecast = self.outputs.back(self.readout(self.reader(torch.cat(following, -1), x)))
        return *following, forecast, value


class FreeRun(Layer):
    """The repeated step. It has no weights of its own: what it repeats is made of the network's parts."""

    def __init__(
        self, network: Network, layers: Sequence[ReservoirLayer], reader: StateReader, readout: nn.Module
    ) -> None:
        super().__init__()
        self._parts = (network, tuple(layers), reader, readout)  # in a tuple: a module has each weight under one name

    def forward(self, count: int, states: Sequence[Tensor], value: Tensor) -> Tensor:
        """As Running; made anew at each call, of the weights of the moment."""
        generated: Tensor = self.stepped()(count, states, value)
        return generated

    def stepped(self) -> nn.Module:
        """As a step that is repeated."""
        network, layers, reader, readout = self._parts
        inputs, outputs = (network.x_mean, network.x_deviation), (network.y_mean, network.y_deviation)
        scales = [Standardiser(*scale) if network.config.standardise else Same() for scale in (inputs, outputs)]
        return Running(FreeStep(layers, reader, readout, scales), layers[0].leak_rate)


class Running(nn.Module):
    """The repeated step."""

    def __init__(self, step: FreeStep, leak_rate: float) -> None:
        super().__init__()
        self.step = step
        self._leak_rate = leak_rate

    def forward(self, count: int, states: Sequence[Tensor], value: Tensor) -> Tensor:
        """What is generated, (batch, count, features), from the first forecast on.

        states: of each layer, (batch, units). value: the first forecast, (batch, features).
        """
        rate = value.new_full((), self._leak_rate).expand(count, value.shape[0], 1)
        _, (generated,) = recur(self.step, (*states, value), (rate,))
        return generated.transpose(0, 1)
