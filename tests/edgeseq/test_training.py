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
from typer.testing import CliRunner

from edgeseq import checkpoint, recipe
from edgeseq.cli.app import app
from edgeseq.cli.train import _figures
from edgeseq.data import Dataset
from edgeseq.opening import open_source
from edgeseq.recipe import Recipe
from edgeseq.training import TrainResult, card_settings, train
from edgeseq.training.batches import Batches
from edgeseq.training.figures import shortfalls
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
    for name, deviation in result.metrics["deviation"]["test"].items():
        assert deviation == pytest.approx(np.std([run["test"][name] for run in seeds], ddof=1))
    best = min(seeds, key=lambda run: run["validation"]["loss"])["seed"]
    alone = written(tmp_path / "alone", *overrides[:2], f"train.seed={best}")
    assert same(weights(result), weights(train(alone, tmp_path / "one", device="cpu")))
    card = (tmp_path / "out" / "card.md").read_text()
    assert "3 networks were trained" in card
    loss = result.metrics["deviation"]["test"]["loss"]
    assert f"| test, deviation | {loss:.4f} |" in card
    assert f"| test, standard error | {loss / 3**0.5:.4f} |" in card
    assert all(f"| {run['seed']} | " in card for run in seeds)


COMPARED = """
model = { family = "elm", hidden_size = 9, activation = "tanh" }
data = { path = "mine.npz" }
"""


def flat(folder: Path, settings: str, *overrides: str) -> Recipe:
    """A recipe of the fastest family there is, with comparisons."""
    (folder / "recipe.toml").write_text(COMPARED + f"compare = {{ {settings} }}")
    np.savez(folder / "mine.npz", x=X[:, 0], y=SHIFT)
    return recipe.load(folder, overrides)


def compared(folder: Path, settings: str, *overrides: str) -> TrainResult:
    return train(flat(folder, settings, *overrides), folder / "out", device="cpu")


def test_comparisons_are_what_training_with_those_settings_shows(tmp_path: Path) -> None:
    asked = 'activation = ["tanh", "relu"], penalty = [1.0, -1.0]'
    result = compared(tmp_path, asked, "train.repeats=2", "model.penalty=1.0")
    rows = result.metrics["compare"]
    assert [tuple(row["settings"].values()) for row in rows] == [
        *(("tanh", 1.0), ("tanh", -1.0)),
        *(("relu", 1.0), ("relu", -1.0)),
    ]
    own, refused, other, _ = rows
    assert own == {
        "settings": {"activation": "tanh", "penalty": 1.0},
        "own": True,
        **{name: result.metrics[name] for name in ("test", "deviation")},
    }
    assert refused["refused"] == "penalty is -1.0, but it must be more than 0"
    alone = recipe.load(tmp_path, ["train.repeats=2", "model.penalty=1.0", "model.activation=relu"])
    trained = train(alone, tmp_path / "alone", device="cpu", comparisons=False).metrics
    assert (other["test"], other["deviation"]) == (trained["test"], trained["deviation"])
    assert other["test"] != own["test"]
    assert "compare" not in trained
    assert result.compare_seconds is not None
    card = (tmp_path / "out" / "card.md").read_text()
    assert "Nothing was chosen by this table" in card
    mean, spread = own["test"]["accuracy"], own["deviation"]["test"]["accuracy"]
    assert "|  | penalty 1.0 | penalty -1.0 |" in card
    assert f"| activation tanh | **{mean:.4f} ± {spread:.4f}** | – |" in card
    assert "– activation tanh, penalty -1.0; activation relu, penalty -1.0: penalty is -1.0, but" in card
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["compare"] == rows


@pytest.mark.parametrize(
    ("settings", "overrides", "lines"),
    [
        ("hidden_size = [9, 5]", [], ["| hidden_size | loss | accuracy |", "Bold: the recipe's own settings."]),
        ("hidden_size = [4, 5]", [], ["The recipe's own settings are not among them: loss "]),
        (
            "hidden_size = [4], scale = [0.1], standardise = [true]",
            [],
            ["| hidden_size | scale | standardise | loss | accuracy |", "| 4 | 0.1 | True | "],
        ),
        ("hidden_size = [4, 5], scale = [1.0]", ["expect.test_accuracy=0"], ["the accuracy of the test part."]),
    ],
)
def test_the_card_shows_comparisons(tmp_path: Path, settings: str, overrides: list[str], lines: list[str]) -> None:
    compared(tmp_path, settings, *overrides)
    card = (tmp_path / "out" / "card.md").read_text()
    for line in lines:
        assert line in card
    assert recipe.load(tmp_path / "out").compare == recipe.load(tmp_path).compare


