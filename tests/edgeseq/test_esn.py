"""Echo state networks: what is drawn, what is solved for, and which data and settings are refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from edgeseq_runtime.errors import UsageError

from edgeseq import checkpoint
from edgeseq.data import Dataset
from edgeseq.nn import build, reservoir
from edgeseq.recipe import ModelTable
from edgeseq.training.evaluate import evaluate
from edgeseq.training.network import network_for

SETTINGS = {"units": 24, "block_size": 8, "density": 0.3, "leak_rate": 0.5, "bias": 0.2}


def classes(count=30, time=10, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(count) % 3
    middle = np.array([(1, 0), (0, 1), (-1, -1)])[y]
    x = (middle[:, None] + rng.standard_normal((count, time, 2))).astype(np.float32)
    lengths = rng.integers(4, time + 1, count)
    return Dataset(x, y, lengths, labels=("a", "b", "c"))


def oscillation(count=3, time=120):
    phase = 0.3 * np.arange(time + 1) + np.arange(count)[:, None]
    x = np.sin(phase)[:, :, None].astype(np.float32)
    return Dataset(x[:, :-1], x[:, 1:], np.full(count, time), lyapunov_steps=10.0)


def network(data, seed=0, **settings):
    with torch.random.fork_rng():
        return network_for(ModelTable("esn", {**SETTINGS, **settings}), data, seed)


def matrix(step):
    """W of one direction, found by feeding unit vectors."""
    size = step.weights.shape[-1] if hasattr(step, "weights") and step.weights.dim() == 2 else SETTINGS["units"]
    return step(torch.eye(size)).T.double().numpy()


@pytest.mark.parametrize("topology", ["random", "block", "cycle"])
@pytest.mark.parametrize("radius", [0.3, 1.2])
def test_spectral_radius_is_exact(topology, radius):
    net = network(classes(), topology=topology, spectral_radius=radius, bidirectional=True)
    for step in net.layers[0].steps:
        weights = matrix(step.feedback)
        assert np.abs(np.linalg.eigvals(weights)).max() == pytest.approx(radius, rel=1e-5)


def test_sparse_solver_finds_the_largest_eigenvalue():
    weights = reservoir.random_weights(400, 40, np.random.default_rng(0))  # beyond what is solved densely
    assert reservoir.spectral_radius(weights) == pytest.approx(np.abs(np.linalg.eigvals(weights)).max(), rel=1e-10)


def test_every_unit_is_fed_by_as_many_as_density_says():
    random = matrix(network(classes(), topology="random").layers[0].steps[0].feedback)
    assert (np.count_nonzero(random, axis=1) == round(0.3 * 24)).all()
    block = matrix(network(classes(), topology="block").layers[0].steps[0].feedback)
    assert (np.count_nonzero(block, axis=1) == 8).all()  # one of three blocks
    cycle = matrix(network(classes(), topology="cycle").layers[0].steps[0].feedback)
    assert (np.nonzero(cycle)[1] == (np.arange(24) - 1) % 24).all()


def test_block_feedback_is_the_matrix_it_was_scaled_by():
    rng = np.random.default_rng(1)
    sources, weights = reservoir.block_weights(5, 4, 2, rng)
    h = rng.standard_normal(20)
    expected = np.concatenate([h.reshape(5, 4)[sources[b]].reshape(-1) @ weights[b] for b in range(5)])
    assert np.allclose(reservoir.block_matrix(sources, weights) @ h, expected)


def test_binomial_input_weights_are_plus_and_minus_the_scaling():
    weights = network(classes(), input_weights="binomial", input_scaling=0.25).layers[0].w_in
    assert set(weights.unique().tolist()) == {-0.25, 0.25}


def test_state_is_the_equation():
    net = network(classes(), topology="block", leak_rate=0.3)
    x = torch.randn(1, 5, 2)
    layer, h = net.layers[0], np.zeros(24)
    w, w_in, bias = matrix(layer.steps[0].feedback), layer.w_in[0].T.numpy(), layer.bias[0].numpy()
    for value in net.standardised(x)[0].numpy():
        h = 0.7 * h + 0.3 * np.tanh(w_in @ value + bias + w @ h)
    assert np.allclose(net(x)["h0_next"][0, 0].numpy(), h, atol=1e-6)


@pytest.mark.parametrize("topology", ["random", "block", "cycle"])
def test_seed_decides_everything(topology):
    settings = {"topology": topology, "noise": 0.01, "readout": "mlp", "hidden_sizes": [4], "penalty": 0.1}
    one, same, other = (network(classes(), seed, **settings) for seed in (1, 1, 2))
    for net in (one, same, other):
        net.solve(classes())
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), same.state_dict().values(), strict=True))
    assert not torch.equal(one.layers[0].w_in, other.layers[0].w_in)


@pytest.mark.parametrize("reading", [{"readout": "mlp"}, {"representation": "output_space"}, {"components": 3}])
def test_reservoir_is_the_same_whatever_reads_it(reading):
    one, other = network(classes(), topology="block"), network(classes(), topology="block", **reading)
    for name, tensor in one.layers.state_dict().items():
        assert torch.equal(tensor, other.layers.state_dict()[name]), name


def test_solving_twice_gives_the_same_and_leaves_the_random_numbers_alone():
    net = network(classes(), noise=0.1)
    net.solve(classes())
    first = net.readout.linear.weight.clone()
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    net.solve(classes())
    assert torch.equal(first, net.readout.linear.weight)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("representation", ["last", "mean", "states", "output_space", "reservoir_space"])
@pytest.mark.parametrize("readout", ["ridge", "logistic", "svm", "mlp"])
def test_every_reading_learns_and_is_loaded_again(representation, readout, tmp_path):
    net = network(classes(60), representation=representation, readout=readout, components=6, penalty=1.0)
    net.solve(classes(60))
    test = classes(30, seed=9)
    assert evaluate(net.eval(), test)["accuracy"] > 0.8
    checkpoint.save(tmp_path / "esn.pt", net, {}, {})
    loaded = checkpoint.load(tmp_path / "esn.pt").module
    assert evaluate(loaded, test) == evaluate(net, test)


def test_padding_changes_nothing():
    data = classes()
    padded = replace(data, x=np.pad(data.x, [(0, 0), (0, 5), (0, 0)], constant_values=np.nan))
    for settings in ({"representation": "reservoir_space", "components": 4, "bidirectional": True}, {"transient": 2}):
        net = network(data, **settings)
        net.solve(data)
        given = torch.from_numpy(data.lengths)
        plain = net(torch.from_numpy(data.x), given)["logits"]
        assert torch.allclose(plain, net(torch.from_numpy(padded.x), given)["logits"], atol=1e-5)


def test_model_space_is_ridge_regression_of_each_sequence():
    from sklearn.linear_model import Ridge

    data = classes(4)
    net = network(data, representation="output_space", space_penalty=0.7, transient=1)
    x, lengths = net.standardised(torch.from_numpy(data.x)), torch.from_numpy(data.lengths)
    h, after = net._states(x, lengths, {})
    features = net._representation(x, h, lengths, after).numpy()
    for row, length in enumerate(data.lengths):
        fitted = Ridge(alpha=0.7).fit(h[row, 1 : length - 1].double(), x[row, 2:length].double())
        expected = np.concatenate([fitted.coef_.T.ravel(), fitted.intercept_])
        assert np.allclose(features[row], expected, atol=1e-5)


def test_transient_is_neither_learnt_nor_scored():
    data = oscillation()
    spoilt = replace(data, y=data.y.copy())
    spoilt.y[:, :20] = 7.0
    net = network(data, transient=20)
    net.solve(data)
    clean = evaluate(net.eval(), data)
    net.solve(spoilt)
    assert evaluate(net, spoilt)["rmse"] == pytest.approx(clean["rmse"], rel=1e-6)
    assert clean["rmse"] < 0.01


def test_free_run_is_scored_by_the_steps_it_is_valid():
    data = oscillation()
    net = network(data, transient=20, free_run=5, units=64)
    net.solve(data)
    assert evaluate(net.eval(), data)["valid_time"] == pytest.approx((120 - 20 + 1) / 10)  # never astray
    net.readout.linear.weight.zero_()
    assert evaluate(net, data)["valid_time"] < 0.5


@pytest.mark.parametrize("padding", [0.0, np.nan])
def test_free_run_of_a_short_sequence_is_valid_to_its_end_at_most(padding):
    data = oscillation()
    net = network(data, transient=20, free_run=5, units=64)
    net.solve(data)
    x, y = data.x.copy(), data.y.copy()
    x[0, 60:], y[0, 60:] = padding, padding
    x[1, 15:], y[1, 15:] = padding, padding  # it ends within the transient
    steps = net.steps_astray(torch.from_numpy(x), torch.from_numpy(y), torch.tensor([60, 15, 120]))
    assert steps.tolist() == [41, 101]


REFUSED = [
    ({"spectral_radius": 0.0}, "'spectral_radius' .* is 0.0, but it must be more than 0"),
    ({"spectral_radius": float("nan")}, "'spectral_radius' .* is nan"),
    ({"noise": float("inf")}, "'noise' .* is inf"),
    ({"density": 0.03, "topology": "random"}, r"density is 0.03.*at least 0.0417 and at most 1"),
    ({"density": 1.5}, "'density' .* is 1.5, but it must be more than 0 and at most 1"),
    ({"leak_rate": 0.0}, "'leak_rate' .* is 0.0, but it must be more than 0 and at most 1"),
    ({"units": 20, "topology": "block"}, "units is 20.*multiple of block_size, 8"),
    ({"components": 25}, "components is 25, but it must be from 1 to the 24 states"),
    ({"components": 0}, "'components' .* is 0, but it must be at least 1"),
    ({"space_penalty": 0.0}, "'space_penalty' .* is 0.0, but it must be more than 0"),
    ({"representation": "output_space", "read_input": True}, "read_input is true"),
    ({"readout": "forest"}, "'readout' .* is 'forest', but it must be 'ridge' or 'logistic' or 'svm' or 'mlp'"),
    ({"free_run": 5}, "free_run is 5, but only a forecast at every step"),
    ({"bias": -1.0}, "'bias' .* is -1.0, but it must be at least 0"),
]


@pytest.mark.parametrize(("settings", "message"), REFUSED)
def test_settings_are_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        network(classes(), **settings)


def test_components_beyond_the_samples_are_refused():
    data = classes(3, time=4)
    net = network(data, components=20)
    with pytest.raises(UsageError, match="components is 20, but"):
        net.solve(data)


@pytest.mark.parametrize(
    ("settings", "least"),
    [({"transient": 6}, 7), ({"transient": 3, "representation": "output_space"}, 5)],
)
def test_sequences_shorter_than_needed_are_refused(settings, least):
    data = classes()
    net = network(data, **settings)
    with pytest.raises(UsageError, match=f"has 4 steps.*needs at least {least}; set transient lower"):
        net.solve(data)


@pytest.mark.parametrize("readout", ["ridge", "svm", "mlp"])
@pytest.mark.parametrize("more", [{}, {"components": 3}, {"representation": "output_space"}])
def test_states_that_grow_beyond_all_bounds_are_refused(readout, more):
    data = classes()
    net = network(data, activation="relu", spectral_radius=1e6, input_scaling=1e6, readout=readout, **more)
    with pytest.raises(UsageError, match=r"spectral_radius 1000000.0"):
        net.solve(data)


def test_model_space_without_a_solution_is_refused():
    data = classes()
    net = network(data, representation="output_space", space_penalty=1e-30)
    with pytest.raises(UsageError, match="space_penalty is 1e-30"):
        net.solve(data)


def test_transient_longer_than_every_sequence_is_refused():
    data = oscillation()
    net = network(data, transient=120)
    with pytest.raises(UsageError, match=r"transient is 120, but the longest.*from 0 to 119"):
        net.solve(data)


def test_singular_ridge_system_is_refused():
    data = classes()
    net = network(data, penalty=0.0, units=64)
    with pytest.raises(UsageError, match="penalty"):
        net.solve(data)


def test_one_class_is_refused():
    data = classes()
    net = network(data)
    with pytest.raises(UsageError, match="one class only"):
        net.solve(replace(data, y=np.zeros_like(data.y)))


def test_forecasts_that_are_not_the_next_input_are_not_fed_back():
    data = oscillation()
    net = network(data, free_run=3)
    with pytest.raises(UsageError, match=r"y\(t\) is not x\(t \+ 1\)"):
        net.solve(replace(data, y=2 * data.y))


def test_tokens_and_arrays_are_refused():
    data = Dataset(np.zeros((4, 5), np.int64), np.arange(4) % 2, np.full(4, 5), labels=("a", "b"))
    with pytest.raises(UsageError, match="takes sequences"):
        network(data)


def test_matrix_without_a_cycle_cannot_be_scaled():
    with pytest.raises(UsageError, match=r"spectral radius 0.*density"):
        reservoir.scale_to(np.triu(np.ones((5, 5)), 1), 0.9)


def test_unknown_state_is_named():
    net = build("esn", {"input_size": 2, "output_size": 3})
    with pytest.raises(UsageError, match="there is no state 'h7'; this network has h0"):
        net(torch.zeros(1, 4, 2), h7=torch.zeros(1, 1, 300))
