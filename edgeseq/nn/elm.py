"""The elm family: an extreme learning machine, a random hidden layer with a readout that is solved for.

Huang, Zhu and Siew, "Extreme learning machine: theory and applications", 2006; with ridge regression in place of the
pseudoinverse, as in Huang et al. 2012.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import numpy as np
import torch
from edgeseq_runtime.errors import UsageError
from torch import Tensor, nn

from edgeseq.data import Dataset
from edgeseq.fit import ridge, sharpness
from edgeseq.fit.ridge import PENALTIES
from edgeseq.nn.array import ArrayNetwork, check_array, statistics_shape
from edgeseq.nn.dense import ACTIVATIONS, Activation
from edgeseq.nn.family import Hints
from edgeseq.nn.network import check_positive


@dataclass(frozen=True)
class ElmConfig:
    """How an extreme learning machine is built.

    input_shape: of one example. output_size: classes, or values to forecast.
    hidden_size: random units. activation: theirs.
    scale: how large their sums are: the deviation they would have for independent standardised inputs.
    penalty: of the ridge regression; where it is not given, it is chosen by leaving out one training example at a time.
    task: "classify" gives logits and probabilities; "forecast" gives values in the data's own units.
    standardise: as in the family mlp.
    """

    input_shape: list[int]
    output_size: int
    hidden_size: int = 500
    activation: Activation = "sigmoid"
    scale: float = 1.0
    penalty: float | None = None
    task: Literal["classify", "forecast"] = "classify"
    standardise: bool = True

    def __post_init__(self) -> None:
        check_array(self)
        check_positive(self, "hidden_size")
        for name, value in (("scale", self.scale), ("penalty", self.penalty)):
            if value is not None and value <= 0:
                raise UsageError(f"{name} is {value}, but it must be more than 0")


class Elm(ArrayNetwork):
    """activation(W x + b) with W and b drawn once and kept, then the linear readout that `solve` finds.

    Input: `x` float32 (batch, *input_shape). No weight is trained by gradient.
    """

    def __init__(self, config: ElmConfig, hints: Hints | None = None) -> None:
        super().__init__(config, hints, "elm", statistics_shape(config.input_shape))
        entries = prod(config.input_shape)
        self.hidden = nn.Linear(entries, config.hidden_size)
        self.activation = ACTIVATIONS[config.activation]()
        self.readout = nn.Linear(config.hidden_size, config.output_size)
        bound = config.scale * (3 / entries) ** 0.5  # a uniform number of deviation scale / sqrt(entries)
        nn.init.uniform_(self.hidden.weight, -bound, bound)
        nn.init.uniform_(self.hidden.bias, -config.scale, config.scale)
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """x: (batch, *input_shape). Outputs by the signature's names."""
        return self.answer(self.readout(self._features(x)))

    def solve(self, data: Dataset) -> Mapping[str, Any]:
        """Find the readout by ridge regression, in float64; returns its `penalty`, and the `sharpness` of classes.

        Classes are regressed as ones among zeros; the scores are then scaled so that the probabilities of examples
        left out are right on average (edgeseq.fit.sharpness).
        """
        penalties = PENALTIES if self.config.penalty is None else (self.config.penalty,)
        features = self._features(torch.from_numpy(data.x)).numpy()
        if self.task == "classify":
            found = ridge(features, np.eye(self.config.output_size)[data.y], penalties)
            factor = sharpness(found.left_out, data.y)
            self._read(factor * found.weights, factor * found.bias)
            return {"penalty": found.penalty, "sharpness": factor}
        targets = data.y
        if self.config.standardise:
            targets = (data.y - self.y_mean.numpy()) / self.y_deviation.numpy()
        found = ridge(features, targets, penalties)
        self._read(found.weights, found.bias)
        return {"penalty": found.penalty}

    def _features(self, x: Tensor) -> Tensor:
        """The hidden layer: (batch, hidden_size)."""
        features: Tensor = self.activation(self.hidden(self.standardised(x).flatten(1)))
        return features

    def _read(self, weights: Any, bias: Any) -> None:
        self.readout.weight.copy_(torch.from_numpy(weights.T))
        self.readout.bias.copy_(torch.from_numpy(bias))
