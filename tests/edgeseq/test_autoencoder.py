"""Autoencoders: their laws, what is done to examples in training, thresholds and heads, windows, and wrong settings."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from edgeseq_runtime.errors import InputError, UsageError
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

from edgeseq.data import Dataset, Parts
from edgeseq.nn import Hints, build, entry, with_settings
from edgeseq.nn.autoencoder import Code, divergence
from edgeseq.nn.corruption import corrupted
from edgeseq.nn.parts import EXAMPLES
from edgeseq.nn.windows import windows
from edgeseq.training.beside import beside
from edgeseq.training.evaluate import evaluate

BCE = {"loss": "bce", "output": "sigmoid"}
LEVELS = {"gaussian": 0.5, "masking": 0.3, "salt-and-pepper": 0.3}


def images(count=12, size=(4, 5)):
    """Values from 0 to 1, of two kinds that lie far apart."""
    rng = np.random.default_rng(0)
    kinds = np.arange(count) % 2
    x = 0.25 + 0.5 * kinds.reshape(-1, *(1 for _ in size)) + rng.uniform(-0.2, 0.2, (count, *size))
    return Dataset(x.astype(np.float32), kinds, labels=("dark", "bright"))


def sequences():
    """Sequences of unequal length, zero behind their end."""
    lengths = np.array([6, 2, 4, 6, 1, 3])
    x = np.random.default_rng(1).standard_normal((6, 6, 2)) * [1.0, 3.0] + [0.0, 2.0]
    x = np.where((np.arange(6) < lengths[:, None])[..., None], x, 0.0)
    return Dataset(x.astype(np.float32), np.arange(6) % 2, lengths, labels=("a", "b"))


def made(family, data, seed=0, **settings):
    """A standardised network with random weights, in eval mode."""
    config = {"code_size": 3, **entry(family).network.sizes(data), **settings}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build(family, config, Hints(labels=data.labels)).eval()
        for name, value in network.named_parameters():
            if "bias" in name:
                value.data.normal_()
    network.standardise(data)
    return network


def batch(data):
    given = {"x": torch.from_numpy(data.x), "y": torch.from_numpy(data.y)}
    return given if data.lengths is None else {**given, "lengths": torch.from_numpy(data.lengths)}


def loss(network, data, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return network.loss({}, batch(data))


def full(network, data):
    with torch.no_grad():
        return with_settings(network, {"part": "full"})(**network.inputs(batch(data)))


def test_divergence_is_that_of_two_normal_distributions():
    mean, log_variance = torch.randn(5, 3), torch.randn(5, 3)
    wanted = kl_divergence(Normal(mean, torch.exp(log_variance / 2)), Normal(0.0, 1.0)).sum(-1)
    torch.testing.assert_close(divergence(Code(mean, log_variance)), wanted)
    assert divergence(Code(torch.zeros(1, 3), torch.zeros(1, 3))).item() == 0


@pytest.mark.parametrize("standardise", [True, False])
@pytest.mark.parametrize("settings", [{}, {"output": "sigmoid"}, BCE], ids=["mse", "sigmoid", "bce"])
@pytest.mark.parametrize("family", ["ae", "vae", "convae"])
def test_loss_is_the_one_computed_by_hand(family, settings, standardise):
    data = images()
    network = made(family, data, standardise=standardise, **settings)
    outputs, x = full(network, data), torch.from_numpy(data.x)
    missed = outputs["rebuilt"] - x
    if standardise and not settings:
        missed = missed / float(data.x.std())
    wanted = F.binary_cross_entropy(outputs["rebuilt"], x) if settings == BCE else missed.square().mean()
    if family == "vae":
        divergences = divergence(Code(outputs["code"], outputs["log_variance"]))
        wanted = wanted * (1 if settings == BCE else 0.5) + divergences.mean() / x[0].numel()
    torch.testing.assert_close(loss(network, data), wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("raw", [-4.0, 4.0])
def test_cross_entropy_rises_beyond_0_and_1(raw):
    x = torch.tensor([[1.0, 2, 9, 255], [0, -1, -9, -255]])
    errors = made("ae", images(5, (4,)), **BCE).errors(torch.full_like(x, raw), x)
    nearest = F.binary_cross_entropy_with_logits(torch.full_like(x, raw), x.clamp(0, 1), reduction="none")
    torch.testing.assert_close(errors, nearest + torch.tensor([0, 1, 64, 254**2, 0, 1, 81, 255**2]).reshape(2, 4))


@pytest.mark.parametrize("variational", [False, True])
def test_loss_of_sequences_is_of_the_steps_before_their_end(variational):
    data = sequences()
    network = made("recae", data, hidden_size=4, variational=variational)
    outputs = full(network, data)
    each = []
    for row, length in enumerate(data.lengths):
        missed = (outputs["rebuilt"][row, :length] - torch.from_numpy(data.x[row, :length])) / network.x_deviation
        error = missed.square().sum() * (0.5 if variational else 1)
        if variational:
            error = error + divergence(Code(outputs["code"][row], outputs["log_variance"][row]))
        each.append(error / (2 * length))
    torch.testing.assert_close(loss(network, data), torch.stack(each).mean(), rtol=1e-4, atol=1e-6)
    noisy = data.x.copy()
    noisy[~data.valid] = 7.0
    assert torch.equal(loss(network, data), loss(network, replace(data, x=noisy)))


def test_penalties_are_weighted():
    data = images()
    plain, sparse = made("ae", data), made("ae", data, sparsity=0.7)
    code = full(plain, data)["code"]
    torch.testing.assert_close(loss(sparse, data) - loss(plain, data), 0.7 * code.abs().mean())
    one, other = made("vae", data, beta=1.0), made("vae", data, beta=3.0)
    outputs = full(one, data)
    divergences = divergence(Code(outputs["code"], outputs["log_variance"]))
    torch.testing.assert_close(loss(other, data) - loss(one, data), 2 * divergences.mean() / 20, rtol=1e-4, atol=1e-6)


def test_warm_up_rises_linearly_and_then_stays():
    data = images()
    network, without, whole = (made("vae", data, **s) for s in ({"warm_up": 4}, {"beta": 0.0}, {}))
    for each in (network, without, whole):
        each.train()
    divergences = loss(whole, data) - loss(without, data)
    weights = [((loss(network, data) - loss(without, data)) / divergences).item() for _ in range(7)]
    assert weights == pytest.approx([0, 0.25, 0.5, 0.75, 1, 1, 1], abs=1e-4)
    network.updates.zero_()
    network.eval()
    torch.testing.assert_close(loss(network, data), loss(whole.eval(), data))
    assert network.updates.item() == 0


def test_metrics_are_in_the_units_of_the_data():
    data = images()
    for family, settings in (("ae", {}), ("vae", BCE), ("convae", {"variational": True})):
        network = made(family, data, **settings)
        outputs, figures = full(network, data), network.metrics({}, batch(data))
        error = (outputs["rebuilt"] - torch.from_numpy(data.x)).square().mean()
        torch.testing.assert_close(figures["rebuild_error"], error)
        if network.config.variational:
            torch.testing.assert_close(figures["bound"], -loss(network, data) * 20, rtol=1e-4, atol=1e-4)
    noisy = made("ae", data, corruption="gaussian", corruption_level=0.5).metrics({}, batch(data))
    assert noisy["noisy_error"].item() == pytest.approx(0.25, rel=0.3)
    assert noisy["clean_error"] != noisy["rebuild_error"]


@pytest.mark.parametrize(("family", "settings"), [("ae", {"head_labels": 10}), ("recae", {"variational": True})])
def test_loss_and_figures_take_what_forward_has_computed(family, settings, monkeypatch):
    data = sequences() if family == "recae" else images()
    network = made(family, data, **settings)
    given = batch(data)
    with torch.no_grad():
        wanted = {"loss": network.loss({}, given), **network.metrics({}, given)}
        outputs = network(**network.inputs(given))
        monkeypatch.setattr(network, "encode", None)
        monkeypatch.setattr(network, "rebuild", None)
        assert {"loss": network.loss(outputs, given), **network.metrics(outputs, given)} == wanted
        assert (network.decisions(outputs, given) is None) is (family == "recae")


def test_errors_of_unlike_features_are_in_units_of_each():
    data = images(30, (3,))
    unlike = replace(data, x=data.x * np.array([1, 1000, 0.01], np.float32))
    one, other = (made("ae", each, code_size=1) for each in (data, unlike))
    torch.testing.assert_close(one.metrics({}, batch(data)), other.metrics({}, batch(unlike)), rtol=1e-3, atol=0)
    torch.testing.assert_close(one.metrics({}, batch(data))["rebuild_error"], loss(one, data))
    figures = [beside(network, Parts(each, each, each, "")) for network, each in ((one, data), (other, unlike))]
    assert figures[0]["PCA"]["rebuild_error"] == pytest.approx(figures[1]["PCA"]["rebuild_error"], rel=1e-3, abs=1e-6)
    sigmoid = made("ae", data, output="sigmoid")
    missed = full(sigmoid, data)["rebuilt"] - torch.from_numpy(data.x)
    torch.testing.assert_close(sigmoid.metrics({}, batch(data))["rebuild_error"], missed.square().mean())


@pytest.mark.parametrize("output", ["linear", "sigmoid"])
def test_decibels_are_of_values_from_0_to_1(output, monkeypatch):
    data = images()
    network = made("ae", data, output=output, corruption="masking", corruption_level=0.3)
    with torch.no_grad():
        found = network.metrics({}, batch(data))
    figures = evaluate(network, data)
    gain = 10 * np.log10(float(found["noisy_error"] / found["clean_error"]))
    assert figures["psnr_gain"] == pytest.approx(gain, rel=1e-4)
    assert figures.get("psnr") == (
        pytest.approx(-10 * np.log10(float(found["clean_error"])), rel=1e-4) if output == "sigmoid" else None
    )
    for noisy, clean, wanted in ((0.5, 0.0, np.inf), (0.0, 0.5, -np.inf), (0.0, 0.0, np.nan)):
        errors = {"noisy_error": torch.tensor(noisy), "clean_error": torch.tensor(clean)}
        monkeypatch.setattr(network, "metrics", lambda *_, errors=errors: errors)
        np.testing.assert_equal(evaluate(network, data)["psnr_gain"], wanted)


@pytest.mark.parametrize("kind", ["none", *LEVELS])
def test_corruption_is_of_its_kind_and_level(kind):
    x, level = torch.rand(200, 50, generator=torch.Generator().manual_seed(1)) + 0.5, LEVELS.get(kind, 0.0)
    found, same = (corrupted(x, kind, level, torch.Generator().manual_seed(2)) for _ in range(2))
    assert torch.equal(found, same)
    changed = found != x
    if kind == "none":
        assert not changed.any()
    elif kind == "gaussian":
        noise = found - x
        assert noise.std().item() == pytest.approx(level, rel=0.02)
        assert noise.mean().item() == pytest.approx(0, abs=0.02)
        assert abs(np.corrcoef(noise.ravel(), x.ravel())[0, 1]) < 0.03
    else:
        assert changed.float().mean().item() == pytest.approx(level, abs=0.02)
        extremes = {0.0} if kind == "masking" else {x.min().item(), x.max().item()}
        assert set(found[changed].tolist()) == extremes
    if kind == "salt-and-pepper":
        assert (found[changed] == x.max()).float().mean().item() == pytest.approx(0.5, abs=0.03)
    if kind != "gaussian":
        assert bool((corrupted(x, kind, 1.0) == x).all()) is (kind == "none")


def test_padding_is_no_extreme():
    x, lengths = torch.rand(20, 8, 2) + 5, torch.arange(20) % 8 + 1
    known = torch.arange(8) < lengths[:, None]
    padded = torch.where(known[..., None], x, 0.0)
    found = corrupted(padded, "salt-and-pepper", 0.5, lengths=lengths)[known]
    assert found.min() == x[known].min()
    assert found.max() == x[known].max()
    data = replace(sequences(), x=sequences().x + 5)
    noisy = replace(data, x=np.where(data.valid[..., None], data.x, 100).astype(np.float32))
    network = made("recae", data, hidden_size=4, corruption="salt-and-pepper", corruption_level=0.5)
    found, other = network.metrics({}, batch(data)), network.metrics({}, batch(noisy))
    assert found == other
    network.train()
    assert loss(network, data) == loss(network, noisy)


@pytest.mark.parametrize("kind", LEVELS)
def test_what_is_corrupted_in_training_is_to_be_rebuilt_clean(kind):
    data = images()
    plain, network = made("ae", data), made("ae", data, corruption=kind, corruption_level=LEVELS[kind])
    assert torch.equal(loss(network, data), loss(plain, data))
    network.train()
    x = torch.from_numpy(data.x)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        shown = corrupted(x, kind, LEVELS[kind])
    wanted = plain.errors(plain.taught(shown).raw, x).mean()
    torch.testing.assert_close(loss(network, data), wanted)
    assert not torch.equal(loss(network, data, seed=1), loss(network, data, seed=2))


def test_a_variational_code_is_drawn_in_training_alone():
    data = images()
    network = made("vae", data)
    assert torch.equal(loss(network, data, seed=1), loss(network, data, seed=2))
    network.train()
    assert not torch.equal(loss(network, data, seed=1), loss(network, data, seed=2))
    x = torch.from_numpy(data.x)
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        code = network.encode(x)
        network.rebuild = lambda drawn, *_: drawn  # so that the code is seen that goes into the decoder
        drawn = torch.stack([network.taught(x).raw for _ in range(4000)])
        del network.rebuild
    torch.testing.assert_close(drawn.std(0), torch.exp(code.log_variance / 2), rtol=0.06, atol=0)
    assert ((drawn.mean(0) - code.mean).abs() < 0.1 * drawn.std(0)).all()
    network.to_code.weight.data[3:] = 0
    network.to_code.bias.data[3:] = -80  # a code without variance is no draw
    assert torch.equal(loss(network, data, seed=1), loss(network, data, seed=2))


@pytest.mark.parametrize(
    ("family", "settings", "pairs"),
    [
        ("ae", {"hidden_sizes": [7, 6]}, 3),
        ("ae", {}, 1),
        ("convae", {"channels": [2, 3]}, 2),
        ("convae", {"channels": [2, 3], "dimensions": 1}, 2),
    ],
)
def test_tied_weights_are_one_parameter(family, settings, pairs):
    data = images()
    free, tied = (made(family, data, tied=tied, **settings) for tied in (False, True))
    encoder = [layer.weight for layer in tied.encoder] + ([tied.to_code.weight] if family == "ae" else [])
    assert len(encoder) == pairs
    assert free.weight_count - tied.weight_count == sum(weight.numel() for weight in encoder)
    copied = with_settings(tied, {"part": "encoder"})  # it goes through build and the state dict
    assert copied.weight_count == tied.weight_count
    tied.train()
    loss(tied, data).backward()
    torch.optim.SGD(tied.parameters(), 0.1).step()
    again = with_settings(tied, {"part": "full"})
    assert torch.equal(full(tied.eval(), data)["rebuilt"], full(again, data)["rebuilt"])
    if family == "convae":
        for layer, one in zip(again.decoder, reversed(again.encoder), strict=True):
            assert layer.weight is one.weight


def test_a_tied_decoder_is_the_encoder_transposed():
    network = made("ae", images(), hidden_sizes=[7], tied=True, activation="tanh")
    code = torch.randn(2, 3)
    first, second = (bias.detach() for bias in network.biases)
    hidden = torch.tanh(code @ network.to_code.weight + first)
    wanted = (hidden @ network.encoder[0].weight + second).reshape(2, 4, 5)
    torch.testing.assert_close(network.rebuild(code, 4), wanted)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 8), (3, 7, 4), (1, 9, 1)])
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
@pytest.mark.parametrize("channels", [[2], [2, 3, 4]])
def test_transposed_convolutions_undo_what_convolutions_halve(size, kernel_size, channels):
    data = images(3, size)
    network = made("convae", data, channels=channels, kernel_size=kernel_size)
    assert full(network, data)["rebuilt"].shape == (3, *size)
    if len(size) == 2:
        series = made("convae", data, channels=channels, kernel_size=kernel_size, dimensions=1)
        assert full(series, data)["rebuilt"].shape == (3, *size)


@pytest.mark.parametrize("order", ["forwards", "reversed"])
def test_reversed_is_told_from_the_last_step_on(order):
    network = made("recae", sequences(), hidden_size=1, cell="gru", order=order, standardise=False)
    (layer,) = network.decoder
    for weight in layer.net.parameters():
        weight.data.zero_()
    layer.net.bias_ih_l0.data[2] = 20.0  # the candidate is 1 and half is kept: the state is 1/2, 3/4, 7/8, …
    network.to_values.weight.data.fill_(1)
    network.to_values.bias.data.zero_()
    told = network.rebuild(torch.zeros(3, 3), 4, torch.tensor([4, 2, 1]))[..., 0].detach()
    states = [0.5, 0.75, 0.875, 0.9375]
    for row, length in enumerate((4, 2, 1)):
        wanted = states[:length] if order == "forwards" else states[:length][::-1]
        assert told[row, :length].tolist() == pytest.approx(wanted)
    whole = network.rebuild(torch.zeros(1, 3), 4)[0, :, 0].tolist()
    assert whole == pytest.approx(states if order == "forwards" else states[::-1])


@pytest.mark.parametrize("variational", [False, True])
@pytest.mark.parametrize("order", ["forwards", "reversed"])
def test_a_sequence_alone_is_as_beside_longer_ones(order, variational):
    data = sequences()
    network = made("recae", data, hidden_size=4, num_layers=2, order=order, variational=variational)
    together = full(network, data)
    scores = network.scores(torch.from_numpy(data.x), torch.from_numpy(data.lengths))
    for row, length in enumerate(data.lengths):
        alone = Dataset(data.x[row : row + 1, :length], data.y[:1], data.lengths[row : row + 1])
        outputs = full(network, alone)
        torch.testing.assert_close(outputs["code"], together["code"][row : row + 1])
        torch.testing.assert_close(outputs["rebuilt"], together["rebuilt"][row : row + 1, :length])
        score = network.scores(torch.from_numpy(alone.x), torch.from_numpy(alone.lengths))
        torch.testing.assert_close(score, scores[row : row + 1])
    assert (together["rebuilt"].numpy()[~data.valid] == 0).all()


def own_scores(network, data):
    with torch.no_grad():
        return network.scores(torch.from_numpy(data.x)).numpy()


def test_threshold_is_chosen_on_what_is_held_out():
    train, held_out = images(40).rows(np.arange(20)), images(40).rows(np.arange(20, 40))
    network = made("ae", train, threshold_quantile=0.9)
    network.finish(train, held_out)
    found = network.threshold.item()
    assert found == pytest.approx(np.quantile(own_scores(network, held_out), 0.9), rel=1e-5)
    alarms = with_settings(network, {"part": "score"})(torch.from_numpy(held_out.x))["alarm"]
    assert alarms.sum() == 2
    network.finish(train, None)
    assert network.threshold.item() == pytest.approx(np.quantile(own_scores(network, train), 0.9), rel=1e-5)
    assert network.threshold.item() != found
    deviating = made("ae", train, threshold_deviations=1.5)
    deviating.finish(train, held_out)
    scores = own_scores(deviating, held_out)
    assert deviating.threshold.item() == pytest.approx(scores.mean() + 1.5 * scores.std(), rel=1e-5)
    assert with_settings(deviating, {"part": "score"}).values() == {"threshold": deviating.threshold.item()}


def test_a_threshold_is_of_examples_as_they_are_in_training_too():
    train = images(40)
    network = made("ae", train, corruption="gaussian", corruption_level=0.5)
    network.finish(train, None)
    wanted = network.threshold.item()
    network.train().finish(train, None)
    assert network.threshold.item() == wanted
    assert network.training


@pytest.mark.parametrize(
    ("rows", "said"), [([0], "at least 2 scores, but there is 1"), ([3, 3, 3], "the data is constant")]
)
def test_a_threshold_needs_scores_that_differ(rows, said):
    data = images()
    network = made("ae", data)
    with pytest.raises(InputError, match=said):
        network.finish(data, data.rows(np.array(rows)))


def test_a_few_training_examples_are_kept_to_prove_a_file_at():
    train, held_out = images(22), images(7)
    network = made("ae", train)
    network.finish(train, held_out)
    kept = np.array(network.hints.draw[EXAMPLES])
    assert kept.shape == (4, 20)
    assert all(np.isclose(each, train.x.reshape(22, -1), atol=1e-3).all(1).any() for each in kept)
    assert Hints.from_dict(network.hints.to_dict()) == network.hints


@pytest.mark.parametrize("family", ["ae", "convae", "recae"])
def test_a_head_learns_codes_that_can_be_told_apart(family):
    data = images(60)
    if family == "recae":
        data = replace(data, lengths=np.full(60, 4))
    train, other = data.rows(np.arange(40)), data.rows(np.arange(40, 60))
    network = made(family, train, head_labels=20)
    network.finish(network.examples(train), None)
    encoder = with_settings(network, {"part": "encoder"})
    outputs = encoder(**encoder.inputs(batch(other)))
    np.testing.assert_array_equal(outputs["logits"].argmax(-1), other.y)
    torch.testing.assert_close(outputs["probabilities"], outputs["logits"].softmax(-1))
    assert network.metrics({}, batch(other))["accuracy"] == 1
    predicted, truth = network.decisions({}, batch(other))
    assert torch.equal(predicted, truth)
    assert encoder.hints.labels == ("dark", "bright")


def test_a_head_is_fitted_to_as_many_labels_as_were_asked_for():
    data = images(40)
    network = made("ae", data, head_labels=10)
    rows = np.sort(np.random.default_rng(0).permutation(40)[:10])
    hidden = data.y.copy()
    hidden[np.setdiff1d(np.arange(40), rows)] = 0
    network.finish(data, None)
    weight = network.head.weight.clone()
    network.finish(replace(data, y=hidden), None)
    assert torch.equal(network.head.weight, weight)
    with pytest.raises(UsageError, match="head_labels is 41, but the training part has 40 examples"):
        made("ae", data, head_labels=41).finish(data, None)
    assert made("ae", data).hints.labels is None
    assert made("ae", data).decisions({}, batch(data)) is None


@pytest.mark.parametrize(("family", "variational"), [("ae", False), ("recae", True)])
def test_a_decoder_takes_codes_and_tells_as_many_steps(family, variational):
    data = sequences() if family == "recae" else images()
    network = made(family, data, **({"variational": True} if variational else {}))
    network.hints = replace(network.hints, longest=5)  # shorter than one that it is tested on
    decoder = with_settings(network, {"part": "decoder"})
    given = decoder.inputs(batch(data))
    wanted = full(network, data)
    torch.testing.assert_close(given.pop("noise" if variational else "code"), wanted["code"])
    steps = [len(row) for row in data.x] if family == "ae" else np.minimum(data.lengths, 5).tolist()
    assert [each.tolist() for each in given.values()] == ([] if family == "ae" else [steps])
    rebuilt = decoder(**decoder.inputs(batch(data)))["rebuilt"]
    for row, length in enumerate(steps):
        if family == "ae" or data.lengths[row] == length:
            torch.testing.assert_close(rebuilt[row, :length], wanted["rebuilt"][row, :length])


def test_windows_are_a_step_apart_and_of_one_sequence_after_the_other():
    x = np.arange(2 * 6 * 3, dtype=np.float32).reshape(2, 6, 3)
    y = np.arange(12).reshape(2, 6) % 3
    found = windows(Dataset(x, y, np.array([6, 4]), labels=("normal", "spike", "drift")), 3)
    wanted = [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1)]
    assert found.x.shape == (6, 3, 3)
    assert found.lengths is None
    assert found.labels == ("normal", "spike", "drift")
    for window, answer, (row, start) in zip(found.x, found.y, wanted, strict=True):
        np.testing.assert_array_equal(window, x[row, start : start + 3])
        assert answer == y[row, start + 2]


@pytest.mark.parametrize("size", [2, 4])
def test_windows_of_a_sequence_with_one_answer_have_that_answer(size):
    data = Dataset(sequences().x[:3], np.array([1, 0, 2]), np.array([6, 4, 5]), labels=("a", "b", "c"))
    found = windows(data, size)
    np.testing.assert_array_equal(found.y, np.repeat([1, 0, 2], [7 - size, 5 - size, 6 - size]))


@pytest.mark.parametrize(
    ("data", "size", "said"),
    [
        (sequences(), 2, "the window has 2 steps, but the shortest sequence only 1"),
        (images(), 2, r"windows are cut from sequences .* x has shape \(12, 4, 5\)"),
        (images(5, (4,)), 2, r"x has shape \(5, 4\)"),
        (Dataset(np.ones((2, 5), np.int64), np.arange(2), np.array([5, 4]), ("a", "b")), 2, r"x has shape \(2, 5\)"),
    ],
)
def test_what_windows_cannot_be_cut_from_is_refused(data, size, said):
    with pytest.raises(UsageError, match=said):
        windows(data, size)


def test_examples_are_windows_sequences_or_arrays():
    ragged, whole = sequences(), replace(sequences(), lengths=np.full(6, 6))
    assert made("recae", ragged, hidden_size=3).examples(ragged) is ragged
    assert made("ae", whole).examples(whole).lengths is None
    assert made("ae", whole, window=4).examples(whole).x.shape == (18, 4, 2)
    with pytest.raises(UsageError, match="unequal length"):
        made("ae", ragged).examples(ragged)
    with pytest.raises(UsageError, match="the shortest sequence only 1"):
        made("ae", ragged, window=4).examples(ragged)


@pytest.mark.parametrize("part", ["full", "encoder", "decoder", "score"])
@pytest.mark.parametrize("family", ["ae", "vae", "convae", "recae"])
def test_parts_share_their_weights(family, part):
    data = replace(sequences(), lengths=np.full(6, 6))
    network = made(family, data, window=4)
    other = with_settings(network, {"part": part})
    assert other.settings()["part"] == part
    assert asdict(other.config) == {**asdict(network.config), "part": part}
    for name, value in network.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


TOKENS = Dataset(np.ones((2, 5), np.int64), np.arange(2), np.array([5, 4]), labels=("a", "b"))


@pytest.mark.parametrize(
    ("family", "data", "said"),
    [
        ("ae", TOKENS, "x holds token ids"),
        ("recae", TOKENS, r"takes sequences \(n, time, features\)"),
        ("recae", images(), r"takes sequences \(n, time, features\)"),
    ],
)
def test_data_that_cannot_be_rebuilt_is_refused(family, data, said):
    with pytest.raises(UsageError, match=said):
        entry(family).network.sizes(data)


SERIES = {"input_shape": [50, 2], "window": 8}


@pytest.mark.parametrize(
    ("family", "settings", "said"),
    [
        ("ae", {"code_size": 0}, "code_size is 0, but at least 1"),
        ("ae", {"input_shape": [4, 0]}, r"input_shape is \[4, 0\], but each must be at least 1"),
        ("ae", {"hidden_sizes": [5, 0]}, r"hidden_sizes is \[5, 0\]"),
        ("ae", {"decoder_sizes": [-1]}, r"decoder_sizes is \[-1\]"),
        ("ae", {"activation": "softmax"}, "'activation' of the config .* is 'softmax', but it must be"),
        ("ae", {"tied": True, "decoder_sizes": [5]}, "tied weights .* but decoder_sizes are given; drop one"),
        ("vae", {"tied": True}, "a variational autoencoder has mean and variance"),
        ("ae", {"variational": True}, "the family is 'ae', but its config says variational = True"),
        ("vae", {"variational": False}, "the family is 'vae', but its config says variational = False"),
        ("vae", {"beta": -0.1}, "beta is -0.1, but it must be at least 0"),
        ("vae", {"beta": float("inf")}, "beta is inf, but it must be at least 0, and finite"),
        ("vae", {"beta": float("nan")}, "beta is nan, but it must be"),
        ("ae", {"beta": 0.5}, "beta is 0.5, but it is the weight of a variational code"),
        ("ae", {"corruption": "gaussian", "corruption_level": float("inf")}, "corruption_level is inf, but it must be"),
        ("vae", {"warm_up": -1}, "warm_up is -1, but it must be at least 0"),
        ("ae", {"warm_up": 5}, "warm_up is of the weight beta of a variational autoencoder"),
        ("ae", {"sparsity": -1.0}, "sparsity is -1.0, but it must be at least 0"),
        ("ae", {"head_labels": -1}, "head_labels is -1, but it must be at least 0"),
        ("ae", {"corruption": "blur"}, "'corruption' of the config .* is 'blur', but it must be"),
        ("ae", {"corruption": "gaussian"}, "corruption is 'gaussian' and corruption_level 0.0; set both, or neither"),
        ("ae", {"corruption_level": 0.5}, "corruption is 'none' and corruption_level 0.5; set both, or neither"),
        ("ae", {"corruption": "gaussian", "corruption_level": -0.5}, "corruption_level is -0.5"),
        ("ae", {"corruption": "masking", "corruption_level": 1.1}, "it is a share of the entries, up to 1"),
        ("ae", {"corruption": "salt-and-pepper", "corruption_level": 2.0}, "it is a share of the entries, up to 1"),
        ("ae", {"loss": "mae"}, "'loss' of the config .* is 'mae', but it must be"),
        ("ae", {"output": "tanh"}, "'output' of the config .* is 'tanh', but it must be"),
        ("ae", {"loss": "bce"}, "the loss 'bce' is of values from 0 to 1; set output = 'sigmoid'"),
        ("ae", {"score": "worst"}, "'score' of the config .* is 'worst', but it must be"),
        ("ae", {"score": "bound"}, "the score 'bound' is of a variational autoencoder"),
        ("ae", {"score": "last"}, "the score 'last' is of the last step of a window; set window"),
        ("ae", {"hold": [1, 2]}, r"hold is \[1, 2\], but without a window there are no windows to hold for"),
        ("ae", {**SERIES, "hold": [3, 2]}, r"hold is \[3, 2\], but it is \[k, n\], with k from 1 to n"),
        ("ae", {**SERIES, "hold": [0, 2]}, r"hold is \[0, 2\], but it is \[k, n\]"),
        ("ae", {**SERIES, "hold": [2]}, r"hold is \[2\], but it is \[k, n\]"),
        ("ae", {**SERIES, "window": 1}, "window is 1, but a window has at least 2 steps"),
        ("ae", {"threshold_quantile": 1.0}, "threshold_quantile is 1.0, but it lies between 0 and 1"),
        ("ae", {"threshold_quantile": 0.0}, "threshold_quantile is 0.0, but it lies between 0 and 1"),
        ("ae", {"threshold_deviations": -3.0}, "threshold_deviations is -3.0, but it must be at least 0, and finite"),
        ("ae", {"threshold_deviations": float("nan")}, "threshold_deviations is nan, but it must be"),
        ("ae", {"threshold_deviations": float("inf")}, "threshold_deviations is inf, but it must be"),
        ("ae", {"threshold_quantile": 0.9, "threshold_deviations": 3.0}, "0.9 and .* 3.0, two ways to choose one"),
        ("ae", {"part": "code"}, "'part' of the config .* is 'code', but it must be"),
        ("convae", {"channels": []}, "channels is empty, but at least one convolution is needed"),
        ("convae", {"channels": [4, 0]}, r"channels is \[4, 0\]"),
        ("convae", {"decoder_channels": [4]}, "decoder_channels has 1 entries, but channels 2"),
        ("convae", {"tied": True, "decoder_channels": [4, 4]}, "but decoder_channels are given; drop one"),
        ("convae", {"kernel_size": 4}, "kernel_size is 4, but it must be odd"),
        ("convae", {"dimensions": 3}, r"dimensions is 3, but it is 1 \(series\) or 2 \(images\)"),
        ("convae", {"input_shape": [9]}, r"has the shape \(9,\), but \(\(channels,\) height, width\) is expected"),
        ("convae", {"input_shape": [3, 9, 9], "dimensions": 1}, r"but \(steps, features\) is expected"),
        ("convae", {"activation": "step"}, "'activation' of the config .* is 'step', but it must be"),
        ("recae", {"input_shape": [3, 4, 5]}, r"the shape \(3, 4, 5\), but sequences \(time, features\) are expected"),
        ("recae", {"cell": "rnn"}, "'cell' of the config .* is 'rnn', but it must be"),
        ("recae", {"order": "shuffled"}, "'order' of the config .* is 'shuffled', but it must be"),
        ("recae", {"hidden_size": 0}, "hidden_size is 0, but at least 1"),
        ("recae", {"num_layers": 0}, "num_layers is 0, but at least 1"),
    ],
)
def test_settings_that_cannot_be_are_refused(family, settings, said):
    with pytest.raises(UsageError, match=said):
        build(family, {"input_shape": [6, 4], **settings})


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"part": "scores"}, "'part' of the config .* is 'scores', but it must be"),
        ({"hold": [2, 1]}, r"hold is \[2, 1\]"),
        ({"window": 5}, "'window' cannot be set for an export"),
    ],
)
def test_settings_of_an_export_that_cannot_be_are_refused(settings, said):
    with pytest.raises(UsageError, match=said):
        with_settings(build("ae", SERIES), settings)
