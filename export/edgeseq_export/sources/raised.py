"""Recurrent operators of a torch.export program, raised to the layers they came from and exported as those are."""

import operator
from typing import Any

from torch import Tensor, fx, nn

_CELLS: dict[str, tuple[Any, dict[str, Any]]] = {
    "aten.lstm.input": (nn.LSTM, {}),
    "aten.gru.input": (nn.GRU, {}),
    "aten.rnn_tanh.input": (nn.RNN, {"nonlinearity": "tanh"}),
    "aten.rnn_relu.input": (nn.RNN, {"nonlinearity": "relu"}),
}
_GATES = {nn.LSTM: 4, nn.GRU: 3, nn.RNN: 1}
_ZEROS = ("aten.zeros.", "aten.zeros_like.", "aten.new_zeros.")


def raise_layers(module: fx.GraphModule) -> int:
    """Put nn.LSTM, nn.GRU and nn.RNN with the same weights in the place of their operators. Returns how many.

    States that are zeros are left out: the layer starts from zeros by itself.
    """
    graph = module.graph
    found = [n for n in graph.nodes if str(n.target) in _CELLS and all(w.op == "get_attr" for w in n.args[2])]
    for number, node in enumerate(found):
        name = _placed(module, node, number)
        x, states, *_ = node.args
        several = tuple(states) if isinstance(states, list | tuple) else (states,)
        given = () if all(map(_is_zeros, several)) else (several if len(several) > 1 else several[0],)
        with graph.inserting_before(node):
            _exchange(graph, node, graph.call_module(name, (x, *given)))
    graph.eliminate_dead_code()
    module.recompile()
    return len(found)


def reads_time_first(module: fx.GraphModule) -> bool:
    """Whether a recurrent layer reads an input as it is, and has the time before the batch."""
    layers = [n for n in module.graph.nodes if n.op == "call_module" and n.args and n.args[0].op == "placeholder"]
    return any(getattr(module.get_submodule(str(n.target)), "batch_first", True) is False for n in layers)


def attribute(module: fx.GraphModule, node: fx.Node) -> Tensor:
    """What a get_attr node gets."""
    value: Any = module
    for name in str(node.target).split("."):
        value = getattr(value, name)
    return value  # type: ignore[no-any-return]


def _placed(module: fx.GraphModule, node: fx.Node, number: int) -> str:
    """Put the layer of an operator where its weights lie in the module; its path. Two operators may share one."""
    targets = [str(weight.target).rpartition(".") for weight in node.args[2]]  # type: ignore[union-attr]
    path, named = targets[0][0], [name for _, _, name in targets]
    layer = _layer(module, node)
    if not path or {each for each, _, _ in targets} != {path} or named != layer._flat_weights_names:
        path = f"recurrent_{number}"
    owner, _, name = path.rpartition(".")
    place = module.get_submodule(owner)
    if not isinstance(getattr(place, name, None), nn.RNNBase):
        setattr(place, name, layer)
    return path


def _layer(module: fx.GraphModule, node: fx.Node) -> nn.RNNBase:
    kind, options = _CELLS[str(node.target)]
    arguments: Any = node.args
    weights = [attribute(module, weight) for weight in arguments[2]]
    bias, layers, _, _, two, batch_first = arguments[3:9]
    if len(weights) == layers * (2 if two else 1) * (5 if bias else 3):
        options = {**options, "proj_size": weights[1].shape[1]}
    layer: nn.RNNBase = kind(
        weights[0].shape[1],
        len(weights[0]) // _GATES[kind],
        num_layers=layers,
        bias=bias,
        batch_first=batch_first,
        bidirectional=two,
        **options,
    )
    for name, weight in zip(layer._flat_weights_names, weights, strict=True):
        setattr(layer, name, weight if isinstance(weight, nn.Parameter) else nn.Parameter(weight, requires_grad=False))
    return layer.eval()


def _is_zeros(node: fx.Node) -> bool:
    target = str(node.target)
    if target.startswith(("aten.full.", "aten.full_like.")):
        return node.args[1] in (0, 0.0)
    return target.startswith(_ZEROS)


def _exchange(graph: fx.Graph, node: fx.Node, raised: fx.Node) -> None:
    """Let what read (y, h, c) of an operator read (y, (h, c)) of a layer; of (y, h) nothing changes."""
    for user in list(node.users):
        place: Any = user.args[1]
        read = graph.call_function(operator.getitem, (raised, min(place, 1)))
        if str(node.target) == "aten.lstm.input" and place:
            read = graph.call_function(operator.getitem, (read, place - 1))
        user.replace_all_uses_with(read)
        graph.erase_node(user)
    graph.erase_node(node)
