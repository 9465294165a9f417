"""What the scan and the unroll pass share: every placeholder gives way to nodes written from its traced step."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import onnx_ir as ir

from edgeseq_export.ops.recurrence import DOMAIN, PLACEHOLDER

Values = Sequence[ir.Value | None]
Written = tuple[Sequence[ir.Node], Sequence[ir.Value]]
Writer = Callable[[ir.Node, ir.Graph, str], Written]
"""From a placeholder, the graph of its step and a prefix for names: the new nodes, and the values of its outputs."""


def placeholders(graph: ir.Graph) -> Iterator[ir.Node]:
    """The placeholder nodes of a graph, in order; the graph may be changed meanwhile."""
    yield from [node for node in graph if node.domain == DOMAIN and node.op_type == PLACEHOLDER]


def body_name(node: ir.Node) -> str:
    """Which step a placeholder repeats."""
    return node.attributes["body"].as_string()


def state_count(node: ir.Node) -> int:
    """How many of a placeholder's inputs and outputs are states; they come first."""
    return node.attributes["states"].as_int()


def inputs_of(node: ir.Node) -> tuple[Values, Values, Values]:
    """A placeholder's inputs: states, what the steps read one after the other, and what every step reads alike."""
    states, end = state_count(node), len(node.inputs) - node.attributes["fixed"].as_int()
    return node.inputs[:states], node.inputs[states:end], node.inputs[end:]


def is_backward(node: ir.Node) -> bool:
    """Whether a placeholder goes from the last step to the first."""
    return node.attributes["backward"].as_int() == 1


def stops(node: ir.Node) -> bool:
    """Whether a placeholder's last state says which rows have ended."""
    return node.attributes["stops"].as_int() == 1


def step_count(node: ir.Node) -> int | None:
    """How many steps a placeholder makes; None where its inputs say it."""
    return node.attributes["count"].as_int() or None


def replace_placeholders(model: ir.Model, bodies: Mapping[str, ir.Graph], write: Writer) -> ir.passes.PassResult:
    """Put what `write` gives in the place of every placeholder; the steps' weights go into the main graph, once."""
    graph, found = model.graph, False
    for number, node in enumerate(placeholders(graph)):
        found = True
        body = bodies[body_name(node)]
        _lift_weights(body, body_name(node), graph)
        nodes, outputs = write(node, body, f"r{number}")  # short: it is in the name of every value of every step
        ir.convenience.replace_nodes_and_values(graph, node, [node], nodes, list(node.outputs), outputs)
    if found:
        forget_shapes(graph)
        graph.opset_imports.pop(DOMAIN, None)
    return ir.passes.PassResult(model, found)


def copy_step(body: ir.Graph, inputs: Values, prefix: str, *, typed: bool = True) -> Written:
    """Copies of a step's nodes over the given inputs, with names under a prefix; a step has no graphs inside.

    typed: whether the values say their types, as the outputs of a graph must.
    """
    value_of: dict[ir.Value, ir.Value | None] = dict(zip(body.inputs, inputs, strict=True))
    nodes: list[ir.Node] = []
    for node in body:
        given = [value_of.get(v, v) if v is not None else None for v in node.inputs]
        copied = ir.Node(node.domain, node.op_type, given, node.attributes.values(), num_outputs=len(node.outputs))
        for old, new in zip(node.outputs, copied.outputs, strict=True):
            new.name, new.type = f"{prefix}.{old.name}", old.type if typed else None
            value_of[old] = new
        nodes.append(copied)
    outputs = [value_of[value] for value in body.outputs]
    return nodes, [value for value in outputs if value is not None]


def forget_shapes(graph: ir.Graph) -> None:
    """Drop the shapes the tracer noted of values inside a graph: a repeated step has others."""
    for node in graph:
        for value in node.outputs:
            if not value.is_graph_output():
                value.shape = None


def _lift_weights(body: ir.Graph, prefix: str, graph: ir.Graph) -> None:
    for name in list(body.initializers):
        value = body.initializers.pop(name)
        value.name = f"{prefix}.{name.removeprefix('network.step.')}"
        graph.register_initializer(value)
