"""The three forms of a recurrence are one meaning: native operator, loop, and copies of the step."""

from itertools import product

import numpy as np
import onnx
import pytest
import torch
from edgeseq_export import Source, convert, export
from edgeseq_runtime import load
from edgeseq_runtime.errors import ExportError, InputError

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


def operators(content):
    return {node.op_type for node in onnx.load_from_string(content).graph.node}


def cases():
    """Every cell in every form and direction; heads, depths and initial states go along in turn."""
    heads, layers, initial = ("last", "step", "mean"), (1, 2), ("zeros", "learned")
    for number, (cell, form, bidirectional) in enumerate(product(CELLS, ("loop", "unroll"), (False, True))):
        chosen = {
            "head": heads[number % 3],
            "num_layers": layers[number // 2 % 2],
            "initial_state": initial[number % 2],
        }
        yield pytest.param(cell, form, {"bidirectional": bidirectional, **chosen}, id=f"{cell}-{form}-{bidirectional}")


@pytest.mark.parametrize(("cell", "form", "config"), list(cases()))
def test_proof_passes(cell, form, config, tmp_path):
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
        ({"ragged": False}, {"form": "unroll"}, r"takes no lengths.*ragged = true, or choose loop"),
        ({}, {"form": "native", "steps": 5}, "steps are of the unroll form; 'native' takes sequences of any length"),
        ({}, {"form": "loop", "steps": 5}, "'loop' takes sequences of any length"),
        ({}, {"form": "unroll", "steps": 1}, "1 steps were asked for, but an unrolled file has at least 2"),
    ],
)
def test_what_cannot_be_written_is_refused(config, options, message):
    with pytest.raises(ExportError, match=message):
        convert(make_source(**config), **options)


def test_loops_need_no_lengths(tmp_path):
    assert export(make_source("gru", ragged=False, head="step"), tmp_path / "x.onnx", form="loop").passed
