"""A proof that cannot fail proves nothing: what it must notice, it notices, and nothing is left behind."""

import copy
import dataclasses
import sys

import numpy as np
import onnx
import pytest
import torch
from edgeseq_export import Source, convert, export, verify
from edgeseq_export.mutant import Mutant, mutant
from edgeseq_runtime import load
from edgeseq_runtime.errors import ExportError, InputError, ParityError, UsageError
from edgeseq_runtime.signature import Limit
from torch import nn

from edgeseq.nn import build


def test_untouched_file_passes_both_ways(source, content):
    assert verify(content, source).passed
    assert load(content).verify().passed


@pytest.mark.parametrize("factor", [1.01, 0.99, 1.001])
def test_changed_weight_fails_both_ways(source, content, factor):
    changed = mutant(content, factor).content
    report = verify(changed, source)
    assert not report.passed
    assert report.failures
    assert not load(changed).verify().passed


def test_file_of_other_weights_fails(source, models):
    with torch.no_grad():
        other = dataclasses.replace(source, module=_shaken(source.module))
    report = verify(models / "lstm.onnx", other)
    assert not report.passed


def _shaken(module):
    copied = copy.deepcopy(module)
    copied.head.bias += 0.01
    return copied


def test_other_network_is_a_usage_error(source, models):
    with pytest.raises(UsageError, match="different networks"):
        verify(models / "gru.onnx", source)


class _Deaf(nn.Module):
    """A network whose logits do not depend on its input."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, **tensors):
        outputs = self.module(**tensors)
        return {**outputs, "logits": outputs["logits"] * 1e-9 + 1.0}


def test_output_that_does_not_move_makes_the_proof_invalid(source, tmp_path):
    deaf = dataclasses.replace(source, module=_Deaf(source.module).eval())
    with pytest.raises(ParityError, match="'logits' moved by") as caught:
        export(deaf, tmp_path / "deaf.onnx")
    assert caught.value.report.problems
    assert not list(tmp_path.iterdir())


class _Unequal(nn.Module):
    """A network that answers otherwise while it is traced."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, **tensors):
        outputs = self.module(**tensors)
        shift = 0.01 if torch.compiler.is_exporting() else 0.0
        return {**outputs, "probabilities": outputs["probabilities"] + shift}


def test_failed_export_leaves_the_old_file(source, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"the old file")
    unequal = dataclasses.replace(source, module=_Unequal(source.module).eval())
    with pytest.raises(ParityError, match="'probabilities'"):
        export(unequal, path)
    assert path.read_bytes() == b"the old file"
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize("opset", [18, 20, 23])
def test_opsets(source, opset):
    model = onnx.load_from_string(convert(source, opset=opset))
    assert [o.version for o in model.opset_import] == [opset]
    assert opset != 18 or model.ir_version == 8


@pytest.mark.parametrize("opset", [13, 17, 99])
def test_opset_that_cannot_be_written_is_refused(source, opset):
    with pytest.raises(ExportError, match=f"opset {opset} cannot be written; choose one from 18"):
        convert(source, opset=opset)


def test_unknown_form_is_refused(source):
    with pytest.raises(ExportError, match="recurrence 'magic'"):
        convert(source, form="magic")


def test_file_carries_nothing_of_the_machine(content):
    model = onnx.load_from_string(content)
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)
    assert b".py" not in content
    assert not any(t.external_data for t in model.graph.initializer)
    assert [p.key for p in model.metadata_props][-1] == "edgeseq.sha256"


def test_weights_stay_initialisers_and_one_node_a_layer(content):
    model = onnx.load_from_string(content)
    operators = [node.op_type for node in model.graph.node]
    assert operators.count("LSTM") == 1
    constants = {t.name for t in model.graph.initializer} - {i.name for i in model.graph.input}
    lstm = next(node for node in model.graph.node if node.op_type == "LSTM")
    assert set(lstm.input[1:4]) <= constants  # an input, even with a default, is not prepacked


def test_the_network_itself_is_not_touched(source):
    before = {name: value.clone() for name, value in source.module.state_dict().items()}
    layer = type(source.module.layers[0])
    convert(source)
    assert type(source.module.layers[0]) is layer
    assert all(torch.equal(value, before[name]) for name, value in source.module.state_dict().items())
    assert source.module.layers[0].net.weight_ih_l0.requires_grad


def test_golden_vectors_are_small_and_repeatable(content, source):
    def golden(data):
        props = onnx.load_from_string(data).metadata_props
        return next(p.value for p in props if p.key == "edgeseq.golden")

    assert len(golden(content)) <= 64 * 1024
    assert golden(convert(source)) == golden(content)


def test_nan_in_the_answer_is_not_equal():
    from edgeseq_runtime.compare import compare
    from edgeseq_runtime.signature import Tensor

    truth = np.array([[1.0, 2.0]])
    assert not compare("c", Tensor("y", "float32", ("batch", 2)), "cpu", np.array([[1.0, np.nan]]), truth, 1e9).passed


def test_a_proof_that_does_not_see_a_changed_weight_is_not_valid(source, content, monkeypatch):
    blind = sys.modules[verify.__module__]
    monkeypatch.setattr(blind, "mutant", lambda data: Mutant(data, "layers.0.R"))
    report = verify(content, source)
    assert not report.failures
    assert not report.passed
    assert "weight 'layers.0.R' changed by 1 % passes too" in report.problems[0]


def test_deep_fresh_networks_can_be_exported(tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build("lstm", {"input_size": 3, "output_size": 3, "hidden_size": 8, "num_layers": 5}).eval()
    assert export(Source(network, network.signature(), "lstm", "classify", "deep"), tmp_path / "deep.onnx").passed


class _Lying(nn.Module):
    def __init__(self, module, change):
        super().__init__()
        self.module, self.change = module, change

    def forward(self, **tensors):
        return self.change(self.module(**tensors))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda o: {k: v for k, v in o.items() if k != "logits"}, "gives nothing as 'logits'"),
        (lambda o: {**o, "logits": o["logits"].double()}, r"gives \('float64', \(2, 3\)\) as 'logits'"),
        (lambda o: {**o, "logits": o["logits"][:, :2]}, r"gives \('float32', \(2, 2\)\) as 'logits'"),
    ],
)
def test_a_network_that_is_not_what_its_signature_says(source, tmp_path, change, message):
    lying = dataclasses.replace(source, module=_Lying(source.module, change))
    with pytest.raises(ExportError, match=message):
        export(lying, tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())


def test_limits_are_kept_by_the_proof_and_by_the_runtime(source, tmp_path):
    limited = dataclasses.replace(source.signature, limits={"time": Limit(2, 9), "batch": Limit(1, 3)})
    report = export(dataclasses.replace(source, signature=limited), tmp_path / "x.onnx")
    assert {c.case.split()[0] for c in report.comparisons} == {"1×2", "1×6", "1×7", "3×2", "3×6", "3×7"}
    with pytest.raises(InputError, match=r"has 10 along 'time', but x.onnx takes at most 9"):
        load(tmp_path / "x.onnx").run(np.zeros((1, 10, 3), np.float32))
