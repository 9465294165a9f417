"""Unroll: every placeholder becomes N copies of its step over shared weights, with no control flow."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir
from edgeseq_runtime.errors import ExportError

from edgeseq_export.passes.placeholders import (
    Written,
    copy_step,
    inputs_of,
    is_backward,
    replace_placeholders,
    step_count,
)

_TIME_FIRST = [1, 0, 2]


class Unroll(ir.passes.InPlacePass):
    """Requires: for each placeholder, the graph of its step: states and what it reads in, states and outputs out;
    what a placeholder reads step by step, (time, batch, …), has a fixed time axis.

    Ensures: no placeholder; as many copies of each step's nodes as that axis is long, in order, over one copy of its
    weights.

    Args:
        bodies: the traced steps by name.
    """

    def __init__(self, bodies: Mapping[str, ir.Graph]) -> None:
        super().__init__()
        self._bodies = bodies

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite in place."""
        return replace_placeholders(
            model, self._bodies, lambda node, body, prefix: _Copies(model.graph, node, body, prefix).write()
        )


class _Copies:
    """The nodes in place of one placeholder."""

    def __init__(self, graph: ir.Graph, node: ir.Node, body: ir.Graph, prefix: str) -> None:
        self._graph, self._node, self._body, self._prefix = graph, node, body, prefix
        self._steps = step_count(node) or _time(inputs_of(node)[1][0])
        self._nodes: list[ir.Node] = []

    def write(self) -> Written:
        """The nodes, and the values that take the place of the placeholder's outputs."""
        before, inputs, fixed = inputs_of(self._node)
        states, current = len(before), list(before)
        read = zip(inputs, self._body.inputs[states : states + len(inputs)], strict=True)
        pieces = [self._split(value, body) for value, body in read]
        collected: list[Sequence[ir.Value]] = [()] * self._steps
        order = range(self._steps)
        for step in reversed(order) if is_backward(self._node) else order:
            given = [*current, *(piece[step] for piece in pieces), *fixed]
            nodes, outputs = copy_step(self._body, given, f"{self._prefix}.{step}", typed=False)
            self._nodes += nodes
            current, collected[step] = list(outputs[:states]), outputs[states:]
        gathered = zip(zip(*collected, strict=True), self._body.outputs[states:], strict=True)
        joined = [self._join(values, body) for values, body in gathered]
        return self._nodes, [*(value for value in current if value is not None), *joined]

    def _split(self, value: ir.Value | None, body: ir.Value) -> Sequence[ir.Value]:
        """(time, batch, …) as one value (batch, …) for each step; body: that value where the step reads it."""
        width = _width(body)
        if width is None:
            pieces = self._add("Split", [value], {"axis": 0, "num_outputs": self._steps}, self._steps)
            return [self._add("Squeeze", [piece, self._constant(0)])[0] for piece in pieces]
        turned = self._add("Transpose", [value], {"perm": _TIME_FIRST})
        flat = self._add("Reshape", [turned[0], self._constant(0, self._steps * width)])
        return self._add("Split", [flat[0]], {"axis": 1, "num_outputs": self._steps}, self._steps)

    def _join(self, values: Sequence[ir.Value], body: ir.Value) -> ir.Value:
        """The outputs (batch, …) of all steps as (time, batch, …)."""
        width = _width(body)
        if width is None:
            rows = [self._add("Unsqueeze", [value, self._constant(0)])[0] for value in values]
            return self._add("Concat", rows, {"axis": 0})[0]
        flat = self._add("Concat", list(values), {"axis": 1})
        turned = self._add("Reshape", [flat[0], self._constant(0, self._steps, width)])
        return self._add("Transpose", [turned[0]], {"perm": _TIME_FIRST})[0]

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

    def _constant(self, *sizes: int) -> ir.Value:
        """A constant shape (0 keeps the size that is there), or a list of axes."""
        name = f"edgeseq.sizes_{'_'.join(map(str, sizes))}"
        if name not in self._graph.initializers:
            tensor = ir.tensor(np.array(sizes, np.int64), name=name)
            value = ir.Value(
                name=name, const_value=tensor, shape=ir.Shape([len(sizes)]), type=ir.TensorType(tensor.dtype)
            )
            self._graph.register_initializer(value)
        return self._graph.initializers[name]


def _width(value: ir.Value) -> int | None:
    """The last size of a value (batch, width), None of others: flat, it is cut and joined with the fewest nodes."""
    shape = value.shape
    return shape[1] if shape is not None and len(shape) == 2 and isinstance(shape[1], int) else None


def _time(value: ir.Value | None) -> int:
    """How long the first axis of what a placeholder reads is."""
    size = value.shape[0] if value is not None and value.shape is not None else None
    if not isinstance(size, int):
        raise ExportError(f"a recurrence over an axis of free size ({size}) cannot be unrolled")
    return size
