"""Parity of echo state networks: topology × representation × readout × form × ragged or not, and what goes with it."""

from dataclasses import replace
from itertools import combinations, product

import numpy as np
import onnx
import pytest
import torch
from edgeseq_export import Source, convert, export
from edgeseq_export.ops.solve import Elimination, Solve
from edgeseq_export.reference import Reference
from edgeseq_runtime import load
from edgeseq_runtime.errors import InputError
from pairwise import crossed, pairwise, parametrised

from edgeseq.data import Dataset
from edgeseq.nn import Hints, build, entry

CONTROL_FLOW = {"Scan", "Loop", "If", "RNN"}
STEPS = 6

FACTORS = {
    "topology": ["random", "block", "cycle"],
    "representation": ["last", "mean", "states", "output_space", "reservoir_space"],
    "readout": ["ridge", "logistic", "svm", "mlp"],
    "form": ["native", "loop", "unroll"],
    "ragged": [True, False],
    "bidirectional": [False, True],
    "leak_rate": [1.0, 0.4],
    "num_layers": [1, 2],
    "components": [None, 5],
    "transient": [0, 2],
}
CROSSED = ("topology", "representation", "readout", "form", "ragged")
"""All combinations of these are in the whole table; the other factors go along."""


GRID = crossed(FACTORS, CROSSED)


