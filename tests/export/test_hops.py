"""Scores of every h-th step: the proof, whole runs and streams against windows cut by hand, and samples one by one."""

import json
from functools import cache

import numpy as np
import pytest
import torch
from edgeseq_export import convert, verify
from edgeseq_runtime import load
from edgeseq_runtime.contract import Contract
from edgeseq_runtime.draw import draw
from edgeseq_runtime.errors import ContractError, InputError, StreamError, UsageError
from edgeseq_runtime.signature import Tensor

from edgeseq.data import Dataset
from edgeseq.nn import build, entry, with_settings
from edgeseq.opening import source_of
from edgeseq.training.network import hints_for

WINDOW, FEATURES = 6, 3
HOPS = (1, 3, 4, 6)
"""One step, a part of the window, no part of it, and all of it."""

HOLD = ([1, 1], [2, 3])
FAMILIES = {
    "ae": {"hidden_sizes": [9, 6], "activation": "tanh"},
    "vae": {"score": "bound"},
    "convae": {"channels": [3], "score": "last"},
    "recae": {"hidden_size": 5},
}


def series(rows, steps):
    """(rows, steps, FEATURES): noisy waves."""
    rng = np.random.default_rng(1)
    phase = rng.uniform(0, 6, (rows, 1, 1)) + 0.5 * np.arange(steps)[:, None] + np.arange(FEATURES)
    return (np.sin(phase) + 0.1 * rng.standard_normal((rows, steps, FEATURES))).astype(np.float32)


@cache
def network(family="ae", hop=3, hold=0):
    data = Dataset(series(4, 25), np.arange(4) % 2, np.full(4, 25), ("slow", "fast"))
    settings = {"code_size": 3, "window": WINDOW, "threshold_quantile": 0.5, "hop": hop, "hold": HOLD[hold]}
    with torch.random.fork_rng():
        torch.manual_seed(3)
        found = build(family, {**entry(family).network.sizes(data), **settings, **FAMILIES[family]}, hints_for(data))
        for name, value in found.named_parameters():
            if family == "recae" and "bias" not in name:
                value.data.mul_(2.5)  # so that its answers hang on the input
    found.standardise(data)
    found.finish(found.examples(data), None)
    return with_settings(found, {"part": "score"})


@cache
def content(family="ae", hop=3, hold=0, form=None):
    return convert(source_of(network(family, hop, hold)), form=form)


def blocks(x, hop):
    """Samples (batch, time, features) as the file takes them, without those of an unfinished hop."""
    count = x.shape[1] // hop
    return x[:, : count * hop].reshape(len(x), count, hop, FEATURES) if hop > 1 else x


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("family", "hop", "hold", "form"),
    [
        ("ae", 3, 0, None),
        ("ae", 6, 1, None),
        ("vae", 4, 1, None),
        ("convae", 6, 0, None),
        ("recae", 3, 1, "native"),
        ("recae", 4, 0, "loop"),
        ("recae", 6, 1, "unroll"),
    ],
)
def test_proof_passes(family, hop, hold, form):
    report = verify(content(family, hop, hold, form), source_of(network(family, hop, hold)))
    assert report.passed, (report.problems, report.worst)
    model = load(content(family, hop, hold, form))
    assert model.verify().passed
    assert model.contract.hop == hop
    assert model.contract.settings["hop"] == hop


def test_the_unroll_form_leaves_time_free_where_nothing_is_repeated():
    model, x = load(content("ae", 3, 0, "unroll")), blocks(series(2, 32), 3)
    assert (model.contract.steps, model.signature.streamable) == (None, True)
    np.testing.assert_array_equal(model.run(x)["score"], load(content("ae", 3)).run(x)["score"])


@pytest.mark.parametrize("hop", HOPS)
def test_states_and_axes_are_those_of_the_hop(hop):
    signature = network("ae", hop, 1).signature()
    assert signature.inputs[0].axes == (("batch", "time", 3) if hop == 1 else ("batch", "time", hop, 3))
    past = {"past": ("batch", WINDOW - hop, 3)} if hop < WINDOW else {}
    assert {s.input: s.axes for s in signature.states} == {**past, "seen": ("batch", 1), "recent": ("batch", 2)}
    assert signature.typical["time"] * hop >= WINDOW


STREAMED = [
    pytest.param(family, hop, (row + column) % 2, marks=() if row == column else pytest.mark.full)
    for row, family in enumerate(FAMILIES)
    for column, hop in enumerate(HOPS)
]
"""Every hop in every family, and both ways to hold with every hop; each once in the quick tests."""


