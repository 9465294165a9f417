"""The grid family: any height and width, patches, all four directions, and a file for every size."""

import numpy as np
import pytest
import torch
from edgeseq_export import Source, export
from edgeseq_runtime import load
from edgeseq_runtime.errors import InputError, UsageError

from edgeseq.data import Dataset
from edgeseq.nn import build
from edgeseq.nn.grid import Grid

SMALL = {"output_size": 3, "hidden_size": 4, "typical_height": 8, "typical_width": 6}
VARIANTS = {
    "gru": {},
    "lstm, patches, ends": {"cell": "lstm", "patch_size": 3, "pooling": "ends"},
    "two layers of tanh rnn": {"cell": "rnn", "num_layers": 2, "patch_size": 2},
    "forecast, sigmoid rnn": {"cell": "rnn", "nonlinearity": "sigmoid", "task": "forecast", "pooling": "ends"},
}


def make(**config):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build("grid", {**SMALL, **config})
        for parameter in network.parameters():
            parameter.data.mul_(2)  # fresh sigmoid sweeps hardly move, and the proof rightly refuses those
        network.x_mean.fill_(0.3)
        network.x_deviation.fill_(0.7)
    return network.eval()


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS.keys())
def network(request):
    return make(**request.param)


def images(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(2))


def result(network, x):
    outputs = network(x)
    return outputs["values" if network.task == "forecast" else "logits"]


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (7, 1), (5, 8), (9, 6), (28, 28)])
def test_a_batch_equals_its_rows_one_by_one_at_any_size(network, height, width):
    x = images(4, height, width)
    together = result(network, x)
    assert together.shape == (4, 3)
    for row in range(4):
        torch.testing.assert_close(together[row : row + 1], result(network, x[row : row + 1]), rtol=1e-4, atol=1e-6)


def test_pixels_missing_from_the_last_patches_are_zero():
    network = make(patch_size=4)
    x = images(2, 6, 9)
    whole = torch.zeros(2, 8, 12)
    whole[:, :6, :9] = x
    assert result(network, x).equal(result(network, whole))


def test_every_pixel_reaches_every_position():
    """Before the mean is taken, each corner depends on the opposite one: all four directions are swept."""
    network = make().double()
    x = images(1, 5, 6).double().requires_grad_()
    across, _ = network._sweep(network.rows[0], network._patches(x))
    down, _ = network._sweep(network.columns[0], across.transpose(0, 1))
    for row, column, far in [(0, 0, (4, 5)), (0, 5, (4, 0)), (4, 0, (0, 5)), (4, 5, (0, 0))]:
        (gradient,) = torch.autograd.grad(down[row, column].sum(), x, retain_graph=True)
        assert gradient[0][far] != 0


def test_sweep_is_a_run_along_each_line():
    network = make()
    x = images(3, 5, 6)
    grid = network._patches(x)
    swept, ends = network._sweep(network.rows[0], grid)
    for line in range(5):
        states = (torch.zeros(2, 3, 4),)
        y, last = network.rows[0](grid[:, line], states)
        torch.testing.assert_close(swept[:, line], y)
        torch.testing.assert_close(ends[line], torch.cat([last[0][0], last[0][1]], -1))


def test_one_file_takes_any_height_and_width(tmp_path):
    network = make(patch_size=3, num_layers=2)
    source = Source(network, network.signature(), network.family, network.task, "test")
    export(source, tmp_path / "grid.onnx", verify=False)
    model = load(tmp_path / "grid.onnx")
    for height, width in [(1, 1), (2, 7), (3, 3), (28, 28), (13, 40)]:
        x = images(2, height, width)
        logits = torch.from_numpy(model.run(x.numpy())["logits"])
        torch.testing.assert_close(logits, result(network, x).detach(), rtol=1e-4, atol=1e-5)


def test_unrolled_file_takes_the_typical_size_and_no_other(tmp_path):
    network = make(cell="lstm", patch_size=3)
    source = Source(network, network.signature(), network.family, network.task, "test")
    export(source, tmp_path / "grid.onnx", form="unroll", verify=False)
    model, x = load(tmp_path / "grid.onnx"), images(2, 8, 6)
    logits = torch.from_numpy(model.run(x.numpy())["logits"])
    torch.testing.assert_close(logits, result(network, x).detach(), rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match="width"):
        model.run(images(2, 8, 7).numpy())


@pytest.mark.parametrize("more", [{}, {"y_lengths": np.array([6, 1])}])
def test_more_than_one_answer_an_image_is_refused(more):
    data = Dataset(np.zeros((2, 6, 5), np.float32), np.zeros((2, 6), np.int64), labels=("a", "b"), **more)
    with pytest.raises(UsageError, match=r"one answer an example, but y has shape \(2, 6\)"):
        Grid.sizes(data)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"patch_size": 0}, "patch_size is 0"),
        ({"cell": "elman"}, "cell"),
        ({"pooling": "last"}, "pooling"),
        ({"output_size": 1}, "output_size is 1"),
    ],
)
def test_refused_configs(config, message):
    with pytest.raises(UsageError, match=message):
        build("grid", {**SMALL, **config})
