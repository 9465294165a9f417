"""The states of a foreign file by its graph: what reaches an operator's initial state comes out of its last."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import onnx
from edgeseq_runtime.infer import Pair

_PASS = frozenset(
    [
        "Identity",
        "Squeeze",
        "Unsqueeze",
        "Reshape",
        "Slice",
        "Gather",
        "Split",
        "Transpose",
        "Cast",
        "Expand",
        "Flatten",
    ]
)
"""Operators behind which the first input is still the same values, or some of them."""

_INITIAL = {
    "LSTM": ((5, 1), (6, 2)),
    "DynamicQuantizeLSTM": ((5, 1), (6, 2)),
    "GRU": ((5, 1),),
    "RNN": ((5, 1),),
}
"""Of each recurrent operator: an input that is an initial state, and the output that is the same state at the end."""


@dataclass
class _Flow:
    """What becomes what, by names that tell the graphs of a file apart.

    ends: of each recurrent operator, the initial state, the last one, and what it is.
    """

    after: dict[str, set[str]] = field(default_factory=dict)
    before: dict[str, set[str]] = field(default_factory=dict)
    sliced: dict[str, set[str]] = field(default_factory=dict)
    ends: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, source: str, target: str, whole: bool) -> None:
        """whole: whether it is no part of a larger whole."""
        self.after.setdefault(source, set()).add(target)
        self.before.setdefault(target, set()).add(source)
        if whole:
            self.sliced.setdefault(source, set()).add(target)


def graph_pairs(model: onnx.ModelProto) -> list[Pair]:
    """The pairs of states that the graph shows; several outputs may be called for one input, one has to be chosen."""
    flow = _Flow()
    names = {value.name: value.name for value in (*model.graph.input, *model.graph.initializer)}
    _walk(model.graph, names, "", flow)
    initial = {tensor.name for tensor in model.graph.initializer}
    inputs = {value.name for value in model.graph.input} - initial
    outputs = {names[value.name] for value in model.graph.output if value.name in names}
    own = {names[value.name]: value.name for value in model.graph.output if value.name in names}
    pairs: dict[tuple[str, str], Pair] = {}
    for first, last, what in flow.ends:
        sources = _reached(first, flow.before) & inputs
        targets = _reached(last, flow.sliced if what.startswith("Concat") else flow.after) & outputs
        if len(sources) == 1:
            (source,) = sources
            for target in sorted(targets - {source}):
                pairs.setdefault((source, own[target]), Pair(source, own[target], f"the graph: {what}"))
    return list(pairs.values())


def _walk(graph: onnx.GraphProto, names: dict[str, str], path: str, flow: _Flow) -> None:
    """Follow one graph. names: the values of this graph and of those around it, by what they are called here."""
    for number, node in enumerate(graph.node):
        for name in node.output:
            names[name] = f"{path}{name}"
        inputs = [names.get(name, "") for name in node.input]
        outputs = [names[name] for name in node.output]
        title = f"the state of {node.op_type} '{node.name or node.output[0]}'"
        flow.ends += [
            (inputs[i], outputs[o], title) for i, o in _carried(node) if _there(inputs, i) and _there(outputs, o)
        ]
        if node.op_type in _PASS and inputs:
            for output in outputs:
                flow.add(inputs[0], output, True)
        elif node.op_type == "Concat" and inputs:
            for source in inputs:
                flow.add(source, outputs[0], False)
            flow.ends.append(
                (inputs[0], outputs[0], f"Concat '{node.name or node.output[0]}' puts it first, and it is cut")
            )
        for part, (key, inner) in enumerate(_graphs(node)):
            inside = dict(names)
            _walk(inner, inside, f"{path}{number}.{part}.{key}/", flow)
            if node.op_type == "If":
                for value, output in zip(inner.output, outputs, strict=False):
                    flow.add(inside.get(value.name, ""), output, True)


def _carried(node: onnx.NodeProto) -> Sequence[tuple[int, int]]:
    """Pairs of an input and an output of a node that are one state."""
    if node.op_type == "Scan":
        scanned = next((a.i for a in node.attribute if a.name == "num_scan_inputs"), 0)
        return [(i, i) for i in range(len(node.input) - scanned)]
    if node.op_type == "Loop":
        return [(i + 2, i) for i in range(len(node.input) - 2)]
    return _INITIAL.get(node.op_type, ())


def _there(names: Sequence[str], place: int) -> bool:
    return place < len(names) and bool(names[place])


def _graphs(node: onnx.NodeProto) -> Iterator[tuple[str, onnx.GraphProto]]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.name, attribute.g


def _reached(start: str, edges: dict[str, set[str]]) -> set[str]:
    found, left = {start}, [start]
    while left:
        for name in edges.get(left.pop(), ()):
            if name and name not in found:
                found.add(name)
                left.append(name)
    return found
