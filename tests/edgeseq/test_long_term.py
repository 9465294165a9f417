"""What helps a recurrent network to remember: first weights, leaky units, connections that skip steps."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from edgeseq_export import Source, export
from edgeseq_export.ops import LeakyLayer
from edgeseq_runtime import load
from edgeseq_runtime.errors import UsageError

from edgeseq.nn import build

SMALL = {"input_size": 3, "output_size": 4, "hidden_size": 5}
LEAKY = {
    "leak, skip": {"leak_rate": 0.3, "skip": 3, "head": "last", "recurrent_init": "orthogonal"},
    "leak, two directions": {"leak_rate": 0.3, "bidirectional": True, "num_layers": 2, "head": "mean"},
    "skip, learned": {"skip": 4, "nonlinearity": "relu", "head": "step", "num_layers": 2, "initial_state": "learned"},
    "skip, two directions": {"skip": 2, "nonlinearity": "sigmoid", "bidirectional": True, "head": "last"},
}


def make(family="rnn", **config):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = build(family, {**SMALL, **config}).eval()
        for value in network.initial.values():
            torch.nn.init.normal_(value)
    return network


@pytest.mark.parametrize("family", ["rnn", "gru", "lstm"])
def test_orthogonal_matrices_keep_lengths(family):
    network = make(family, recurrent_init="orthogonal", bidirectional=True, num_layers=2)
    for layer in network.layers:
        for direction in range(2):
            for matrix in layer.direction_weights(direction)[1].split(5):
                torch.testing.assert_close(matrix @ matrix.T, torch.eye(5), atol=1e-5, rtol=0)


@pytest.mark.parametrize("long_term", [{}, {"leak_rate": 0.5, "skip": 2}])
def test_a_relu_network_of_identities_keeps_its_state(long_term):
    network = make(nonlinearity="relu", recurrent_init="identity", **long_term)
    layer = network.layers[0]
    state = torch.rand(1, 2, network.signature().states[0].axes[-1])
    _, (after,) = layer(torch.zeros(6, 2, 3), (state,))
    torch.testing.assert_close(after[:, :, -5:], state[:, :, -5:])


def test_the_forget_gate_starts_with_its_bias():
    network = make("lstm", forget_bias=1.5, bidirectional=True)
    for direction in range(2):
        _, _, b_ih, b_hh = network.layers[0].direction_weights(direction)
        total = (b_ih + b_hh).view(4, 5)
        assert total[1].tolist() == [1.5] * 5
        assert total[[0, 2, 3]].ne(1.5).all()


@pytest.mark.parametrize(("family", "gates", "forget"), [("lstm", 4, 1), ("gru", 3, 1)])
def test_units_start_with_times_from_one_step_to_the_longest(family, gates, forget):
    network = make(family, chrono=100, hidden_size=400, bidirectional=True)
    for direction in range(2):
        _, _, b_ih, b_hh = network.layers[0].direction_weights(direction)
        total = (b_ih + b_hh).view(gates, 400)
        times = total[forget].exp()
        assert 1 <= times.min() < 5 < 90 < times.max() <= 99
        assert torch.equal(total[0], -total[1]) == (family == "lstm")  # what is not kept is taken in


def test_a_leaky_layer_computes_its_equation():
    torch.manual_seed(0)
    layer = LeakyLayer("rnn_tanh", 2, 4, leak_rate=0.3, skip=3)
    x = torch.randn(9, 1, 2)
    step, before = layer.steps[0], torch.randn(1, 1, 12)
    h = list(before.view(3, 1, 4))
    for t in range(9):
        new = torch.tanh(layer.inputs[0](x[t]) + h[-1] @ step.recurrent.weight.T + h[-3] @ step.skipping.weight.T)
        h.append(0.7 * h[-1] + 0.3 * new)
    y, (after,) = layer(x, (before,))
    torch.testing.assert_close(y, torch.stack(h[3:]))
    torch.testing.assert_close(after.view(3, 1, 4), torch.stack(h[-3:]))


def test_a_unit_that_neither_leaks_nor_skips_is_the_plain_one():
    leaky, plain = LeakyLayer("rnn_tanh", 3, 5), make().layers[0]
    w_ih, w_hh, b_ih, b_hh = plain.direction_weights(0)
    leaky.inputs[0].weight.data, leaky.inputs[0].bias.data = w_ih.data, b_ih.data + b_hh.data
    leaky.steps[0].recurrent.weight.data = w_hh.data
    x, state = torch.randn(7, 3, 3), (torch.randn(1, 3, 5),)
    lengths = torch.tensor([7, 2, 4])
    for ours, theirs in zip(leaky(x, state, lengths), plain(x, state, lengths), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    ("name", "form"),
    [
        pytest.param(name, form, marks=() if number == 0 and form == "unroll" else pytest.mark.full)
        for number, name in enumerate(LEAKY)
        for form in ("native", "unroll")
    ],
)
def test_every_form_passes_the_proof(name, form, tmp_path):
    """The native form falls back to the loop: ONNX has no operator for these units."""
    network = make(**LEAKY[name])
    source = Source(network, network.signature(), "rnn", network.task, "test", initial=network.initial_values())
    assert export(source, tmp_path / "x.onnx", form=form, steps=7 if form == "unroll" else None).passed
    model = load(tmp_path / "x.onnx")
    assert model.verify().passed
    if network.directions == 1:
        x = np.random.default_rng(0).standard_normal((2, 20, 3)).astype(np.float32)
        stream = model.stream(2)
        streamed = [stream.step(x[:, t])["logits"] for t in range(20)]
        expected = model.run(x)["logits"]
        answer = np.stack(streamed, 1) if network.config.head == "step" else streamed[-1]
        np.testing.assert_allclose(answer, expected, atol=2e-6)


@pytest.mark.parametrize(
    ("family", "config", "message"),
    [
        ("gru", {"leak_rate": 0.5}, "leak_rate is of the plain rnn, but the cell is gru"),
        ("lstm", {"skip": 4}, "skip is of the plain rnn, but the cell is lstm"),
        ("lstm", {"recurrent_init": "identity"}, "recurrent_init = identity is of the plain rnn"),
        ("gru", {"forget_bias": 1.0}, "forget_bias is of the lstm, but the cell is gru"),
        ("rnn", {"chrono": 50}, "chrono is 50: it is at least 3 steps, of the gates of an lstm or gru"),
        ("lstm", {"chrono": 50, "forget_bias": 1.0}, "takes the place of forget_bias"),
        ("rnn", {"leak_rate": 0.0}, "leak_rate is 0.0, but it must be above 0 and at most 1"),
        ("rnn", {"skip": 1}, "skip is 1, but it must be at least 2 steps, or 0 for none"),
        ("rnn", {"recurrent_init": "zeros"}, "recurrent_init"),
    ],
)
def test_keys_that_do_not_fit_are_refused(family, config, message):
    with pytest.raises(UsageError, match=message):
        make(family, **config)


@pytest.mark.parametrize("steps", [2, 7, 50])
def test_the_adding_problem_is_what_the_benchmark_says(steps):
    benchmark = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "long_term.py"))
    drawn = benchmark["sequences"](200, steps, torch.Generator().manual_seed(0))
    numbers, marks = drawn["x"].unbind(-1)
    assert ((numbers >= 0) & (numbers < 1)).all()
    assert ((marks == 0) | (marks == 1)).all()
    assert (marks[:, : steps // 2].sum(1) == 1).all()
    assert (marks[:, steps // 2 :].sum(1) == 1).all()
    torch.testing.assert_close(drawn["y"], (numbers * marks).sum(1, keepdim=True))
    assert len(marks.unique(dim=0)) > (1 if steps > 2 else 0)
