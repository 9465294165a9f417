"""One recurrent layer as a native ONNX operator (LSTM, GRU, RNN), with its weights in the operator's order."""

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from edgeseq_export.ops.recurrent import Cell, States

_OPERATOR = {"lstm": "LSTM", "gru": "GRU", "rnn_tanh": "RNN", "rnn_relu": "RNN", "rnn_sigmoid": "RNN"}
_ACTIVATION = {"rnn_tanh": "Tanh", "rnn_relu": "Relu", "rnn_sigmoid": "Sigmoid"}
_GATES = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}  # torch ifgo -> ONNX iofc; torch rzn -> ONNX zrh
_OPERATOR_VERSION = 14


class Weighted(Protocol):
    """What a NativeLayer is made from: a RecurrentLayer, or another layer that is one recurrence of the operators."""

    @property
    def cell(self) -> Cell: ...

    @property
    def hidden_size(self) -> int: ...

    @property
    def directions(self) -> int: ...

    def direction_weights(self, direction: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """W_ih, W_hh, b_ih and b_hh, as those of a RecurrentLayer."""
        ...


class NativeLayer(nn.Module):
    """What stands in a layer's place while a network is traced; same call, same answer, one ONNX node.

    Buffers: W (directions, gates · hidden, features), R (directions, gates · hidden, hidden),
    B (directions, 2 · gates · hidden). They stay initialisers, so that onnxruntime can prepack them.
    """

    W: Tensor
    R: Tensor
    B: Tensor

    def __init__(self, layer: Weighted) -> None:
        super().__init__()
        self.cell: Cell = layer.cell
        self.hidden_size = layer.hidden_size
        self.directions = layer.directions
        gates = _GATES.get(layer.cell, (0,))
        with torch.no_grad():
            weights = [layer.direction_weights(d) for d in range(layer.directions)]
            self.register_buffer("W", torch.stack([_reorder(w[0], gates) for w in weights]))
            self.register_buffer("R", torch.stack([_reorder(w[1], gates) for w in weights]))
            self.register_buffer(
                "B", torch.stack([torch.cat([_reorder(w[2], gates), _reorder(w[3], gates)]) for w in weights])
            )

    def forward(self, x: Tensor, states: States, lengths: Tensor | None = None) -> tuple[Tensor, States]:
        """Shapes as in RecurrentLayer. Only for tracing: outside of it the answer holds no values."""
        time, batch = x.shape[0], x.shape[1]
        state_shape = [self.directions, batch, self.hidden_size]
        lengths_int32 = None if lengths is None else lengths.to(torch.int32)
        y, *last = torch.onnx.ops.symbolic_multi_out(
            _OPERATOR[self.cell],
            [x, self.W, self.R, self.B, lengths_int32, *states],
            self._attributes(),
            dtypes=[x.dtype] * (1 + len(states)),
            shapes=[[time, self.directions, batch, self.hidden_size], *[state_shape] * len(states)],
            version=_OPERATOR_VERSION,
        )
        if self.directions == 1:
            y = y.squeeze(1)
        else:
            y = y.transpose(1, 2).reshape(time, batch, self.directions * self.hidden_size)
        return y, tuple(last)

    def _attributes(self) -> dict[str, Any]:
        attributes: dict[str, Any] = {"hidden_size": self.hidden_size}
        if self.directions == 2:
            attributes["direction"] = "bidirectional"
        if self.cell == "gru":
            attributes["linear_before_reset"] = 1
        if self.cell in _ACTIVATION:
            attributes["activations"] = [_ACTIVATION[self.cell]] * self.directions
        return attributes


def _reorder(weight: Tensor, gates: tuple[int, ...]) -> Tensor:
    """Exchange the gate blocks along axis 0 of a weight or bias."""
    blocks = weight.detach().chunk(len(gates), 0)
    return torch.cat([blocks[gate] for gate in gates], 0)