@pytest.mark.parametrize(("family", "hop", "hold"), STREAMED)
def test_whole_and_stream_give_the_scores_of_windows_cut_by_hand(family, hop, hold):
    found, x = network(family, hop, hold), series(2, 32)
    x[1, 12:26] *= 3
    model, given, (needed, of) = load(content(family, hop, hold)), blocks(x, hop), HOLD[hold]
    ends = np.arange(1, given.shape[1] + 1) * hop
    scores = np.zeros((2, len(ends)), np.float32)
    full = ends >= WINDOW
    with torch.no_grad():
        for place in np.flatnonzero(full):
            scores[:, place] = found.scores(torch.from_numpy(x[:, ends[place] - WINDOW : ends[place]])).numpy()
    above = (scores > float(found.threshold)) & full
    alarms = np.stack([above[:, max(end - of, 0) : end].sum(1) >= needed for end in range(1, len(ends) + 1)], 1)
    assert 0 < alarms.mean() < 1

    def check(answer):
        close(answer["score"], scores)
        np.testing.assert_array_equal(answer["alarm"], alarms)

    check(model.run(given))
    for cuts in ([1, 2, 5], range(1, len(ends)), [3]):
        stream = model.stream(2)
        pieces = [stream.run(piece) for piece in np.split(given, list(cuts), 1)]
        check({name: np.concatenate([piece[name] for piece in pieces], 1) for name in pieces[0]})
    stream = model.stream(2)
    steps = [stream.step(given[:, step]) for step in range(len(ends))]
    check({name: np.stack([step[name] for step in steps], 1) for name in steps[0]})
    stream = model.stream(2)
    pushed = [stream.push(x[:, step]) for step in range(x.shape[1])]
    assert [answer is not None for answer in pushed] == [step % hop == 0 for step in range(1, x.shape[1] + 1)]
    check({name: np.stack([answer[name] for answer in pushed if answer], 1) for name in steps[0]})


def test_scores_are_every_third_of_those_of_every_step():
    x = series(2, 30)
    every, third = load(content("ae", 1)).run(x), load(content("ae", 3)).run(blocks(x, 3))
    close(third["score"], every["score"][:, 2::3])
    np.testing.assert_array_equal(third["alarm"], every["alarm"][:, 2::3])
    assert third["score"][:, 1:].all()


def test_a_sample_without_a_batch_axis_is_answered_without_one():
    model, x = load(content()), series(1, 3)[0]
    for given in (x, x.astype(np.float64), x.tolist(), [{"x": sample} for sample in x]):
        stream = model.stream()
        answers = [stream.push(sample) for sample in given]
        assert answers[:2] == [None, None]
        assert answers[2]["score"].shape == ()
    stream = model.stream()
    assert [stream.push(sample[None]) for sample in x][2]["score"].shape == (1,)


