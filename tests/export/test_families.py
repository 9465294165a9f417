"""Parity of every family in every form: the whole proof, which walks batch × time × ragged × states × chunks itself.

`make test` takes each family natively and, where it repeats steps, unrolled; `make test-full` all forms and settings.
RNN, LSTM and GRU have tables of their own, test_parity_grid.py and test_forms.py, and so have echo state networks,
test_reservoirs.py.
"""

import onnx
import pytest
import torch
from edgeseq_export import FORMS, Source, export
from edgeseq_runtime import load

from edgeseq.nn import FAMILIES, Hints, build

CONTROL_FLOW = {"Scan", "Loop", "LSTM", "GRU", "RNN"}
CLASSES = {"output_size": 4, "task": "classify"}
VALUES = {"output_size": 4, "task": "forecast"}

PLAIN = {
    "mlp": [{"input_shape": [6], "hidden_sizes": [8, 5], "activation": "gelu"}, {"input_shape": [3, 4], **VALUES}],
    "elm": [{"input_shape": [6], "hidden_size": 12}],
    "cnn": [
        {"input_shape": [8, 9], "channels": [3, 4], "hidden_sizes": [5]},
        {"input_shape": [2, 8, 8], "channels": [3], "pool": "average", "batch_norm": False, **VALUES},
    ],
    "tcn": [
        {"input_size": 3, "channels": 5, "dilations": [1, 2, 4]},
        {"input_size": 3, "channels": 4, "dilations": [1, 3], "activation": "gated", "head": "step", **VALUES},
    ],
}
"""Families that repeat no step: their three forms are one."""

STEPPED = {
    "grid": [
        {"hidden_size": 5, "typical_height": 6, "typical_width": 6},
        {"hidden_size": 4, "cell": "lstm", "patch_size": 2, "pooling": "ends", "typical_height": 6, "typical_width": 6},
    ],
    "crnn": [{"input_size": 8, "channels": [3, 4], "hidden_size": 5, "task": "transcribe"}],
    "tagger": [
        {"cell": cell, "vocabulary_size": 9, "alphabet_size": 7, "letters": 6, "hidden_size": 5}
        for cell in ("lstm", "gru")
    ],
    "charlm": [{"embedding_size": 5, "hidden_size": 8, "typical_length": 6}],
    "tree": [
        {"input_size": 1, "vocabulary_size": 9, "arity": 3, "hidden_size": 6, "cell": cell}
        for cell in ("treelstm", "treernn")
    ],
}


def make_source(family, settings):
    with torch.random.fork_rng():
        torch.manual_seed(5)
        network = build(family, {**CLASSES, **settings}, Hints(typical={"batch": 1, "time": 9})).eval()
        for (
            name,
            value,
        ) in network.named_parameters():  # fresh networks hardly move, and the proof rightly refuses those
            value.data.mul_(1 if "embedding" in name else 2)
    given = {"initial": network.initial_values(), "values": network.values(), "vocabulary": network.vocabulary()}
    return Source(network, network.signature(), family, network.task, family, **given)


def table():
    for families, forms in ((PLAIN, ("native",)), (STEPPED, FORMS)):
        for family, configs in families.items():
            for number, settings in enumerate(configs):
                for form in forms:
                    rare = number > 0 or (form == "loop")
                    marks = [pytest.mark.full] if rare else []
                    yield pytest.param(family, settings, form, id=f"{family}-{number}-{form}", marks=marks)


@pytest.mark.parametrize(("family", "settings", "form"), list(table()))
def test_proof_passes(family, settings, form, tmp_path):
    path = tmp_path / "model.onnx"
    report = export(make_source(family, settings), path, form=form)
    assert report.passed, report.worst
    model = load(path)
    assert model.verify().passed
    assert model.contract.family == family
    if form == "unroll":
        assert not {node.op_type for node in onnx.load(path).graph.node} & CONTROL_FLOW


def test_every_family_has_a_row():
    elsewhere = {"rnn", "lstm", "gru", "esn", "seq2seq", "ae", "vae", "convae", "recae"}  # each has a table of its own
    assert {*PLAIN, *STEPPED, *elsewhere} == set(FAMILIES)
