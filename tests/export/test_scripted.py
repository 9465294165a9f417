"""TorchScript archives: scripted, traced and frozen ones are written, proven and streamed; others say what is wrong."""

import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from edgeseq_export import Source, export, verify
from edgeseq_export.reference import Reference
from edgeseq_export.sources.scripted import open_scripted
from edgeseq_runtime import load
from edgeseq_runtime.errors import DamagedFileError, ExportError, UsageError
from edgeseq_runtime.seal import seal
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence


class Zeros(nn.Module):
    """Layers in a loop, the first of which starts from zeros that the forward makes."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(3, 4, num_layers=2, batch_first=True)
        self.more = nn.ModuleList([nn.GRU(4, 4, batch_first=True), nn.RNN(4, 4, batch_first=True)])
        self.out = nn.Linear(4, 2)

    def forward(self, x: Tensor):
        h = torch.zeros(2, x.size(0), 4)
        y, _ = self.lstm(x, (h, h))
        for layer in self.more:
            y = layer(y)[0]
        return self.out(y)


class Branch(nn.Module):
    """Short sequences are answered otherwise than long ones, so pieces are answered otherwise than the whole."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(3, 4, batch_first=True)
        self.out = nn.Linear(4, 2)

    def forward(self, x: Tensor):
        y, h = self.gru(x)
        if x.size(1) > 5:
            y = self.out(h[-1])
        else:
            y = torch.tanh(self.out(h[-1])) - 1
        return {"logits": y}


class Mean(nn.Module):
    """A mean over the sequence, which no state of a layer holds."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(7, 3)
        self.gru = nn.GRU(3, 4, batch_first=True)

    def forward(self, tokens: Tensor):
        return self.gru(self.embedding(tokens))[0].mean(1)


class Loop(nn.Module):
    """A cell in a Python loop."""

    def __init__(self, cell):
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor):
        h = torch.zeros(x.size(0), 4)
        for t in range(x.size(1)):
            h = self.cell(x[:, t], h)
        return h


class FixedBatch(nn.Module):
    """First states of one batch."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(3, 4, batch_first=True)

    def forward(self, x):
        h = torch.zeros(1, 5, 4)
        return self.lstm(x, (h, h))[0]


class FixedTime(nn.Module):
    """A linear layer over all steps."""

    def __init__(self):
        super().__init__()
        self.out = nn.Linear(15, 2)

    def forward(self, x):
        return self.out(x.reshape(x.shape[0], 15))


