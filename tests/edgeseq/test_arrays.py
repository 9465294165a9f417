"""Families whose input is one array of a fixed shape: perceptron, extreme learning machine, convolutional network."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from edgeseq_export import export
from edgeseq_runtime import load
from edgeseq_runtime.errors import UsageError

from edgeseq import checkpoint, recipe
from edgeseq.data import Dataset, mnist_digits
from edgeseq.nn import Hints, build
from edgeseq.nn.cnn import Cnn, CnnConfig
from edgeseq.nn.elm import Elm, ElmConfig
from edgeseq.nn.mlp import Mlp, MlpConfig
from edgeseq.opening import open_source
from edgeseq.training import train

RNG = np.random.default_rng(0)
CLASSES = np.arange(80) % 4
IMAGES = RNG.normal(3, 1, (80, 9, 8)).astype(np.float32)
for row, place in enumerate(CLASSES):  # a bright square in one of four corners
    IMAGES[row, 4 * (place // 2) : 4 * (place // 2) + 3, 4 * (place % 2) : 4 * (place % 2) + 3] += 4
VALUES = IMAGES[:, :3, :3].mean((1, 2))[:, None] * 100 + 7


def trained(tmp_path: Path, model: str, y: np.ndarray, more: str = "") -> Mapping[str, Any]:
    """The figures of a small network trained on data of the user's own."""
    np.savez(tmp_path / "mine.npz", x=IMAGES, y=y)
    (tmp_path / "recipe.toml").write_text(
        f'model = {{ {model} }}\ndata = {{ path = "mine.npz" }}\n'
        f"train = {{ epochs = 30, batch_size = 16, learning_rate = 0.01{more} }}\n"
    )
    return train(recipe.load(tmp_path), tmp_path / "out", device="cpu").metrics


@pytest.mark.parametrize(
    ("model", "more"),
    [
        ('family = "mlp", hidden_sizes = [16, 8], activation = "gelu", dropout = 0.1', ""),
        ('family = "elm", hidden_size = 60', ""),
        ('family = "cnn", channels = [4, 6], hidden_sizes = [8], pool = "average", dropout = 0.1', ", shift = 1"),
    ],
)
def test_images_are_told_apart(tmp_path: Path, model: str, more: str) -> None:
    assert trained(tmp_path, model, CLASSES, more)["test"]["accuracy"] > 0.8


def test_values_are_forecast_in_their_own_units(tmp_path: Path) -> None:
    mistaken = np.abs(VALUES - VALUES.mean()).mean()
    assert trained(tmp_path, 'family = "elm", hidden_size = 60', VALUES)["test"]["mae"] < 0.5 * mistaken


@pytest.mark.parametrize(
    ("family", "config", "shape"),
    [
        pytest.param("mlp", {"hidden_sizes": [5], "activation": "sigmoid"}, (7,), marks=pytest.mark.full),
        ("mlp", {"hidden_sizes": [], "task": "forecast"}, (3, 2)),
        ("cnn", {"channels": [3], "convolutions": 2, "activation": "tanh"}, (3, 5, 4)),
        pytest.param("cnn", {"channels": [], "hidden_sizes": [], "batch_norm": False}, (4, 4), marks=pytest.mark.full),
    ],
)
def test_every_shape_of_input_is_exported(tmp_path: Path, family: str, config: dict[str, Any], shape: Any) -> None:
    torch.manual_seed(0)
    network = build(family, {"input_shape": list(shape), "output_size": 3, **config}, Hints())
    checkpoint.save(tmp_path / "m.pt", network, {}, {})
    export(open_source(tmp_path / "m.pt"), tmp_path / "m.onnx")
    model = load(tmp_path / "m.onnx")
    x = RNG.normal(size=(5, *shape)).astype(np.float32)
    name = "values" if config.get("task") == "forecast" else "logits"
    with torch.no_grad():
        expected = network.eval()(torch.from_numpy(x))[name].numpy()
    np.testing.assert_allclose(model.run({"x": x})[name], expected, rtol=1e-4, atol=1e-5)


