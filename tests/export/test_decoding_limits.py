"""Decoders of a single step: the shortest answer there is, in the forms that differ, equal to PyTorch."""

import numpy as np
import pytest
import torch
from edgeseq_export import convert
from edgeseq_runtime import load

from edgeseq.nn import Hints, build
from edgeseq.opening import source_of

SETTINGS = {
    "greedy": {"decode": "greedy"},
    "beam": {"decode": "beam", "beam_width": 3, "n_best": 2},
    "values": {"task": "forecast"},
}
CONFIG = {"input_size": 1, "vocabulary_size": 7, "output_size": 5, "max_length": 1, "hidden_size": 8}


def drawn(decode):
    """A network of one step with large weights, so that its answer hangs on the input."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        network = build("seq2seq", {**CONFIG, **SETTINGS[decode]}, Hints(typical={"batch": 1, "time": 5})).eval()
        for name, value in network.named_parameters():
            value.data.mul_(1.0 if "bias" in name else 3.0)
    return network


@pytest.mark.parametrize("form", ["unroll", "loop"])
@pytest.mark.parametrize("decode", SETTINGS)
def test_a_single_step_is_exported_and_equal(decode, form):
    network = drawn(decode)
    model = load(convert(source_of(network), form=form))
    assert model.verify().passed
    assert model.contract.decoding["max_length"] == 1

    rng = np.random.default_rng(0)
    given = {"tokens": rng.integers(0, 7, (40, 6)), "lengths": rng.integers(1, 7, 40)}
    with torch.no_grad():
        expected = network(**{name: torch.from_numpy(array) for name, array in given.items()})
    found = model.run(given)
    for name, array in found.items():
        np.testing.assert_allclose(array, expected[name].numpy(), rtol=1e-5, atol=1e-5)
    said = found["values" if decode == "values" else "generated"]
    assert said.shape == {"greedy": (40, 1), "beam": (40, 2, 1), "values": (40, 1, 5)}[decode]
    assert len(np.unique(said, axis=0)) > 1
