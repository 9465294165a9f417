"""`--tune`: what a search tries, how it is judged, that it goes on where it was killed, and what it refuses."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from edgeseq_runtime.errors import DamagedFileError, FileError, MissingPackageError, UsageError
from typer.testing import CliRunner

from edgeseq import checkpoint, recipe
from edgeseq.cli.app import app
from edgeseq.data import Dataset, Parts, open_data
from edgeseq.data.split import folds
from edgeseq.recipe import Recipe
from edgeseq.training import TrainResult, train
from edgeseq.training.network import parts_for
from edgeseq.training.study import Record
from edgeseq.training.tune import LOG, Search, search

ELM = """
model = { family = "elm", hidden_size = 8 }
data = { path = "mine.npz" }

[tune]
hidden_size = [4, 30]
scale = { low = 0.01, high = 3.0, log = true }
activation = ["tanh", "relu"]
folds = 3
"""
GRU = """
model = { family = "gru", hidden_size = 3 }
data = { path = "mine.npz" }
train = { epochs = 2, refit = true }
tune = { hidden_size = [2, 5], "train.learning_rate" = [0.01, 0.1], folds = 2 }
"""
RNG = np.random.default_rng(0)
CLASS = np.arange(90) % 3
X = (RNG.normal(size=(90, 6)) + 1.5 * np.eye(6)[CLASS]).astype(np.float32)


def written(folder: Path, *overrides: str, text: str = ELM, **arrays: Any) -> Recipe:
    folder.mkdir(exist_ok=True)
    (folder / "recipe.toml").write_text(text)
    np.savez(folder / "mine.npz", **{"x": X if text == ELM else X[..., None], "y": CLASS, **arrays})
    return recipe.load(folder, overrides)


def tuned(asked: Recipe, folder: Path, count: int) -> tuple[TrainResult, Search]:
    result = train(asked, folder, device="cpu", tune=count)
    assert result.search is not None
    return result, result.search


def parts_of(asked: Recipe) -> Parts:
    return parts_for(asked.model, open_data(asked.data, asked.folder))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainResult, Search]:
    """A search of 14 trials, four of them by TPE, that nobody interrupted."""
    folder = tmp_path_factory.mktemp("plain")
    return tuned(written(folder), folder / "out", 14)


def test_the_best_settings_are_trained_and_told(plain: tuple[TrainResult, Search]) -> None:
    result, found = plain
    folder = result.checkpoint_path.parent
    assert {path.name for path in folder.iterdir()} == {
        *("elm.pt", "recipe.toml", "sample.npz", "metrics.json", "card.md"),
        LOG,
    }
    first = found.trials[0].settings
    assert (first["hidden_size"], first["scale"]) == (8, 1.0)  # the recipe's own
    assert first["activation"] in ("tanh", "relu")  # its own, sigmoid, is none of the choices
    values = [trial.value for trial in found.trials]
    assert found.trials[found.best].value == min(value for value in values if value is not None)
    assert len(set(values)) > 5
    again = recipe.load(folder)
    assert again.model.settings == found.settings
    assert again.tune == written(folder.parent).tune
    config = checkpoint.load(result.checkpoint_path).module.config
    assert (config.hidden_size, config.scale) == (found.settings["hidden_size"], found.settings["scale"])
    told = json.loads((folder / "metrics.json").read_text())["tune"]
    assert told == found.summary()
    assert (told["trials"], told["failed"], told["folds"], told["metric"]) == (14, 0, 3, "loss")
    card = (folder / "card.md").read_text()
    assert "`--tune 14`: 14 trials. " in card
    assert f"over 3 folds of the training and validation parts; the best was {told['best']['value']:.6g}" in card
    assert f"| scale | 0.01 to 3.0 (logarithmic) | {found.settings['scale']} |" in card


def test_drawn_settings_lie_in_their_ranges(plain: tuple[TrainResult, Search]) -> None:
    ranges = written(plain[0].checkpoint_path.parents[1]).tune
    assert ranges is not None
    for trial in plain[1].trials:
        assert all(one.holds(trial.settings[key]) for key, one in ranges.ranges.items()), trial


@pytest.mark.parametrize("half_line", [b"", b'{"op_code": 6, "wor'])
@pytest.mark.parametrize(("method", "calls"), [("tell", 1), ("tell", 7), ("ask", 1), ("ask", 12)])
def test_an_interrupted_search_comes_to_the_same(
    plain: tuple[TrainResult, Search],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    calls: int,
    half_line: bytes,
) -> None:
    """Interrupted before a trial's end is put down, or right after a trial was begun."""
    original, count = getattr(Record, method), iter(range(1, 100))

    def stop(record: Record, *arguments: Any) -> Any:
        if method == "tell" and next(count) == calls:
            raise KeyboardInterrupt
        answer = original(record, *arguments)
        if method == "ask" and next(count) == calls:
            raise KeyboardInterrupt
        return answer

    asked = written(tmp_path)
    monkeypatch.setattr(Record, method, stop)
    with pytest.raises(KeyboardInterrupt):
        train(asked, tmp_path / "out", device="cpu", tune=14)
    monkeypatch.undo()
    assert {path.name for path in (tmp_path / "out").iterdir()} == {LOG}
    with (tmp_path / "out" / LOG).open("ab") as log:
        log.write(half_line)
    result, found = tuned(asked, tmp_path / "out", 14)
    assert (found.resumed, found.trials) == (calls - 1, plain[1].trials)
    assert result.metrics["test"] == plain[0].metrics["test"]
    assert result.metrics["tune"] == plain[0].metrics["tune"]


