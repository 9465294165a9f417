"""The ae and vae families: fully connected autoencoders, without hidden layers (vanilla) or with some (deep).

Hinton and Salakhutdinov, "Reducing the Dimensionality of Data with Neural Networks", 2006; the variational one by
Kingma and Welling, "Auto-Encoding Variational Bayes", 2014.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import prod
from typing import cast

import torch
from edgeseq_runtime.errors import UsageError
from torch import Tensor, nn

from edgeseq.nn.autoencoder import Autoencoder
from edgeseq.nn.autoencoder_config import CodeConfig
from edgeseq.nn.dense import ACTIVATIONS, Activation, check_sizes
from edgeseq.nn.family import Hints
from edgeseq.nn.network import check_choice


@dataclass(frozen=True, kw_only=True)
class AeConfig(CodeConfig):
    """How a fully connected autoencoder is built, beside what CodeConfig says.

    hidden_sizes: the widths of the encoder's hidden layers; none make a vanilla autoencoder.
    decoder_sizes: of the decoder's; None for the encoder's in reverse.
    activation: behind every hidden layer. tied: whether the decoder's matrices are the encoder's, transposed.
    """

    hidden_sizes: list[int] = field(default_factory=list)
    decoder_sizes: list[int] | None = None
    activation: Activation = "relu"
    tied: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sizes("hidden_sizes", self.hidden_sizes)
        check_sizes("decoder_sizes", self.decoder_sizes or [])
        check_choice("activation", self.activation, tuple(ACTIVATIONS))
        if self.tied and self.decoder_sizes is not None:
            raise UsageError(
                "tied weights are the encoder's in reverse, but decoder_sizes are given; drop one of the two"
            )
        if self.tied and self.variational:
            raise UsageError("tied weights are of one code, but a variational autoencoder has mean and variance")

    @property
    def widths(self) -> list[int]:
        """Of the decoder's hidden layers."""
        return self.hidden_sizes[::-1] if self.decoder_sizes is None else self.decoder_sizes


class Ae(Autoencoder):
    """Fully connected layers down to the code, and up again."""

    config: AeConfig

    def __init__(self, config: AeConfig, hints: Hints | None = None) -> None:
        size = prod(config.shape)
        features = config.hidden_sizes[-1] if config.hidden_sizes else size
        super().__init__(config, hints, "vae" if config.variational else "ae", features)
        self.encoder = _linear([size, *config.hidden_sizes])
        up = [config.code_size, *config.widths, size]
        self.decoder = None if config.tied else _linear(up)
        self.biases = nn.ParameterList(torch.zeros(width) for width in up[1:]) if config.tied else None
        self._activation = ACTIVATIONS[config.activation]()

    def features(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """x: (batch, *shape)."""
        y = x.flatten(1)
        for layer in self.encoder:
            y = self._activation(layer(y))
        return y

    def rebuild(self, code: Tensor, steps: int, lengths: Tensor | None = None) -> Tensor:
        """code: (batch, code_size)."""
        y, layers = code, len(self.config.widths) + 1
        for number in range(layers):
            y = self._up(number, y)
            y = self._activation(y) if number + 1 < layers else y
        return y.reshape(-1, *self.config.shape)

    def _up(self, number: int, y: Tensor) -> Tensor:
        """The decoder's layer of that number, without activation. y: (batch, width)."""
        if self.decoder is not None:
            return cast(Tensor, self.decoder[number](y))
        down = [self.to_code, *reversed(list(self.encoder))][number]
        biases = cast(nn.ParameterList, self.biases)
        # no transposed view: a file would hold it as a second copy of the weight
        return torch.addmm(biases[number], y, cast(Tensor, down.weight))


def _linear(sizes: Sequence[int]) -> nn.ModuleList:
    """Layers from each size to the next."""
    return nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(sizes))
