"""Files of other exporters, and two files with each other: what is matched, what passes, what must fail in words."""

import io

import numpy as np
import pytest
import torch
from edgeseq_export import Grid, convert, verify
from edgeseq_export.mutant import mutant
from edgeseq_export.peer import jittered
from edgeseq_export.sources.module import from_module
from edgeseq_runtime import load
from edgeseq_runtime.errors import UsageError
from foreign import Layer, foreign
from onnx import TensorProto
from torch import nn

from edgeseq.adopt import with_contract
from edgeseq.opening import open_source

SPEC = "x:float32[batch,time,4]"
SMALL = Grid(batches=(1, 3), times=(1, 7), chunks=(1,))


@pytest.fixture(scope="module")
def source():
    return from_module(Layer(), inputs=[SPEC])


@pytest.mark.parametrize(
    ("file", "notes"),
    [
        (foreign(output="output"), []),
        (foreign(), ["'y' of model is taken for 'output' of Layer, by order"]),
        (foreign(["b", "t", 4], name="in"), ["'in' of model is taken for 'x'", "'y' of model is taken for 'output'"]),
    ],
)
def test_a_file_of_another_exporter_is_judged(source, file, notes):
    report = verify(file, source, plan=SMALL)
    assert report.passed
    assert {c.output for c in report.comparisons} == {"output"}
    assert len(report.notes) == len(notes)
    assert all(said.startswith(note) for said, note in zip(report.notes, notes, strict=True))


def test_a_wrong_file_of_another_exporter_fails(source):
    assert not verify(foreign(factor=1.001), source, plan=SMALL).passed


def test_a_file_in_the_networks_own_layout_is_turned():
    turned = from_module(Layer(), inputs=["x:float32[time,batch,4]"])
    report = verify(foreign(["time", "batch", 4]), turned, plan=SMALL)
    assert report.passed
    assert {c.shape for c in report.comparisons} == {(1, 1, 3), (1, 7, 3), (3, 1, 3), (3, 7, 3)}


def test_an_output_without_counterpart_is_refused(source):
    with pytest.raises(UsageError, match=r"different networks: the file's outputs are y .*, z .*, the reference's"):
        verify(foreign(more=["z"]), source, plan=SMALL)


def test_a_file_in_double_precision_is_fed_what_it_takes(source):
    assert verify(foreign(dtype=TensorProto.DOUBLE), source, plan=SMALL).passed


@pytest.mark.parametrize(
    ("file", "failed", "words", "note"),
    [
        (foreign(["batch", 7, 4]), {"1×1", "3×1"}, "has 1 along axis 1, but model takes 7", "fixes the axis 'time'"),
        (foreign([1, "time", 4]), {"3×1", "3×7"}, "has 3 along axis 0, but model takes 1", "fixes the axis 'batch'"),
        (foreign(reshaped=7), {"1×1", "3×1"}, "onnxruntime refused the inputs", "is taken for"),
    ],
)
def test_a_frozen_axis_fails_in_words(source, file, failed, words, note):
    report = verify(file, source, plan=SMALL)
    assert {c.case for c in report.failures} == failed
    assert all(words in c.error and not c.passed for c in report.failures)
    assert any(note in each for each in report.notes)


def test_the_grid_is_what_was_asked_for(source):
    cases = {c.case for c in verify(foreign(), source, plan=Grid(batches=(2,), times=(5,))).comparisons}
    assert cases == {"2×5"}


@pytest.mark.parametrize("sizes", [(), (0,), (1.5,)])
def test_a_grid_of_no_sizes_is_refused(sizes):
    with pytest.raises(UsageError, match=r"times of the grid are .*, but whole numbers from 1"):
        Grid(times=sizes)


def test_a_network_that_fails_itself_is_told(source, monkeypatch):
    def fails(self, x):
        raise RuntimeError("out of order")

    monkeypatch.setattr(Layer, "forward", fails)
    with pytest.raises(UsageError, match=r"Layer in PyTorch, float64 itself fails in the case 1×1: .*out of order"):
        verify(foreign(), source, plan=SMALL)


@pytest.mark.parametrize(
    ("one", "other", "tolerance", "passed"),
    [
        (foreign(), foreign(), None, True),
        (foreign(), foreign(name="in", output="out"), None, True),
        (foreign(), foreign(factor=1 + 4e-6), None, True),  # within the bound
        (foreign(), foreign(factor=1 + 1e-4), None, False),
        (foreign(), foreign(factor=1 + 1e-4), 1e-3, True),
        (foreign(), jittered(foreign(), 99), None, True),
        (foreign(), foreign(reshaped=7), None, False),
        (foreign(reshaped=7), foreign(), None, False),
        (foreign(["batch", 7, 4]), foreign(), None, False),
        (foreign(), foreign(["batch", 7, 4]), None, False),
        (foreign(["batch", 7, 4]), foreign(["b", 7, 4]), None, True),
        (foreign(["batch", "time", 4]), foreign(["b", "t", 4]), None, True),
    ],
)
def test_two_files(tmp_path, one, other, tolerance, passed):
    paths = tmp_path / "one.onnx", tmp_path / "other.onnx"
    for path, content in zip(paths, (one, other), strict=True):
        path.write_bytes(content)
    report = verify(*paths, tolerance=tolerance, plan=SMALL)
    assert bool(report.failures) is not passed
    assert (report.subject, report.reference) == ("one.onnx", "other.onnx in onnxruntime, float32")
    if tolerance is None:
        assert report.passed is passed


