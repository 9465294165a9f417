"""Where a stock exporter goes wrong with recurrences, and edgeseq does not; or where it no longer does, which is said.

The stock exporter is `torch.onnx.export` as it is called in tutorials: with its defaults, and with the axes named.
"""

import logging
import os
import warnings

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from edgeseq_export import convert, verify
from edgeseq_export.sources.module import from_module
from edgeseq_runtime import load
from edgeseq_runtime.errors import ExportError, InputError, UnsafeFileError
from onnx import TensorProto, helper
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from zoo.steps import LoopedCell

from edgeseq.opening import open_source

NAMED = ({0: "batch", 1: "time"},)
FREE = ({0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO},)
INPUT = "x:float32[batch,time,3]"


class Whole(nn.Module):
    """A recurrent layer, every step of it."""

    def __init__(self, layer, features=3, size=4, **settings):
        super().__init__()
        self.rnn = layer(features, size, batch_first=True, **settings)

    def forward(self, x):
        y, _ = self.rnn(x)
        return y


class Packed(Whole):
    """The same over packed rows."""

    def forward(self, x, lengths):
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(self.rnn(packed)[0], batch_first=True)[0]


def built(make, *args, **settings):
    with torch.random.fork_rng():
        torch.manual_seed(8)
        return make(*args, **settings).eval()


def frames(batch, time):
    return torch.randn(batch, time, 3, generator=torch.Generator().manual_seed(batch + time))


@pytest.fixture(scope="module")
def stock(tmp_path_factory):
    """stock(module, *example, …): the path of what torch.onnx.export writes, in a folder of its own."""
    remarks = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "torch.fx")]
    levels = [each.level for each in remarks]

    def written(module, *example, fresh=True, **settings):
        if fresh:  # torch keeps what it found out about an operator, see the test of the second export
            FakeTensorMode.cache_clear()
        path = tmp_path_factory.mktemp("stock") / "model.onnx"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(module, example, path, verbose=False, **settings)
        return path

    for each in remarks:
        each.setLevel(logging.CRITICAL)
    yield written
    for each, level in zip(remarks, levels, strict=True):
        each.setLevel(level)
    FakeTensorMode.cache_clear()


@pytest.fixture(scope="module")
def theirs(stock):
    """A stock LSTM with its axes named."""
    return stock(built(Whole, nn.LSTM), frames(2, 5), dynamic_shapes=NAMED)


@pytest.fixture(scope="module")
def lstm():
    """An LSTM by edgeseq: the network, its source and the file."""
    network = built(Whole, nn.LSTM)
    source = from_module(network, inputs=[INPUT])
    return network, source, convert(source)


@pytest.fixture(scope="module")
def gru():
    """A GRU by edgeseq, likewise."""
    network = built(Whole, nn.GRU)
    source = from_module(network, inputs=[INPUT])
    return network, source, convert(source)


@pytest.fixture(scope="module")
def packed():
    """A packed LSTM by edgeseq, likewise."""
    network = built(Packed, nn.LSTM)
    source = from_module(network, inputs=[INPUT, "lengths:int64[batch]"])
    return network, source, convert(source)


def declared(model):
    """The sizes of a file's first output: words where they are free."""
    return [d.dim_param or d.dim_value for d in model.graph.output[0].type.tensor_type.shape.dim]


def answered(content, x):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]


def test_the_stock_lstm_declares_the_time_of_its_example(theirs, lstm):
    """Its node takes other lengths, but what is told of the output holds for the example alone."""
    assert declared(onnx.load(theirs)) == ["batch", 5, 4]
    _, source, content = lstm
    assert declared(onnx.load_from_string(content)) == ["batch", "time", 4]
    assert verify(content, source).passed


def test_the_stock_exporter_fails_at_the_second_lstm_of_a_process(stock):
    stock(built(Whole, nn.LSTM), frames(2, 5), dynamic_shapes=NAMED)
    with pytest.raises(torch.onnx.errors.OnnxExporterError) as refused:
        stock(built(Whole, nn.LSTM), frames(2, 7), fresh=False, dynamic_shapes=NAMED)
    assert "inferred a static shape of 7" in str(refused.value.__cause__)
    source = from_module(built(Whole, nn.LSTM), inputs=[INPUT])
    assert declared(onnx.load_from_string(convert(source))) == ["batch", "time", 4]