def test_a_killed_process_goes_on_and_was_silent(tmp_path: Path) -> None:
    written(tmp_path, text=GRU)
    code = "from edgeseq import recipe, training; training.train(recipe.load('.'), 'out', device='cpu', tune=500)"
    command = [sys.executable, "-W", "default", "-c", code]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    log, deadline = tmp_path / "out" / LOG, time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if log.exists() and log.read_bytes().count(b'"settings"') >= 3:
            break
        time.sleep(0.02)
    process.kill()
    assert process.communicate() == (b"", b"")
    _, found = tuned(recipe.load(tmp_path), tmp_path / "out", 4)
    assert found.resumed >= 2
    assert len(found.trials) == 4


def test_more_trials_go_on_and_fewer_are_the_first_ones(plain: tuple[TrainResult, Search], tmp_path: Path) -> None:
    tuned(written(tmp_path), tmp_path / "out", 3)
    _, more = tuned(written(tmp_path), tmp_path / "out", 5)
    assert (more.resumed, more.trials) == (3, plain[1].trials[:5])
    _, fewer = tuned(written(tmp_path), tmp_path / "out", 2)
    assert (fewer.resumed, fewer.trials) == (2, plain[1].trials[:2])


@pytest.mark.parametrize(
    ("overrides", "resumed"),
    [
        (["model.scale=0.5", "model.hidden_size=9"], 2),  # searched, so that a recipe with the best settings goes on
        (["train.repeats=2", "expect.test_accuracy=0.1", "compare.hidden_size=[5]"], 2),  # no matter for a trial
        (["model.penalty=0.5"], 0),
        (["train.seed=1"], 0),
        (["data.seed=1"], 0),
        (["tune.folds=2"], 0),
        (["tune.hidden_size=[4, 31]"], 0),
    ],
)
def test_only_trials_of_the_same_search_count(tmp_path: Path, overrides: list[str], resumed: int) -> None:
    tuned(written(tmp_path), tmp_path / "out", 2)
    _, found = tuned(written(tmp_path, *overrides), tmp_path / "out", 2)
    assert (found.resumed, len(found.trials)) == (resumed, 2)


def test_trials_of_other_data_do_not_count(tmp_path: Path) -> None:
    tuned(written(tmp_path), tmp_path / "out", 2)
    assert tuned(written(tmp_path, x=X + 1), tmp_path / "out", 2)[1].resumed == 0


def test_by_gradient_with_training_settings(tmp_path: Path) -> None:
    result, found = tuned(written(tmp_path, text=GRU), tmp_path / "out", 3)
    assert found.trials[0].settings["hidden_size"] == 3
    again = recipe.load(tmp_path / "out")
    assert again.train.learning_rate == found.settings["train.learning_rate"]
    assert again.model.settings == {"hidden_size": found.settings["hidden_size"]}
    assert not list((tmp_path / "out").glob(".resume*"))
    assert result.metrics["epochs"] == 2


def test_a_trial_is_the_mean_over_folds_and_seeds(tmp_path: Path) -> None:
    """With one fold and one seed it is what training itself shows on the validation part."""
    overrides = ("tune.folds=1", "tune.metric=accuracy", "model.activation=relu")
    one = written(tmp_path, *overrides)
    values = []
    for seed in (0, 1):
        alone = train(replace(one, train=replace(one.train, seed=seed)), tmp_path / f"{seed}", device="cpu")
        values.append(alone.metrics["validation"]["accuracy"])
    assert values[0] != values[1]
    assert tuned(one, tmp_path / "one", 1)[1].trials[0].value == values[0]
    result, found = tuned(written(tmp_path, *overrides, "tune.seeds=2"), tmp_path / "two", 4)
    assert found.trials[0].value == pytest.approx(np.mean(values))
    assert found.trials[found.best].value == max(trial.value or 0 for trial in found.trials)
    card = (result.checkpoint_path.parent / "card.md").read_text()
    assert "on the validation part, of 2 networks with different seeds; the best was" in card


