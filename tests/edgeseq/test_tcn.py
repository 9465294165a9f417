"""The tcn family: causal, the same in pieces as whole, and row by row as in a batch. Its proof: test_families.py."""

import numpy as np
import pytest
import torch
from edgeseq_export import Source, convert
from edgeseq_runtime import load
from edgeseq_runtime.errors import UsageError
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeseq.data import Dataset
from edgeseq.nn import build

SMALL = {"input_size": 3, "output_size": 4, "channels": 5, "dilations": [1, 2, 4]}
VARIANTS = {
    "relu": {"head": "step"},
    "gated, last": {"activation": "gated", "head": "last"},
    "one convolution, forecast": {"convolutions": 1, "kernel_size": 4, "task": "forecast", "head": "step"},
    "as many channels as features": {"channels": 3, "kernel_size": 2, "head": "last"},
}


def make(**config):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build("tcn", {**SMALL, **config})
        network.x_mean.normal_()
        network.x_deviation.uniform_(0.5, 2)
    return network.double().eval()


NETWORKS = {name: make(**config) for name, config in VARIANTS.items()}


def sequences(batch, time, seed=1):
    return torch.randn(batch, time, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def result(network, outputs):
    return outputs["values" if network.task == "forecast" else "logits"]


def states(network, outputs):
    return {pair.input: outputs[pair.output] for pair in network.signature().states}


def test_a_step_depends_on_its_receptive_field_and_on_nothing_else():
    network = make(head="step")
    reach = network.config.receptive_field
    assert reach == 1 + 2 * 2 * 7
    x = sequences(1, 60).requires_grad_()
    (gradient,) = torch.autograd.grad(result(network, network(x))[0, 45].abs().sum(), x)
    touched = gradient[0].abs().sum(-1).nonzero()[:, 0]
    assert touched.min() > 45 - reach
    assert touched.max() == 45


def test_every_step_of_the_receptive_field_counts():
    """With positive weights and inputs no activation is cut off, so nothing hides a step."""
    network = make(head="step", standardise=False)
    for parameter in network.parameters():
        parameter.data.abs_()
    reach = network.config.receptive_field
    x = sequences(1, 60).abs().requires_grad_()
    (gradient,) = torch.autograd.grad(result(network, network(x))[0, 45].sum(), x)
    assert gradient[0].abs().sum(-1).nonzero()[:, 0].tolist() == list(range(46 - reach, 46))


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(sorted(VARIANTS)),
    cuts=st.lists(st.integers(1, 20), min_size=1, max_size=5),
    batch=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_pieces_with_carried_buffers_equal_the_whole(name, cuts, batch, seed):
    network = NETWORKS[name]
    x = sequences(batch, sum(cuts), seed)
    whole = network(x)
    carried, answers = {}, []
    for piece in x.split(cuts, 1):
        outputs = network(piece, **carried)
        carried = states(network, outputs)
        answers.append(result(network, outputs))
    answer = torch.cat(answers, 1) if network.config.head == "step" else answers[-1]
    torch.testing.assert_close(answer, result(network, whole), rtol=0, atol=1e-12)
    for key, value in states(network, whole).items():
        torch.testing.assert_close(carried[key], value, rtol=0, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(sorted(VARIANTS)),
    lengths=st.lists(st.integers(1, 25), min_size=1, max_size=4),
    known=st.booleans(),
)
def test_a_ragged_batch_equals_its_rows_one_by_one(name, lengths, known):
    network = NETWORKS[name]
    x = sequences(len(lengths), 25)
    given_states = states(network, network(sequences(len(lengths), 40, seed=5))) if known else {}
    together = network(x, torch.tensor(lengths), **given_states)
    for row, length in enumerate(lengths):
        own = {key: value[row : row + 1] for key, value in given_states.items()}
        alone = network(x[row : row + 1, :length], **own)
        answer = result(network, together)[row : row + 1]
        answer = answer[:, :length] if network.config.head == "step" else answer
        torch.testing.assert_close(answer, result(network, alone), rtol=0, atol=1e-12)
        for key, value in states(network, alone).items():
            torch.testing.assert_close(states(network, together)[key][row : row + 1], value, rtol=0, atol=1e-12)


def test_steps_behind_the_end_answer_nothing():
    network = make(head="step")
    logits = network(sequences(2, 9), torch.tensor([4, 9]))["logits"]
    torch.testing.assert_close(logits[0, 4:], network.head.bias.expand(5, -1))


@pytest.mark.parametrize("name", ["relu", "gated, last"])
def test_a_streamed_file_equals_the_file_on_the_whole(name):
    network = make(**VARIANTS[name]).float()
    model = load(convert(Source(network, network.signature(), "tcn", network.task, "tcn")))
    x = sequences(2, 40).float().numpy()
    stream = model.stream(2)
    streamed = [stream.step(x[:, t])["logits"] for t in range(40)]
    expected = model.run(x)["logits"]
    answer = np.stack(streamed, 1) if network.config.head == "step" else streamed[-1]
    np.testing.assert_allclose(answer, expected, atol=2e-6)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"kernel_size": 1}, "kernel_size is 1, but a convolution over time needs at least 2 taps"),
        ({"dilations": []}, r"dilations are \[\], but one a block is needed"),
        ({"dilations": [1, 0]}, r"dilations are \[1, 0\]"),
        ({"dilations": [1.5]}, "must be a list of whole numbers"),
        ({"channels": 0}, "channels is 0, but at least 1 is needed"),
        ({"activation": "tanh"}, "activation"),
        ({"head": "mean"}, "head"),
    ],
)
def test_a_wrong_config_is_refused(config, message):
    with pytest.raises(UsageError, match=message):
        build("tcn", {**SMALL, **config})


def test_only_sequences_of_features_are_taken():
    tokens = Dataset(np.ones((2, 5), np.int64), np.array([0, 1]), np.array([5, 5]), labels=("a", "b"))
    images = Dataset(np.ones((2, 5, 5), np.float32), np.array([0, 1]), labels=("a", "b"))
    network = type(make())
    for data in (tokens, images):
        with pytest.raises(UsageError, match="takes sequences"):
            network.sizes(data)
    with pytest.raises(UsageError, match=r"there is no state 'h0'; this network has buffer0 to buffer5"):
        make()(sequences(1, 3), h0=torch.zeros(1))
