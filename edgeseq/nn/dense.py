"""Fully connected layers, and the activations that the families without a recurrence share."""

from collections.abc import Sequence
from typing import Literal

from edgeseq_runtime.errors import UsageError
from torch import nn

Activation = Literal["sigmoid", "tanh", "relu", "gelu"]

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
}


def dense(
    input_size: int, hidden_sizes: Sequence[int], output_size: int, activation: Activation, dropout: float
) -> nn.Sequential:
    """Linear layers with an activation and dropout behind each but the last: (batch, input_size) -> output_size."""
    layers: list[nn.Module] = []
    for width in hidden_sizes:
        layers += [nn.Linear(input_size, width), ACTIVATIONS[activation](), nn.Dropout(dropout)]
        input_size = width
    return nn.Sequential(*layers, nn.Linear(input_size, output_size))


def check_sizes(name: str, sizes: Sequence[int]) -> None:
    """Raise UsageError where one of a config's list of sizes is below 1."""
    if sizes and min(sizes) < 1:
        raise UsageError(f"{name} is {list(sizes)}, but each must be at least 1")