def test_the_test_part_is_not_looked_at(tmp_path: Path) -> None:
    asked = written(tmp_path)
    parts = parts_of(asked)
    seen = search(asked, parts, tmp_path / "a", 2, "cpu", False)
    blind: Any = replace(parts, test=None)
    assert search(asked, blind, tmp_path / "b", 2, "cpu", False).trials == seen.trials


def test_settings_that_are_refused_are_failed_trials(tmp_path: Path) -> None:
    text = ELM.replace("hidden_size = [4, 30]", "penalty = [-1.0, 1.0]")
    result, found = tuned(written(tmp_path, text=text, x=X), tmp_path / "out", 8)
    failed = [trial for trial in found.trials if trial.value is None]
    assert 0 < len(failed) < 8
    assert all("penalty is -" in str(trial.reason) and trial.settings["penalty"] < 0 for trial in failed)
    assert found.settings["penalty"] > 0
    assert result.metrics["tune"]["failed"] == len(failed)
    assert f"8 trials, of which {len(failed)} failed" in (tmp_path / "out" / "card.md").read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ELM.replace("hidden_size = [4, 30]", "penalty = [-2.0, -1.0]"), "the first failed because penalty is -"),
        (GRU.replace("[0.01, 0.1]", "[1e29, 1e30]"), "the first failed because the validation loss was never a number"),
    ],
)
def test_a_search_without_any_figure_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    values = {"x": X[..., None], "y": 1000 * X[:, :1]} if text.startswith(GRU[:30]) else {"x": X}
    with pytest.raises(UsageError, match=f"none of 2 trials came to a figure; {message}"):
        train(written(tmp_path, text=text, **values), tmp_path / "out", device="cpu", tune=2)


