"""Loop: every placeholder becomes an ONNX Scan over its step."""

from collections.abc import Mapping

import onnx_ir as ir

from edgeseq_export.passes.placeholders import Written, copy_step, is_backward, replace_placeholders, state_count


class Scan(ir.passes.InPlacePass):
    """Requires: for each placeholder, the graph of its step: states and per-step inputs in, states and outputs out.

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
    states = state_count(node)
    attributes: dict[str, object] = {"body": _graph(body, prefix), "num_scan_inputs": len(body.inputs) - states}
    if is_backward(node):
        attributes["scan_input_directions"] = [1] * (len(body.inputs) - states)
        attributes["scan_output_directions"] = [1] * (len(body.outputs) - states)
    scan = ir.node("Scan", list(node.inputs), attributes, num_outputs=len(node.outputs))  # type: ignore[arg-type]
    return [scan], scan.outputs


def _graph(body: ir.Graph, prefix: str) -> ir.Graph:
    """The step as a graph of its own, without shapes: those of the example batch would be taken at their word."""
    inputs = [ir.Value(name=f"{prefix}.{value.name}", type=value.type) for value in body.inputs]
    nodes, outputs = copy_step(body, inputs, prefix)
    return ir.Graph(inputs, outputs, nodes=nodes, name=prefix)
