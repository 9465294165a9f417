"""A placeholder as an ONNX Loop, which stops once every row has ended."""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from edgeseq_export.passes.placeholders import Written, copy_step, inputs_of, step_count, stops


def write_loop(node: ir.Node, body: ir.Graph, prefix: str) -> Written:
    """The Loop, and what fills its outputs up to the last step with zeros: it gives as many as it has made."""
    return _Loop(node, body, prefix).write()


class _Loop:
    """The nodes in place of one placeholder."""

    def __init__(self, node: ir.Node, body: ir.Graph, prefix: str) -> None:
        self._node, self._body, self._prefix = node, body, prefix
        self._states, self._inputs, self._fixed = inputs_of(node)
        self._nodes: list[ir.Node] = []

    def write(self) -> Written:
        """The nodes, and the values that take the place of the placeholder's outputs."""
        count = step_count(self._node)
        if count is None:
            shape = self._add("Shape", [self._inputs[0]], {"start": 0, "end": 1})
            steps = self._add("Squeeze", [shape])
        else:
            steps = self._constant(count)
        attributes: dict[str, object] = {"body": self._graph()}
        loop = ir.node(
            "Loop",
            [steps, self._constant(True), *self._states],
            attributes,  # type: ignore[arg-type]
            num_outputs=len(self._node.outputs),
        )
        self._nodes.append(loop)
        for index, value in enumerate(loop.outputs):
            value.name = f"{self._prefix}.Loop.{index}"
        states = len(self._states)
        return self._nodes, [*loop.outputs[:states], *(self._filled(y, steps) for y in loop.outputs[states:])]

    def _graph(self) -> ir.Graph:
        """The step as the body of a loop: number of the step and whether to go on, then the states."""
        number = self._value("number", ir.DataType.INT64)
        before = self._value("before", ir.DataType.BOOL)
        states = [
            ir.Value(name=f"{self._prefix}.{value.name}", type=value.type)
            for value in self._body.inputs[: len(self._states)]
        ]
        reads = [ir.node("Gather", [value, number], {"axis": 0}) for value in self._inputs]
        for index, read in enumerate(reads):
            read.outputs[0].name = f"{self._prefix}.read{index}"
        given = [*states, *(read.outputs[0] for read in reads), *self._fixed]
        nodes, outputs = copy_step(self._body, given, self._prefix)
        asked = self._going_on(outputs[len(states) - 1], before)
        return ir.Graph(
            [number, before, *states],
            [asked[-1].outputs[0], *outputs],
            nodes=[*reads, *nodes, *asked],
            name=self._prefix,
        )

    def _going_on(self, ended: ir.Value, before: ir.Value) -> list[ir.Node]:
        """Whether some row has not ended; always, for a recurrence that does not stop."""
        if not stops(self._node):
            nodes = [ir.node("Identity", [before])]
        else:  # ReduceMin takes no bool below opset 20
            number = ir.node("Cast", [ended], {"to": ir.DataType.INT32})
            least = ir.node("ReduceMin", [number.outputs[0]], {"keepdims": 0})
            all_ended = ir.node("Cast", [least.outputs[0]], {"to": ir.DataType.BOOL})
            nodes = [number, least, all_ended, ir.node("Not", [all_ended.outputs[0]])]
        for index, node in enumerate(nodes):
            node.outputs[0].name = f"{self._prefix}.going_on{index}"
        return nodes

    def _filled(self, value: ir.Value, steps: ir.Value) -> ir.Value:
        """An output (steps made, batch, …) with zeros up to the last step."""
        if not stops(self._node):
            return value
        made = self._add("Shape", [value], {"start": 0, "end": 1})
        missing = self._add("Sub", [steps, made])
        pads = self._add("Concat", [self._constant([0]), missing], {"axis": 0})
        return self._add("Pad", [value, pads, None, self._constant([0])])

    def _add(
        self, op_type: str, inputs: Sequence[ir.Value | None], attributes: dict[str, object] | None = None
    ) -> ir.Value:
        node = ir.node(op_type, inputs, attributes)  # type: ignore[arg-type]
        node.outputs[0].name = f"{self._prefix}.{op_type}{len(self._nodes)}"
        self._nodes.append(node)
        return node.outputs[0]

    def _constant(self, value: int | bool | list[int]) -> ir.Value:
        tensor = ir.tensor(np.array(value, np.bool_ if isinstance(value, bool) else np.int64))
        return self._add("Constant", [], {"value": tensor})

    def _value(self, name: str, dtype: ir.DataType) -> ir.Value:
        return ir.Value(name=f"{self._prefix}.{name}", type=ir.TensorType(dtype), shape=ir.Shape([]))