def test_features_are_standardised_each_and_pixels_together() -> None:
    table = (RNG.normal(size=(50, 3)) * [1, 10, 100] + [0, 5, 9]).astype(np.float32)
    network = Mlp(MlpConfig([3], 2))
    network.standardise(Dataset(table, np.zeros((50, 2), np.float32)))
    np.testing.assert_allclose(network.x_deviation, table.std(0), rtol=1e-5)
    images = Mlp(MlpConfig([9, 8], 4))
    images.standardise(Dataset(IMAGES, CLASSES, labels=tuple("abcd")))
    assert float(images.x_deviation) == pytest.approx(IMAGES.std(), rel=1e-5)
    colours = np.stack([IMAGES, 10 * IMAGES], 1)
    network = Cnn(CnnConfig([2, 9, 8], 4, [2]))
    network.standardise(Dataset(colours, CLASSES, labels=tuple("abcd")))
    np.testing.assert_allclose(network.x_mean[:, 0, 0], colours.mean((0, 2, 3)), rtol=1e-5)


def test_a_random_layer_is_drawn_from_the_seed_and_stays() -> None:
    def hidden(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        network = Elm(ElmConfig([9, 8], 4, 20))
        before = network.hidden.weight.clone()
        network.solve(Dataset(IMAGES, CLASSES, labels=tuple("abcd")))
        assert torch.equal(before, network.hidden.weight)
        return before

    assert torch.equal(hidden(1), hidden(1))
    assert not torch.equal(hidden(1), hidden(2))


def test_a_given_penalty_is_taken() -> None:
    data = Dataset(IMAGES, CLASSES, labels=tuple("abcd"))
    assert Elm(ElmConfig([9, 8], 4, 20, penalty=0.25)).solve(data)["penalty"] == 0.25


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (lambda: MlpConfig([3], 2, [4, 0]), "hidden_sizes is .4, 0., but each must be at least 1"),
        (lambda: MlpConfig([], 2), "input_shape is empty"),
        (lambda: MlpConfig([3], 2, activation="swish"), "activation is 'swish', but it must be one of sigmoid"),  # type: ignore[arg-type]
        (lambda: MlpConfig([3], 1), "at least 2 classes"),
        (lambda: MlpConfig([3], 2, dropout=1.0), "less than 1"),
        (lambda: ElmConfig([3], 2, scale=0.0), "scale is 0.0, but it must be more than 0"),
        (lambda: ElmConfig([3], 2, penalty=-1.0), "penalty is -1.0"),
        (lambda: CnnConfig([3, 8], 2, [4, 4]), "2 blocks, but nothing is left of 3 by 8 pixels"),
        (lambda: CnnConfig([8], 2), "an image has 2 or 3 axes"),
        (lambda: CnnConfig([8, 8], 2, kernel_size=4), "kernel_size is 4, but it must be odd"),
    ],
)
def test_a_config_that_cannot_be_built_is_refused(config: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        config()


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (np.zeros((4, 5), np.int64), np.arange(4) % 2, "x holds token ids; .* save x as float32"),
        (np.zeros((4, 5, 2), np.float32), np.zeros((4, 5), np.int64), "one answer an example"),
    ],
)
def test_data_of_another_kind_is_refused(x: np.ndarray, y: np.ndarray, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Mlp.sizes(Dataset(x, y, np.full(4, 5), labels=("a", "b")))


def test_the_digits_are_what_they_are_said_to_be() -> None:
    data = mnist_digits.load().whole
    assert (data.x.shape, data.x.dtype, data.lengths) == ((5000, 28, 28), np.float32, None)
    assert (data.x.min(), data.x.max()) == (0, 1)
    assert np.bincount(data.y).tolist() == [500] * 10
    ones, zeros = data.x[data.y == 1].mean(0), data.x[data.y == 0].mean(0)
    assert ones[14, 14] > 0.8 > 0.1 > zeros[14, 14]  # a stroke through the middle, and a ring around it
