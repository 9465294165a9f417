"""Autoencoders on the command line: parts, thresholds, alarms line by line, samples, and what is refused."""

import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from edgeseq_export import export
from edgeseq_runtime import load
from edgeseq_runtime.errors import UsageError
from rich.console import Console
from typer.testing import CliRunner, Result

from edgeseq import checkpoint, pictures, recipe
from edgeseq.cli.app import app
from edgeseq.cli.run import _tables
from edgeseq.data import Dataset
from edgeseq.nn import Hints, build, with_settings
from edgeseq.opening import open_source
from edgeseq.training import train
from edgeseq.training.folder import _sample

WINDOW = 6
PARTS = ("full", "encoder", "decoder", "score")
AE = {"code_size": 3, "hidden_sizes": [8]}
PIXELS = {"output": "sigmoid", "standardise": False, "input_shape": [8, 7]}


def series(steps: int, seed: int = 0) -> np.ndarray:
    t = np.arange(steps)[:, None] / [3, 5]
    return np.round(np.sin(t) + 0.1 * np.random.default_rng(seed).standard_normal((steps, 2)), 4).astype(np.float32)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """NAME.pt and NAME.PART.onnx of an alarm over windows, a variational and a plain autoencoder of pictures."""
    folder = tmp_path_factory.mktemp("autoencoders")
    windows = Dataset(series(200)[None], np.zeros((1, 200), np.int64), np.array([200]), ("normal", "anomaly"))
    pictures = np.random.default_rng(1).random((60, 8, 7)).astype(np.float32)
    labelled = Dataset(pictures, np.arange(60) % 3, None, ("a", "b", "c"))
    networks: Mapping[str, tuple[str, dict[str, Any], Dataset, str | None]] = {
        "alarm": ("ae", {**AE, "input_shape": [200, 2], "window": WINDOW}, windows, "score"),
        "vae": ("vae", {**AE, **PIXELS}, labelled, None),
        "ae": ("ae", {**AE, **PIXELS, "classes": 3, "head_labels": 60}, labelled, "encoder"),
    }
    for name, (family, config, data, part) in networks.items():
        with torch.random.fork_rng():
            torch.manual_seed(3)
            network = build(family, config, Hints(labels=data.labels)).eval()
        network.standardise(data)
        network.finish(network.examples(data), None)
        checkpoint.save(folder / f"{name}.pt", network, {}, {"export": {"part": part}})
        for each in PARTS:
            export(open_source(folder / f"{name}.pt", {"part": each}), folder / f"{name}.{each}.onnx", verify=False)
    write_csv(folder / "normal.csv", series(120, 5))
    return folder


@pytest.fixture
def alarm(folder: Path, tmp_path: Path) -> Path:
    return shutil.copy(folder / "alarm.score.onnx", tmp_path / "alarm.onnx")


def run(*arguments: object, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], input=stdin, prog_name="edgeseq")


def told(*arguments: object, stdin: str | None = None, between: str = "\t") -> list[list[str]]:
    """The cells of each line that a run prints."""
    return [line.split(between) for line in run("run", *arguments, stdin=stdin).stdout.splitlines()]


def write_csv(path: Path, rows: np.ndarray, header: str = "left,right") -> Path:
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows.tolist())]) + "\n")
    return path


@pytest.mark.parametrize(
    ("name", "part", "file", "written"),
    [
        ("alarm", None, "alarm.onnx", "score"),
        ("alarm", "score", "alarm.onnx", "score"),
        ("alarm", "decoder", "alarm.decoder.onnx", "decoder"),
        ("vae", None, "vae.onnx", "full"),
        ("vae", "full", "vae.onnx", "full"),
        ("vae", "decoder", "vae.decoder.onnx", "decoder"),
        ("ae", None, "ae.onnx", "encoder"),
    ],
)
def test_export_writes_the_part_that_is_asked_for_or_the_recipes(
    folder: Path, tmp_path: Path, name: str, part: str | None, file: str, written: str
) -> None:
    shutil.copy(folder / f"{name}.pt", tmp_path)
    done = run("export", tmp_path / f"{name}.pt", "--no-verify", *(["--part", part] if part else []))
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([f"{name}.pt", file])
    assert load(tmp_path / file).contract.settings["part"] == written
    shown = run("inspect", tmp_path / file)
    assert re.search(rf"part +│ {written} ", shown.output)
    assert json.loads(run("inspect", tmp_path / file, "--json").stdout)["settings"]["part"] == written


def test_a_part_is_proven(folder: Path, tmp_path: Path) -> None:
    done = run("export", folder / "vae.pt", "--part", "decoder", "-o", tmp_path / "made.onnx")
    assert done.exit_code == 0, done.output
    assert run("verify", tmp_path / "made.onnx", folder / "vae.pt").exit_code == 0


