"""The cnn family: blocks of convolution, normalisation, activation and pooling, then fully connected layers.

LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998; batch normalisation by Ioffe and Szegedy,
2015.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from edgeseq_runtime.errors import UsageError
from torch import Tensor, nn

from edgeseq.data import Dataset
from edgeseq.nn.array import ArrayNetwork, check_array
from edgeseq.nn.dense import ACTIVATIONS, Activation, check_sizes, dense
from edgeseq.nn.family import Hints
from edgeseq.nn.network import check_choice, check_positive, statistics

_POOLS = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}


@dataclass(frozen=True)
class CnnConfig:
    """How a convolutional network is built.

    input_shape: of one image: (height, width), or (channels, height, width). output_size: classes, or values.
    channels: of each block; every block halves height and width, rounded down.
    convolutions: how many each block has. kernel_size: theirs, odd; they keep height and width.
    batch_norm: whether each is followed by batch normalisation. activation: behind each.
    pool: what a block ends with: the largest or the average of two by two.
    hidden_sizes: fully connected layers between the last block and the answer; none are allowed.
    dropout: before each fully connected layer.
    task: "classify" gives logits and probabilities; "forecast" gives values in the data's own units.
    standardise: whether pixels (and forecast values) are standardised in the network, by the training data's mean and
        deviation of each channel.
    """

    input_shape: list[int]
    output_size: int
    channels: list[int] = field(default_factory=lambda: [16, 32])
    convolutions: int = 1
    kernel_size: int = 3
    batch_norm: bool = True
    activation: Activation = "relu"
    pool: Literal["max", "average"] = "max"
    hidden_sizes: list[int] = field(default_factory=lambda: [64])
    dropout: float = 0.0
    task: Literal["classify", "forecast"] = "classify"
    standardise: bool = True

    def __post_init__(self) -> None:
        check_array(self)
        check_choice("pool", self.pool, tuple(_POOLS))
        check_positive(self, "convolutions", "kernel_size")
        check_sizes("hidden_sizes", self.hidden_sizes)
        check_sizes("channels", self.channels)
        if self.kernel_size % 2 == 0:
            raise UsageError(f"kernel_size is {self.kernel_size}, but it must be odd")
        if len(self.input_shape) not in (2, 3):
            raise UsageError(
                f"input_shape is {self.input_shape}, but an image has 2 or 3 axes: (channels,) height, width"
            )
        height, width = self.pooled
        if not (height and width):
            size = " by ".join(map(str, self.input_shape[-2:]))
            raise UsageError(
                f"channels has {len(self.channels)} blocks, but nothing is left of {size} pixels after them"
            )

    @property
    def pooled(self) -> tuple[int, int]:
        """Height and width behind the last block."""
        height, width = self.input_shape[-2:]
        return height >> len(self.channels), width >> len(self.channels)


class Cnn(ArrayNetwork):
    """Blocks of convolutions and a fully connected head, over `x` float32 (batch, [channels,] height, width)."""

    def __init__(self, config: CnnConfig, hints: Hints | None = None) -> None:
        colours = config.input_shape[0] if len(config.input_shape) == 3 else 1
        super().__init__(config, hints, "cnn", (colours, 1, 1) if len(config.input_shape) == 3 else ())
        inputs = [colours, *config.channels]
        self.blocks = nn.Sequential(
            *(block(before, after, config) for before, after in zip(inputs, config.channels, strict=False))
        )
        height, width = config.pooled
        self.dropout = nn.Dropout(config.dropout)
        self.head = dense(
            inputs[-1] * height * width, config.hidden_sizes, config.output_size, config.activation, config.dropout
        )

    @classmethod
    def sizes(cls, data: Dataset) -> dict[str, Any]:
        """The shape of an image, and classes or values. Raises UsageError for what is no image."""
        if data.x.ndim not in (3, 4):
            raise UsageError(
                f"the family 'cnn' takes images (examples, height, width) or (examples, channels, height, width), but "
                f"x has shape {data.x.shape}"
            )
        return super().sizes(data)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """x: (batch, *input_shape). Outputs by the signature's names."""
        images = self.standardised(x)
        maps = self.blocks(images[:, None] if images.dim() == 3 else images)
        return self.answer(self.head(self.dropout(maps.flatten(1))))

    def x_statistics(self, data: Dataset) -> tuple[Any, Any]:
        """Mean and deviation of each channel, (channels, 1, 1); without channels of all pixels together, ()."""
        if data.x.ndim == 3:
            return super().x_statistics(data)
        mean, deviation = statistics(np.moveaxis(data.x, 1, -1), 1)
        return mean[:, None, None], deviation[:, None, None]


def block(before: int, after: int, config: CnnConfig) -> nn.Sequential:
    """(batch, before, height, width) -> (batch, after, height / 2, width / 2), rounded down."""
    layers: list[nn.Module] = []
    for _ in range(config.convolutions):
        bias = not config.batch_norm  # normalisation would take it away again
        layers.append(nn.Conv2d(before, after, config.kernel_size, padding=config.kernel_size // 2, bias=bias))
        if config.batch_norm:
            layers.append(nn.BatchNorm2d(after))
        layers.append(ACTIVATIONS[config.activation]())
        before = after
    return nn.Sequential(*layers, _POOLS[config.pool](2))
