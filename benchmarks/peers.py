"""What edgeseq_runtime costs beside a bare onnxruntime session on the leanest graph, and beside PyTorch eager.

Two layers, 64 inputs, a linear head with softmax; one thread; medians of interleaved rounds.

    python benchmarks/peers.py                 # the whole table
    python benchmarks/peers.py --units 64 256 --cells lstm --steps 1
"""

import argparse
import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import onnx
import onnxruntime as ort
import torch
from edgeseq_export import Source, export
from edgeseq_export.ops import NativeLayer
from edgeseq_runtime import load
from edgeseq_runtime.measure import measure
from onnx import TensorProto, helper, numpy_helper

from edgeseq.nn import Recurrent, build

FEATURES, CLASSES, LAYERS = 64, 10, 2


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", nargs="+", default=["lstm", "gru", "rnn"], choices=["lstm", "gru", "rnn"])
    parser.add_argument("--units", nargs="+", type=int, default=[64, 256, 1024])
    parser.add_argument("--steps", nargs="+", type=int, default=[1, 100])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--seconds", type=float, default=1.0, help="time for each call of each line")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(
        f"{platform.machine()}, Python {platform.python_version()}, onnxruntime {ort.__version__}, "
        f"torch {torch.__version__}, one thread; µs, medians of calls in interleaved turns"
    )
    print("bare: session with bound arrays, leanest graph; ×: ratio to the column named, +: µs over it\n")
    print(
        f"{'network':14}{'steps':>6}{'batch':>6}{'bare':>11}{'session.run':>12}{'Model.run':>11}{'×session':>9}"
        f"{'+bare':>9}{'×bare':>7}{'Stream':>11}{'+bare':>9}{'×bare':>7}{'torch':>11}{'×Stream':>9}"
    )
    for cell, units in product(arguments.cells, arguments.units):
        for line in table(cell, units, arguments.steps, arguments.batches, arguments.seconds):
            print(line, flush=True)


def table(cell: str, units: int, steps: list[int], batches: list[int], seconds: float) -> Iterator[str]:
    """The lines of one network."""
    torch.manual_seed(0)
    sizes = {"input_size": FEATURES, "output_size": CLASSES, "hidden_size": units, "num_layers": LAYERS}
    network = build(cell, {**sizes, "standardise": False}).eval()  # PyTorch's own stack does not standardise either
    source = Source(network, network.signature(), cell, "classify", cell)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        path = Path(folder, "model.onnx")
        with torch.inference_mode(False):
            export(source, path, verify=False)
        model = load(path)
        session = ort.InferenceSession(path, _options(), providers=["CPUExecutionProvider"])
        lean = ort.InferenceSession(_lean_graph(network), _options(), providers=["CPUExecutionProvider"])
        for time, batch in product(steps, batches):
            x = np.random.default_rng(0).standard_normal((batch, time, FEATURES)).astype(np.float32)
            calls = {
                "bare": _bare(lean, x, units),
                "session": _session_run(session, model, x),
                "run": lambda x=x: model.run(x),
                "stream": _stream(model, x),
                "torch": _eager(network, x),
            }
            _check_equal(calls)
            medians = {name: latency.p50_us for name, latency in measure(calls, seconds).items()}
            yield _line(f"{cell} 2×{units}", time, batch, medians)


def _line(name: str, time: int, batch: int, us: dict[str, float]) -> str:
    bare, session, run, stream, eager = (us[k] for k in ("bare", "session", "run", "stream", "torch"))
    return (
        f"{name:14}{time:6}{batch:6}{bare:11.1f}{session:12.1f}{run:11.1f}{run / session:9.2f}{run - bare:9.1f}"
        f"{run / bare:7.2f}{stream:11.1f}{stream - bare:9.1f}{stream / bare:7.2f}{eager:11.1f}{eager / stream:9.1f}"
    )


def _check_equal(calls: dict[str, Callable[[], Any]]) -> None:
    """All contenders compute the same network: the first answer of each, from zero states, is the same."""
    answers = {name: call() for name, call in calls.items()}
    expected = answers["run"]["logits"]
    for name, answer in answers.items():
        logits = answer["logits"] if isinstance(answer, dict) else answer
        np.testing.assert_allclose(np.reshape(logits, expected.shape), expected, atol=2e-5, err_msg=name)