def sequences(count=24, time=12, features=2, classes=3, ragged=True, forecast=False):
    """Noisy oscillations; their class is their frequency and level. Of a forecast, the next value at every step."""
    rng = np.random.default_rng(1)
    y = np.arange(count) % classes
    phase = rng.uniform(0, 6, (count, 1, 1)) + (0.4 + 0.5 * y[:, None, None]) * np.arange(time + 1)[:, None]
    level = 0 if forecast else y[:, None, None]
    x = level + np.sin(phase + np.arange(features)) + 0.1 * rng.standard_normal((count, time + 1, features))
    lengths = np.full(count, time)
    if ragged:
        lengths[::2] = rng.integers(6, time + 1, count // 2)
    x = x.astype(np.float32)
    if forecast:
        return Dataset(x[:, :-1], x[:, 1:], lengths)
    return Dataset(x[:, :-1], y, lengths, labels=tuple("abcdefgh"[:classes]))


def fitted(data, **settings):
    with torch.random.fork_rng():
        torch.manual_seed(2)
        scale = [float(data.values.mean()), float(data.values.std())]
        hints = Hints(labels=data.labels, typical={"batch": 1, "time": 9}, draw={"x": {"normal": scale}})
        settings = {"units": 8, "block_size": 4, "density": 0.3, "bias": 0.3, "spectral_radius": 0.7, **settings}
        network = build("esn", {**entry("esn").network.sizes(data), **settings}, hints)
        network.initialise()
        network.standardise(data)
        network.solve(data)
    return network.eval()


def source(network, steps=STEPS):
    return Source(network, network.signature(), "esn", network.task, "esn", form=network.recurrence, steps=steps)


@pytest.mark.parametrize("case", list(parametrised(GRID)))
def test_proof_passes(case, operators, tmp_path):
    settings = {key: value for key, value in case.items() if key != "form"}
    network = fitted(sequences(ragged=case["ragged"]), penalty=0.1, hidden_sizes=[4], **settings)
    path = tmp_path / "esn.onnx"
    report = export(source(network), path, form=case["form"], steps=9 if case["form"] == "unroll" else None)
    assert report.passed, report.worst
    assert load(path).verify().passed
    assert any("ragged" in c.case for c in report.comparisons) is case["ragged"]
    if case["form"] == "unroll":
        assert not operators(path.read_bytes()) & CONTROL_FLOW


def test_table_crosses_all_factors():
    assert len(GRID) == 3 * 5 * 4 * 3 * 2
    chosen = [GRID[i] for i in pairwise(GRID)]
    for one, other in combinations(FACTORS, 2):
        wanted = set(product(map(str, FACTORS[one]), map(str, FACTORS[other])))
        assert {(str(c[one]), str(c[other])) for c in chosen} == wanted


def test_default_form_is_unrolled(operators, tmp_path):
    path = tmp_path / "esn.onnx"
    export(source(fitted(sequences())), path)
    assert load(path).contract.recurrence == {"form": "unroll", "steps": STEPS}
    assert not operators(path.read_bytes()) & CONTROL_FLOW


@pytest.mark.parametrize(
    ("topology", "leak_rate"),
    [
        pytest.param("random", 1.0, marks=pytest.mark.full),
        pytest.param("random", 0.3, marks=pytest.mark.full),
        ("block", 0.3),
        ("cycle", 0.3),
    ],
    ids=str,
)
def test_forms_agree_with_torch_over_thousand_steps(topology, leak_rate):
    network = fitted(sequences(), topology=topology, leak_rate=leak_rate, units=32, block_size=8)
    x = np.random.default_rng(3).standard_normal((2, 1000, 2)).astype(np.float32)
    inputs = {"x": x, "lengths": np.array([1000, 617])}
    truth = Reference(network, 1e-5)(inputs)
    answers = {}
    for form in ("native", "loop", "unroll"):
        content = convert(source(network), form=form, steps=100 if form == "unroll" else None)
        answers[form] = load(content).run(inputs, states=True)
    for name in ("logits", "h0_next"):
        for form, outputs in answers.items():
            assert np.abs(outputs[name] - truth[name].values).max() <= truth[name].bound, (form, name)
        assert np.allclose(answers["loop"][name], answers["unroll"][name], rtol=0, atol=truth[name].bound)


@pytest.mark.parametrize("scale", [1.0, 1e3, 1e6])
def test_elimination_solves_as_torch_does(scale):
    rng = np.random.default_rng(4)
    states = torch.from_numpy(scale * rng.standard_normal((3, 30, 8)))
    a = states.transpose(1, 2) @ states + torch.eye(8, dtype=torch.float64)
    b = states.transpose(1, 2) @ torch.from_numpy(rng.standard_normal((3, 30, 2)))
    exact = Solve()(a, b)
    assert (Elimination()(a, b) - exact).abs().max() <= 1e-10 * exact.abs().max()


@pytest.mark.parametrize(
    ("form", "more"),
    [("loop", {}), ("unroll", {"standardise": False}), ("native", {"num_layers": 2, "leak_rate": 1.0})],
)
def test_free_run_is_proven_and_goes_on_as_the_network_does(form, more, tmp_path):
    data = sequences(time=40, features=1, ragged=False, forecast=True)
    data = replace(data, x=5 + 2 * data.x, y=5 + 2 * data.y)
    settings = {"units": 24, "transient": 4, "free_run": 7, "penalty": 1e-3, "leak_rate": 0.8, "input_scaling": 0.2}
    network = fitted(data, **{**settings, **more})
    path = tmp_path / "esn.onnx"
    report = export(source(network), path, form=form)
    assert report.passed, report.worst
    outputs = load(path).run({"x": data.x[:3], "lengths": np.array([40, 31, 6])})
    assert outputs["generated"].shape == (3, 7, 1)
    # one forecast at a time, each given back as the next input
    for row, length in enumerate((40, 31, 6)):
        x = data.x[row : row + 1, :length]
        for step in range(7):
            with torch.no_grad():
                value = network(torch.from_numpy(x), torch.tensor([x.shape[1]]))["values"][:, -1:].numpy()
            assert np.allclose(outputs["generated"][row, step], value[0, 0], atol=1e-3)
            x = np.concatenate([x, value], 1)


def test_weights_of_the_free_run_are_stored_once():
    data = sequences(time=20, forecast=True)
    network = fitted(data, units=64, free_run=3, block_size=8)
    content = convert(source(network), form="loop")
    tensors = [t for t in onnx.load_from_string(content).graph.initializer if list(t.dims) == [64, 64]]
    assert len(tensors) == 1


def test_stream_forecasts_step_by_step(tmp_path):
    data = sequences(time=30, features=1, ragged=False, forecast=True)
    network = fitted(data, free_run=4)
    path = tmp_path / "esn.onnx"
    export(source(network, steps=1), path)
    whole = load(path).run(data.x[:1])
    stream = load(path).stream(batch=1)
    steps = [stream.step(frame) for frame in data.x[0]]
    assert np.allclose(np.stack([s["values"] for s in steps]), whole["values"][0], atol=1e-6)
    assert np.allclose(steps[-1]["generated"], whole["generated"][0], atol=1e-5)


def test_native_model_space_uses_inverse_and_other_forms_standard_operators(operators):
    network = fitted(sequences(), representation="output_space", components=3)
    assert "Inverse" in operators(convert(source(network), form="native"))
    for form in ("loop", "unroll"):
        content = convert(source(network), form=form)
        assert "Inverse" not in operators(content)
        assert not {node.domain for node in onnx.load_from_string(content).graph.node} - {"", "ai.onnx"}


def test_short_sequences_are_refused_on_the_device():
    network = fitted(sequences(), representation="output_space", transient=3, ragged=True)
    model = load(convert(source(network)))
    x = np.zeros((2, 6, 2), np.float32)
    with pytest.raises(InputError, match="'lengths' has 4 in row 1, but a length is at least 5"):
        model.run({"x": x, "lengths": np.array([6, 4])})
    with pytest.raises(InputError, match="takes at least 5"):
        model.run(x[:, :4])
