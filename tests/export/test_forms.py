"""The three forms of a recurrence are one meaning: native operator, loop, and copies of the step."""

from itertools import product

import numpy as np
import onnx
import pytest
import torch
from edgeseq_export import Source, convert, export, recur
from edgeseq_export.ops import NativeLayer, RecurrentLayer
from edgeseq_export.swap import exchanged
from edgeseq_runtime import load
from edgeseq_runtime.errors import ExportError, InputError, StreamError
from edgeseq_runtime.signature import Signature, StatePair, Tensor
from torch import nn

from edgeseq.nn import build

CELLS = ["lstm", "gru", "rnn_tanh", "rnn_relu", "rnn_sigmoid"]
CONTROL_FLOW = {"Scan", "Loop", "If"}
RECURRENT = {"LSTM", "GRU", "RNN"}


def make_source(cell="lstm", **config):
    family, _, nonlinearity = cell.partition("_")
    config = {"input_size": 3, "output_size": 4, "hidden_size": 5, **config}
    if nonlinearity:
        config["nonlinearity"] = nonlinearity
    with torch.random.fork_rng():
        torch.manual_seed(11)
        network = build(family, config).eval()
        for layer in network.layers:
            for direction in range(layer.directions):
                layer.direction_weights(direction)[0].data.mul_(3)
        for value in network.initial.values():
            torch.nn.init.normal_(value)
    return Source(network, network.signature(), family, network.task, "test", initial=network.initial_values())


def cases():
    """Every cell in every form and direction; heads, depths and initial states go along in turn."""
    heads, layers, initial = ("last", "step", "mean"), (1, 2), ("zeros", "learned")
    for number, (cell, form, bidirectional) in enumerate(product(CELLS, ("loop", "unroll"), (False, True))):
        chosen = {
            "head": heads[number % 3],
            "num_layers": layers[number // 4 % 2],
            "initial_state": initial[number // 8 % 2 if number < 16 else number // 2 % 2],
        }
        rare = cell in ("rnn_relu", "rnn_sigmoid") and bidirectional is (form == "loop")
        yield pytest.param(
            cell,
            form,
            {"bidirectional": bidirectional, **chosen},
            id=f"{cell}-{form}-{bidirectional}",
            marks=pytest.mark.full if rare else (),
        )


@pytest.mark.parametrize(("cell", "form", "config"), list(cases()))
def test_proof_passes(cell, form, config, operators, tmp_path):
    source = make_source(cell, **config)
    steps = 7 if form == "unroll" else None
    assert export(source, tmp_path / "model.onnx", form=form, steps=steps).passed
    model = load(tmp_path / "model.onnx")
    assert model.verify().passed
    assert model.contract.recurrence["form"] == form
    found = operators((tmp_path / "model.onnx").read_bytes())
    assert not found & RECURRENT
    assert ("Scan" in found) is (form == "loop")
    assert form == "loop" or not found & CONTROL_FLOW


@pytest.fixture(scope="module")
def forms():
    source = make_source("lstm", num_layers=2)
    return {
        form: load(convert(source, form=form, steps=n))
        for form, n in (("native", None), ("loop", None), ("unroll", 32))
    }


@pytest.mark.parametrize("time", [1, 20, 32, 33, 64, 75])
def test_forms_agree_at_every_length(forms, time):
    rng = np.random.default_rng(time)
    x = rng.standard_normal((4, time, 3)).astype(np.float32)
    lengths = rng.integers(1, time + 1, 4)
    answers = {form: model.run({"x": x, "lengths": lengths}, states=True) for form, model in forms.items()}
    for name, expected in answers["native"].items():
        for form in ("loop", "unroll"):
            np.testing.assert_allclose(answers[form][name], expected, atol=2e-6, err_msg=f"{form} {name}")


@pytest.mark.parametrize("chunk", [1, 5, 32, 40])
@pytest.mark.parametrize("batch", [1, 3])
def test_unrolled_streams_equal_native_ones(forms, chunk, batch):
    x = np.random.default_rng(0).standard_normal((batch, 80, 3)).astype(np.float32)
    streams = {form: forms[form].stream(batch) for form in ("native", "unroll")}
    for start in range(0, 80, chunk):
        part = x[:, start : start + chunk]
        calls = {form: s.step(part[:, 0]) if chunk == 1 else s.run(part) for form, s in streams.items()}
        np.testing.assert_allclose(calls["unroll"]["logits"], calls["native"]["logits"], atol=2e-6)


def test_weights_appear_once_whatever_the_number_of_steps():
    source = make_source("gru", hidden_size=64)
    sizes = {n: len(convert(source, form="unroll", steps=n)) for n in (2, 40)}
    weights = 64 * 3 * 64 * 4  # bytes of the recurrent matrix
    assert sizes[40] - sizes[2] < 2 * weights
    names = [t.name for t in onnx.load_from_string(convert(source, form="unroll", steps=40)).graph.initializer]
    assert len(names) == len(set(names))
    assert sum("w_hh" in name for name in names) == 1


def test_unrolled_time_is_declared(forms):
    model = onnx.load_from_string(convert(make_source(), form="unroll", steps=9))
    (x,) = (i for i in model.graph.input if i.name == "x")
    assert [d.dim_value or d.dim_param for d in x.type.tensor_type.shape.dim] == ["batch", 9, 3]
    assert forms["unroll"].contract.steps == 32


def test_a_network_that_cannot_stream_takes_no_more_than_its_steps():
    model = load(convert(make_source(bidirectional=True), form="unroll", steps=9))
    assert model.run(np.zeros((1, 9, 3), np.float32))["logits"].shape == (1, 4)
    with pytest.raises(InputError, match="has 10 along 'time', but model takes at most 9"):
        model.run(np.zeros((1, 10, 3), np.float32))


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        ({}, {"form": "native", "steps": 5}, "steps are of the unroll form; 'native' takes sequences of any length"),
        ({}, {"form": "loop", "steps": 5}, "'loop' takes sequences of any length"),
        ({}, {"form": "unroll", "steps": 0}, "0 steps were asked for, but test takes at least 1 along 'time'"),
    ],
)
def test_what_cannot_be_written_is_refused(config, options, message):
    with pytest.raises(ExportError, match=message):
        convert(make_source(**config), **options)