@pytest.mark.parametrize("network", [lambda: Whole(nn.RNN), LoopedCell], ids=["nn.RNN", "python loop"])
def test_the_stock_exporter_unrolls_to_the_example(stock, network):
    """Without a word where the axes are AUTO; where they have names it now refuses, which it did not always."""
    network = built(network)
    path = stock(network, frames(2, 5), dynamic_shapes=FREE)
    assert not {"RNN", "Scan", "Loop"} & {node.op_type for node in onnx.load(path).graph.node}
    longer = frames(2, 9)
    assert answered(path, longer).shape[1] == 5 != network(longer).shape[1]


def test_edgeseq_writes_an_rnn_as_one_operator(operators):
    source = from_module(built(Whole, nn.RNN), inputs=[INPUT])
    content = convert(source)
    assert "RNN" in operators(content)
    assert verify(content, source).passed


def test_edgeseq_refuses_a_python_loop():
    """Its rewrite is in the zoo."""
    with pytest.raises(ExportError, match=r"loops over time in Python, in LoopedCell\.forward"):
        convert(from_module(built(LoopedCell)))


def test_the_stock_exporter_no_longer_freezes_an_axis_for_an_example_of_one(stock):
    path = stock(built(Whole, nn.LSTM), frames(1, 1), dynamic_shapes=NAMED)
    assert answered(path, frames(3, 7)).shape == (3, 7, 4)


def test_edgeseq_takes_its_own_example_and_answers_one_row_of_one_step(lstm):
    network, _, content = lstm
    one = frames(1, 1)
    np.testing.assert_allclose(load(content).run(one.numpy())["y"], network(one).detach().numpy(), atol=1e-6)


def test_the_stock_exporter_cannot_pack(stock):
    example = frames(2, 5), torch.tensor([5, 3])
    with pytest.raises(torch.onnx.errors.OnnxExporterError) as refused:
        stock(built(Packed, nn.LSTM), *example, dynamic_shapes=(*NAMED, {0: "batch"}))
    assert isinstance(refused.value.__cause__, TypeError)


def test_edgeseq_packs_into_the_lengths_of_the_operator(packed):
    network, _, content = packed
    node = next(node for node in onnx.load_from_string(content).graph.node if node.op_type == "LSTM")
    assert node.input[4], "sequence_lens"
    x, lengths = frames(3, 6), torch.tensor([2, 6, 4])
    actual = load(content).run({"x": x.numpy(), "lengths": lengths.numpy()})["output"]
    np.testing.assert_allclose(actual, network(x, lengths).detach().numpy(), atol=1e-6)


def test_edgeseq_writes_a_gru_as_torch_means_it(gru):
    network, _, content = gru
    node = next(node for node in onnx.load_from_string(content).graph.node if node.op_type == "GRU")
    assert {a.name: a.i for a in node.attribute}["linear_before_reset"] == 1
    x = frames(2, 6)
    np.testing.assert_allclose(load(content).run(x.numpy())["y"], network(x).detach().numpy(), atol=1e-6)