def test_networks_without_parts_say_whose_they_are(models: Path, folder: Path) -> None:
    done = run("export", models / "lstm.pt", "--part", "encoder")
    assert done.exit_code == 2
    assert "'part' is of the families ae, vae, convae, recae, but this network is of the family 'lstm'" in done.stderr
    done = run("export", folder / "vae.pt", "--max-length", 3)
    assert "'max_length' is of the family 'seq2seq', but this network is of the family 'vae'" in done.stderr
    done = run("export", folder / "vae.pt", "--part", "half")
    assert done.exit_code == 2
    assert "is 'half', but it must be 'full' or 'encoder' or 'decoder' or 'score'" in done.stderr


def test_a_stream_prints_score_and_alarm_line_by_line(folder: Path) -> None:
    file, rows = folder / "alarm.score.onnx", series(20, 9)
    rows[12] = 4
    text = "left,right\n" + "\n".join(",".join(map(str, row)) for row in rows.tolist())
    whole = load(file).run(rows[None])
    assert set(whole["alarm"][0]) == {0, 1}
    lines = told(file, "--input", "-", "--stream", stdin=text, between=",")
    assert [score for score, _ in lines[: WINDOW - 1]] == [""] * (WINDOW - 1)
    scores = [float(score) for score, _ in lines[WINDOW - 1 :]]
    np.testing.assert_allclose(scores, whole["score"][0, WINDOW - 1 :], 1e-5)
    assert [int(alarm) for _, alarm in lines] == whole["alarm"][0].tolist()
    answers = run("run", file, "--input", "-", "--stream", "--json", "--chunk", 4, stdin=text).stdout.splitlines()
    objects = [json.loads(line) for line in answers]
    assert [one["score"] is None for one in objects] == [not score for score, _ in lines]
    assert [one["alarm"] for one in objects] == whole["alarm"][0].tolist()
    assert objects[-1]["score"] == pytest.approx(whole["score"][0, -1], rel=1e-5)


def test_whole_runs_show_both_for_each_step(folder: Path, tmp_path: Path) -> None:
    file, rows = folder / "alarm.score.onnx", series(9, 2)
    whole = load(file).run(rows[None])
    path = write_csv(tmp_path / "sensor.csv", rows)
    header, *lines = told(file, "--input", path)
    assert header == ["sequence", "step", "score", "alarm"]
    assert [line[1] for line in lines] == [str(step) for step in range(9)]
    assert [line[2] for line in lines] == [""] * 5 + [str(score) for score in whole["score"][0, 5:]]
    (result,) = json.loads(run("run", file, "--input", path, "--json").stdout)["results"]
    assert result["score"] == [None] * 5 + [float(str(score)) for score in whole["score"][0, 5:]]
    assert result["alarm"] == whole["alarm"][0].tolist()
    run("run", file, "--input", path, "-o", tmp_path / "out.npz")
    np.testing.assert_array_equal(np.load(tmp_path / "out.npz")["score"], whole["score"])
    first, second = load(file).run({"x": rows[None, :7]}, states=True), tmp_path / "rest.npz"
    np.savez(second, x=rows[None, 7:], past=first["past_next"], seen=first["seen_next"])
    (rest,) = json.loads(run("run", file, "--input", second, "--json").stdout)["results"]
    np.testing.assert_allclose(rest["score"], result["score"][7:], 1e-5)  # no step of it is without a window


def test_a_score_that_is_no_number_is_told_from_none_yet(folder: Path, tmp_path: Path) -> None:
    file, rows = folder / "alarm.score.onnx", series(13, 9)
    rows[6] = 3e38
    lost = load(file).run(rows[None])["score"][0]
    assert np.isnan(lost[6:12]).all()
    assert np.isfinite(lost[:6]).all()
    path = write_csv(tmp_path / "sensor.csv", rows)
    cells = [line[-2:] for line in told(file, "--input", path)[1:]]
    assert cells[:5] == [["", "0"]] * 5
    assert cells[6:12] == [["nan", "1"]] * 6
    assert told(file, "--input", path, "--stream", between=",") == cells
    (result,) = json.loads(run("run", file, "--input", path, "--json").stdout)["results"]
    assert result["score"][6:12] == [None] * 6
    assert result["alarm"][6:12] == [1] * 6
    done = run("run", file, "--input", write_csv(tmp_path / "lost.csv", rows[6:12]))
    assert done.exit_code == 0, done.output  # there is a score, though it is none


def ragged(folder: Path, lengths: list[int], suffix: str) -> Path:
    """Series of unequal length, with lengths beside them, or as lines."""
    path, x = folder / f"ragged{suffix}", np.zeros((len(lengths), max(lengths) + 2, 2), np.float32)
    for row, length in enumerate(lengths):
        x[row, :length] = series(length, row)
    if suffix == ".npz":
        np.savez(path, x=x, lengths=lengths)
    else:
        path.write_text("\n".join(json.dumps(row[:length].tolist()) for row, length in zip(x, lengths, strict=True)))
    return path


