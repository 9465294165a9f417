"""ONNX files as other exporters write them, by hand, one for each way in which a state is carried."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

UNITS, FEATURES = 5, 3


def _weights(rng, *shape):
    return (0.4 * rng.standard_normal(shape)).astype(np.float32)


def info(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes, inputs, outputs, weights, opset=18, domains=(), producer="someone"):
    """The bytes of a file without a contract."""
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, tensors)
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    made = helper.make_model(graph, opset_imports=opsets, producer_name=producer)
    made.ir_version = 8
    return made.SerializeToString()


def _recurrent(op, rng, layers=1, peepholes=False):
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[op]
    weights = {}
    for layer in range(layers):
        size = FEATURES if layer == 0 else UNITS
        weights |= {
            f"W{layer}": _weights(rng, 1, gates * UNITS, size),
            f"R{layer}": _weights(rng, 1, gates * UNITS, UNITS),
            f"B{layer}": _weights(rng, 1, 2 * gates * UNITS),
        }
        if peepholes:
            weights[f"P{layer}"] = _weights(rng, 1, 3 * UNITS)
    return weights


def time_major_lstm(names=("h", "c", "hn", "cn"), axes=("time", "batch"), peepholes=False, swapped=False):
    """x (time, batch, 3) as the operator has it; the states apart."""
    h, c, hn, cn = names
    weights = _recurrent("LSTM", np.random.default_rng(1), peepholes=peepholes)
    ends = ["P0"] if peepholes else []
    nodes = [
        helper.make_node("LSTM", ["x", "W0", "R0", "B0", "", h, c, *ends], ["y4", hn, cn], hidden_size=UNITS),
        helper.make_node("Squeeze", ["y4", "one"], ["y"]),
    ]
    state = [1, axes[1], UNITS]
    outputs = [info("y", [axes[0], axes[1], UNITS]), *(info(n, state) for n in ((cn, hn) if swapped else (hn, cn)))]
    inputs = [info("x", [*axes, FEATURES]), info(h, state), info(c, state)]
    return model(nodes, inputs, outputs, {**weights, "one": np.array([1])})


def fused_state():
    """One tensor (2, batch, 5) for h and c, whose next value declares no sizes; a sample rate as int64."""
    weights = _recurrent("LSTM", np.random.default_rng(2))
    weights |= {"axis": np.array([0]), "one": np.array([1]), "rate": np.float32(16000)}
    nodes = [
        helper.make_node("Split", ["state", "parts"], ["h", "c"], axis=0),
        helper.make_node("Cast", ["sr"], ["sr32"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["sr32", "rate"], ["scale"]),
        helper.make_node("Mul", ["input", "scale"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["xt"], perm=[1, 0, 2]),
        helper.make_node("LSTM", ["xt", "W0", "R0", "B0", "", "h", "c"], ["y4", "h2", "c2"], hidden_size=UNITS),
        helper.make_node("Concat", ["h2", "c2"], ["stateN"], axis=0),
        helper.make_node("Squeeze", ["y4", "one"], ["yt"]),
        helper.make_node("Transpose", ["yt"], ["output"], perm=[1, 0, 2]),
    ]
    inputs = [
        info("input", [None, None, FEATURES]),
        info("state", [2, None, UNITS]),
        info("sr", [], TensorProto.INT64),
    ]
    outputs = [info("output", [None, None, UNITS]), info("stateN", [None, None, None])]
    return model(nodes, inputs, outputs, {**weights, "parts": np.array([1, 1])})


def layers_in_out():
    """Two GRU layers, batch first, each with a hidden state (1, batch, 5) of its own."""
    weights = _recurrent("GRU", np.random.default_rng(3), layers=2) | {"one": np.array([1])}
    nodes = [helper.make_node("Transpose", ["frames"], ["t0"], perm=[1, 0, 2])]
    for i in range(2):
        ends = [f"layer_{i}_hidden_in"], [f"y{i}", f"layer_{i}_hidden_out"]
        nodes += [
            helper.make_node(
                "GRU",
                [f"t{i}", f"W{i}", f"R{i}", f"B{i}", "", *ends[0]],
                ends[1],
                hidden_size=UNITS,
                linear_before_reset=1,
            ),
            helper.make_node("Squeeze", [f"y{i}", "one"], [f"t{i + 1}"]),
        ]
    nodes.append(helper.make_node("Transpose", ["t2"], ["logits"], perm=[1, 0, 2]))
    state = [1, "batch_size", UNITS]
    inputs = [info("frames", ["batch_size", "num_frames", FEATURES])]
    inputs += [info(f"layer_{i}_hidden_in", state) for i in range(2)]
    outputs = [info(f"layer_{i}_hidden_out", state) for i in range(2)]
    outputs.append(info("logits", ["batch_size", "num_frames", UNITS]))
    return model(nodes, inputs, outputs, weights)


def cell(names=("foo", "bar"), op="RNN"):
    """One step a call: x (batch, 3), a state (batch, 5) whose next value has another name."""
    rng = np.random.default_rng(4)
    weights = {"W": _weights(rng, FEATURES, UNITS), "R": _weights(rng, UNITS, UNITS), "O": _weights(rng, UNITS, 2)}
    before, after = names
    nodes = [
        helper.make_node("MatMul", ["x", "W"], ["a"]),
        helper.make_node("MatMul", [before, "R"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["s"]),
        helper.make_node("Tanh", ["s"], [after]),
        helper.make_node("MatMul", [after, "O"], ["y"]),
    ]
    inputs = [info("x", ["N", FEATURES]), info(before, ["N", UNITS])]
    return model(nodes, inputs, [info("y", ["N", 2]), info(after, ["N", UNITS])], weights)


def same_order():
    """Two states of one shape, unlike names, the same order; x (1, 1, 3), everything fixed."""
    weights = _recurrent("LSTM", np.random.default_rng(5)) | {"one": np.array([1])}
    nodes = [
        helper.make_node("LSTM", ["x", "W0", "R0", "B0", "", "a", "b"], ["y4", "p", "q"], hidden_size=UNITS),
        helper.make_node("Squeeze", ["y4", "one"], ["y3"]),
        helper.make_node("Slice", ["y3", "from", "to", "last"], ["y"]),
    ]
    slices = {"from": np.array([0]), "to": np.array([2]), "last": np.array([2])}
    state = [1, 1, UNITS]
    inputs = [info("x", [1, 1, FEATURES]), info("a", state), info("b", state)]
    return model(nodes, inputs, [info("y", [1, 1, 2]), info("p", state), info("q", state)], weights | slices)


def convolution_cache():
    """A causal convolution, (batch, channels, time), with the last three inputs kept in `cache`."""
    rng = np.random.default_rng(6)
    weights = {
        "W": _weights(rng, 2, FEATURES, 4),
        "from": np.array([-3]),
        "to": np.array([2**31]),
        "axis": np.array([2]),
    }
    nodes = [
        helper.make_node("Concat", ["cache", "x"], ["whole"], axis=2),
        helper.make_node("Conv", ["whole", "W"], ["y"]),
        helper.make_node("Slice", ["whole", "from", "to", "axis"], ["new_cache"]),
    ]
    cache = ["batch", FEATURES, 3]
    inputs = [info("x", ["batch", FEATURES, "T"]), info("cache", cache)]
    return model(nodes, inputs, [info("y", ["batch", 2, "T"]), info("new_cache", cache)], weights)


def in_subgraph():
    """A GRU inside both branches of an If, its output's sizes declared wrongly."""
    rng = np.random.default_rng(7)
    weights = _recurrent("GRU", rng) | {"W1": _weights(rng, 1, 3 * UNITS, FEATURES), "one": np.array([1])}
    branches = []
    for i, kernel in enumerate(("W0", "W1")):
        nodes = [
            helper.make_node("GRU", ["x", kernel, "R0", "B0", "", "h_in"], [f"y4{i}", f"hb{i}"], hidden_size=UNITS),
            helper.make_node("Squeeze", [f"y4{i}", "one"], [f"yb{i}"]),
        ]
        ends = [info(f"yb{i}", None), info(f"hb{i}", None)]
        branches.append(helper.make_graph(nodes, f"b{i}", [], ends))
    node = helper.make_node("If", ["loud"], ["y", "h_out"], then_branch=branches[0], else_branch=branches[1])
    state = [1, "batch", UNITS]
    inputs = [info("x", ["time", "batch", FEATURES]), info("h_in", state), info("loud", [], TensorProto.BOOL)]
    return model([node], inputs, [info("y", [1, 1, UNITS]), info("h_out", [1, 1, UNITS])], weights)


