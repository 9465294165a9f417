"""Unroll: every placeholder becomes N copies of its step over shared weights, with no control flow."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from edgeseq_export.passes.placeholders import Written, copy_step, is_backward, replace_placeholders, state_count

_TIME_FIRST = [1, 0, 2]


class Unroll(ir.passes.InPlacePass):
    """Requires: for each placeholder, the graph of its step: states and per-step inputs in, states and outputs out;
    per-step tensors are (time, batch, width).

    Ensures: no placeholder; `steps` copies of each step's nodes, in order, over one copy of its weights. The time
    axis must be `steps` long from now on.

    Args:
        bodies: the traced steps by name. steps: how many copies.
    """

    def __init__(self, bodies: Mapping[str, ir.Graph], steps: int) -> None:
        super().__init__()
        self._bodies = bodies
        self._steps = steps

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite in place."""
        steps = self._steps
        return replace_placeholders(
            model, self._bodies, lambda node, body, prefix: _Copies(model.graph, node, body, prefix, steps).write()
        )


class _Copies:
    """The nodes in place of one placeholder."""

    def __init__(self, graph: ir.Graph, node: ir.Node, body: ir.Graph, prefix: str, steps: int) -> None:
        self._graph, self._node, self._body = graph, node, body
        self._prefix, self._steps = prefix, steps
        self._nodes: list[ir.Node] = []

    def write(self) -> Written:
        """The nodes, and the values that take the place of the placeholder's outputs."""
        states = state_count(self._node)
        current: list[ir.Value | None] = list(self._node.inputs[:states])
        read = zip(self._node.inputs[states:], self._body.inputs[states:], strict=True)
        pieces = [self._split(value, _width(body)) for value, body in read]
        collected: list[Sequence[ir.Value]] = [()] * self._steps
        order = range(self._steps)
        for step in reversed(order) if is_backward(self._node) else order:
            given = [*current, *(piece[step] for piece in pieces)]
            nodes, outputs = copy_step(self._body, given, f"{self._prefix}.{step}")
            self._nodes += nodes
            current, collected[step] = list(outputs[:states]), outputs[states:]
        widths = [_width(value) for value in self._body.outputs[states:]]
        joined = [self._join(values, width) for values, width in zip(zip(*collected, strict=True), widths, strict=True)]
        return self._nodes, [*(value for value in current if value is not None), *joined]

    def _split(self, value: ir.Value | None, width: int) -> Sequence[ir.Value]:
        """(time, batch, width) as `steps` values (batch, width)."""
        rows = self._add("Transpose", [value], {"perm": _TIME_FIRST})
        flat = self._add("Reshape", [rows[0], self._shape(0, self._steps * width)])
        return self._add("Split", [flat[0]], {"axis": 1, "num_outputs": self._steps}, self._steps)

    def _join(self, values: Sequence[ir.Value], width: int) -> ir.Value:
        """The outputs (batch, width) of all steps as (time, batch, width)."""
        flat = self._add("Concat", list(values), {"axis": 1})
        rows = self._add("Reshape", [flat[0], self._shape(0, self._steps, width)])
        return self._add("Transpose", [rows[0]], {"perm": _TIME_FIRST})[0]

    def _add(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, object] | None = None,
        outputs: int = 1,
    ) -> Sequence[ir.Value]:
        node = ir.node(op_type, inputs, attributes, num_outputs=outputs)  # type: ignore[arg-type]
        for index, value in enumerate(node.outputs):
            value.name = f"{self._prefix}.{op_type}{len(self._nodes)}.{index}"
        self._nodes.append(node)
        return node.outputs

    def _shape(self, *sizes: int) -> ir.Value:
        """A constant shape; 0 keeps the size that is there."""
        name = f"edgeseq.shape_{'_'.join(map(str, sizes))}"
        if name not in self._graph.initializers:
            tensor = ir.tensor(np.array(sizes, np.int64), name=name)
            value = ir.Value(
                name=name, const_value=tensor, shape=ir.Shape([len(sizes)]), type=ir.TensorType(tensor.dtype)
            )
            self._graph.register_initializer(value)
        return self._graph.initializers[name]


def _width(value: ir.Value) -> int:
    """The size of a value's last axis, (batch, width)."""
    if value.shape is None or not isinstance(value.shape[-1], int):
        raise ValueError(f"the width of '{value.name}' is not fixed")
    return value.shape[-1]
