"""Training: the folder it leaves, the same weights for the same seed, interrupted or not, and silence."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from edgeseq_runtime.errors import FileError, MissingError, UsageError

from edgeseq import checkpoint, recipe
from edgeseq.data import Dataset
from edgeseq.opening import open_source
from edgeseq.recipe import Recipe
from edgeseq.training import TrainResult, train
from edgeseq.training.batches import Batches
from edgeseq.training.resume import ResumeFile

NAME = ".resume-0.ckpt"
FILES = {"lstm.pt", "recipe.toml", "sample.npz", "metrics.json", "card.md"}
TEXT = """
model = { family = "lstm", hidden_size = 6, num_layers = 2, dropout = 0.2 }
data = { path = "mine.npz" }
train = { epochs = 6, schedule = "one-cycle", learning_rate = 0.02, noise = 0.3, offset = 0.1, refit = true }
"""
RNG = np.random.default_rng(0)
LENGTHS = RNG.integers(3, 9, 90)
VALID = np.arange(8) < LENGTHS[:, None]
SHIFT = np.arange(90) % 2
X = (RNG.normal(size=(90, 8, 3)) + 2 * SHIFT[:, None, None] + 5) * VALID[..., None]


def written(folder: Path, *overrides: str, text: str = TEXT, **arrays: Any) -> Recipe:
    folder.mkdir(exist_ok=True)
    (folder / "recipe.toml").write_text(text)
    np.savez(folder / "mine.npz", **{"x": X, "y": SHIFT, "lengths": LENGTHS, **arrays})
    return recipe.load(folder, overrides)


def weights(result: TrainResult) -> dict[str, torch.Tensor]:
    return checkpoint.load(result.checkpoint_path).module.state_dict()


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """An uninterrupted run, for others to be compared with."""
    folder = tmp_path_factory.mktemp("plain")
    return train(written(folder), folder / "out", device="cpu")


def test_the_folder_holds_what_it_should(plain: TrainResult) -> None:
    folder = plain.checkpoint_path.parent
    assert {path.name for path in folder.iterdir()} == FILES
    figures = json.loads((folder / "metrics.json").read_text())
    assert figures["test"]["accuracy"] == plain.metrics["test"]["accuracy"] > 0.7
    card = (folder / "card.md").read_text()
    assert "mine.npz" in card
    assert f"{figures['test']['accuracy']:.4f}" in card
    loaded = checkpoint.load(plain.checkpoint_path)
    assert loaded.hints.labels == ("0", "1")
    assert loaded.provenance["data"]["name"] == "mine.npz"
    assert str(folder.parent) not in repr(loaded.provenance)
    again = recipe.load(folder)
    assert (folder / str(again.data.path)).resolve() == (folder.parent / "mine.npz").resolve()


def test_the_sample_is_what_the_network_takes(plain: TrainResult) -> None:
    source = open_source(plain.checkpoint_path)
    with np.load(plain.checkpoint_path.parent / "sample.npz") as sample:
        assert set(sample.files) == {"x", "lengths", "y"}
        inputs = {name: torch.from_numpy(sample[name]) for name in source.signature.input_names if name in sample}
        assert len(sample["y"]) == len(source.module(**inputs)["logits"]) > 1


def test_standardised_by_the_valid_steps_it_was_trained_on(plain: TrainResult) -> None:
    mean = weights(plain)["x_mean"].numpy()
    np.testing.assert_allclose(mean, X[VALID].mean(0), atol=0.1)  # 80 % of the data; padding would give about 3.7
    draw = open_source(plain.checkpoint_path).signature.inputs[0].draw
    np.testing.assert_allclose(draw["normal"][0], mean, rtol=1e-3)


def test_the_seed_decides_everything(plain: TrainResult, tmp_path: Path) -> None:
    state = torch.get_rng_state()
    again = train(written(tmp_path), tmp_path / "out", device="cpu")
    assert torch.equal(torch.get_rng_state(), state)
    assert same(weights(again), weights(plain))
    other = train(written(tmp_path, "train.seed=1"), tmp_path / "other", device="cpu")
    assert not same(weights(other), weights(plain))


@pytest.mark.parametrize("saves", [1, 4, 6, 7, 9])
def test_an_interrupted_run_goes_on(
    plain: TrainResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saves: int
) -> None:
    """Interrupted after so many epochs: in the search, at its end, and in the refit."""
    keep, count = ResumeFile.keep, iter(range(100))

    def stop(file: ResumeFile, trainer: Any) -> None:
        keep(file, trainer)
        if next(count) == saves - 1:
            raise KeyboardInterrupt

    asked, handler = written(tmp_path), signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(ResumeFile, "keep", stop)
    with pytest.raises(KeyboardInterrupt):
        train(asked, tmp_path / "out", device="cpu")
    monkeypatch.undo()
    assert signal.getsignal(signal.SIGINT) is handler
    assert {path.name for path in (tmp_path / "out").iterdir()} == {NAME}
    result = train(asked, tmp_path / "out", device="cpu")
    assert result.resumed_epochs == (saves if saves <= 6 else saves - 6)
    assert result.metrics["search"] == plain.metrics["search"]
    assert same(weights(result), weights(plain))
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES


@pytest.mark.parametrize("saves", [2, 5, 7, 8])
def test_an_interrupted_run_of_several_seeds_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saves: int
) -> None:
    """Interrupted in the first seed, in its refit, and in the second: each seed has a state of its own."""
    overrides = ("train.epochs=3", "train.repeats=2")
    whole = train(written(tmp_path, *overrides), tmp_path / "whole", device="cpu")
    keep, count = ResumeFile.keep, iter(range(100))

    def stop(file: ResumeFile, trainer: Any) -> None:
        keep(file, trainer)
        if next(count) == saves - 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(ResumeFile, "keep", stop)
    with pytest.raises(KeyboardInterrupt):
        train(written(tmp_path, *overrides), tmp_path / "out", device="cpu")
    monkeypatch.undo()
    result = train(written(tmp_path, *overrides), tmp_path / "out", device="cpu")
    assert result.metrics["repeats"] == whole.metrics["repeats"]
    assert same(weights(result), weights(whole))
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES


def test_a_killed_process_goes_on_and_was_silent(tmp_path: Path) -> None:
    asked = written(tmp_path, "train.epochs=400", "train.patience=400", "train.refit=false")
    (tmp_path / "recipe.toml").write_text(asked.to_toml())
    code = "from edgeseq import recipe, training; training.train(recipe.load('.'), 'out', device='cpu')"
    command = [sys.executable, "-W", "default", "-c", code]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not (tmp_path / "out" / NAME).exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    assert process.communicate() == (b"", b"")
    file = ResumeFile(tmp_path / "out", recipe.load(tmp_path), "", "cpu")
    assert file.path.exists()
    assert file.find() is None  # the data is another
    result = train(recipe.load(tmp_path), tmp_path / "out", device="cpu")
    assert result.resumed_epochs is not None
    assert result.metrics["search"]["ran"] == 400


@pytest.mark.parametrize("spoil", ["another recipe", "damaged", "not a state"])
def test_a_state_that_is_not_ours_is_not_resumed(plain: TrainResult, tmp_path: Path, spoil: str) -> None:
    state = tmp_path / "out" / NAME
    state.parent.mkdir()
    if spoil == "another recipe":
        other = ResumeFile(state.parent, written(tmp_path, "train.epochs=5"), "", "cpu")
        torch.save(other.mark("training", 3, {}), state)
    else:
        state.write_bytes(b"" if spoil == "damaged" else b"\x80\x04N.")
    result = train(written(tmp_path), tmp_path / "out", device="cpu")
    assert result.resumed_epochs is None
    assert same(weights(result), weights(plain))


def test_early_stopping_keeps_the_best_epoch(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 2, 90)  # nothing to learn: the validation loss soon rises
    asked = written(tmp_path, "train.epochs=80", "train.patience=3", "train.refit=false", "model.dropout=0", y=noise)
    search = train(asked, tmp_path / "out", device="cpu").metrics["search"]
    assert search["ran"] == search["best"] + 3 < 80


STEPS = {"y": (X.sum(-1) > 18).astype(np.int64)}
VALUES = {"y": 1000 * X[:, 0, :2]}
TOKENS = {"x": (X[..., 0] > 6).astype(np.int64) + 1}


@pytest.mark.parametrize(
    ("arrays", "overrides", "outputs"),
    [
        (STEPS, [], {"logits": ("batch", "time", 2), "probabilities": ("batch", "time", 2)}),
        (VALUES, [], {"values": ("batch", 2)}),
        ({"y": X[..., :1]}, ["model.family=gru"], {"values": ("batch", "time", 1)}),
        (
            TOKENS,
            ["model.family=rnn", "model.head=mean"],
            {"logits": ("batch", 2), "probabilities": ("batch", 2)},
        ),
    ],
    ids=["a class a step", "values", "values a step", "tokens"],
)
def test_other_tasks_train_too(
    tmp_path: Path, arrays: dict[str, Any], overrides: list[str], outputs: dict[str, tuple[Any, ...]]
) -> None:
    asked = written(tmp_path, "train.epochs=2", *overrides, **arrays)
    result = train(asked, tmp_path / "out", device="cpu")
    signature = open_source(result.checkpoint_path).signature
    assert {tensor.name: tensor.axes for tensor in signature.outputs} == outputs
    if arrays is VALUES:  # in the data's own units: untrained guesses in standardised units would be 5,000 off
        assert result.metrics["test"]["mae"] < 1500


def test_an_expectation_that_is_missed_is_told_and_the_files_are_there(tmp_path: Path) -> None:
    asked = written(tmp_path, "expect.test_accuracy=1.01", "train.epochs=1")
    result = train(asked, tmp_path / "out", device="cpu")
    assert not result.passed
    assert "but at least 1.01 is expected" in result.shortfalls[0]
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES


def test_training_into_its_own_folder_leaves_the_recipe_alone(tmp_path: Path) -> None:
    asked = written(tmp_path, text=TEXT.replace("epochs = 6", "epochs = 1") + "# mine\n")
    train(asked, tmp_path, device="cpu")
    assert (tmp_path / "recipe.toml").read_text().endswith("# mine\n")


@pytest.mark.parametrize(
    ("overrides", "arrays", "error", "message"),
    [
        (
            ["model.head=step"],
            {},
            UsageError,
            "the head is 'step', but the data has one answer for each sequence",
        ),
        (
            ["model.head=last"],
            STEPS,
            UsageError,
            "the head is 'last', but the data has an answer for every step",
        ),
        (["model.hiden_size=3"], {}, UsageError, "unknown key 'hiden_size'; known are .*hidden_size"),
        (
            ["model.hidden_size=big"],
            {},
            UsageError,
            "'hidden_size' .* is 'big', but it must be a whole number",
        ),
        (["model.input_size=3"], {}, UsageError, "'input_size' in the table 'model' is decided by the data"),
        (["model.family=lstn"], {}, UsageError, "family 'lstn' is not known; choose one of rnn, lstm, gru"),
        (["model.ragged=false"], {}, UsageError, "ragged is false, but the sequences are of unequal length"),
        (["expect.test_mae=1"], {}, UsageError, "expects 'test_mae', but its data asks to classify"),
        (["expect.test_bits=2"], {}, UsageError, "expects 'test_bits', but this family measures loss, accuracy"),
        (["train.learning_rate=1e30"], VALUES, UsageError, "validation loss was never a number"),
        (["train.truncate=3"], {}, UsageError, "'truncate' is for data with an answer for every step"),
        (
            ["train.truncate=3", "model.bidirectional=true"],
            STEPS,
            UsageError,
            "'truncate' carries states from piece to piece, but this network has none",
        ),
        (["train.shift=1"], {}, UsageError, r"'shift' moves images, but x has shape \(58, 8, 3\)"),
        ([], {"x": X[:, :, 0]}, UsageError, r"x has shape .*; one feature a step is x\[..., None\]"),
        (["model.baseline=true"], {}, UsageError, "'baseline' in the table 'model' is decided by the data"),
        ([], {"letters": X}, UsageError, "the data has 'letters', but the network takes x, lengths"),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, overrides: list[str], arrays: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        train(written(tmp_path, *overrides, **arrays), tmp_path / "out", device="cpu")


def test_an_output_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(FileError, match="out"):
        train(written(tmp_path), tmp_path / "out", device="cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_device_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="'cuda' was asked for, but PyTorch finds no CUDA device"):
        train(written(tmp_path), tmp_path / "out", device="cuda")
    with pytest.raises(UsageError, match="choose auto, cpu or cuda"):
        train(written(tmp_path), tmp_path / "out", device="tpu")


def test_batches_are_decided_by_seed_and_epoch_and_cut_to_their_longest() -> None:
    data = Dataset(X.astype(np.float32), SHIFT.astype(np.int64), LENGTHS, ("0", "1"))

    def order(seed: int | None, epoch: int) -> list[float]:
        batches = list(Batches(data, 8, seed, lambda: epoch))
        assert len(batches) == len(Batches(data, 8, seed))
        assert all(batch["x"].shape[1] == batch["lengths"].max() for batch in batches)
        return torch.cat([batch["x"][:, 0, 0] for batch in batches]).tolist()

    own = data.x[:, 0, 0].tolist()
    assert order(None, 3) == own
    assert order(0, 1) == order(0, 1)
    shuffled = [order(0, 0), order(0, 1), order(1, 0), own]
    assert len({tuple(values) for values in shuffled}) == 4
    assert all(sorted(values) == sorted(own) for values in shuffled)


def test_repeats_are_means_and_keep_the_best_on_validation(tmp_path: Path) -> None:
    overrides = ("train.epochs=2", "train.refit=false", "train.repeats=3", "train.seed=5")
    result = train(written(tmp_path, *overrides), tmp_path / "out", device="cpu")
    seeds = result.metrics["repeats"]
    assert [run["seed"] for run in seeds] == [5, 6, 7]
    for part in ("test", "validation"):
        for name, mean in result.metrics[part].items():
            assert mean == pytest.approx(np.mean([run[part][name] for run in seeds]))
    best = min(seeds, key=lambda run: run["validation"]["loss"])["seed"]
    alone = written(tmp_path / "alone", *overrides[:2], f"train.seed={best}")
    assert same(weights(result), weights(train(alone, tmp_path / "one", device="cpu")))
    card = (tmp_path / "out" / "card.md").read_text()
    assert "3 networks were trained" in card
    assert all(f"| {run['seed']} | " in card for run in seeds)