class Packed(nn.Module):
    """Rows of unequal length."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(3, 4, batch_first=True)

    def forward(self, x: Tensor, lengths: Tensor):
        return self.gru(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))[1]


def _traced(module, *example):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.trace(module.eval(), example)


ARCHIVES = {
    "scripted": lambda: torch.jit.script(Zeros().eval()),
    "traced": lambda: _traced(Zeros(), torch.randn(2, 5, 3)),
    "frozen": lambda: torch.jit.freeze(torch.jit.script(Zeros().eval())),
    "branch": lambda: torch.jit.script(Branch().eval()),
    "mean": lambda: torch.jit.script(Mean().eval()),
    "cells": lambda: torch.jit.script(Loop(nn.GRUCell(3, 4)).eval()),
    "loop": lambda: _traced(Loop(nn.GRUCell(3, 4)), torch.randn(2, 5, 3)),
    "batch": lambda: _traced(FixedBatch(), torch.randn(5, 6, 3)),
    "time": lambda: _traced(FixedTime(), torch.randn(2, 5, 3)),
    "packed": lambda: _traced(Packed(), torch.randn(2, 5, 3), torch.tensor([5, 3])),
}


@pytest.fixture(scope="module")
def archives(tmp_path_factory) -> Path:
    """A folder with NAME.ts for each of ARCHIVES."""
    folder = tmp_path_factory.mktemp("archives")
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, make in ARCHIVES.items():
            torch.manual_seed(3)
            torch.jit.save(make(), folder / f"{name}.ts")
    return folder


@pytest.fixture(scope="module")
def exported(archives):
    """From a name, the source and the path of its file, proven once a session."""
    made: dict[str, tuple[Source, Path]] = {}

    def get(name: str) -> tuple[Source, Path]:
        if name not in made:
            source = open_scripted(archives / f"{name}.ts")
            report = export(source, archives / f"{name}.onnx")
            assert report is not None
            assert report.passed
            made[name] = source, archives / f"{name}.onnx"
        return made[name]

    return get


@pytest.mark.parametrize("name", ["scripted", "traced", "frozen"])
def test_layers_become_operators_whose_states_are_lifted(archives, exported, operators, name):
    source, path = exported(name)
    assert source.notes[0].startswith("input x: float32 (batch, time, 3)")
    assert {"LSTM", "GRU", "RNN"} <= operators(path.read_bytes())
    model = load(path)
    assert [state.input for state in model.signature.states] == ["h0", "c0", "h1", "c1", "h2", "h3"]
    assert model.contract.provenance["lifted"] == ["h0", "c0", "h1", "c1", "h2", "h3"]
    x = np.random.default_rng(1).standard_normal((2, 11, 3)).astype(np.float32)
    with torch.no_grad():
        expected = torch.jit.load(archives / f"{name}.ts")(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(model.run(x)["output"], expected, atol=1e-6)
    stream = model.stream(2)
    pieces = [stream.run(x[:, start : start + 4])["output"] for start in range(0, 11, 4)]
    np.testing.assert_allclose(np.concatenate(pieces, 1), expected, atol=1e-6)
    stream.reset()
    np.testing.assert_allclose(stream.step(x[:, 0])["output"], expected[:, 0], atol=1e-6)


def test_the_weights_of_a_frozen_archive_are_seen_by_the_proof(exported):
    """They are constants in the archive: a copy with one of them changed must fail."""
    source, path = exported("frozen")
    model = onnx.load(path)
    weights = [weight for weight in model.graph.initializer if len(weight.dims) == 3]
    assert weights
    weights[0].CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights[0]) * 1.001, weights[0].name))
    assert not verify(seal(model.SerializeToString()), source).passed


@pytest.mark.parametrize("name", ["scripted", "traced", "frozen"])
def test_the_judge_is_in_float64_and_knows_its_own_error(archives, name):
    """An archive has float32 in its graph; copies of it share that graph, and must be moved apart all the same."""
    source = open_scripted(archives / f"{name}.ts")
    reference = Reference(source.module, 1e-12)
    x = np.random.default_rng(0).standard_normal((2, 9, 3)).astype(np.float32)
    truth = reference({"x": x})["output"]
    with torch.no_grad():
        single = source.module(x=torch.from_numpy(x))["output"].numpy()
    assert truth.values.dtype == np.float64
    assert 0 < np.abs(truth.values - single).max() < 1e-6
    assert not np.array_equal(truth.values, truth.values.astype(np.float32))
    answers = {module(x=torch.from_numpy(x))["output"].detach().numpy().tobytes() for module in reference._singles}
    assert len(answers) == len(reference._singles)


@pytest.mark.parametrize(("name", "output"), [("branch", "logits"), ("mean", "output")])
def test_what_differs_in_pieces_keeps_its_states_to_itself(exported, operators, name, output):
    _, path = exported(name)
    model = load(path)
    assert model.signature.states == ()
    assert not model.signature.streamable
    assert model.signature.reason == f"in chunks of 1 its output '{output}' differs from that to the whole"
    assert "GRU" in operators(path.read_bytes())
    assert ("If" in operators(path.read_bytes())) == (name == "branch")


def test_an_embedding_says_the_range(exported):
    source, _ = exported("mean")
    assert source.signature.inputs[0].range == (0, 7)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("loop", "loop.ts reads the first 5 steps of 'x' and nothing behind them: its loop over time was frozen"),
        ("batch", "batch.ts starts a layer from states of batch 5, whatever the batch of its input is"),
        ("time", "time.ts takes 'x' at time 5 alone: that axis was frozen when it was traced"),
    ],
)
def test_a_frozen_axis_is_named(archives, name, message):
    with pytest.raises(ExportError) as error:
        open_scripted(archives / f"{name}.ts", inputs=["x:float32[batch,time,3]"])
    assert str(error.value).startswith(message)


def test_an_operator_without_a_translation_is_named_with_its_place(archives, capfd):
    source = open_scripted(archives / "cells.ts")
    with pytest.raises(ExportError) as error:
        export(source, archives / "cells.onnx")
    assert str(error.value).startswith("operator 'aten::__contains__' in 'cell' (GRUCell) (rnn.py, line ")
    assert not (archives / "cells.onnx").exists()
    assert capfd.readouterr().out == ""  # the exporter would print the whole graph


def test_packed_rows_are_told(archives):
    source = open_scripted(archives / "packed.ts", inputs=["x:float32[batch,time,3]", "lengths:int64[batch]"])
    with pytest.raises(ExportError, match=r"packed\.ts packs rows of unequal length"):
        export(source, archives / "none.onnx")


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        (["y:float32[batch,time,3]"], UsageError, "has no 'y'; it takes x"),
        (["x:float32[batch,time,4]"], ExportError, "cannot be called with the inputs as they are said"),
    ],
)
def test_inputs_that_do_not_fit_are_told(archives, inputs, error, message):
    with pytest.raises(error, match=message):
        open_scripted(archives / "scripted.ts", inputs=inputs)


def test_other_forms_are_refused(archives):
    source = open_scripted(archives / "mean.ts")
    with pytest.raises(ExportError, match=r"mean\.ts is TorchScript, which is written as it is"):
        export(source, archives / "none.onnx", form="unroll")


def test_a_damaged_archive_is_told(archives, tmp_path):
    content = (archives / "mean.ts").read_bytes()
    (tmp_path / "half.ts").write_bytes(content[: len(content) // 2])
    with pytest.raises(DamagedFileError, match=r"half\.ts cannot be loaded as TorchScript"):
        open_scripted(tmp_path / "half.ts")
