"""Loop: every placeholder becomes an ONNX Scan over its step."""

from collections.abc import Mapping

import onnx_ir as ir

from edgeseq_export.passes.placeholders import Written, forget_shapes, is_backward, replace_placeholders


class Scan(ir.passes.InPlacePass):
    """Requires: for each placeholder, the graph of its step: states and per-step inputs in, states and outputs out.

    Ensures: no placeholder; the weights of the steps are initialisers of the main graph.

    Args:
        bodies: the traced steps by name; they are used up.
    """

    def __init__(self, bodies: Mapping[str, ir.Graph]) -> None:
        super().__init__()
        self._bodies = bodies

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite in place."""
        return replace_placeholders(model, self._bodies, _write)


def _write(node: ir.Node, body: ir.Graph, name: str) -> Written:
    _prepare(body, name)
    scan = _scan(node, body)
    return [scan], scan.outputs


def _scan(node: ir.Node, body: ir.Graph) -> ir.Node:
    states = len(node.outputs) - 1
    per_step = len(node.inputs) - states
    attributes: dict[str, object] = {"body": body, "num_scan_inputs": per_step}
    if is_backward(node):
        attributes["scan_input_directions"] = [1] * per_step
        attributes["scan_output_directions"] = [1]
    return ir.node("Scan", list(node.inputs), attributes, num_outputs=len(node.outputs))  # type: ignore[arg-type]


def _prepare(body: ir.Graph, name: str) -> None:
    """Names that are unique in the file, and no shapes: those of the example batch would be taken at their word."""
    body.name = name
    forget_shapes(body)
    for value in (*body.inputs, *body.outputs):
        value.shape = None
    for value in (*body.inputs, *(v for node in body for v in node.outputs)):
        value.name = f"{name}.{value.name}"
