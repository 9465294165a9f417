"""Named scalars: defaults in the file, set at load, and refused where they do not fit."""

import pickle

import numpy as np
import pytest
import torch
from edgeseq_export import Source, export
from edgeseq_runtime import load
from edgeseq_runtime.errors import UsageError
from edgeseq_runtime.signature import Signature, StatePair, Tensor
from torch import nn


class Scaled(nn.Module):
    """A running sum, scaled and shifted by two values."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[0.5, 2.0], [1.5, -1.0]]))

    def forward(self, x, total=None, gain=None, shift=None):
        """x: (batch, time, 2)."""
        gain = 3.0 if gain is None else gain
        shift = 1 if shift is None else shift
        total = x.new_zeros(x.shape[0], 2) if total is None else total
        y = torch.cumsum(x @ self.weight, 1) + total[:, None]
        return {"y": gain * y + shift, "total_next": y[:, -1]}


X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(1, 6, 2)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    signature = Signature(
        inputs=(Tensor("x", "float32", ("batch", "time", 2)),),
        outputs=(Tensor("y", "float32", ("batch", "time", 2), "step"),),
        states=(StatePair("total", "total_next", ("batch", 2)),),
        typical={"batch": 1, "time": 6},
        streamable=True,
    )
    path = tmp_path_factory.mktemp("values") / "scaled.onnx"
    source = Source(Scaled().eval(), signature, "custom", "custom", "scaled", values={"gain": 3.0, "shift": 1})
    assert export(source, path).passed
    return path


def test_defaults_are_in_the_file(file):
    model = load(file)
    assert model.values == {"gain": 3.0, "shift": 1}
    expected = Scaled()(torch.from_numpy(X))["y"].detach().numpy()
    np.testing.assert_allclose(model.run(X)["y"], expected, rtol=1e-6)


@pytest.mark.parametrize("copied", [False, True])
def test_values_are_set_at_load_for_runs_and_streams(file, copied):
    model = load(file, values={"gain": 0.25, "shift": -2})
    if copied:
        model = pickle.loads(pickle.dumps(model))
    assert model.values == {"gain": 0.25, "shift": -2}
    expected = Scaled()(torch.from_numpy(X), gain=0.25, shift=-2)["y"].detach().numpy()
    np.testing.assert_allclose(model.run(X)["y"], expected, rtol=1e-5)
    stream = model.stream()
    for step in range(3):
        np.testing.assert_allclose(stream.step(X[0, step])["y"], expected[0, step], rtol=1e-5)
    np.testing.assert_allclose(stream.run(X[:, 3:])["y"], expected[:, 3:], rtol=1e-5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"gian": 1.0}, "has no value 'gian'; its values are gain, shift"),
        ({"shift": 0.5}, "value 'shift' of scaled.onnx is 0.5, but a whole number is expected"),
        ({"gain": "high"}, "value 'gain' of scaled.onnx is 'high', but a number is expected"),
        ({"gain": True}, "is True, but a number is expected"),
    ],
)
def test_what_does_not_fit_is_refused(file, values, message):
    with pytest.raises(UsageError, match=message):
        load(file, values=values)
