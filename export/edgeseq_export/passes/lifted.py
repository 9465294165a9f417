"""States that recurrent operators start from zeros inside a graph become its inputs and outputs, so that it streams."""

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir
from edgeseq_runtime.signature import BATCH, StatePair

_QUANTITIES = {"LSTM": ("h", "c"), "GRU": ("h",), "RNN": ("h",)}
_FIRST_STATE = 5
"""Where the operators take initial_h; initial_c is behind it. Y_h and Y_c are outputs 1 and 2."""

_MOVING = {"Cast", "Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Tile"}
_MOVING |= {"Transpose", "Unsqueeze"}
"""Operators whose outputs are zeros where their first input is."""


class Lifted(ir.passes.InPlacePass):
    """Requires: a graph without state inputs of the names h0, c0, h1, …

    Ensures: every LSTM, GRU and RNN of the main graph in forward direction that starts from zeros takes its states
    from graph inputs, and its last ones are graph outputs: `pairs`, with the axes (1, batch, hidden), in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pairs: tuple[StatePair, ...] = ()

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite in place."""
        graph, pairs = model.graph, list[StatePair]()
        for number, node in enumerate(_layers(graph)):
            hidden = node.attributes["hidden_size"].as_int()
            for place, quantity in enumerate(_QUANTITIES[node.op_type]):
                pair = StatePair(f"{quantity}{number}", f"{quantity}{number}_next", (1, BATCH, hidden))
                _feed(graph, node, place, pair)
                _give(graph, node, place, pair)
                pairs.append(pair)
        self.pairs = tuple(pairs)
        return ir.passes.PassResult(model, bool(pairs))


def _layers(graph: ir.Graph) -> Iterator[ir.Node]:
    """The recurrent operators to be rewritten; the graph may be changed meanwhile."""
    for node in list(graph):
        if node.domain not in ("", "ai.onnx") or node.op_type not in _QUANTITIES:
            continue
        direction = node.attributes.get("direction")
        if direction is not None and direction.as_string() != "forward":
            continue
        if all(_is_zero(_state(node, place)) for place in range(len(_QUANTITIES[node.op_type]))):
            yield node


def _state(node: ir.Node, place: int) -> ir.Value | None:
    position = _FIRST_STATE + place
    return node.inputs[position] if position < len(node.inputs) else None


def _is_zero(value: ir.Value | None) -> bool:
    """Whether a value is zeros at any size; so is a state that is left out."""
    if value is None:
        return True
    if value.const_value is not None:
        return not value.is_graph_input() and not np.any(value.const_value.numpy())
    node = value.producer()
    if node is None:
        return False
    if node.op_type == "Constant":
        return "value" in node.attributes and not np.any(node.attributes["value"].as_tensor().numpy())
    if node.op_type == "ConstantOfShape":
        filled = node.attributes.get("value")
        return filled is None or not np.any(filled.as_tensor().numpy())
    if node.op_type == "Concat":
        return all(map(_is_zero, node.inputs))
    return node.op_type in _MOVING and _is_zero(node.inputs[0])


def _feed(graph: ir.Graph, node: ir.Node, place: int, pair: StatePair) -> None:
    _make_free(graph, pair.input)
    state = ir.Value(name=pair.input, type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(pair.axes))
    graph.inputs.append(state)
    node.resize_inputs(max(len(node.inputs), _FIRST_STATE + place + 1))
    node.replace_input_with(_FIRST_STATE + place, state)


def _give(graph: ir.Graph, node: ir.Node, place: int, pair: StatePair) -> None:
    _make_free(graph, pair.output)
    if len(node.outputs) < place + 2:
        node.resize_outputs(place + 2)
    last = node.outputs[place + 1]
    if last.is_graph_output():  # it is an answer of the network, too, which keeps its name
        copied = ir.node("Identity", [last])
        graph.insert_after(node, copied)
        last = copied.outputs[0]
    last.name, last.type = pair.output, ir.TensorType(ir.DataType.FLOAT)
    last.shape = ir.Shape(pair.axes)
    graph.outputs.append(last)


def _make_free(graph: ir.Graph, name: str) -> None:
    """Give whatever inside the graph has this name another."""
    for node in ir.traversal.RecursiveGraphIterator(graph):
        for value in node.outputs:
            if value.name == name:
                value.name = f"{name}.inside"
    for weight in [value for value in graph.initializers.values() if value.name == name]:
        weight.name = f"{name}.inside"
