"""On an NVIDIA GPU (`make test-gpu`): the CPU's answers, whole and streamed, with and without captured graphs."""

import numpy as np
import pytest
from edgeseq_runtime import load
from edgeseq_runtime.cache import VARIABLE
from edgeseq_runtime.errors import ProviderError
from edgeseq_runtime.measure import measure, model_call
from edgeseq_runtime.providers import cuda
from edgeseq_runtime.replay import REPEATS, Replayed
from onnx import TensorProto, helper

from edgeseq.placement import lines

pytestmark = pytest.mark.gpu

FEATURES = 6

CELLS = {
    "lstm": ("lstm", {}),
    "gru": ("gru", {}),
    "rnn-tanh": ("rnn", {}),
    "rnn-relu": ("rnn", {"nonlinearity": "relu"}),
}

ON_CPU = {"rnn-relu"}
"""Whose recurrence onnxruntime's CUDA provider does not run."""


@pytest.fixture(scope="module")
def _cuda():
    """Skips, with onnxruntime's or the runtime's own reason, where CUDA does not come up."""
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    after = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "double", [value], [after])
    smallest = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    try:
        load(smallest.SerializeToString(), provider="cuda")
    except ProviderError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def pair(_cuda, tmp_path_factory):
    """pair(cell, ragged, units) -> the same file on the CPU and on CUDA."""
    import torch
    from edgeseq_export import Source, export

    from edgeseq.nn import build

    folder, opened = tmp_path_factory.mktemp("cuda"), {}

    def make(cell, ragged, units=32):
        path = folder / f"{cell}-{ragged}-{units}.onnx"
        if path not in opened:
            torch.manual_seed(1)
            family, more = CELLS[cell]
            sizes = {"input_size": FEATURES, "output_size": 4, "hidden_size": units, "num_layers": 2, "head": "step"}
            network = build(family, {**sizes, "ragged": ragged, **more}).eval()
            export(Source(network, network.signature(), family, "classify", cell), path, verify=False)
            opened[path] = load(path, provider="cpu"), load(path, provider=cuda(graphs=True))
        return opened[path]

    return make


def sequence(batch, time, seed=0):
    return np.random.default_rng(seed).standard_normal((batch, time, FEATURES)).astype(np.float32)


def close(given, expected):
    assert given.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(given[name], array, rtol=0, atol=1e-5 * max(np.abs(array).max(), 1e-3), err_msg=name)


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_whole_sequences_also_where_a_shape_comes_back(pair, cell, ragged):
    cpu, cuda = pair(cell, ragged)
    for batch, time in ((1, 1), (3, 7)):
        for seed in range(REPEATS + 3):
            given = {"x": sequence(batch, time, seed)}
            if ragged:
                given["lengths"] = np.random.default_rng(seed).integers(1, time + 1, batch)
            close(cuda.run(given, states=True), cpu.run(given, states=True))
    replayed = isinstance(cuda._runner, Replayed)
    assert replayed is (not ragged and cell not in ON_CPU)
    assert not replayed or (len(cuda._runner._captured) == 2 and not cuda._runner.problem)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_streams(pair, cell, ragged, batch):
    cpu, cuda = (model.stream(batch) for model in pair(cell, ragged))
    assert cuda.cuda_graphs.used is (not ragged and cell not in ON_CPU), cuda.cuda_graphs.reason
    frames = sequence(batch, 20)
    for t in range(8):
        close(cuda.step(frames[:, t]), cpu.step(frames[:, t]))
    close(cuda.run(frames[:, 8:15]), cpu.run(frames[:, 8:15]))
    for stream in (cpu, cuda):
        stream.reset([0])
    close(cuda.step(frames[:, 15]), cpu.step(frames[:, 15]))
    close(cuda.state.arrays, cpu.state.arrays)
    kept = cuda.state
    first = cuda.step(frames[:, 16])
    cuda.restore(kept)
    close(cuda.step(frames[:, 16]), first)


@pytest.mark.parametrize("cell", CELLS)
def test_nodes_on_the_cpu_are_told(pair, cell):
    _, cuda = pair(cell, False)
    assert ("RNN" in lines(cuda)[0]) is (cell in ON_CPU), lines(cuda)


@pytest.mark.parametrize(("batch", "time"), [(1, 1), (1, 100), (32, 100)])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_auto_is_as_fast_as_the_best_fixed_choice(pair, cell, batch, time, tmp_path, monkeypatch):
    """By half at most, since a test may not fail by chance; benchmarks/providers.py measures it."""
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    cpu, cuda = pair(cell, False, 256)
    sizes = {"batch": batch, "time": time}
    auto = load(cpu._arguments[0], provider="auto", sizes=sizes)
    calls = {name: model_call(m, sizes, False) for name, m in {"auto": auto, "cpu": cpu, "cuda": cuda}.items()}
    us = {name: latency.p50_us for name, latency in measure(calls, 0.5).items()}
    assert us["auto"] <= 1.5 * min(us["cpu"], us["cuda"]), (auto.provider, us)
