"""Learned initial states: defaults in the graph for every runtime, and the same values in a stream."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from edgeseq_export import Source, convert, verify
from edgeseq_runtime import load
from edgeseq_runtime.seal import seal

from edgeseq.nn import build


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng():
        torch.manual_seed(5)
        built = build("lstm", {"input_size": 3, "output_size": 2, "hidden_size": 4, "initial_state": "learned"}).eval()
        for value in built.initial.values():
            torch.nn.init.normal_(value)
    return built


@pytest.fixture(scope="module")
def content(network):
    signature = network.signature()
    return convert(Source(network, signature, "lstm", "classify", "test", initial=network.initial_values()))


@pytest.mark.parametrize("batch", [1, 4])
def test_a_bare_session_may_leave_the_states_out(network, content, batch):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).standard_normal((batch, 6, 3)).astype(np.float32)
    lengths = np.full(batch, 6, np.int64)
    with torch.no_grad():
        expected = network(x=torch.from_numpy(x), lengths=torch.from_numpy(lengths))["logits"].numpy()
    (bare,) = session.run(["logits"], {"x": x, "lengths": lengths})
    np.testing.assert_allclose(bare, expected, atol=1e-6)
    np.testing.assert_allclose(load(content).run(x)["logits"], expected, atol=1e-6)
    stream = load(content).stream(batch)
    np.testing.assert_allclose(stream.run(x)["logits"], expected, atol=1e-6)
    stream.reset()
    np.testing.assert_allclose(stream.run(x)["logits"], expected, atol=1e-6)


def test_zero_states_differ_from_learned_ones(content):
    x = np.ones((1, 3, 3), np.float32)
    model = load(content)
    zeros = {name: np.zeros((1, 1, 4), np.float32) for name in ("h0", "c0")}
    assert not np.allclose(model.run(x)["logits"], model.run({"x": x, **zeros})["logits"], atol=1e-3)


def test_the_proof_sees_the_defaults_in_the_graph(network, content):
    """A stream starts from the metadata, a run from the graph: both are proven."""
    source = Source(network, network.signature(), "lstm", "classify", "test", initial=network.initial_values())
    assert verify(content, source).passed
    model = onnx.load_from_string(content)
    for weight in model.graph.initializer:
        if weight.name == "h0":
            weight.CopyFrom(onnx.numpy_helper.from_array(np.full((1, 1, 4), 9, np.float32), "h0"))
    changed = seal(model.SerializeToString())
    assert not verify(changed, source).passed
    assert not load(changed).verify().passed