BAD = {
    "nan": np.array([0, np.nan, 0], np.float32),
    "infinite": [0.0, 1.0, np.inf],
    "too wide": np.zeros(4, np.float32),
    "a whole hop": np.zeros((3, 3), np.float32),
    "another name": {"y": np.zeros(3, np.float32)},
    "complex": np.zeros(3, np.complex64),
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("at", [0, 1, 2, 7])
def test_a_bad_sample_leaves_buffer_and_states(bad, at):
    model, x = load(content()), series(1, 12)[0]
    stream, undisturbed = model.stream(), model.stream()
    for number, sample in enumerate(x):
        if number == at:
            before = stream.state
            for _ in range(2):
                with pytest.raises(InputError, match=r"has (nan|inf) at|takes \(1, 3\) or \(3,\)|a sample of|complex"):
                    stream.push(BAD[bad])
            after = stream.state
            assert (before.samples is None) == (at % 3 == 0)
            np.testing.assert_array_equal(before.samples, after.samples)
            for name, array in before.arrays.items():
                np.testing.assert_array_equal(array, after.arrays[name])
        one, other = stream.push(sample), undisturbed.push(sample)
        assert (one is None) == (other is None)
        for name in one or ():
            np.testing.assert_array_equal(one[name], other[name])


def test_what_is_not_finite_is_taken_when_allowed():
    stream = load(content()).stream(allow_nonfinite=True)
    answers = [stream.push(sample) for sample in [BAD["nan"], *series(1, 5)[0]]]
    assert np.isnan(answers[-1]["score"])


def test_a_reset_empties_the_buffer():
    model, x = load(content()), series(2, 14)
    stream, fresh = model.stream(2), model.stream(2)
    for step in range(8):
        stream.push(x[:, step])
    with pytest.raises(StreamError, match="2 of the 3 samples of a hop have been pushed"):
        stream.reset([1])
    assert stream.state.samples.shape == (2, 2, 3)
    stream.reset()
    assert stream.state.samples is None
    for step in range(5, 14):
        one, other = stream.push(x[:, step]), fresh.push(x[:, step])
        assert (one is None) == (other is None)
    np.testing.assert_array_equal(one["score"], other["score"])
    stream.reset([1])  # between two hops each row is its own


def test_an_unfinished_hop_is_not_stepped_over():
    stream, x = load(content()).stream(), series(1, 3)
    stream.push(x[0, 0])
    for refused in (lambda: stream.step(x), lambda: stream.run(x[None])):
        with pytest.raises(
            StreamError, match="1 of the 3 samples of a hop have been pushed; push the others, or reset"
        ):
            refused()
    assert stream.push(x[0, 1]) is None
    assert stream.push(x[0, 2])["score"] == 0
    stream.step(x)


def test_a_state_keeps_the_samples_of_an_unfinished_hop():
    model, x = load(content()), series(1, 12)[0]
    stream, other = model.stream(), model.stream()
    for sample in x[:8]:
        stream.push(sample)
    state = stream.state
    other.push(x[0])
    other.restore(state)
    for restored in (stream, other):
        assert restored.push(x[8])["score"] > 0
    np.testing.assert_array_equal(stream.state.arrays["past"], other.state.arrays["past"])
    other.push(x[9])
    np.testing.assert_array_equal(state.samples, x[None, 6:8])  # a copy
    with pytest.raises(StreamError, match=r"samples of the state are float32 \(1, 3, 3\)"):
        other.restore(type(state)(state.model, state.arrays, x[None, :3]))
    assert other.state.samples.shape == (1, 1, 3)


def test_with_a_hop_of_one_a_push_is_a_step():
    model, x = load(content("ae", 1)), series(1, 9)[0]
    one, other = model.stream(), model.stream()
    for sample in x:
        pushed, stepped = one.push(sample), other.step(sample)
        assert pushed == stepped
    assert one.state.samples is None


@pytest.mark.parametrize("time", [1, 2, 3, 7])
@pytest.mark.parametrize("hop", [1, 3, 4, 6])
def test_inputs_are_drawn_like_examples_of_any_length(hop, time):
    example = np.arange(WINDOW * FEATURES, dtype=float)
    axes = ("batch", "time", FEATURES) if hop == 1 else ("batch", "time", hop, FEATURES)
    tensor = Tensor("x", "float32", axes, draw={"examples": [example.tolist()], "deviation": 0.0})
    found = draw(tensor, {"batch": 4, "time": time}, np.random.default_rng(0))
    assert found.shape == tensor.shape({"batch": 4, "time": time})
    steps = found.reshape(4, -1, FEATURES)
    first = steps[:, :1, :1] / FEATURES
    expected = (first.astype(int) + np.arange(steps.shape[1])[:, None]) % WINDOW * FEATURES + np.arange(FEATURES)
    np.testing.assert_array_equal(steps, expected)


@pytest.mark.parametrize(
    ("settings", "hop"),
    [({}, 1), ({"part": "score"}, 1), ({"part": "score", "hop": 3}, 3), ({"part": "full", "hop": 3}, 1)],
)
def test_a_contract_says_the_hop_of_a_score_alone(settings, hop):
    signature = network("ae", hop).signature()
    assert Contract.from_json(Contract(signature, "ae", "rebuild", settings=settings).to_json()).hop == hop


@pytest.mark.parametrize(
    ("hop", "message"),
    [
        (0, "the contract's hop is 0, but a number of samples from 1"),
        ("3", "the contract's hop is '3'"),
        (True, "the contract's hop is True"),
        (None, "the contract's hop is None"),
        (4, r"contradicts itself: the hop is 4, but .* axes batch, time, 4, features"),
    ],
)
def test_a_malformed_hop_is_refused(hop, message):
    text = json.loads(load(content()).contract.to_json())
    text["settings"]["hop"] = hop
    with pytest.raises(ContractError, match=message):
        Contract.from_json(json.dumps(text))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hop": 0}, "hop is 0, but at least 1 is needed"),
        ({"hop": 7}, "hop is 7, but it is at most the window's 6 steps"),
        ({"hop": 2, "window": None}, "hop is 2, but without a window there are no windows"),
    ],
)
def test_a_hop_that_cannot_be_is_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        build("ae", {"input_shape": [25, 3], "window": WINDOW, **settings})
    if "window" not in settings:
        with pytest.raises(UsageError, match=message):
            with_settings(network(), settings)