def bare_lstm(**attributes):
    """One LSTM node and nothing else: x, lengths and h0 go in."""
    weights = [np.full((1, 16, size), 0.1, np.float32) for size in (3, 4)]
    batch_first = attributes.get("layout", 0)
    state = ["batch", 1, 4] if batch_first else [1, "batch", 4]
    graph = helper.make_graph(
        [helper.make_node("LSTM", ["x", "W", "R", "", "lengths", "h0"], ["", "h"], hidden_size=4, **attributes)],
        "lstm",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["a", "b", 3]),
            helper.make_tensor_value_info("lengths", TensorProto.INT32, ["batch"]),
            helper.make_tensor_value_info("h0", TensorProto.FLOAT, state),
        ],
        [helper.make_tensor_value_info("h", TensorProto.FLOAT, state)],
        [onnx.numpy_helper.from_array(w, name) for w, name in zip(weights, "WR", strict=True)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def test_onnxruntime_refuses_rows_first_and_edgeseq_asks_for_steps_first(lstm):
    with pytest.raises(Exception, match=r"(?i)layout|batchwise"):
        bare_lstm(layout=1)
    node = next(node for node in onnx.load_from_string(lstm[2]).graph.node if node.op_type == "LSTM")
    assert {a.name: a.i for a in node.attribute}.get("layout", 0) == 0


def test_a_length_of_zero_loses_the_state_in_onnxruntime_and_is_refused_by_edgeseq(packed):
    state = np.ones((1, 2, 4), np.float32)
    feeds = {"x": np.ones((3, 2, 3), np.float32), "lengths": np.array([3, 0], np.int32), "h0": state}
    (h,) = bare_lstm().run(None, feeds)
    assert not h[0, 1].any(), "a row without steps should have kept its state"
    model = load(packed[2])
    with pytest.raises(InputError, match="lengths"):
        model.run({"x": np.ones((2, 3, 3), np.float32), "lengths": np.array([3, 0])})


def test_the_stock_exporter_writes_a_projection_that_does_not_run(stock):
    path = stock(built(Whole, nn.LSTM, proj_size=2), frames(2, 5))
    with pytest.raises(Exception, match="initial_c"):
        answered(path, frames(2, 5))


def test_edgeseq_writes_a_projection_as_a_loop(operators):
    source = from_module(built(Whole, nn.LSTM, proj_size=2), inputs=[INPUT])
    content = convert(source)
    assert "Scan" in operators(content)
    assert verify(content, source).passed


def test_the_stock_file_lies_in_two_and_tells_where_it_was_made(theirs, lstm):
    assert {each.name for each in theirs.parent.iterdir()} == {"model.onnx", "model.onnx.data"}
    model = onnx.load(theirs, load_external_data=False)
    here = os.path.basename(__file__).encode()
    assert here in model.SerializeToString()
    assert here not in lstm[2]
    ours = onnx.load_from_string(lstm[2])
    assert not any(weight.external_data for weight in ours.graph.initializer)
    assert not any(node.metadata_props or node.doc_string for node in ours.graph.node)


def test_the_stock_exporter_turns_opset_13_into_another_and_edgeseq_refuses_it(stock, lstm):
    model = onnx.load(stock(built(Whole, nn.LSTM), frames(2, 5), opset_version=13))
    assert model.opset_import[0].version == 18
    with pytest.raises(ExportError, match="opset 13 cannot be written; choose one from 18"):
        convert(lstm[1], opset=13)
    ours = onnx.load_from_string(lstm[2])
    assert (ours.opset_import[0].version, ours.ir_version) == (18, 8)


def test_the_stock_exporter_too_keeps_recurrent_weights_as_initialisers(theirs, lstm, gru):
    for model in (onnx.load(theirs), *(onnx.load_from_string(content) for _, _, content in (lstm, gru))):
        inputs, weights = ({each.name for each in part} for part in (model.graph.input, model.graph.initializer))
        node = next(node for node in model.graph.node if node.op_type in ("LSTM", "GRU"))
        assert set(node.input[1:4]) <= weights - inputs


def test_the_stock_exporter_refuses_what_is_scripted_and_edgeseq_does_not(stock):
    network = built(Whole, nn.LSTM)
    scripted = torch.jit.script(network)
    with pytest.raises(torch.onnx.errors.OnnxExporterError) as refused:
        stock(scripted, frames(2, 5), dynamic_shapes=NAMED)
    assert "ScriptModule is not supported" in str(refused.value.__cause__)
    x = frames(3, 7)
    actual = load(convert(from_module(scripted, inputs=[INPUT]))).run(x.numpy())
    np.testing.assert_allclose(next(iter(actual.values())), network(x).detach().numpy(), atol=1e-6)


class Marks:
    """Runs code when it is unpickled: makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("kind", ["pickled", "scripted", "program"])
def test_torch_runs_code_from_what_it_opens_and_edgeseq_asks_for_trust_first(tmp_path, kind):
    """Shown for torch with a pickle; of TorchScript archives and .pt2 files only the refusal."""
    marks, path = tmp_path / "marks", tmp_path / ("model.pt2" if kind == "program" else "model.pt")
    if kind == "pickled":
        torch.save(Marks(marks), path)
        torch.load(path, weights_only=False)
        marks.rmdir()  # torch has made it
    elif kind == "scripted":
        torch.jit.save(torch.jit.script(built(Whole, nn.GRU)), path)
    else:
        torch.export.save(torch.export.export(nn.Linear(3, 2), (torch.ones(2, 3),)), path)
    with pytest.raises(UnsafeFileError, match="--trust"):
        open_source(path)
    assert kind != "pickled" or not marks.exists()