@pytest.mark.parametrize("suffix", [".npz", ".jsonl"])
def test_answers_end_where_a_row_ends(folder: Path, tmp_path: Path, suffix: str) -> None:
    file, lengths = folder / "alarm.score.onnx", [9, 4, 14]
    path = ragged(tmp_path, lengths, suffix)
    results = json.loads(run("run", file, "--input", path, "--json").stdout)["results"]
    for row, (result, length) in enumerate(zip(results, lengths, strict=True)):
        alone = load(file).run(series(length, row)[None])
        assert result["score"][:5] == [None] * min(5, length)
        np.testing.assert_allclose(result["score"][5:], alone["score"][0, 5:], 1e-5)
        assert result["alarm"] == alone["alarm"][0].tolist()
    run("run", file, "--input", path, "-o", tmp_path / "out.npz")
    assert np.load(tmp_path / "out.npz")["lengths"].tolist() == lengths
    one = ragged(tmp_path, [9], ".npz")
    assert len(told(file, "--input", one, "--stream", between=",")) == 9
    done = run("run", file, "--input", ragged(tmp_path, [5, 4], suffix))
    assert done.exit_code == 2
    assert "there are 5 steps, but alarm.score.onnx scores windows of 6" in done.stderr


@pytest.mark.parametrize("suffix", [".npz", ".jsonl"])
def test_a_threshold_is_chosen_up_to_the_rows_ends(alarm: Path, tmp_path: Path, suffix: str) -> None:
    lengths = [9, 4, 14]
    path = ragged(tmp_path, lengths, suffix)
    each = [load(alarm).run(series(length, row)[None])["score"][0, 5:] for row, length in enumerate(lengths)]
    scores = np.concatenate(each).astype(np.float64)
    done = run("threshold", alarm, "--on", path, "--quantile", 0.5, "--json")
    assert json.loads(done.stdout)["chosen"]["scores"] == len(scores) == 13
    assert load(alarm).values["threshold"] == pytest.approx(np.quantile(scores, 0.5), rel=1e-5)
    done = run("threshold", alarm, "--on", ragged(tmp_path, [5, 4], suffix))
    assert "has 5 steps, but alarm.onnx scores windows of 6" in done.stderr


@pytest.mark.parametrize("lengths", [[9, 4], [9.5, 4.0, 9.0], [0, 4, 9], [12, 4, 9]])
def test_lengths_that_do_not_fit_are_refused(folder: Path, tmp_path: Path, lengths: list[float]) -> None:
    np.savez(tmp_path / "x.npz", x=np.stack([series(11, row) for row in range(3)]), lengths=lengths)
    done = run("run", folder / "alarm.score.onnx", "--input", tmp_path / "x.npz")
    assert done.exit_code == 2
    assert "'lengths'" in done.stderr
    assert "Traceback" not in done.output


@pytest.mark.parametrize("bad", ["", ",", "nan,1", "1,", "inf,0", "1", "x,1", "[1, null]"])
@pytest.mark.parametrize("at", [0, 1, 3, 14])
def test_a_missing_sample_has_a_line_that_says_so_and_leaves_the_state(folder: Path, bad: str, at: int) -> None:
    rows = [",".join(map(str, row)) for row in series(16, 4).tolist()]
    good = run("run", folder / "alarm.score.onnx", "--input", "-", "--stream", stdin="\n".join(rows))
    done = run(
        "run", folder / "alarm.score.onnx", "--input", "-", "--stream", stdin="\n".join([*rows[:at], bad, *rows[at:]])
    )
    lines = done.stdout.splitlines()
    assert lines[at] == "error,"
    assert lines[:at] + lines[at + 1 :] == good.stdout.splitlines()
    assert f"line {at + 1}: " in done.stderr
    assert (good.exit_code, done.exit_code) == (0, 2)


def test_a_score_of_pictures_is_one_line_each(folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.linspace(0, 1, 112, dtype=np.float32).reshape(2, 8, 7))
    outputs = load(folder / "vae.score.onnx").run(np.load(tmp_path / "x.npy"))
    lines = told(folder / "vae.score.onnx", "--input", tmp_path / "x.npy")
    assert lines[0] == ["sequence", "score", "alarm"]
    assert [line[1:] for line in lines[1:]] == [
        [str(score), str(alarm)] for score, alarm in zip(outputs["score"], outputs["alarm"], strict=True)
    ]


