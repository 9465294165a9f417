"""A contract that contradicts itself is not written."""

import pytest
import torch
from edgeseq_export import Source, export
from edgeseq_runtime import load
from edgeseq_runtime.errors import ExportError
from edgeseq_runtime.signature import Signature, Tensor

SIGNATURE = Signature(
    inputs=(Tensor("tokens", "int64", ("batch", "time"), range=(0, 3)),),
    outputs=(Tensor("y", "float32", ("batch", "time"), "step"),),
)


class Scale(torch.nn.Module):
    """A number for each token."""

    def forward(self, tokens):
        return {"y": 0.5 * tokens}


def written(path, vocabulary):
    source = Source(Scale(), SIGNATURE, "scale", "scale", "scale.pt", vocabulary=vocabulary)
    export(source, path, verify=False)


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        (
            {"tokens": {"symbols": ["a", "b"]}},
            "the vocabulary of scale.pt does not fit .* 2 symbols, .* 3 are expected",
        ),
        ({"words": {"symbols": ["a", "b", "c"]}}, "a vocabulary of 'words', but the inputs and outputs are tokens, y"),
    ],
)
def test_a_vocabulary_that_does_not_fit_is_not_written(tmp_path, vocabulary, message):
    with pytest.raises(ExportError, match=message):
        written(tmp_path / "scale.onnx", vocabulary)
    assert not list(tmp_path.iterdir())


def test_a_vocabulary_that_fits_is_written(tmp_path):
    vocabulary = {"tokens": {"symbols": ["a", "b", "c"], "kind": "character"}}
    written(tmp_path / "scale.onnx", vocabulary)
    assert load(tmp_path / "scale.onnx").contract.vocabulary == vocabulary