def _options() -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _bare(session: ort.InferenceSession, x: np.ndarray, units: int) -> Callable[[], Any]:
    """Nothing but run_with_iobinding: buffers bound once, the input already in place."""
    binding = session.io_binding()
    sizes = {"batch": x.shape[0], "time": x.shape[1]}
    buffers = {}
    for node in (*session.get_inputs(), *session.get_outputs()):
        shape = [sizes.get(axis, axis) for axis in node.shape]
        buffers[node.name] = np.zeros(shape, np.float32)
    buffers["x"][...] = x.transpose(1, 0, 2)
    for bind, nodes in (
        (binding.bind_input, session.get_inputs()),
        (binding.bind_output, session.get_outputs()),
    ):
        for node in nodes:
            array = buffers[node.name]
            bind(node.name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
    run = session.run_with_iobinding

    def call() -> np.ndarray:
        run(binding)
        return buffers["logits"]

    return call


def _session_run(session: ort.InferenceSession, model: Any, x: np.ndarray) -> Callable[[], Any]:
    """The same file through plain session.run, every input given."""
    signature = model.signature
    feeds = {"x": x, "lengths": np.full(x.shape[0], x.shape[1], np.int64)}
    feeds.update({s.input: np.zeros(s.shape({"batch": x.shape[0]}), np.float32) for s in signature.states})
    names = [t.name for t in signature.outputs]
    return lambda: session.run(names, feeds)[0]


def _stream(model: Any, x: np.ndarray) -> Callable[[], Any]:
    stream = model.stream(x.shape[0])
    if x.shape[1] > 1:
        return lambda: stream.run(x)
    frame = np.ascontiguousarray(x[:, 0])
    return lambda: stream.step(frame)


def _eager(network: Recurrent, x: np.ndarray) -> Callable[[], Any]:
    """PyTorch's own stacked layer and a linear head, as one would write it by hand, states carried."""
    config = network.config
    kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[config.cell]
    stack = kind(config.input_size, config.hidden_size, config.num_layers, batch_first=True).eval()
    for index, layer in enumerate(network.layers):
        for name, weight in layer.net.named_parameters():
            getattr(stack, name.replace("_l0", f"_l{index}")).data.copy_(weight)
    values = torch.from_numpy(x)
    state: Any = None

    def call() -> np.ndarray:
        nonlocal state
        y, state = stack(values, state)
        logits = network.head(y[:, -1])
        torch.softmax(logits, -1)
        return logits.numpy()

    return call


def _lean_graph(network: Recurrent) -> bytes:
    """The same network with nothing that could be left out: time first, no lengths, no standardisation."""
    config = network.config
    quantities = "hc" if config.cell == "lstm" else "h"
    nodes, initializers, inputs, outputs = [], [], [_value("x", ["time", "batch", FEATURES])], []
    y = "x"
    for index, layer in enumerate(network.layers):
        native = NativeLayer(layer)
        weights = [_weight(f"{name}{index}", getattr(native, name)) for name in "WRB"]
        states = [f"{q}{index}" for q in quantities]
        initializers += weights
        nodes.append(
            helper.make_node(
                {"lstm": "LSTM", "gru": "GRU", "rnn": "RNN"}[config.cell],
                [y, *(w.name for w in weights), "", *states],
                [f"y{index}" if index == 0 else "", *(f"{s}_next" for s in states)],
                hidden_size=config.hidden_size,
                **({"linear_before_reset": 1} if config.cell == "gru" else {}),
            )
        )
        shape = [1, "batch", config.hidden_size]
        inputs += [_value(s, shape) for s in states]
        outputs += [_value(f"{s}_next", shape) for s in states]
        if index == 0:
            nodes.append(helper.make_node("Squeeze", ["y0", "one"], ["squeezed"]))
            y = "squeezed"
    initializers += [
        numpy_helper.from_array(np.array([1]), "one"),
        numpy_helper.from_array(np.array([0]), "zero"),
        _weight("head", network.head.weight),
        _weight("bias", network.head.bias),
    ]
    nodes.append(helper.make_node("Squeeze", [f"h{LAYERS - 1}_next", "zero"], ["last"]))
    nodes.append(helper.make_node("Gemm", ["last", "head", "bias"], ["logits"], transB=1))
    nodes.append(helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1))
    outputs = [_value("logits", ["batch", CLASSES]), _value("probabilities", ["batch", CLASSES]), *outputs]
    graph = helper.make_graph(nodes, "lean", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return bytes(model.SerializeToString())


def _value(name: str, shape: list[Any]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _weight(name: str, tensor: torch.Tensor) -> onnx.TensorProto:
    return numpy_helper.from_array(tensor.detach().numpy(), name)


if __name__ == "__main__":
    main()