def test_codes_classes_and_what_is_rebuilt_are_rows_of_numbers(folder: Path, tmp_path: Path) -> None:
    x = np.random.default_rng(2).random((2, 8, 7)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    rows = told(folder / "vae.encoder.onnx", "--input", tmp_path / "x.npy")
    assert rows[0] == ["sequence", "code_0", "code_1", "code_2"]
    code = load(folder / "vae.encoder.onnx").run(x)["code"]
    np.testing.assert_allclose(np.array(rows[1:], float)[:, 1:], code, 1e-5)
    classes = told(folder / "ae.encoder.onnx", "--input", tmp_path / "x.npy")
    assert classes[0] == ["sequence", "label", "probability"]
    probabilities = load(folder / "ae.encoder.onnx").run(x)["probabilities"]
    assert [row[1] for row in classes[1:]] == ["abc"[best] for best in probabilities.argmax(-1)]
    write_csv(tmp_path / "codes.csv", code, "a,b,c")
    rebuilt = load(folder / "ae.decoder.onnx").run(code)["rebuilt"]
    done = run("run", folder / "ae.decoder.onnx", "--input", tmp_path / "codes.csv", "--json")
    (first, _) = json.loads(done.stdout)["results"]
    np.testing.assert_allclose(first["rebuilt"], rebuilt[0], 1e-5)
    write_csv(tmp_path / "window.csv", series(WINDOW))
    rows = told(folder / "alarm.full.onnx", "--input", tmp_path / "window.csv")
    assert rows[0] == ["sequence", "step", "rebuilt_0", "rebuilt_1"]
    assert len(rows) == 1 + WINDOW


def test_sequences_of_unequal_length_are_rebuilt_up_to_their_ends(tmp_path: Path) -> None:
    network = build("recae", {"input_shape": [9, 2], "code_size": 3, "hidden_size": 4}, Hints(longest=9)).eval()
    checkpoint.save(tmp_path / "recae.pt", network, {}, {})
    for part in ("full", "decoder"):
        assert run("export", tmp_path / "recae.pt", "--no-verify", "--part", part).exit_code == 0
    (tmp_path / "x.jsonl").write_text("\n".join(json.dumps(series(steps).tolist()) for steps in (4, 9, 1)))
    rows = told(tmp_path / "recae.onnx", "--input", tmp_path / "x.jsonl")
    assert [row[0] for row in rows[1:]] == ["0"] * 4 + ["1"] * 9 + ["2"]
    np.savez(tmp_path / "codes.npz", code=np.ones((2, 3), np.float32), steps=np.array([2, 5]))
    rows = told(tmp_path / "recae.decoder.onnx", "--input", tmp_path / "codes.npz")
    assert [row[0] for row in rows[1:]] == ["0"] * 2 + ["1"] * 5


def trained(folder: Path, model: str, more: str = "", **arrays: np.ndarray) -> Path:
    """Where a training of an epoch, of the recipe's table `model`, has left its files."""
    text = f'model = {{ {model} }}\ndata = {{ path = "mine.npz" }}\ntrain = {{ epochs = 1, seed = 0{more} }}\n'
    (folder / "recipe.toml").write_text(text)
    np.savez(folder / "mine.npz", **arrays)  # type: ignore[arg-type]  # numpy takes names for flags
    train(recipe.load(folder), folder / "out", device="cpu")
    return folder / "out"


def test_the_sample_of_a_decoder_is_codes_and_how_many_steps_to_tell(tmp_path: Path) -> None:
    lengths = np.arange(30) % 6 + 3
    x = np.where(np.arange(8)[:, None] < lengths[:, None, None], np.float32(1), np.float32(0)).repeat(2, 2)
    model = 'family = "recae", code_size = 3, hidden_size = 4 }\nexport = { part = "decoder"'
    out = trained(tmp_path, model, x=x, y=np.arange(30) % 2, lengths=lengths)
    sample = dict(np.load(out / "sample.npz"))
    decoder = open_source(out / "recae.pt", {"part": "decoder"}).module
    with torch.no_grad():
        rebuilt = decoder(torch.from_numpy(sample["code"]), torch.from_numpy(sample["steps"]))["rebuilt"].numpy()
    assert ((rebuilt != 0).all(2).sum(1) == sample["steps"]).all()
    assert len(set(sample["steps"])) > 1


@pytest.mark.parametrize(
    ("part", "hop", "kept"), [("score", 1, [9, 15, 12]), ("score", 2, [4, 7, 6]), ("full", 1, None)]
)
def test_the_sample_of_series_of_unequal_length_has_lengths(
    folder: Path, tmp_path: Path, part: str, hop: int, kept: list[int] | None
) -> None:
    network = with_settings(checkpoint.load(folder / "alarm.pt").module, {"hop": hop})
    x = np.stack([series(15, row) for row in range(3)])
    test = Dataset(x, np.zeros((3, 15), np.int64), np.array([9, 15, 12]), ("normal", "anomaly"))
    (tmp_path / "sample.npz").write_bytes(_sample(network, test, part))
    sample = dict(np.load(tmp_path / "sample.npz"))
    assert sample.get("lengths", np.array(None)).tolist() == kept
    if hop == 1 and part == "score":
        done = run("run", folder / "alarm.score.onnx", "--input", tmp_path / "sample.npz", "--json")
        assert [len(result["alarm"]) for result in json.loads(done.stdout)["results"]] == kept


@pytest.mark.parametrize("disturbed", ["noise", "offset"])
def test_what_a_sigmoid_is_to_rebuild_is_not_disturbed(tmp_path: Path, disturbed: str) -> None:
    x = np.random.default_rng(0).random((30, 4, 4)).astype(np.float32)
    with pytest.raises(UsageError, match=f"'{disturbed}' changes what is to be rebuilt too, .* set corruption"):
        trained(tmp_path, 'family = "ae", output = "sigmoid"', f", {disturbed} = 0.1", x=x, y=np.arange(30) % 2)


@pytest.mark.parametrize("refit", [False, True])
def test_a_card_says_what_a_threshold_and_the_figures_are(tmp_path: Path, refit: bool) -> None:
    x, y = series(360).reshape(12, 30, 2), np.tile(np.arange(30) > 27, (12, 1)).astype(np.int64)
    model = 'family = "vae", code_size = 2, window = 6, hidden_sizes = [8]'
    out = trained(tmp_path, model, f", refit = {str(refit).lower()}", x=x, y=y, lengths=np.full(12, 30))
    told, figures = (out / "card.md").read_text(), json.loads((out / "metrics.json").read_text())["test"]
    assert ("threshold chosen on the validation part" in told) is not refit
    assert ("validation parts together, which the network was trained on: on what" in told) is refit
    assert "an example, up to a constant, with the code's mean in place of draws" in told
    assert "`rebuild_error` is in units of each feature's variance." in told
    divergences = (-figures["bound"] - figures["rebuild_error"] * x[0, :6].size / 2) / x[0, :6].size
    assert figures["loss"] == pytest.approx(figures["rebuild_error"] / 2 + divergences, rel=1e-4)


def test_windows_of_a_recurrent_network_have_no_steps_to_choose(tmp_path: Path) -> None:
    config = {"input_shape": [50, 2], "window": WINDOW, "code_size": 3, "hidden_size": 4}
    checkpoint.save(tmp_path / "recae.pt", build("recae", config).eval(), {}, {})
    done = run("export", tmp_path / "recae.pt", "--recurrence", "unroll", "--steps", 5)
    assert done.exit_code == 2
    assert "recae.pt has no axis that the unroll form would fix" in done.stderr
    assert "max_length" not in done.stderr


@pytest.mark.parametrize(("count", "shown"), [(14, 14), (15, 15), (784, 15)])
def test_a_terminal_shows_the_first_of_many_columns(count: int, shown: int) -> None:
    parts = _tables([str(i) for i in range(count)], [[f"v{i}" for i in range(count)]])
    buffer = io.StringIO()
    Console(file=buffer, width=300).print(*parts)
    printed = buffer.getvalue()
    assert len(parts[0].columns) == shown
    assert "v13" in printed
    assert ("of 784 columns" in printed) == (count == 784)


def test_samples_are_drawn_as_a_picture(folder: Path, tmp_path: Path) -> None:
    file, path = folder / "vae.decoder.onnx", tmp_path / "grid.png"
    done = run("run", file, "--set", "samples=16", "--seed", 3, "-o", path)
    assert done.exit_code == 0, done.output
    run("run", file, "--set", "samples=16", "--seed", 3, "-o", tmp_path / "out.npy")
    drawn = np.load(tmp_path / "out.npy")
    assert drawn.shape == (16, 8, 7)
    assert len(np.unique(drawn.reshape(16, -1), axis=0)) == 16
    noise = np.random.default_rng(3).standard_normal((16, 3)).astype(np.float32)
    np.testing.assert_allclose(drawn, load(file).run(noise)["rebuilt"], 1e-5)
    again = run("run", file, "--set", "samples=16", "--seed", 3, "-o", tmp_path / "again.png")
    assert again.exit_code == 0
    assert (tmp_path / "again.png").read_bytes() == path.read_bytes()
    run("run", file, "--set", "samples=16", "--seed", 4, "-o", tmp_path / "other.png")
    assert (tmp_path / "other.png").read_bytes() != path.read_bytes()
    assert path.read_bytes() == pictures.grid(drawn)


def test_codes_may_be_given_in_place_of_noise(folder: Path, tmp_path: Path) -> None:
    codes = np.random.default_rng(3).standard_normal((100, 3)).astype(np.float32)
    np.save(tmp_path / "codes.npy", codes)
    for given in (tmp_path / "codes.npy", f"noise={tmp_path / 'codes.npy'}"):
        done = run("run", folder / "vae.decoder.onnx", "--input", given, "-o", tmp_path / "out.npz")
        assert done.exit_code == 0, done.output
        whole = load(folder / "vae.decoder.onnx").run(codes)["rebuilt"]
        np.testing.assert_allclose(np.load(tmp_path / "out.npz")["rebuilt"], whole, 1e-5)
    one = run("run", folder / "vae.decoder.onnx", "--json")
    assert len(json.loads(one.stdout)["results"]) == 1


def test_pictures_stand_above_what_was_rebuilt_of_them(folder: Path, tmp_path: Path) -> None:
    x = np.random.default_rng(2).random((3, 8, 7)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    done = run("run", folder / "vae.full.onnx", "--input", tmp_path / "x.npy", "-o", tmp_path / "x.png")
    assert done.exit_code == 0, done.output
    rebuilt = load(folder / "vae.full.onnx").run(x)["rebuilt"]
    assert (tmp_path / "x.png").read_bytes() == pictures.pairs(x, rebuilt) != pictures.pairs(rebuilt, x)


def test_windows_are_drawn_as_curves(folder: Path, tmp_path: Path) -> None:
    x = series(2 * WINDOW).reshape(2, WINDOW, 2)
    np.save(tmp_path / "x.npy", x)
    done = run("run", folder / "alarm.full.onnx", "--input", tmp_path / "x.npy", "-o", tmp_path / "x.png")
    assert done.exit_code == 0, done.output
    rebuilt = load(folder / "alarm.full.onnx").run(x)["rebuilt"]
    assert (tmp_path / "x.png").read_bytes() == pictures.curves(x, rebuilt)


def test_a_picture_needs_matplotlib(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for missing in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, missing, None)
    done = run("run", folder / "vae.decoder.onnx", "--set", "samples=2", "-o", tmp_path / "grid.png")
    assert done.exit_code == 3
    assert "pip install 'edgeseq[pictures]'" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ([], lambda scores: np.quantile(scores, 0.999)),
        (["--quantile", 0.9], lambda scores: np.quantile(scores, 0.9)),
        (["--deviations", 1.5], lambda scores: scores.mean() + 1.5 * scores.std()),
    ],
)
def test_a_threshold_is_chosen_anew(folder: Path, alarm: Path, rule: list[object], expected: Any) -> None:
    rows = series(120, 5)
    scores = load(alarm).run(rows[None])["score"][0, WINDOW - 1 :].astype(np.float64)
    before = load(alarm).values["threshold"]
    done = run("threshold", alarm, "--on", folder / "normal.csv", *rule, "--json")
    assert done.exit_code == 0, done.output
    shown, model = json.loads(done.stdout), load(alarm)
    assert shown["threshold"]["old"] == before
    assert shown["threshold"]["new"] == model.values["threshold"]
    assert model.values["threshold"] == pytest.approx(expected(scores), rel=1e-5)
    assert shown["above"]["new"] == (scores > model.values["threshold"]).sum() == model.run(rows[None])["alarm"].sum()
    assert shown["above"]["old"] == (scores > before).sum()
    about = model.contract.provenance["threshold"]
    assert about["on"] == "normal.csv"
    assert about["scores"] == len(rows) - WINDOW + 1
    assert about.get("quantile", about.get("deviations")) == (rule[1] if rule else 0.999)
    assert str(folder) not in json.dumps(dict(model.contract.provenance))
    assert run("verify", alarm).exit_code == 0
    assert run("verify", alarm, folder / "alarm.pt").exit_code == 0


