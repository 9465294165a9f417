"""First weights of recurrent layers that let a gradient reach far back."""

import torch
from edgeseq_export.ops import LeakyLayer, RecurrentLayer
from edgeseq_export.ops.leaky import LeakyStep
from torch import Tensor, nn


def orthogonal(layer: RecurrentLayer | LeakyLayer) -> None:
    """Random orthogonal recurrent matrices, one a gate, which keep a state's length (Saxe et al. 2014)."""
    for matrix in _recurrent_matrices(layer):
        nn.init.orthogonal_(matrix)


def identity(layer: RecurrentLayer | LeakyLayer) -> None:
    """Recurrent matrices that keep a state as it is, and no bias: for ReLU networks (Le, Jaitly and Hinton 2015)."""
    for matrix in _recurrent_matrices(layer):
        nn.init.eye_(matrix)
    for name, weight in layer.named_parameters():
        if "bias" in name or "skipping" in name:
            nn.init.zeros_(weight)


def forget_bias(layer: RecurrentLayer, value: float) -> None:
    """The bias of an LSTM's forget gates; a positive one starts by remembering (Jozefowicz et al. 2015)."""
    with torch.no_grad():
        for direction in range(layer.directions):
            _, _, *biases = layer.direction_weights(direction)
            for bias, share in zip(biases, (value, 0.0), strict=True):  # torch adds the two
                bias.chunk(4)[1].fill_(share)


def chrono(layer: RecurrentLayer, longest: int) -> None:
    """Gates that start by remembering for 1 to `longest` steps, each unit for its own time, of an LSTM or a GRU.

    Tallec and Ollivier, "Can recurrent neural networks warp time?", 2018, eq. 16: log(u), u uniform from 1 to
    longest - 1, is the bias of the forget gate, and its negative the input gate's; the GRU's update gate is both.
    """
    gates = 4 if layer.cell == "lstm" else 3  # input, forget, …; or reset, update, …
    with torch.no_grad():
        for direction in range(layer.directions):
            _, _, given, recurrent = (weight.chunk(gates) for weight in layer.direction_weights(direction))
            given[1].copy_(torch.empty_like(given[1]).uniform_(1, longest - 1).log())
            recurrent[1].zero_()  # torch adds the two
            if layer.cell == "lstm":
                given[0].copy_(-given[1])
                recurrent[0].zero_()


def _recurrent_matrices(layer: RecurrentLayer | LeakyLayer) -> list[Tensor]:
    """Views of (hidden, hidden), one a direction and gate."""
    if isinstance(layer, LeakyLayer):
        return [step.recurrent.weight.data for step in layer.steps if isinstance(step, LeakyStep)]
    weights = [layer.direction_weights(direction)[1].data for direction in range(layer.directions)]
    return [matrix for weight in weights for matrix in weight.chunk(weight.shape[0] // layer.hidden_size)]