def test_without_lengths_an_unrolled_file_takes_its_steps_exactly(tmp_path):
    source = make_source("gru", ragged=False)
    assert export(source, tmp_path / "x.onnx", form="unroll", steps=6).passed
    model = load(tmp_path / "x.onnx")
    for time, message in ((5, "at least 6"), (7, "at most 6")):
        with pytest.raises(InputError, match=message):
            model.run(np.zeros((1, time, 3), np.float32))
    with pytest.raises(StreamError, match="takes no lengths"):
        model.stream()


def test_loops_need_no_lengths(tmp_path):
    assert export(make_source("gru", ragged=False, head="step"), tmp_path / "x.onnx", form="loop").passed


def test_the_steps_of_a_scan_say_how_many_axes_come_out(tmp_path):
    """onnxruntime before 1.26 runs no other, where it cannot infer it; of sizes they say nothing."""
    export(make_source("lstm"), tmp_path / "x.onnx", form="loop", verify=False)
    scans = [node for node in onnx.load(tmp_path / "x.onnx").graph.node if node.op_type == "Scan"]
    shapes = [
        each.type.tensor_type for scan in scans for a in scan.attribute if a.name == "body" for each in a.g.output
    ]
    assert shapes
    assert all(len(each.shape.dim) == 2 for each in shapes)
    assert not any(dim.HasField("dim_value") or dim.dim_param for each in shapes for dim in each.shape.dim)