def test_a_threshold_goes_to_another_file_and_is_told(folder: Path, alarm: Path, tmp_path: Path) -> None:
    content = alarm.read_bytes()
    done = run("threshold", alarm, "--on", folder / "normal.csv", "--quantile", 0.5, "-o", tmp_path / "new.onnx")
    assert re.search(r"old threshold .*; \d+ of 115 scores are above it", done.stdout)
    assert re.search(r"new threshold .*; 57 of 115 scores are above it", done.stdout)
    assert alarm.read_bytes() == content
    assert load(tmp_path / "new.onnx").values["threshold"] < load(alarm).values["threshold"]


@pytest.mark.parametrize("suffix", ["npy", "npz", "jsonl", "-"])
def test_normal_data_comes_in_any_format(folder: Path, alarm: Path, tmp_path: Path, suffix: str) -> None:
    rows, path = series(120, 5), tmp_path / f"normal.{suffix}"
    halves = rows.reshape(2, 60, 2)
    if suffix == "npy":
        np.save(path, halves)
    elif suffix == "npz":
        np.savez(path, x=halves, y=np.zeros(3))
    elif suffix == "jsonl":
        path.write_text("\n".join(json.dumps(half.tolist()) for half in halves))
    given, count = (path, 2 * (60 - WINDOW + 1)) if suffix != "-" else ("-", 120 - WINDOW + 1)
    done = run("threshold", alarm, "--on", given, "--json", stdin=(folder / "normal.csv").read_text())
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["chosen"]["scores"] == count