def test_a_search_comes_before_the_comparisons(tmp_path: Path) -> None:
    asked = flat(tmp_path, "hidden_size = [3, 4]", "tune.scale=[0.1, 2.0]")
    result = train(asked, tmp_path / "out", device="cpu", tune=4)
    assert result.search is not None
    for row in result.metrics["compare"]:
        settings = {**result.search.settings, **row["settings"]}
        alone = train(asked.with_settings(settings), tmp_path / "alone", device="cpu", comparisons=False)
        assert alone.metrics["test"] == row["test"]


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ([], ["## Search", "This training searched nothing.", "| hidden_size | 4 to 9 |"]),
        (["model.penalty=1.0", "train.repeats=2"], ["2 networks were trained so", "said here of penalties is its"]),
    ],
)
def test_a_card_of_a_readout_in_closed_form(tmp_path: Path, overrides: list[str], told: list[str]) -> None:
    compared(tmp_path, "", "tune.hidden_size=[4, 9]", *overrides)
    card = (tmp_path / "out" / "card.md").read_text()
    assert all(words in card for words in told)
    assert "## Comparison" not in card


def test_an_error_in_a_comparison_loses_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> list[Any]:
        raise FloatingPointError

    monkeypatch.setattr("edgeseq.training.run.compare", broken)
    with pytest.raises(FloatingPointError):
        compared(tmp_path, "hidden_size = [4, 5]")
    folder = tmp_path / "out"
    assert {path.name for path in folder.iterdir()} == {"elm.pt", *(FILES - {"lstm.pt"})}
    assert "compare" not in json.loads((folder / "metrics.json").read_text())
    assert "## Comparison" not in (folder / "card.md").read_text()


def test_an_error_in_the_card_leaves_the_old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> str:
        raise KeyError

    monkeypatch.setattr("edgeseq.training.folder.card", broken)
    with pytest.raises(KeyError):
        compared(tmp_path, "")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(("family", "told"), [("elm", False), ("lstm", True)])
def test_an_interrupted_command_says_whether_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str, told: bool
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    written(tmp_path, text=TEXT if family == "lstm" else COMPARED)
    monkeypatch.setattr("edgeseq.training.train", stop)
    result = CliRunner().invoke(app, ["train", str(tmp_path), "-o", str(tmp_path / "out")])
    assert ("goes on where this one stopped" in result.output) == told


def test_figures_that_are_no_numbers_keep_metrics_json_and_its_list_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeseq.training.single.evaluate", lambda *_: {"loss": float("inf"), "accuracy": 0.5})
    result = compared(tmp_path, "", "train.repeats=2")
    text = (tmp_path / "out" / "metrics.json").read_text()
    told = json.loads(text, parse_constant=pytest.fail)
    assert (told["test"], told["deviation"]["test"]) == (
        {"loss": None, "accuracy": 0.5},
        {"loss": None, "accuracy": 0.0},
    )
    assert result.metrics["test"]["loss"] == float("inf")
    assert _figures(told)[:2] == [("test", "loss", pytest.approx(float("nan"), nan_ok=True)), ("test", "accuracy", 0.5)]


def test_a_figure_that_is_no_number_is_not_what_a_recipe_expects() -> None:
    expect = recipe.ExpectTable(test_accuracy=0.1, test_mae=1.0)
    assert not shortfalls(expect, {"accuracy": 0.1, "mae": 1.0})
    assert len(shortfalls(expect, {"accuracy": float("nan"), "mae": float("nan")})) == 2


def test_the_longest_sequence_tells_whether_anything_is_scored(tmp_path: Path) -> None:
    text = 'model = { family = "esn", units = 5, density = 1.0, transient = 7 }\ndata = { path = "mine.npz" }'
    values = {"x": X.astype(np.float32), "y": X[..., :1].astype(np.float32)}
    train(written(tmp_path, text=text, **values), tmp_path / "out", device="cpu")
    short = written(tmp_path, "model.transient=8", text=text, **values)
    with pytest.raises(UsageError, match=r"first 8 steps .* left out \(transient\), but the longest has 8"):
        train(short, tmp_path / "out", device="cpu")


def test_one_class_only_is_refused(tmp_path: Path) -> None:
    for labels in ({}, {"labels": np.array(["a"])}):
        with pytest.raises(UsageError, match="the data holds one class only, but at least two are needed"):
            train(written(tmp_path, y=np.zeros(90, int), **labels), tmp_path / "out", device="cpu")


def test_a_comparison_without_the_figure_and_what_is_left_to_the_data(tmp_path: Path) -> None:
    """penalty is chosen on the data, so that the recipe's own may be among those compared."""
    asked = flat(tmp_path, "penalty = [0.5, 1.0]", "expect.test_accuracy=0.0")
    row = {"settings": {"penalty": 0.5}, "test": {"loss": 0.25}}
    told = card_settings.compared(asked, {"test": {"loss": 0.1, "accuracy": 1.0}, "compare": [row]})
    assert told is not None
    assert "| 0.5 | 0.2500 | – |" in told
    assert "own settings are not among them" not in told
