"""What the scan and the unroll pass share: finding placeholders, and lifting a step's weights into the main graph."""

from collections.abc import Iterator

import onnx_ir as ir

from edgeseq_export.ops.stepped import DOMAIN, PLACEHOLDER


def placeholders(graph: ir.Graph) -> Iterator[ir.Node]:
    """The placeholder nodes of a graph, in order; the graph may be changed meanwhile."""
    yield from [node for node in graph if node.domain == DOMAIN and node.op_type == PLACEHOLDER]


def body_name(node: ir.Node) -> str:
    """Which step a placeholder repeats."""
    return node.attributes["body"].as_string()


def is_backward(node: ir.Node) -> bool:
    """Whether a placeholder goes from the last step to the first."""
    return node.attributes["backward"].as_int() == 1


def lift_weights(body: ir.Graph, prefix: str, graph: ir.Graph) -> None:
    """Make the initialisers of a step those of the main graph, once, under names that begin with the prefix."""
    for name in list(body.initializers):
        value = body.initializers.pop(name)
        value.name = f"{prefix}.{name}"
        graph.register_initializer(value)


def forget_shapes(graph: ir.Graph) -> None:
    """Drop the shapes the tracer noted of values inside a graph: a repeated step has others."""
    for node in graph:
        for value in node.outputs:
            if not value.is_graph_output():
                value.shape = None
