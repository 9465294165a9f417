"""Loops: every placeholder becomes an ONNX Scan over its step, or a Loop where it may stop before its last step."""

from collections.abc import Mapping

import onnx_ir as ir

from edgeseq_export.passes.loop import write_loop
from edgeseq_export.passes.placeholders import (
    Values,
    Written,
    copy_step,
    inputs_of,
    is_backward,
    replace_placeholders,
    step_count,
    stops,
)


class Scan(ir.passes.InPlacePass):
    """Requires: for each placeholder, the graph of its step: states and what it reads in, states and outputs out.

    Ensures: no placeholder; the weights of the steps are initialisers of the main graph.

    Args:
        bodies: the traced steps by name.
    """

    def __init__(self, bodies: Mapping[str, ir.Graph]) -> None:
        super().__init__()
        self._bodies = bodies

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite in place."""
        return replace_placeholders(model, self._bodies, _write)


def _write(node: ir.Node, body: ir.Graph, prefix: str) -> Written:
    if stops(node) or step_count(node) is not None:  # a Scan goes on to the end, and needs an input that has one
        return write_loop(node, body, prefix)
    states, inputs, fixed = inputs_of(node)
    attributes: dict[str, object] = {"body": _graph(body, fixed, prefix), "num_scan_inputs": len(inputs)}
    if is_backward(node):
        attributes["scan_input_directions"] = [1] * len(inputs)
        attributes["scan_output_directions"] = [1] * (len(body.outputs) - len(states))
    read = [*states, *inputs]
    scan = ir.node("Scan", read, attributes, num_outputs=len(node.outputs))  # type: ignore[arg-type]
    return [scan], scan.outputs


def _graph(body: ir.Graph, fixed: Values, prefix: str) -> ir.Graph:
    """The step as a graph of its own, without sizes: those of the example batch would be taken at their word.

    Outputs keep the number of their axes: onnxruntime before 1.26 refuses a Scan where it cannot infer it itself.
    """
    own = body.inputs[: len(body.inputs) - len(fixed)]
    inputs = [ir.Value(name=f"{prefix}.{value.name}", type=value.type) for value in own]
    nodes, outputs = copy_step(body, [*inputs, *fixed], prefix)
    for traced, output in zip(body.outputs, outputs, strict=True):
        if traced.shape is not None and output.shape is None:
            output.shape = ir.Shape([None] * len(traced.shape))
    return ir.Graph(inputs, outputs, nodes=nodes, name=prefix)