def test_a_file_that_cannot_be_written_is_no_failed_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> float:
        raise FileError("no space left")

    monkeypatch.setattr("edgeseq.training.tune._figure", full)
    with pytest.raises(FileError, match="no space left"):
        train(written(tmp_path), tmp_path / "out", device="cpu", tune=1)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["tune.hiden_size=[1, 2]"], "the table 'tune' .family 'elm'. has the unknown key 'hiden_size'; known are"),
        (["tune.output_size=[1, 2]"], "'output_size' in the table 'tune' is decided by the data and the family"),
        (["tune.hidden_size=[0.5, 9.5]"], "'hidden_size' of the table 'tune' .* is 0.5, but it must be a whole number"),
        (['tune.activation=["tanh", "tahn"]'], "'activation' of the table 'tune' .* is 'tahn', but it must be"),
        (["tune.metric=mae"], "'metric' of the table 'tune' is 'mae', but this family measures loss, accuracy"),
        (["tune.folds=80"], "'folds' of the table 'tune' is 80, but it must be from 1 to 72 with 72 examples"),
        (["model.scale=-1"], "scale is -1.0, but it must be more than 0"),  # the recipe's own settings
        (["compare.hiden_size=[1]"], "the table 'compare' .family 'elm'. has the unknown key 'hiden_size'"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_anything_is_tried(
    tmp_path: Path, overrides: list[str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        train(written(tmp_path, *overrides), tmp_path / "out", device="cpu", tune=3)
    assert not (tmp_path / "out" / LOG).exists()


def test_training_settings_are_checked_too(tmp_path: Path) -> None:
    text = GRU.replace("[0.01, 0.1]", "[0.0, 0.1]")
    with pytest.raises(UsageError, match=r"'learning_rate' of the table 'tune' .* is 0.0, but it must be more than 0"):
        train(written(tmp_path, text=text), tmp_path / "out", device="cpu", tune=3)


def test_a_search_needs_ranges_and_a_count(tmp_path: Path) -> None:
    asked = written(tmp_path)
    with pytest.raises(UsageError, match="a search needs the table 'tune' in the recipe"):
        train(replace(asked, tune=None), tmp_path / "out", device="cpu", tune=3)
    with pytest.raises(UsageError, match="a search of 0 trials was asked for"):
        train(asked, tmp_path / "out", device="cpu", tune=0)


@pytest.mark.parametrize("content", [b"not JSON\nat all\n", b'{"a": 1}\n', b"[]\n\n"])
def test_a_record_that_is_damaged(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / LOG).write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"\.tune\.log' is no record of a search, .* remove it to start anew"):
        train(written(tmp_path), tmp_path / "out", device="cpu", tune=1)


def test_an_error_of_the_system_names_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("edgeseq.training.study.JournalFileBackend.append_logs", full)
    with pytest.raises(FileError, match=r"\.tune\.log' cannot be read or written: .* No space left"):
        train(written(tmp_path), tmp_path / "out", device="cpu", tune=1)


def test_whole_numbers_are_a_range_of_real_ones_for_a_setting_that_is_real(tmp_path: Path) -> None:
    text = ELM.replace("scale = { low = 0.01, high = 3.0, log = true }", "scale = [1, 3]")
    _, found = tuned(written(tmp_path, text=text, x=X), tmp_path / "out", 4)
    scales = [trial.settings["scale"] for trial in found.trials]
    assert all(type(scale) is float for scale in scales)
    assert not all(scale.is_integer() for scale in scales)


def test_the_keys_that_may_be_searched_are_those_that_the_data_leaves(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown key 'hiden_size'; known are ") as raised:
        train(written(tmp_path, "tune.hiden_size=[1, 2]"), tmp_path / "out", device="cpu", tune=1)
    assert "output_size" not in str(raised.value)


def test_without_optuna(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    for name in ("study", "tune"):
        monkeypatch.delitem(sys.modules, f"edgeseq.training.{name}")
    with pytest.raises(MissingPackageError, match=r"a search needs optuna: pip install 'edgeseq\[tune\]' \(.*optuna"):
        train(written(tmp_path), tmp_path / "out", device="cpu", tune=1)


def test_the_callers_random_numbers_are_left_alone(tmp_path: Path) -> None:
    state = torch.get_rng_state()
    tuned(written(tmp_path), tmp_path / "out", 1)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_command(tmp_path: Path) -> None:
    written(tmp_path)
    arguments = ["train", str(tmp_path), "-o", str(tmp_path / "out"), "--device", "cpu", "--tune"]
    result = CliRunner().invoke(app, [*arguments, "2"])
    assert result.exit_code == 0, result.output
    assert "2 trials in " in result.stdout
    value = json.loads(CliRunner().invoke(app, [*arguments, "3", "--json"]).stdout)
    assert (len(value["tune"]["trials"]), value["tune"]["resumed_trials"]) == (3, 2)
    assert value["tune"]["trials"][0].keys() == {"settings", "value", "reason"}
    assert value["metrics"]["tune"]["trials"] == 3
    for wrong, message in (
        ([*arguments, "0"], "Invalid value for '--tune'"),
        (["train", "--tune", "2"], "say which recipe"),
    ):
        result = CliRunner().invoke(app, wrong)
        assert result.exit_code == 2
        assert message in result.output


Y = np.array([0] * 7 + [1] * 4 + [2])
SERIES = np.arange(24, dtype=np.float32).reshape(12, 2)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_folds_hold_each_example_out_once_and_every_class_in_equal_shares(count: int) -> None:
    data = Dataset(SERIES, Y, labels=("a", "b", "c"))
    cut = folds(data, count, 0)
    held = np.concatenate([one.x[:, 0] for _, one in cut])
    assert sorted(held) == list(SERIES[:11, 0])  # the one example of its class is never held out
    for rest, one in cut:
        assert sorted([*rest.x[:, 0], *one.x[:, 0]]) == list(SERIES[:, 0])
        for label, total in ((0, 7), (1, 4)):
            assert abs((one.y == label).sum() - total / count) < 1
    sizes = [len(one) for _, one in cut]
    assert max(sizes) - min(sizes) <= 1
    assert [list(one.x[:, 0]) for _, one in folds(data, count, 1)] != [list(one.x[:, 0]) for _, one in cut]


def test_folds_keep_groups_together_and_say_when_there_are_too_few() -> None:
    data = Dataset(SERIES, Y, labels=("a", "b", "c"), groups=np.arange(12) // 3)
    cut = folds(data, 4, 0)
    assert sorted(set(one.groups.tolist()).pop() for _, one in cut if one.groups is not None) == [0, 1, 2, 3]
    assert all(len(one) == 3 for _, one in cut)
    with pytest.raises(UsageError, match="is 5, but it must be from 1 to 4 with 4 groups"):
        folds(data, 5, 0)
