"""Programs of torch.export (.pt2): their dynamic shapes are read, their layers are raised, frozen axes are named."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from edgeseq_export import export
from edgeseq_export.reference import Reference
from edgeseq_export.sources.program import open_program
from edgeseq_runtime import load
from edgeseq_runtime.errors import DamagedFileError, ExportError
from torch import nn
from torch.export import Dim

BOTH = {0: Dim.AUTO, 1: Dim.AUTO}


class Layers(nn.Module):
    """An LSTM and a GRU, and a second input as an entry of a dict."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(3, 4, num_layers=2, batch_first=True)
        self.gru = nn.GRU(4, 5, batch_first=True, bias=False)
        self.out = nn.Linear(5, 2)

    def forward(self, x, more):
        y, _ = self.lstm(x)
        y, h = self.gru(y + more["e"])
        return {"y": self.out(y), "h": h[-1]}


class TimeFirst(nn.Module):
    """Two directions and a projection, the time before the batch, first states that are given."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.RNN(3, 4, nonlinearity="relu", bidirectional=True)
        self.lstm = nn.LSTM(8, 6, proj_size=4)

    def forward(self, x):
        y, h = self.rnn(x)
        return self.lstm(y, (h[:1], h.sum(0, keepdim=True).repeat(1, 1, 2)[:, :, :6]))[0]


class Tokens(nn.Module):
    """No recurrent layer, so torch keeps its axes free."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, 4)
        self.out = nn.Linear(4, 2)

    def forward(self, tokens):
        return self.out(self.embedding(tokens)).cumsum(1)


class Literal(nn.Module):
    """A size that Python computes, and so the program holds as a number."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(3, 4, batch_first=True)

    def forward(self, x):
        y, _ = self.gru(x)
        return y.sum(1) / x.shape[1]


X, E = torch.zeros(2, 13, 3), torch.zeros(2, 13, 4)
PROGRAMS = {
    "layers": (Layers, (X, {"e": E}), (BOTH, {"e": BOTH})),
    "time-first": (TimeFirst, (X.transpose(0, 1),), (BOTH,)),
    "tokens": (Tokens, (E[..., 0].long(),), ({0: Dim("rows"), 1: Dim("steps", max=99)},)),
    "static": (Tokens, (E[..., 0].long(),), None),
    "literal": (Literal, (X,), (BOTH,)),
    "batch": (Literal, (X,), ({1: Dim.AUTO},)),
}


@pytest.fixture(scope="module")
def programs(tmp_path_factory) -> Path:
    """A folder with NAME.pt2 for each of PROGRAMS."""
    folder = tmp_path_factory.mktemp("programs")
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, (network, example, shapes) in PROGRAMS.items():
            torch.manual_seed(5)
            torch.export.save(
                torch.export.export(network().eval(), example, dynamic_shapes=shapes), folder / f"{name}.pt2"
            )
        dropped = torch.export.export(nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5)), (X,), dynamic_shapes=(BOTH,))
        torch.export.save(dropped, folder / "training.pt2")
    return folder


def test_recurrent_operators_are_layers_again_at_any_length(programs, operators):
    """torch.export has fixed the time at 13; the file is proven at any, streamed too, and equals the program at 13."""
    inputs = ["x:float32[batch,time,3]", "more.e:float32[batch,time,4]"]
    source = open_program(programs / "layers.pt2", inputs=inputs)
    assert "'time' of 'x' is 13 in the program, where recurrent layers fixed it, and free in the file" in source.notes
    report = export(source, programs / "layers.onnx")
    assert report is not None
    assert report.passed
    assert {"LSTM", "GRU"} <= operators((programs / "layers.onnx").read_bytes())
    model = load(programs / "layers.onnx")
    assert [s.input for s in model.signature.states] == ["lstm_h0", "lstm_c0", "lstm_h1", "lstm_c1", "gru_h0"]
    assert model.signature.streamable
    draw = np.random.default_rng(0)
    x, e = (draw.standard_normal((4, 13, width)).astype(np.float32) for width in (3, 4))
    expected = torch.export.load(programs / "layers.pt2").module()(torch.from_numpy(x), {"e": torch.from_numpy(e)})
    for name, value in model.run({"x": x, "more_e": e}).items():
        np.testing.assert_allclose(value, expected[name].detach().numpy(), atol=1e-6)


def test_directions_projections_and_given_states_are_raised_too(programs):
    source = open_program(programs / "time-first.pt2", inputs=["x:float32[time,batch,3]"])
    x = torch.randn(13, 2, 3)
    expected = torch.export.load(programs / "time-first.pt2").module()(x)
    kinds = [type(part) for part in source.module.modules() if isinstance(part, nn.RNNBase)]
    assert kinds == [nn.RNN, nn.LSTM]
    torch.testing.assert_close(source.module(x=x.transpose(0, 1))["output"].transpose(0, 1), expected)


def test_free_axes_are_read_off_the_program(programs):
    source = open_program(programs / "tokens.pt2")
    (tokens,) = source.signature.inputs
    assert (tokens.axes, tokens.range) == (("batch", "time"), (0, 11))
    assert source.signature.limits["time"].max == 99
    truth = Reference(source.module, 1e-12)({"tokens": np.arange(10).reshape(2, 5)})["output"]
    assert truth.values.dtype == np.float64


@pytest.mark.parametrize(
    ("name", "inputs", "messages"),
    [
        (
            "layers",
            (),
            [
                "the axis 'time' of 'x' is fixed at 13 in layers.pt2, as torch.export fixes it wherever nn.LSTM",
                '--input "x:float32[batch,time,3]" --input "more.e:float32[batch,time,4]"',
            ],
        ),
        ("time-first", (), ["the axis 'time' of 'x' is fixed at 13", '--input "x:float32[time,batch,3]"']),
        (
            "static",
            (),
            [
                "the axis 'batch' of 'tokens' is fixed at 2 in static.pt2",
                'dynamic_shapes={"tokens": {0: Dim("batch"), 1: Dim("time")}})',
            ],
        ),
        (
            "static",
            ["tokens:int64[2,time]=0..10"],
            ["the axis 'time' of 'tokens' is fixed at 13 in static.pt2", '1: Dim("time")'],
        ),
        (
            "batch",
            (),
            [
                "the axis 'batch' of 'x' is fixed at 2 in batch.pt2",
                'dynamic_shapes={"x": {0: Dim("batch"), 1: Dim.AUTO}})',
            ],
        ),
        ("literal", ["x:float32[batch,time,3]"], ["gives aten.div.Tensor the number 13", "may be its 'time'"]),
        ("training", (), ["training.pt2 was exported in training mode (aten.dropout.default)"]),
    ],
)
def test_what_is_frozen_is_named_with_what_to_change(programs, name, inputs, messages):
    with pytest.raises(ExportError) as error:
        open_program(programs / f"{name}.pt2", inputs=inputs)
    for message in messages:
        assert message in str(error.value)


def test_a_damaged_program_is_told(programs, tmp_path):
    (tmp_path / "half.pt2").write_bytes((programs / "tokens.pt2").read_bytes()[:5000])
    with pytest.raises(DamagedFileError, match=r"half\.pt2 cannot be loaded as a torch\.export program"):
        open_program(tmp_path / "half.pt2")
