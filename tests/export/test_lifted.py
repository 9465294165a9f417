"""The pass that lifts states out of a graph, on small graphs that are made by hand."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from edgeseq_export.passes import Lifted
from edgeseq_runtime.signature import StatePair

HIDDEN, FEATURES = 3, 2
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def _absent(builder, batch):
    return None


def _constant(builder, batch):
    return builder.op("Identity", [builder.weight(np.zeros((1, 2, HIDDEN), np.float32))])


def _expanded(builder, batch):
    return builder.op("Expand", [builder.weight(np.zeros(1, np.float32)), batch])


def _filled(builder, batch):
    return builder.op("ConstantOfShape", [batch])


def _sliced(builder, batch):
    both = builder.op("Concat", [_filled(builder, batch), _expanded(builder, batch)], axis=0)
    ends = [builder.weight(np.array([at], np.int64)) for at in (1, 2, 0)]
    return builder.op("Slice", [both, *ends])


def _ones(builder, batch):
    return builder.op("ConstantOfShape", [batch], value=ir.tensor(np.ones(1, np.float32)))


def _halves(builder, batch):
    return builder.op("Identity", [builder.weight(np.full((1, 2, HIDDEN), 0.5, np.float32))])


class Builder:
    """A graph with one recurrent operator, x (time, batch, features) to y (time, 1, batch, hidden)."""

    def __init__(self):
        self.nodes, self.weights, self.draw = [], [], np.random.default_rng(0)

    def weight(self, array):
        value = ir.Value(name=f"w{len(self.weights)}", const_value=ir.tensor(array), shape=ir.Shape(array.shape))
        value.dtype = ir.DataType.from_numpy(array.dtype)
        self.weights.append(value)
        return value

    def op(self, op_type, inputs, outputs=1, **attributes):
        self.nodes.append(ir.node(op_type, inputs, attributes, num_outputs=outputs))
        for number, value in enumerate(self.nodes[-1].outputs):
            value.name = f"v{len(self.nodes)}_{number}"
        return self.nodes[-1].outputs[0]

    def build(self, kind, start, *, outputs=1, direction="forward", last_as=None):
        directions = 2 if direction == "bidirectional" else 1
        x = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(("time", "batch", FEATURES)))
        one, hidden = (self.weight(np.array([n], np.int64)) for n in (1, HIDDEN))
        batch = self.op("Concat", [one, self.op("Shape", [x], start=1, end=2), hidden], axis=0)
        shapes = [(FEATURES,), (HIDDEN,)]
        w, r = (
            self.weight(self.draw.standard_normal((directions, GATES[kind] * HIDDEN, *s)).astype(np.float32))
            for s in shapes
        )
        given = [start(self, batch) for _ in range(2 if kind == "LSTM" else 1)]
        inputs = [x, w, r, None, None, *given]
        while inputs[-1] is None:
            inputs.pop()
        y = self.op(kind, inputs, outputs, hidden_size=HIDDEN, direction=direction)
        y.name, y.type, y.shape = "y", ir.TensorType(ir.DataType.FLOAT), ir.Shape(("time", directions, "batch", HIDDEN))
        graph_outputs = [y]
        if last_as is not None:
            last = self.nodes[-1].outputs[1]
            last.name, last.type, last.shape = last_as, y.type, ir.Shape((1, "batch", HIDDEN))
            graph_outputs.append(last)
        graph = ir.Graph(
            [x], graph_outputs, nodes=self.nodes, initializers=self.weights, opset_imports={"": 18}, name="graph"
        )
        return ir.Model(graph, ir_version=8)


def _session(model):
    proto = ir.serde.serialize_model(model)
    onnx.checker.check_model(proto)
    return ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("start", [_absent, _expanded, _filled, _sliced], ids=lambda f: f.__name__.strip("_"))
@pytest.mark.parametrize("kind", GATES)
def test_states_from_zeros_are_lifted_and_carry_a_sequence_on(kind, start):
    whole, rewrite = Builder().build(kind, start), Lifted()
    plain = _session(whole)
    lifted = rewrite(whole)
    assert lifted.modified
    quantities = "hc" if kind == "LSTM" else "h"
    assert rewrite.pairs == tuple(StatePair(f"{q}0", f"{q}0_next", (1, "batch", HIDDEN)) for q in quantities)
    carried = _session(lifted.model)
    x = np.random.default_rng(1).standard_normal((7, 2, FEATURES)).astype(np.float32)
    states = {pair.input: np.zeros((1, 2, HIDDEN), np.float32) for pair in rewrite.pairs}
    pieces = []
    for part in (x[:4], x[4:]):
        y, *after = carried.run(None, {"x": part, **states})
        states = dict(zip(states, after, strict=True))
        pieces.append(y)
    np.testing.assert_allclose(np.concatenate(pieces), plain.run(None, {"x": x})[0], atol=1e-6)


def test_a_constant_of_zeros_is_lifted_too():
    rewrite = Lifted()
    assert rewrite(Builder().build("GRU", _constant)).modified
    assert len(rewrite.pairs) == 1


@pytest.mark.parametrize(
    ("start", "direction"),
    [(_ones, "forward"), (_halves, "forward"), (_absent, "bidirectional"), (_absent, "reverse")],
)
def test_other_layers_are_left(start, direction):
    rewrite = Lifted()
    assert not rewrite(Builder().build("GRU", start, direction=direction)).modified
    assert rewrite.pairs == ()


def test_a_last_state_that_is_an_answer_keeps_its_name():
    rewrite = Lifted()
    session = _session(rewrite(Builder().build("LSTM", _filled, outputs=3, last_as="last")).model)
    assert [output.name for output in session.get_outputs()] == ["y", "last", "h0_next", "c0_next"]
    states = {name: np.full((1, 2, HIDDEN), 0.1, np.float32) for name in ("h0", "c0")}
    _, last, h, c = session.run(None, {"x": np.ones((3, 2, FEATURES), np.float32), **states})
    assert np.array_equal(last, h)
    assert not np.array_equal(h, c)


def test_a_value_inside_gives_up_its_name():
    model = Builder().build("RNN", _filled)
    next(node for node in model.graph if node.op_type == "ConstantOfShape").outputs[0].name = "h0"
    session = _session(Lifted()(model).model)
    assert [value.name for value in session.get_inputs()] == ["x", "h0"]