def double_state():
    """float64 throughout, and a counter of int64 beside the state; one row, x (3,)."""
    rng = np.random.default_rng(8)
    weights = {"W": rng.standard_normal((FEATURES, UNITS)), "decay": np.float64(0.5), "one": np.int64(1)}
    nodes = [
        helper.make_node("MatMul", ["x", "W"], ["a"]),
        helper.make_node("Mul", ["memory", "decay"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["memory_next"]),
        helper.make_node("Add", ["count", "one"], ["count_next"]),
        helper.make_node("Cast", ["count_next"], ["n"], to=TensorProto.DOUBLE),
        helper.make_node("Div", ["memory_next", "n"], ["mean"]),
        helper.make_node("ReduceSum", ["mean"], ["y"], keepdims=1),
    ]
    double, whole = TensorProto.DOUBLE, TensorProto.INT64
    inputs = [info("x", [FEATURES], double), info("memory", [UNITS], double), info("count", [1], whole)]
    outputs = [info("y", [1], double), info("memory_next", [UNITS], double), info("count_next", [1], whole)]
    return model(nodes, inputs, outputs, weights)


def contrib():
    """A contrib operator beside the state: x (batch, 3) goes through FusedMatMul of com.microsoft."""
    rng = np.random.default_rng(9)
    weights = {"W": _weights(rng, FEATURES, UNITS), "R": _weights(rng, UNITS, UNITS)}
    nodes = [
        helper.make_node("FusedMatMul", ["x", "W"], ["a"], domain="com.microsoft", alpha=0.5),
        helper.make_node("MatMul", ["prev_state", "R"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["s"]),
        helper.make_node("Tanh", ["s"], ["next_state"]),
        helper.make_node("ReduceSum", ["next_state", "axis"], ["y"], keepdims=1),
    ]
    inputs = [info("x", ["batch", FEATURES]), info("prev_state", ["batch", UNITS])]
    outputs = [info("y", ["batch", 1]), info("next_state", ["batch", UNITS])]
    return model(nodes, inputs, outputs, weights | {"axis": np.array([1])}, domains=("com.microsoft",))


def quantised():
    """What onnxruntime's quantiser makes of an LSTM: int8 weights, and x quantised anew in every call."""
    rng = np.random.default_rng(10)
    weights = {"B": _weights(rng, 1, 8 * UNITS)}
    for name, size in (("W", FEATURES), ("R", UNITS)):
        weights[name] = rng.integers(-100, 100, (1, size, 4 * UNITS)).astype(np.int8)
        weights |= {f"{name}_scale": np.full(1, 0.01, np.float32), f"{name}_zero": np.zeros(1, np.int8)}
    ends = ["W_scale", "W_zero", "R_scale", "R_zero"]
    nodes = [
        helper.make_node(
            "DynamicQuantizeLSTM", ["x", "W", "R", "B", "", "h", "c", "", *ends], ["y4", "hn", "cn"],
            domain="com.microsoft", hidden_size=UNITS,
        ),
        helper.make_node("Squeeze", ["y4", "one"], ["y"]),
    ]  # fmt: skip
    state = [1, "batch", UNITS]
    inputs = [info("x", ["time", "batch", FEATURES]), info("h", state), info("c", state)]
    outputs = [info("y", ["time", "batch", UNITS]), info("hn", state), info("cn", state)]
    return model(nodes, inputs, outputs, {**weights, "one": np.array([1])}, domains=("com.microsoft",))


@dataclass(frozen=True)
class Style:
    """A way to carry states. axes: those of x in the graph; rows: whether it takes more than one.

    by_call: whether an answer depends on what else is in the call, as where a whole input is quantised at once.
    """

    make: Callable[[], bytes]
    states: dict[str, str]
    axes: str = "tbf"
    rows: bool = True
    by_call: bool = False
    fixed: dict[str, int] = field(default_factory=dict)


H_C = {"h": "hn", "c": "cn"}

STYLES = {
    "time-major h, c": Style(time_major_lstm, H_C),
    "unnamed axes": Style(lambda: time_major_lstm(axes=(None, None)), H_C),
    "h0, c0 and h_n, c_n": Style(lambda: time_major_lstm(("h0", "c0", "h_n", "c_n")), {"h0": "h_n", "c0": "c_n"}),
    "outputs in another order": Style(lambda: time_major_lstm(swapped=True), H_C),
    "peepholes": Style(
        lambda: time_major_lstm(("in_h", "in_c", "out_h", "out_c"), peepholes=True), {"in_h": "out_h", "in_c": "out_c"}
    ),
    "fused state": Style(fused_state, {"state": "stateN"}, "btf", fixed={"sr": 16000}),
    "layers": Style(layers_in_out, {f"layer_{i}_hidden_in": f"layer_{i}_hidden_out" for i in range(2)}, "btf"),
    "a cell": Style(cell, {"foo": "bar"}, "bf"),
    "the same order": Style(same_order, {"a": "p", "b": "q"}, "tbf", rows=False),
    "convolution cache": Style(convolution_cache, {"cache": "new_cache"}, "bft"),
    "in a subgraph": Style(in_subgraph, {"h_in": "h_out"}, fixed={"loud": True}),
    "double and int64": Style(double_state, {"memory": "memory_next", "count": "count_next"}, "f", rows=False),
    "contrib operator": Style(contrib, {"prev_state": "next_state"}, "bf"),
    "quantised": Style(quantised, H_C, by_call=True),
}
"""Every style by its name."""


def by_hand(style, content, x):
    """The answers and the last states of onnxruntime, step by step. x: (batch, time, features)."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1  # as load has it; with more, a quantised operator scales parts of a batch apart
    session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    declared = {node.name: node for node in session.get_inputs()}
    answer = next(node.name for node in session.get_outputs() if node.name not in style.states.values())
    of = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int64)": np.int64, "tensor(bool)": bool}
    fixed = {name: np.array(value, of[declared[name].type]) for name, value in style.fixed.items()}
    states = {}
    for name in style.states:
        shape = [size if isinstance(size, int) else len(x) for size in declared[name].shape]
        states[name] = np.zeros(shape, of[declared[name].type])
    data = next(name for name in declared if name not in fixed and name not in states)
    answers = []
    for t in range(x.shape[1]):
        frame = {"tbf": x[:, t][None], "btf": x[:, t][:, None], "bf": x[:, t], "bft": x[:, t][:, :, None], "f": x[0, t]}
        feeds = {**fixed, **states, data: np.ascontiguousarray(frame[style.axes]).astype(of[declared[data].type])}
        y, *after = session.run([answer, *style.states.values()], feeds)
        states = dict(zip(states, after, strict=True))
        answers.append(y.reshape(len(x), -1))
    return np.stack(answers, 1), states
