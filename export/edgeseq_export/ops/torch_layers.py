"""nn.RNN, nn.LSTM and nn.GRU of somebody's network while it is traced: the same call, as operators or as steps."""

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from edgeseq_export.ops.native import NativeLayer
from edgeseq_export.ops.packed import Padded
from edgeseq_export.ops.recurrent import Cell, States
from edgeseq_export.ops.stepped import SteppedLayer


@dataclass(frozen=True)
class _Depth:
    """One of the layers that lie in a torch layer above each other (Weighted)."""

    net: nn.RNNBase
    number: int
    cell: Cell
    hidden_size: int
    directions: int

    def direction_weights(self, direction: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """W_ih, W_hh, b_ih and b_hh of a direction; zeros where the torch layer has no biases."""
        w_ih, w_hh = self._weight("weight_ih", direction), self._weight("weight_hh", direction)
        if not self.net.bias:
            return w_ih, w_hh, w_ih.new_zeros(len(w_ih)), w_ih.new_zeros(len(w_ih))
        return w_ih, w_hh, self._weight("bias_ih", direction), self._weight("bias_hh", direction)

    def projection(self, direction: int) -> Tensor:
        """W_hr of a direction, (projection, hidden)."""
        return self._weight("weight_hr", direction)

    def _weight(self, name: str, direction: int) -> Tensor:
        weight = getattr(self.net, f"{name}_l{self.number}{'_reverse' if direction else ''}")
        return cast(Tensor, weight.detach())


class _Traced:
    """What a torch layer on the copy becomes: it keeps its name, its settings and its type, and answers anew."""

    batch_first: bool
    num_layers: int
    edgeseq_layers: nn.ModuleList

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        """As torch's, whose names these are: a tensor (time, batch, features), or batch first, or packed rows."""
        if isinstance(input, nn.utils.rnn.PackedSequence) and not isinstance(input, Padded):
            raise TypeError("a packed sequence was put together by hand; pack_padded_sequence is what can be exported")
        rows = isinstance(input, Padded)
        x = cast(Tensor, input.data if rows else input)
        single = x.dim() == 2
        if single:  # one sequence without a batch axis
            x = x[:, None]
        elif rows or self.batch_first:
            x = x.transpose(0, 1)
        given = None if hx is None else tuple(hx) if isinstance(self, nn.LSTM) else (hx,)
        if given is not None and single:
            given = tuple(state[:, None] for state in given)
        y, last = self._stacked(x, given, input.lengths if rows else None)
        if single:
            y, last = y[:, 0], tuple(state[:, 0] for state in last)
        elif rows or self.batch_first:
            y = y.transpose(0, 1)
        return Padded(y, input.lengths) if rows else y, last if isinstance(self, nn.LSTM) else last[0]

    def _stacked(self, x: Tensor, hx: States | None, lengths: Tensor | None) -> tuple[Tensor, States]:
        """x: (time, batch, features); hx: each (layers · directions, batch, size), None for zeros."""
        directions = 2 if cast(nn.RNNBase, self).bidirectional else 1
        finals = []
        for number, layer in enumerate(self.edgeseq_layers):
            part = slice(number * directions, (number + 1) * directions)
            given = self._zeros(x, directions) if hx is None else tuple(state[part] for state in hx)
            x, final = layer(x, given, lengths)
            finals.append(final)
        return x, tuple(torch.cat(each) for each in zip(*finals, strict=True))

    def _zeros(self, x: Tensor, directions: int) -> States:
        net = cast(nn.RNNBase, self)
        sizes = [net.proj_size or net.hidden_size, net.hidden_size] if isinstance(self, nn.LSTM) else [net.hidden_size]
        return tuple(x.new_zeros(directions, x.shape[1], size) for size in sizes)


class _TracedLSTM(_Traced, nn.LSTM): ...


class _TracedGRU(_Traced, nn.GRU): ...


class _TracedRNN(_Traced, nn.RNN): ...


_TRACED: dict[Any, type] = {nn.LSTM: _TracedLSTM, nn.GRU: _TracedGRU, nn.RNN: _TracedRNN}


def _torch_class(net: nn.RNNBase) -> Any:
    return next(each for each in _TRACED if isinstance(net, each))


def is_torch_layer(module: nn.Module) -> bool:
    """Whether a module is a recurrent layer of torch, called as torch's are."""
    return isinstance(module, nn.RNNBase) and type(module).forward is _torch_class(module).forward


def is_based_on_torch(module: nn.Module) -> bool:
    """Whether a module is a recurrent layer of torch, or one with a forward of somebody's own around torch's."""
    return isinstance(module, nn.LSTM | nn.GRU | nn.RNN) and all(
        hasattr(module, f"weight_{kind}_l{number}") for kind in ("ih", "hh") for number in range(module.num_layers)
    )


def exchange(net: nn.RNNBase, native: bool) -> None:
    """Make a torch layer, which is on a copy, answer with operators or steps. native: for operators."""
    cell = cast(Cell, net.mode.lower())  # RNN_TANH, RNN_RELU, LSTM, GRU
    directions = 2 if net.bidirectional else 1
    layers = nn.ModuleList()
    for number in range(net.num_layers):
        depth = _Depth(net, number, cell, net.hidden_size, directions)
        if net.proj_size:  # the operator has no projection
            layers.append(SteppedLayer(depth, [depth.projection(direction) for direction in range(directions)]))
        else:
            layers.append(NativeLayer(depth) if native else SteppedLayer(depth))
    traced = _TRACED[_torch_class(net)]
    if not is_torch_layer(net):  # its own forward finds the new one where it calls torch's
        traced = type(type(net).__name__, (type(net), traced), {})
    net.__class__ = traced
    net.edgeseq_layers = layers
