"""Give state inputs their learned initial values as defaults, so that a first call may leave them out."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray


class LearnedStates(ir.passes.InPlacePass):
    """Requires: the state inputs are graph inputs of axes (directions, batch, hidden).

    Ensures: each named state is an overridable initialiser of shape (directions, 1, hidden), spread over the batch
    inside the graph; a state that is fed is used as it is.

    Args:
        initial: by input name, the learned value (directions, 1, hidden).
        like: the graph input whose axis 0 is the batch.
    """

    def __init__(self, initial: Mapping[str, NDArray[Any]], like: str) -> None:
        super().__init__()
        self._initial = initial
        self._like = like

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite in place."""
        if not self._initial:
            return ir.passes.PassResult(model, False)
        graph = model.graph
        inputs = {value.name: value for value in graph.inputs}
        batch = ir.node("Shape", [inputs[self._like]], {"start": 0, "end": 1})
        graph.insert_before(graph[0], batch)
        one = _constant(graph, "edgeseq.one", np.array([1], np.int64))
        shape = ir.node("Concat", [one, batch.outputs[0], one], {"axis": 0})
        graph.insert_after(batch, shape)
        for name, array in self._initial.items():
            state = inputs[name]
            spread = ir.node("Expand", [state, shape.outputs[0]])
            spread.outputs[0].type = state.type
            spread.outputs[0].shape = state.shape
            users = [use for use in state.uses() if use.node is not spread]
            graph.insert_after(shape, spread)
            for use in users:
                use.node.replace_input_with(use.idx, spread.outputs[0])
            state.const_value = ir.tensor(array, name=name)
            graph.register_initializer(state)
        return ir.passes.PassResult(model, True)


def _constant(graph: ir.Graph, name: str, array: NDArray[Any]) -> ir.Value:
    value = ir.Value(name=name, const_value=ir.tensor(array, name=name), shape=ir.Shape(array.shape))
    value.dtype = ir.DataType.INT64
    graph.register_initializer(value)
    return value