def test_pictures_have_a_threshold_too(folder: Path, tmp_path: Path) -> None:
    file = shutil.copy(folder / "vae.score.onnx", tmp_path / "vae.onnx")
    x = np.random.default_rng(0).random((100, 8, 7)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    assert run("threshold", file, "--on", tmp_path / "x.npy", "--quantile", 0.75).exit_code == 0
    assert load(file).run(x)["alarm"].sum() == 25


def test_a_long_series_is_scored_as_a_whole(alarm: Path, tmp_path: Path) -> None:
    rows = series(2500, 8)
    np.save(tmp_path / "x.npy", rows)
    assert run("threshold", alarm, "--on", tmp_path / "x.npy", "--quantile", 0.9).exit_code == 0
    scores = load(alarm).run(rows[None])["score"][0, WINDOW - 1 :]
    assert load(alarm).values["threshold"] == pytest.approx(np.quantile(scores, 0.9), rel=1e-5)


def test_a_threshold_needs_no_torch(folder: Path, alarm: Path) -> None:
    code = (
        "import sys\n"
        "from edgeseq.cli.app import run\n"
        "try:\n"
        f"    run(['threshold', {str(alarm)!r}, '--on', {str(folder / 'normal.csv')!r}])\n"
        "finally:\n"
        "    print([m for m in ('torch', 'edgeseq_export', 'edgeseq.nn') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_threshold_needs_onnx(folder: Path, alarm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = alarm.read_bytes()
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.delitem(sys.modules, "edgeseq.revalue", raising=False)
    done = run("threshold", alarm, "--on", folder / "normal.csv")
    assert done.exit_code == 3
    assert "pip install 'edgeseq[export]'" in done.stderr
    assert alarm.read_bytes() == content


GAP = "left,right\n" + "1,2\n3,4\n" * 5


@pytest.mark.parametrize(
    ("arguments", "content", "message"),
    [
        ("threshold {f}/alarm.encoder.onnx --on {x}.csv", GAP, "has no threshold; export .* --part score"),
        ("threshold {m} --on {x}.csv --quantile 1", GAP, "the quantile is 1.0, but it lies between 0 and 1"),
        ("threshold {m} --on {x}.csv --quantile 0", GAP, "the quantile is 0.0, but it lies between 0 and 1"),
        ("threshold {m} --on {x}.csv --quantile nan", GAP, "the quantile is nan"),
        ("threshold {m} --on {x}.csv --deviations -1", GAP, "deviations is -1.0, but a number from 0 is expected"),
        ("threshold {m} --on {x}.csv --deviations inf", GAP, "deviations is inf"),
        ("threshold {m} --on {x}.csv --quantile 0.9 --deviations 1", GAP, "two ways to choose"),
        ("threshold {m} --on {x}.csv -o {x}.pt", GAP, "ends in .onnx"),
        ("threshold {m} --on {x}.txt", GAP, "no known format"),
        ("threshold {m} --on none.csv", GAP, "does not exist"),
        ("threshold {m} --on {x}.csv", series(WINDOW), "at least 2 scores, but there is 1"),
        ("threshold {m} --on {x}.csv", "1,2\n", "has 1 steps, but .* windows of 6; give a longer series"),
        ("threshold {m} --on {x}.csv", series(5), "has 5 steps, but alarm.onnx scores windows of 6"),
        ("threshold {m} --on {x}.csv", np.full((40, 2), 0.3), "is constant: all 40 rows are the same"),
        ("threshold {m} --on {x}.csv", GAP + "nan,1\n1,1\n", r"line 12: column 1 \('left'\) is nan"),
        ("threshold {m} --on {x}.csv", GAP + "1,-inf\n1,1\n", r"line 12: column 2 \('right'\) is -inf"),
        ("threshold {m} --on {x}.csv", GAP + "1,\n1,1\n", "line 12: column 2 .*the value is missing"),
        ("threshold {m} --on {x}.csv", GAP + "\n1,1\n", "line 12: a row is missing"),
        ("threshold {m} --on {x}.csv", GAP + "1,2,3\n", "line 12: column 3 is one too many"),
        ("threshold {m} --on {x}.csv", GAP[11:].replace(",", ",0,"), "has 3 columns, but 'x' takes 2"),
        ("threshold {m} --on {x}.npy", np.array([[1, 2], [np.nan, 1]] * 9), r"has nan at \[0, 1, 0\]"),
        ("threshold {m} --on {x}.npy", np.zeros((3, 2, 5, 2)), "'x' has 4 axes"),
        ("threshold {m} --on {x}.jsonl", "[[1,2]]\n[[1,2],[3]]\n", "line 2: 'x' is not regular"),
        ("threshold {v} --on {x}.npy", np.full((1, 8, 7), 0.5), "at least 2 scores, but there is 1"),
        ("threshold {v} --on {x}.npy", np.full((9, 8, 7), 0.5), "is constant: all 9 rows are the same"),
        ("run {m} --input {x}.csv", series(5), "there are 5 steps, but alarm.onnx scores windows of 6"),
        ("run {m} --input {x}.csv --stream", series(5), "there are 5 steps, but alarm.onnx scores windows of 6"),
        ("run {f}/alarm.full.onnx --input {x}.csv", series(5), "'x' has 5 along axis 1, but .* takes 6"),
        ("run {f}/ae.decoder.onnx --input {x}.csv", "1,2,3,4\n", "has 4 columns, but 'code' takes 3"),
        ("run {f}/ae.decoder.onnx --input {x}.npy", np.ones((2, 4)), "'code' has 4 features, but .* takes 3"),
        ("run {f}/vae.decoder.onnx --input {x}.npy", np.ones((2, 4)), "'noise' has 4 numbers a row, but .* takes 3"),
        ("run {f}/vae.decoder.onnx --set samples=0", "", "samples is 0, but a whole number from 1 is expected"),
        ("run {f}/vae.decoder.onnx --set samples=2.5", "", "samples is 2.5, but a whole number"),
        ("run {f}/vae.decoder.onnx --set samples=99999999999", "", "would take .* MiB of memory, but at most 2048"),
        (f"run {{f}}/vae.decoder.onnx --set samples={10**400}", "", "is no finite number"),
        ("run {f}/vae.decoder.onnx --set samples=1000000 -o {x}.png", "", "need a sheet of .* pixels, but it has at"),
        ("run {m} --input {x}.csv --set threshold=1e40", GAP, "is 1e[+]40, which is too large for float32"),
        ("threshold {m} --on {x}.csv --deviations 1e300", series(40), "would be .*, which is too large for float32"),
        ("threshold {m} --on {x}.csv --deviations 1e308", series(40) * 1e4, "too large for float32"),
        ("export {f}/vae.pt --recurrence unroll --steps 5", "", "vae.pt has no axis .* so it takes no steps"),
        ("export {f}/alarm.pt --recurrence unroll --steps 5", "", "alarm.pt has no axis .* so it takes no steps"),
        ("run {f}/vae.decoder.onnx --input {x}.npy --set samples=3", np.ones((2, 3)), "'samples' is set, but"),
        ("run {f}/vae.decoder.onnx --stream", "", "cannot be streamed"),
        ("run {f}/ae.decoder.onnx --set samples=3 --input {x}.csv", "1,2,3\n", "no generator: it answers .*'code'"),
        ("run {f}/vae.full.onnx --set samples=3 --input {x}.csv", "1\n", "no generator: it answers .*'x'"),
        ("run {m} --set samples=3 --input {x}.csv", GAP, "no generator"),
        ("run {f}/vae.encoder.onnx --input {x}.npy -o {x}.png", np.ones((2, 8, 7)), "'code' has the axes batch, 3"),
        ("run {m} --input {x}.csv -o {x}.png", GAP, "'score' has the axes batch, time"),
        ("run {f}/alarm.decoder.onnx --input {x}.csv -o {x}.png", "1,2,3\n", "windows of series.* take the part"),
        ("run {m} --input {x}.csv --stream -o {x}.png", GAP, "no known format"),
        ("run {f}/vae.full.onnx --input {x}.png", b"\x89PNG\r\n", "x.png' has no known format; give a file"),
        ("run {f}/vae.full.onnx --input {x}.npy", b"\x89PNG\r\n", "is not a readable .npy file"),
        ("run {f}/vae.full.onnx --input {x}.npz", b"PK\x03\x04 broken", "is not a readable .npz file"),
        ("run {f}/vae.full.onnx --input {x}.npy", b"\x93NUMPY\x01\x00\x10\x00{'descr': '<f4", "not a readable .npy"),
        ("run {f}/vae.full.onnx --input {x}.npy", np.ones((2, 7, 8)), "'x' has 7 along axis 1, but .* takes 8"),
    ],
)  # fmt: skip
def test_bad_input(folder: Path, alarm: Path, tmp_path: Path, arguments: str, content: Any, message: str) -> None:
    pictures = shutil.copy(folder / "vae.score.onnx", tmp_path / "vae.onnx")
    before = alarm.read_bytes()
    for suffix in re.findall(r"--(?:on|input) \{x\}(\.\w+)", arguments):
        path = tmp_path / f"x{suffix}"
        if suffix == ".npy" and isinstance(content, np.ndarray):
            np.save(path, content.astype(np.float32))
        elif isinstance(content, np.ndarray):
            write_csv(path, content)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
    given = sorted(path.name for path in tmp_path.iterdir())
    done = run(*arguments.format(f=folder, m=alarm, v=pictures, x=tmp_path / "x").split())
    assert done.exit_code == 2, done.output
    assert re.search(message, done.stderr), done.stderr
    assert "Traceback" not in done.output
    assert alarm.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == given
