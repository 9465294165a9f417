"""The mlp family: a multilayer perceptron, the network of fully connected layers (Rumelhart, Hinton, Williams 1986)."""

from dataclasses import dataclass, field
from math import prod
from typing import Literal

from torch import Tensor

from edgeseq.nn.array import ArrayNetwork, check_array, statistics_shape
from edgeseq.nn.dense import Activation, check_sizes, dense
from edgeseq.nn.family import Hints


@dataclass(frozen=True)
class MlpConfig:
    """How a multilayer perceptron is built.

    input_shape: of one example; its entries are read in a row. output_size: classes, or values to forecast.
    hidden_sizes: the widths of the hidden layers, as many as there are; none make a linear model.
    activation, dropout: behind every hidden layer.
    task: "classify" gives logits and probabilities; "forecast" gives values in the data's own units.
    standardise: whether inputs (and forecast values) are standardised in the network, by the training data's mean and
        deviation: of each feature where an example is a row of them, else of all entries together.
    """

    input_shape: list[int]
    output_size: int
    hidden_sizes: list[int] = field(default_factory=lambda: [128])
    activation: Activation = "relu"
    dropout: float = 0.0
    task: Literal["classify", "forecast"] = "classify"
    standardise: bool = True

    def __post_init__(self) -> None:
        check_array(self)
        check_sizes("hidden_sizes", self.hidden_sizes)


class Mlp(ArrayNetwork):
    """Fully connected layers over the entries of `x`, float32 (batch, *input_shape)."""

    def __init__(self, config: MlpConfig, hints: Hints | None = None) -> None:
        super().__init__(config, hints, "mlp", statistics_shape(config.input_shape))
        self.layers = dense(
            prod(config.input_shape), config.hidden_sizes, config.output_size, config.activation, config.dropout
        )

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """x: (batch, *input_shape). Outputs by the signature's names."""
        return self.answer(self.layers(self.standardised(x).flatten(1)))
