"""The proof passes for every recurrent network: cell × depth × direction × lengths × head."""

from itertools import combinations, product

import pytest
import torch
from edgeseq_export import Source, export
from pairwise import pairwise

from edgeseq.nn import build

FACTORS = {
    "cell": ["rnn_tanh", "rnn_relu", "rnn_sigmoid", "lstm", "gru"],
    "num_layers": [1, 3],
    "bidirectional": [False, True],
    "ragged": [False, True],
    "head": ["step", "last", "mean"],
    "task": ["classify", "forecast"],
    "initial_state": ["zeros", "learned"],
}
GRID = [dict(zip(FACTORS, values, strict=True)) for values in product(*FACTORS.values())]


def name(case):
    return "-".join(str(value) for value in case.values())


def parametrise():
    subset = set(pairwise(GRID))
    for index, case in enumerate(GRID):
        # the full grid crosses what the pairs leave out; task and initial state go along with the rest
        aligned = case["task"] == "classify" and case["initial_state"] == "zeros"
        if index in subset:
            yield pytest.param(case, id=name(case))
        elif aligned:
            yield pytest.param(case, id=name(case), marks=pytest.mark.full)


def make_source(case):
    family, _, nonlinearity = case["cell"].partition("_")
    config = {key: value for key, value in case.items() if key != "cell"}
    if nonlinearity:
        config["nonlinearity"] = nonlinearity
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = build(family, {"input_size": 5, "output_size": 4, "hidden_size": 6, **config}).eval()
        for value in network.initial.values():
            torch.nn.init.normal_(value, std=0.5)
        for layer in network.layers:  # fresh sigmoid stacks hardly move, and the proof rightly refuses those
            for direction in range(layer.directions):
                layer.direction_weights(direction)[0].data.mul_(3)
        for buffer in (network.x_mean, network.x_deviation, network.y_mean, network.y_deviation):
            buffer.uniform_(0.5, 1.5)
    return Source(network, network.signature(), family, network.task, "test", initial=network.initial_values())


@pytest.mark.parametrize("case", list(parametrise()))
def test_proof_passes(case, tmp_path):
    report = export(make_source(case), tmp_path / "model.onnx")
    assert report.passed, report.worst
    batches_and_times = {c.case.split()[0] for c in report.comparisons}
    assert {"1×1", "3×7", "8×20", "8×60"} <= batches_and_times  # traced at 3×5, tested longer
    assert any("chunks" in c.case for c in report.comparisons) is not case["bidirectional"]
    assert any("ragged" in c.case for c in report.comparisons) is case["ragged"]


def test_pairwise_covers_every_pair():
    chosen = [GRID[i] for i in pairwise(GRID)]
    for one, other in combinations(FACTORS, 2):
        assert {(c[one], c[other]) for c in chosen} == set(product(FACTORS[one], FACTORS[other]))
