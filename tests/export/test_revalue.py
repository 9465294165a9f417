"""Other defaults in a finished file: the contract and the graph agree, the seal fits, the test vectors still pass."""

import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch
from edgeseq_export import Source, convert
from edgeseq_runtime import golden, load
from edgeseq_runtime.contract import GOLDEN_KEY
from edgeseq_runtime.errors import ContractError, DamagedFileError, UsageError
from edgeseq_runtime.seal import KEY, seal
from edgeseq_runtime.signature import Signature, Tensor
from torch import nn

from edgeseq.revalue import with_values


class Alarm(nn.Module):
    """A score, an alarm where it is above `threshold`, and a count of `most` at most."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[0.5], [2.0]]))

    def forward(self, x, threshold=None, most=None):
        """x: (batch, 2)."""
        threshold, most = 0.25 if threshold is None else threshold, 3 if most is None else most
        score = (x @ self.weight)[:, 0]
        return {"score": score, "alarm": (score > threshold).long() * most}


X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(6, 2)


@pytest.fixture(scope="module")
def content():
    signature = Signature(
        inputs=(Tensor("x", "float32", ("batch", 2)),),
        outputs=(Tensor("score", "float32", ("batch",), "sequence"), Tensor("alarm", "int64", ("batch",), "sequence")),
    )
    values = {"threshold": 0.25, "most": 3}
    return convert(Source(Alarm().eval(), signature, "custom", "custom", "alarm", values=values))


@pytest.mark.parametrize(
    "values", [{"threshold": -1.5}, {"most": 7}, {"threshold": 0.1, "most": 0}, {"threshold": 2}, {}]
)
def test_a_new_default_is_in_contract_and_graph(content, values):
    changed = load(with_values(content, values, {"chosen": {"on": "normal.csv"}}))
    wanted = {"threshold": 0.25, "most": 3, **values}
    assert changed.values == pytest.approx(wanted)
    assert changed.contract.values == changed.values
    assert changed.contract.provenance["chosen"] == {"on": "normal.csv"}
    assert set(load(content).contract.provenance) == set(changed.contract.provenance) - {"chosen"}
    set_at_load = load(content, values=values).run(X)
    for name, array in changed.run(X).items():
        np.testing.assert_array_equal(array, set_at_load[name])
    again = load(with_values(content, values), values={"threshold": 0.25, "most": 3}).run(X)
    np.testing.assert_array_equal(again["alarm"], load(content).run(X)["alarm"])


def test_the_file_stays_whole(content):
    changed = with_values(content, {"threshold": 9.0})
    assert changed != content
    model = onnx.load_from_string(changed)
    assert [entry.key for entry in model.metadata_props].count(KEY.decode()) == 1
    assert model.metadata_props[-1].key == KEY.decode()
    assert with_values(changed, {"threshold": 9.0}) == changed
    assert with_values(changed, {"threshold": 0.25, "most": 3}) == with_values(content, {})
    assert load(content).contract.provenance == load(changed).contract.provenance
    place = changed.index(b"float32")
    with pytest.raises(DamagedFileError):
        load(changed[:place] + b"g" + changed[place + 1 :])


@pytest.mark.parametrize("threshold", [-100.0, 100.0])
def test_test_vectors_are_run_with_the_values_they_were_made_with(content, threshold, tmp_path):
    assert load(content, values={"threshold": threshold}).verify().passed
    changed = with_values(content, {"threshold": threshold})
    twice = with_values(changed, {"threshold": -threshold})
    for each in (changed, twice):
        assert load(each).verify().passed
        assert load(each, values={"threshold": threshold, "most": 1}).verify().passed
    path = tmp_path / "alarm.onnx"
    path.write_bytes(changed)
    assert load(path).verify().passed
    cases, values = golden.unpack(onnx_metadata(twice)[GOLDEN_KEY])
    assert values == {"threshold": 0.25, "most": 3}
    assert not golden.check(load(twice), cases).passed


def test_a_weight_that_changed_is_still_noticed(content):
    wrong = onnx.load_from_string(with_values(content, {"threshold": 7.0}))
    weight = next(t for t in wrong.graph.initializer if len(t.dims) == 2)
    weight.CopyFrom(onnx.numpy_helper.from_array(np.array([[0.5], [2.5]], np.float32), weight.name))
    assert not load(seal(wrong.SerializeToString())).verify().passed


def onnx_metadata(content):
    return {entry.key: entry.value for entry in onnx.load_from_string(content).metadata_props}


def test_a_file_that_changed_since_it_was_loaded_is_not_mixed_with_it(content, tmp_path):
    path = tmp_path / "alarm.onnx"
    path.write_bytes(content)
    model = load(path, values={"threshold": 5.0})
    path.write_bytes(with_values(content, {"threshold": 1.0}))
    with pytest.raises(DamagedFileError, match="has changed since it was loaded"):
        model.verify()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"thresold": 1.0}, "alarm.onnx has no value 'thresold'; its values are threshold, most"),
        ({"most": 1.5}, "value 'most' of alarm.onnx is 1.5, but a whole number is expected"),
        ({"threshold": float("nan")}, "value 'threshold' of alarm.onnx is nan, but a finite number is expected"),
    ],
)
def test_what_does_not_fit_is_refused(content, values, message):
    with pytest.raises(UsageError, match=message):
        with_values(content, values, name="alarm.onnx")


def test_a_file_of_others_is_refused(content):
    model = onnx.load_from_string(content)
    del model.metadata_props[:]
    with pytest.raises(ContractError, match="has no contract"):
        with_values(model.SerializeToString(), {"threshold": 1.0})


def test_no_torch_is_needed():
    code = "import sys, edgeseq.revalue; print([m for m in ('torch', 'edgeseq_export') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