@pytest.mark.parametrize("steps", [1, 2, 9])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_few_steps(steps, bidirectional, tmp_path):
    source = make_source("gru", bidirectional=bidirectional)
    assert export(source, tmp_path / "x.onnx", form="unroll", steps=steps).passed
    model = load(tmp_path / "x.onnx")
    assert model.verify().passed
    assert model.measure(seconds=0.01).calls >= 10
    assert model.signature.typical["time"] == (steps if bidirectional else 20)


class Leaky(nn.Module):
    """A cell that has no operator: h(t) = (1 − a) h(t−1) + a tanh(u(t) + W h(t−1)), with two outputs a step."""

    def __init__(self, units, leak):
        super().__init__()
        self.w = nn.Parameter(torch.randn(units, units) / units**0.5)
        self.leak = leak

    def forward(self, h, driven):
        h = (1 - self.leak) * h + self.leak * torch.tanh(driven + h @ self.w)
        return h, h, h[:, :2] ** 2


class Reservoir(nn.Module):
    """A network with a recurrence of its own, used twice with the same step, forwards and backwards."""

    def __init__(self):
        super().__init__()
        self.step, self.drive, self.out = Leaky(6, 0.3), nn.Linear(3, 6), nn.Linear(16, 4)

    def forward(self, x, lengths, h0=None):
        driven = self.drive(x.transpose(0, 1))
        zeros = driven.new_zeros(x.shape[0], 6)
        (last,), (y, squares) = recur(self.step, (zeros if h0 is None else h0[0],), (driven,), lengths)
        _, (back, more) = recur(self.step, (zeros,), (driven,), lengths, backward=True)
        return {"values": self.out(torch.cat([y, back, squares, more], -1)).transpose(0, 1), "h0_next": last[None]}


@pytest.fixture(scope="module")
def reservoir():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Reservoir().eval()
    signature = Signature(
        inputs=(Tensor("x", "float32", ("batch", "time", 3)), Tensor("lengths", "int64", ("batch",), of="x")),
        outputs=(Tensor("values", "float32", ("batch", "time", 4), kind="step"),),
        states=(StatePair("h0", "h0_next", (1, "batch", 6)),),
    )
    return Source(network, signature, "reservoir", "forecast", "reservoir")


@pytest.mark.parametrize(("form", "steps"), [("native", None), ("loop", None), ("unroll", 8)])
def test_a_step_of_ones_own(reservoir, form, steps, operators, tmp_path):
    """recur() in any network: a loop where no operator exists, copies where they are asked for; weights once."""
    assert export(reservoir, tmp_path / "x.onnx", form=form, steps=steps).passed
    model = onnx.load(tmp_path / "x.onnx")
    assert [tuple(t.dims) for t in model.graph.initializer].count((6, 6)) == 1
    found = operators((tmp_path / "x.onnx").read_bytes())
    assert ("Scan" in found) is (form != "unroll")


def test_recur_trains_like_a_loop_written_by_hand():
    step, x = Leaky(4, 0.5), torch.randn(5, 2, 4)
    (last,), (y, _) = recur(step, (torch.zeros(2, 4),), (x,))
    h, expected = torch.zeros(2, 4), []
    for t in range(5):
        h, _, _ = step(h, x[t])
        expected.append(h)
    assert torch.equal(y, torch.stack(expected))
    assert torch.equal(last, h)
    y.sum().backward()
    assert step.w.grad.abs().sum() > 0


def test_a_layer_under_two_names_is_exchanged_under_both():
    module = nn.Module()
    module.a = module.b = RecurrentLayer("gru", 3, 4)
    copied = exchanged(module, native=True)
    assert isinstance(copied.a, NativeLayer)
    assert copied.b is copied.a
    assert isinstance(module.a, RecurrentLayer)


@pytest.mark.parametrize("form", ["loop", "unroll"])
def test_export_leaves_the_callers_random_numbers(form):
    before = torch.get_rng_state()
    convert(make_source(), form=form)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("opset", "form"), [(20, "loop"), (23, "unroll")])
def test_later_opsets(opset, form):
    assert load(convert(make_source("gru", head="mean"), form=form, opset=opset)).verify().passed