def test_a_coarse_tolerance_is_blind_and_says_so(tmp_path):
    (tmp_path / "one.onnx").write_bytes(foreign())
    report = verify(tmp_path / "one.onnx", foreign(), tolerance=0.1, plan=SMALL)
    assert not report.passed
    assert "moved by" in report.problems[0] or "passes too" in report.problems[0]


def test_two_files_with_contracts_lengths_states_and_streams(models):
    content = (models / "lstm.onnx").read_bytes()
    plan = Grid(batches=(1, 2), times=(2, 6), chunks=(1,))
    report = verify(content, models / "lstm.onnx", plan=plan)
    assert report.passed
    assert {c.case for c in report.comparisons} >= {"2×6 ragged random states", "2×6 chunks of 1"}
    changed = mutant(content)
    assert changed is not None
    assert not verify(changed.content, content, plan=plan).passed


def test_what_a_foreign_file_lacks_is_left_aside_and_said(models):
    """The same network without a contract: states are inputs that nobody fills in, and there is no streaming."""
    import onnx

    model = onnx.load_from_string((models / "lstm.onnx").read_bytes())
    del model.metadata_props[:]
    model.producer_name = "another"
    model.graph.output.remove(next(o for o in model.graph.output if o.name == "h0_next"))
    bare = model.SerializeToString()
    assert load(bare).contract is None
    plan = Grid(batches=(1, 2), times=(2, 6), chunks=(1,))
    report = verify(bare, open_source(models / "lstm.pt"), plan=plan)
    assert report.passed
    assert report.notes == ("model has no 'h0_next', so nothing is said of that",)
    cases = {c.case for c in report.comparisons}
    assert "2×6 ragged random states" in cases
    assert not any("chunks" in case for case in cases)
    assert verify(models / "lstm.onnx", bare, plan=plan).passed
    assert verify(bare, models / "lstm.onnx", plan=plan).passed


def test_weights_beside_the_file(tmp_path, source):
    import onnx

    path = tmp_path / "m.onnx"
    model = onnx.load_from_string(foreign())
    onnx.save(model, path, save_as_external_data=True, location="m.data", size_threshold=0)
    assert verify(path, source, plan=SMALL).passed
    weights = np.fromfile(tmp_path / "m.data", np.float32)
    (weights * np.float32(1.01)).tofile(tmp_path / "m.data")
    assert verify(path, source, plan=SMALL).failures


class Carrying(nn.Module):
    """An LSTM that is given its states, and gives them back."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.rnn, self.head = nn.LSTM(4, 6, batch_first=True), nn.Linear(6, 2)

    def forward(self, x, h, c):
        y, (hn, cn) = self.rnn(x, (h, c))
        return self.head(y), hn, cn


@pytest.mark.parametrize("names", [("h", "c", "hn", "cn"), ("first", "second", "third", "fourth")])
def test_states_of_a_file_of_another_exporter_are_compared(names):
    network, content = Carrying().eval(), io.BytesIO()
    free = {"x": {0: "batch", 1: "time"}, **{name: {1: "batch"} for name in names}}
    example = (torch.zeros(1, 5, 4), torch.zeros(1, 1, 6), torch.zeros(1, 1, 6))
    named = {"input_names": ["x", *names[:2]], "output_names": ["y", *names[2:]], "dynamic_axes": free}
    torch.onnx.export(network, example, content, dynamo=False, **named)
    source = from_module(network, inputs=[SPEC])
    report = verify(content.getvalue(), source, plan=SMALL)
    assert report.passed
    assert {c.output for c in report.comparisons} == {"output0", "hn", "cn"}
    assert not verify(mutant(content.getvalue()).content, source, plan=SMALL).passed
    twice = verify(content.getvalue(), content.getvalue(), plan=SMALL)
    assert twice.passed


class Crossed(Carrying):
    """The same, its states given back in the other order."""

    def forward(self, x, h, c):
        y, hn, cn = super().forward(x, h, c)
        return y, cn, hn


def test_next_states_are_compared_as_their_states_say():
    """Where the names differ, the order of the outputs says nothing: a contract does."""
    crossed = from_module(Crossed(), inputs=[SPEC])
    assert {s.input: s.output for s in crossed.signature.states} == {"h": "hn", "c": "cn"}
    assert crossed.signature.streamable
    plain = convert(from_module(Carrying(), inputs=[SPEC], states={"h": "hn", "c": "cn"}))
    assert verify(plain, crossed, plan=SMALL).passed
    content = io.BytesIO()
    free = {"x": {0: "batch", 1: "time"}, "first": {1: "batch"}, "second": {1: "batch"}}
    example = (torch.zeros(1, 5, 4), torch.zeros(1, 1, 6), torch.zeros(1, 1, 6))
    named = {"input_names": ["x", "first", "second"], "output_names": ["y", "third", "fourth"], "dynamic_axes": free}
    torch.onnx.export(Crossed().eval(), example, content, dynamo=False, **named)
    adopted = with_contract(content.getvalue(), {"first": "fourth", "second": "third"})
    report = verify(adopted, crossed, plan=SMALL)
    assert report.passed
    assert any(c.case.endswith("chunks of 1") for c in report.comparisons)
    wrong = with_contract(content.getvalue(), {"first": "third", "second": "fourth"})
    assert not verify(wrong, crossed, plan=SMALL).passed
