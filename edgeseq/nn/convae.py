"""The convae family: convolutions that halve, down to the code, and transposed convolutions that double, up again.

Masci et al., "Stacked Convolutional Auto-Encoders for Hierarchical Feature Extraction", 2011; transposed convolution as
in Zeiler et al., "Deconvolutional Networks", 2010.
"""

from dataclasses import dataclass, field
from itertools import pairwise
from math import prod
from typing import Any, cast

from edgeseq_runtime.errors import UsageError
from torch import Tensor, nn

from edgeseq.nn.autoencoder import Autoencoder
from edgeseq.nn.autoencoder_config import CodeConfig
from edgeseq.nn.dense import ACTIVATIONS, Activation, check_sizes
from edgeseq.nn.family import Hints
from edgeseq.nn.network import check_choice

_CONVOLUTIONS: dict[int, tuple[type[Any], type[Any]]] = {
    1: (nn.Conv1d, nn.ConvTranspose1d),
    2: (nn.Conv2d, nn.ConvTranspose2d),
}
"""By the number of axes that are convolved."""


@dataclass(frozen=True, kw_only=True)
class ConvAeConfig(CodeConfig):
    """How a convolutional autoencoder is built, beside what CodeConfig says.

    dimensions: 1 for series (steps, features), 2 for images ((channels,) height, width); None: series with a window,
        otherwise images.
    channels: of the encoder's convolutions; each halves the size of every axis, rounded up. decoder_channels: of the
        decoder's transposed convolutions from the code on; None for the encoder's in reverse.
    kernel_size: of all, odd. activation: behind each but the last. tied: whether the transposed convolutions have the
        weights of the convolutions; the layers to and from the code have their own.
    """

    dimensions: int | None = None
    channels: list[int] = field(default_factory=lambda: [16, 32])
    decoder_channels: list[int] | None = None
    kernel_size: int = 3
    activation: Activation = "relu"
    tied: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("activation", self.activation, tuple(ACTIVATIONS))
        check_sizes("channels", self.channels)
        check_sizes("decoder_channels", self.decoder_channels or [])
        if not self.channels:
            raise UsageError("channels is empty, but at least one convolution is needed; the family 'ae' has none")
        if self.decoder_channels is not None and len(self.decoder_channels) != len(self.channels):
            raise UsageError(
                f"decoder_channels has {len(self.decoder_channels)} entries, but channels {len(self.channels)}: each "
                "doubles what one of those has halved"
            )
        if self.kernel_size < 1 or self.kernel_size % 2 == 0:
            raise UsageError(f"kernel_size is {self.kernel_size}, but it must be odd")
        if self.tied and self.decoder_channels is not None:
            raise UsageError("tied weights are the encoder's in reverse, but decoder_channels are given; drop one")
        self._check_shape()

    def _check_shape(self) -> None:
        if self.dimensions not in (None, 1, 2):
            raise UsageError(f"dimensions is {self.dimensions}, but it is 1 (series) or 2 (images)")
        axes = (2,) if self.axes == 1 else (2, 3)
        if len(self.shape) not in axes:
            wanted = "(steps, features)" if self.axes == 1 else "((channels,) height, width)"
            raise UsageError(f"an example has the shape {self.shape}, but {wanted} is expected; see 'dimensions'")

    @property
    def axes(self) -> int:
        """How many axes are convolved."""
        return self.dimensions or (2 if self.window is None else 1)

    @property
    def sizes(self) -> list[tuple[int, ...]]:
        """Of the convolved axes: of an example, and behind each convolution."""
        if self.axes == 1:
            first: tuple[int, ...] = (self.shape[0],)
        else:
            first = tuple(self.shape[-2:])
        found = [first]
        for _ in self.channels:
            found.append(tuple(-(-size // 2) for size in found[-1]))
        return found

    @property
    def colours(self) -> int:
        """Channels of an example: an image's, or a series' features."""
        return self.shape[1] if self.axes == 1 else self.shape[0] if len(self.shape) == 3 else 1


class ConvAe(Autoencoder):
    """Convolutions with a stride of 2 down to the code, transposed convolutions up again, of one or two dimensions."""

    config: ConvAeConfig

    def __init__(self, config: ConvAeConfig, hints: Hints | None = None) -> None:
        last = config.sizes[-1]
        super().__init__(config, hints, "convae", config.channels[-1] * prod(last))
        down, up = _CONVOLUTIONS[config.axes]
        kernel, padding = config.kernel_size, config.kernel_size // 2
        sizes = [config.colours, *config.channels]
        self.encoder = nn.ModuleList(
            down(before, after, kernel, 2, padding) for before, after in zip(sizes, config.channels, strict=False)
        )
        back = [*(config.decoder_channels or config.channels[::-1]), config.colours]
        self.from_code = nn.Linear(config.code_size, back[0] * prod(last))
        self._start = (back[0], *last)
        self.decoder = nn.ModuleList()
        for number, (before, after) in enumerate(pairwise(back)):
            self.decoder.append(up(before, after, kernel, 2, padding, self._odd(number)))
        if config.tied:
            for layer, one in zip(self.decoder, reversed(self.encoder), strict=True):
                layer.weight = one.weight
        self._activation = ACTIVATIONS[config.activation]()

    def features(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """x: (batch, *shape)."""
        y = self._as_channels(x)
        for layer in self.encoder:
            y = self._activation(layer(y))
        return y.flatten(1)

    def rebuild(self, code: Tensor, steps: int, lengths: Tensor | None = None) -> Tensor:
        """code: (batch, code_size)."""
        y = self._activation(self.from_code(code)).reshape(-1, *self._start)
        for number, layer in enumerate(self.decoder, 1):
            y = layer(y)
            y = self._activation(y) if number < len(self.decoder) else y
        y = y.transpose(1, 2) if self.config.axes == 1 else y
        return cast(Tensor, y.reshape(-1, *self.config.shape))

    def _as_channels(self, x: Tensor) -> Tensor:
        """(batch, channels, …)."""
        if self.config.axes == 1:
            return x.transpose(1, 2)
        return x[:, None] if x.dim() == 3 else x

    def _odd(self, number: int) -> tuple[int, ...]:
        """What the transposed convolution of that number adds to each axis, so that it undoes its halving."""
        sizes = self.config.sizes[::-1]
        return tuple((size + 1) % 2 for size in sizes[number + 1])
