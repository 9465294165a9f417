"""Scores once in a hop on the command line and in training: lines, whole runs, thresholds, figures of alarms."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from edgeseq_export import export
from edgeseq_runtime import load
from typer.testing import CliRunner, Result

from edgeseq import checkpoint
from edgeseq.cli.app import app
from edgeseq.data import Dataset, Parts
from edgeseq.nn import Hints, Network, build, with_settings
from edgeseq.opening import open_source
from edgeseq.training import pictures
from edgeseq.training.evaluate import evaluate
from edgeseq.training.stepwise import reach_of, stepwise_alarms

WINDOW = 6
HOPS = (1, 3, 4, 6)
LABELS = ("normal", "anomaly")


def series(steps: int, seed: int = 0) -> np.ndarray:
    t = np.arange(steps)[:, None] / [3, 5]
    return np.round(np.sin(t) + 0.1 * np.random.default_rng(seed).standard_normal((steps, 2)), 4).astype(np.float32)


def network_of(**settings: Any) -> Network:
    config = {"input_shape": [200, 2], "code_size": 3, "hidden_sizes": [8], "window": WINDOW, **settings}
    data = Dataset(series(200)[None], np.zeros((1, 200), np.int64), np.array([200]), LABELS)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = build("ae", config, Hints(labels=LABELS)).eval()
    network.standardise(data)
    network.finish(network.examples(data), None)
    return network


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """alarm.pt, and alarm.H.onnx for each hop."""
    folder = tmp_path_factory.mktemp("hops")
    checkpoint.save(folder / "alarm.pt", network_of(), {}, {"export": {"part": "score"}})
    for hop in HOPS:
        export(open_source(folder / "alarm.pt", {"part": "score", "hop": hop}), folder / f"{hop}.onnx", verify=False)
    return folder


def run(*arguments: object, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], input=stdin, prog_name="edgeseq")


def lines_of(rows: np.ndarray) -> list[str]:
    return [",".join(map(str, row)) for row in rows.tolist()]


def in_hops(rows: np.ndarray, hop: int) -> np.ndarray:
    """A batch of one, without what is left over."""
    count = len(rows) // hop
    return rows[: count * hop].reshape(1, count, hop, 2) if hop > 1 else rows[None]


def first_score(hop: int) -> int:
    """How many hops there are when the first window is full."""
    return -(-WINDOW // hop)


@pytest.mark.parametrize("chunk", [1, 2, 5, 99])
@pytest.mark.parametrize("hop", HOPS)
def test_lines_of_a_hop_are_answered_by_its_last(folder: Path, hop: int, chunk: int) -> None:
    rows = series(26, 9)
    rows[12:16] = 4
    whole = load(folder / f"{hop}.onnx").run(in_hops(rows, hop))
    text, given = "\n".join(lines_of(rows)), ("run", folder / f"{hop}.onnx", "--input", "-", "--stream")
    done = run(*given, "--chunk", chunk, "--json", stdin=text)
    assert done.exit_code == 0, done.output
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [a["line"] for a in answers] == list(range(hop, 27, hop))
    first = first_score(hop) - 1
    assert [a["score"] is None for a in answers] == [place < first for place in range(len(answers))]
    np.testing.assert_allclose([a["score"] for a in answers[first:]], whole["score"][0, first:], rtol=1e-5)
    assert [a["alarm"] for a in answers] == whole["alarm"][0].tolist()
    assert set(whole["alarm"][0]) == {0, 1}
    left = 26 % hop
    assert ("left out" in done.stderr) == bool(left)
    assert not left or f"the last {left} steps are left out: there is a score once in {hop} steps" in done.stderr
    cells = [line.split(",") for line in run(*given, "--chunk", chunk, stdin=text).stdout.splitlines()]
    assert [alarm for _, alarm in cells] == [str(a["alarm"]) for a in answers]


@pytest.mark.parametrize("at", [0, 1, 2, 3, 8, 11])
@pytest.mark.parametrize("bad", ["", "nan,1", "1", "x,1", "[1, null]", "[[1,2],[1,2],[1,2]]"])
def test_a_bad_line_is_told_at_once_and_is_of_no_hop(folder: Path, bad: str, at: int) -> None:
    rows, given = lines_of(series(12, 4)), ("run", folder / "3.onnx", "--input", "-", "--stream")
    good = run(*given, stdin="\n".join(rows))
    done = run(*given, stdin="\n".join([*rows[:at], bad, *rows[at:]]))
    lines, before = done.stdout.splitlines(), at // 3
    assert lines[before] == "error,"
    assert lines[:before] + lines[before + 1 :] == good.stdout.splitlines()
    assert f"line {at + 1}: " in done.stderr
    assert (good.exit_code, done.exit_code) == (0, 2)
    numbers = [
        json.loads(line)["line"]
        for line in run(*given, "--json", stdin=f"{bad}\n" + "\n".join(rows)).stdout.splitlines()
    ]
    assert numbers == [1, 4, 7, 10, 13]


@pytest.mark.parametrize("suffix", ["csv", "npy", "jsonl", "npz"])
@pytest.mark.parametrize(("hop", "steps"), [(3, 14), (3, 15), (4, 15), (6, 13), (1, 14)])
def test_whole_runs_are_grouped(folder: Path, tmp_path: Path, suffix: str, hop: int, steps: int) -> None:
    rows, path, file = series(steps, 2), tmp_path / f"x.{suffix}", folder / f"{hop}.onnx"
    if suffix == "npy":
        np.save(path, rows)
    elif suffix == "npz":
        np.savez(path, x=rows, y=np.zeros(3))
    else:
        path.write_text("\n".join(lines_of(rows)) if suffix == "csv" else json.dumps(rows.tolist()))
    whole = load(file).run(in_hops(rows, hop))
    done = run("run", file, "--input", path)
    assert done.exit_code == 0, done.output
    header, *lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert header == ["sequence", "step", "score", "alarm"]
    assert [int(line[1]) for line in lines] == list(range(hop - 1, steps, hop))
    first = first_score(hop) - 1
    assert [line[2] for line in lines] == [""] * first + [str(score) for score in whole["score"][0, first:]]
    assert [int(line[3]) for line in lines] == whole["alarm"][0].tolist()
    left = steps % hop
    told = {0: "", 1: "the last step is left out"}.get(left, f"the last {left} steps are left out")
    assert told in done.stderr
    assert ("left out" in done.stderr) == bool(left)
    assert run("run", file, "--input", path, "-o", tmp_path / "out.npz").exit_code == 0
    np.testing.assert_array_equal(np.load(tmp_path / "out.npz")["score"], whole["score"])


def test_hops_and_states_may_be_given_as_the_file_has_them(folder: Path, tmp_path: Path) -> None:
    rows, model = series(30, 3), load(folder / "4.onnx")
    given = np.stack([in_hops(rows, 4)[0], in_hops(rows[2:], 4)[0]])
    np.savez(tmp_path / "x.npz", x=given)
    (one, other) = json.loads(run("run", folder / "4.onnx", "--input", tmp_path / "x.npz", "--json").stdout)["results"]
    whole = model.run(given)
    np.testing.assert_allclose([one["score"][1:], other["score"][1:]], whole["score"][:, 1:], rtol=1e-5)
    states = model.run(in_hops(rows[:8], 4), states=True)
    np.savez(tmp_path / "rest.npz", x=rows[8:], past=states["past_next"], seen=states["seen_next"])
    (rest,) = json.loads(run("run", folder / "4.onnx", "--input", tmp_path / "rest.npz", "--json").stdout)["results"]
    np.testing.assert_allclose(rest["score"], one["score"][2:], rtol=1e-5)  # none of it is without a window


def test_lengths_beside_series_count_samples(folder: Path, tmp_path: Path) -> None:
    lengths, x, file = [18, 11, 3], np.stack([series(20, row) for row in range(3)]), folder / "4.onnx"
    np.savez(tmp_path / "x.npz", x=x, lengths=lengths)
    done = run("run", file, "--input", tmp_path / "x.npz", "--json")
    assert done.exit_code == 0, done.output
    results = json.loads(done.stdout)["results"]
    assert [len(result["alarm"]) for result in results] == [4, 2, 0]
    assert "the last 3 steps are left out" in done.stderr
    done = run("threshold", shutil.copy(file, tmp_path), "--on", tmp_path / "x.npz", "--quantile", 0.5, "--json")
    assert json.loads(done.stdout)["chosen"]["scores"] == 3 + 1


@pytest.mark.parametrize("hop", HOPS)
def test_a_threshold_is_chosen_on_scores_of_hops(folder: Path, tmp_path: Path, hop: int) -> None:
    file, rows = Path(shutil.copy(folder / f"{hop}.onnx", tmp_path)), series(2501, 5)
    (tmp_path / "normal.csv").write_text("\n".join(lines_of(rows)))
    scores = load(file).run(in_hops(rows, hop))["score"][0, first_score(hop) - 1 :]
    done = run("threshold", file, "--on", tmp_path / "normal.csv", "--quantile", 0.9, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["chosen"]["scores"] == len(scores)
    assert load(file).values["threshold"] == pytest.approx(np.quantile(scores.astype(np.float64), 0.9), rel=1e-5)
    assert ("left out" in done.stderr) == (2501 % hop > 0)


@pytest.mark.parametrize(
    ("arguments", "steps", "message"),
    [
        ("run {f}/4.onnx --input {x}", 7, "7 steps, .* windows of 6 once in 4 steps, .* give at least 8 steps"),
        ("run {f}/4.onnx --input {x} --stream", 7, "7 steps, .* windows of 6 once in 4 steps, .* at least 8 steps"),
        ("run {f}/3.onnx --input {x}", 5, "5 steps, .* windows of 6 once in 3 steps, .* give more steps"),
        ("run {f}/4.onnx --input {x}", 3, "there are 3 steps, but 4.onnx takes 4 at a time; give more steps"),
        ("run {f}/4.onnx --input {x} --stream", 3, "there are 3 steps"),
        ("threshold {f}/4.onnx --on {x}", 7, "has 7 steps, .* windows of 6, and the first score comes after 8 steps"),
        ("threshold {f}/4.onnx --on {x}", 8, "at least 2 scores, but there is 1"),
        ("export {f}/alarm.pt --part full --hop 3", 8, "--hop is of the anomaly score of windows; add --part score"),
        ("export {f}/alarm.pt --hop 7", 8, "hop is 7, but it is at most the window's 6 steps"),
        ("export {f}/alarm.pt --hop 0", 8, "Invalid value for '--hop'"),
    ],
)
def test_what_cannot_be_is_refused(folder: Path, tmp_path: Path, arguments: str, steps: int, message: str) -> None:
    (tmp_path / "x.csv").write_text("\n".join(lines_of(series(steps))))
    done = run(*arguments.format(f=folder, x=tmp_path / "x.csv").split())
    assert done.exit_code == 2, done.output
    assert re.search(message, done.stderr), done.stderr


def test_a_constant_series_is_told_from_a_periodic_one(folder: Path, tmp_path: Path) -> None:
    file = shutil.copy(folder / "3.onnx", tmp_path)
    for rows, message in (
        (np.ones((24, 2), np.float32), "is constant: all 24 rows are the same"),
        (np.tile(series(3), (8, 1)), "all 7 scores are"),
    ):
        np.save(tmp_path / "x.npy", rows)
        assert message in run("threshold", file, "--on", tmp_path / "x.npy").stderr


def test_export_writes_the_hop_and_proves_it(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "alarm.pt", tmp_path)
    done = run("export", tmp_path / "alarm.pt", "--hop", 4)
    assert done.exit_code == 0, done.output
    model = load(tmp_path / "alarm.onnx")
    assert model.contract.settings == {"part": "score", "hold": [1, 1], "hop": 4, "window": WINDOW}
    assert model.signature.inputs[0].axes == ("batch", "time", 4, 2)
    assert run("verify", tmp_path / "alarm.onnx", tmp_path / "alarm.pt").exit_code == 0
    assert re.search(r"hop +│ 4 ", run("inspect", tmp_path / "alarm.onnx").output)
    checkpoint.save(tmp_path / "own.pt", network_of(hop=3), {}, {"export": {"part": "score"}})
    assert run("export", tmp_path / "own.pt", "--no-verify").exit_code == 0
    assert load(tmp_path / "own.onnx").contract.hop == 3


def anomalous() -> Dataset:
    """Two series, one shorter than the other, each with an event."""
    x, y = np.stack([series(50, 1), series(50, 2)]), np.zeros((2, 50), np.int64)
    x[0, 20:24], y[0, 20:24] = 4, 1
    x[1, 31:33], y[1, 31:33] = -4, 1
    x[1, 41:] = 0
    return Dataset(x, y, np.array([50, 41]), LABELS)


@pytest.mark.parametrize("hold", [[1, 1], [2, 3]])
@pytest.mark.parametrize("hop", HOPS)
def test_a_step_has_the_latest_answer(hop: int, hold: list[int]) -> None:
    network, x = network_of(hop=hop, hold=hold, threshold_quantile=0.5), anomalous().x
    scores, alarms = stepwise_alarms(network, x)
    assert scores.shape == alarms.shape == (2, 50)
    assert set(alarms.ravel()) == {0, 1}
    every = with_settings(network, {"part": "score", "hop": 1, "hold": [1, 1]})
    with torch.no_grad():
        each = {name: value.numpy() for name, value in every(torch.from_numpy(x)).items()}
    for step in range(50):
        ended = [end for end in range(step + 1) if (end + 1) % hop == 0]
        score = each["score"][:, ended[-1]] if ended else np.zeros(2)
        np.testing.assert_allclose(scores[:, step], score, rtol=1e-4, atol=1e-6)
        above = each["alarm"][:, ended[-hold[1] :]].sum(1) if ended else np.zeros(2)
        np.testing.assert_array_equal(alarms[:, step], above >= hold[0])


@pytest.mark.parametrize("hold", [[1, 1], [1, 3]])
@pytest.mark.parametrize("hop", HOPS)
def test_an_alarm_reaches_as_far_as_it_can_be_an_events(hop: int, hold: list[int]) -> None:
    """The last step at which an answer can still stem from an event is the last of its reach, whatever the phase."""
    network = network_of(hop=hop, hold=hold)
    last = []
    for event in range(30, 30 + hop):
        ends = [end for end in range(100) if (end + 1) % hop == 0 and end - WINDOW < event <= end]
        last.append(ends[-1] + hold[1] * hop - 1 - event if ends else 0)
    assert max(last) == reach_of(network) - 1


@pytest.mark.parametrize("part", ["full", "score"])
@pytest.mark.parametrize("hop", HOPS)
def test_figures_of_alarms_at_any_hop(hop: int, part: str) -> None:
    figures = evaluate(network_of(hop=hop, part=part, threshold_quantile=0.99), anomalous())
    assert figures["events"] == 2
    assert figures["event_recall"] == 1
    assert 0 < figures["precision"] < 1
    assert 0 <= figures["delay"] < WINDOW
    assert figures["peak_distance"] <= WINDOW + hop
    assert figures["rebuild_error"] == pytest.approx(evaluate(network_of(), anomalous())["rebuild_error"])


def test_alarms_come_later_with_a_hop() -> None:
    delays = [evaluate(network_of(hop=hop, threshold_quantile=0.99), anomalous())["delay"] for hop in (1, 6)]
    assert delays[0] < delays[1]


def test_pictures_show_alarms_at_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: dict[str, np.ndarray] = {}

    def alarms(signal: np.ndarray, score: np.ndarray, alarm: np.ndarray, *rest: object) -> bytes:
        shown.update(signal=signal, score=score, alarm=alarm)
        return b""

    monkeypatch.setattr(pictures.pictures, "alarms", alarms)
    network, data = network_of(hop=4, threshold_quantile=0.9), anomalous()
    pictures.drawn(network, Parts(data, data, data, ""))
    scores, raised = stepwise_alarms(network, data.x[:1])
    np.testing.assert_array_equal(shown["score"], scores[0])
    np.testing.assert_array_equal(shown["alarm"], raised[0])
    assert raised.any()


@pytest.mark.parametrize("hop", HOPS)
@pytest.mark.parametrize("chunk", [1, 3, 50])
def test_pieces_of_hops_are_the_whole(folder: Path, tmp_path: Path, hop: int, chunk: int) -> None:
    (tmp_path / "x.csv").write_text("\n".join(lines_of(series(41))))
    files = []
    for flags in ([], ["--chunk", chunk]):
        files.append(tmp_path / f"{len(files)}.csv")
        result = run("run", folder / f"{hop}.onnx", "--input", tmp_path / "x.csv", "-o", files[-1], *flags)
        assert result.exit_code == 0, result.output
        assert ("left out" in result.stderr) == (41 % hop > 0)
    whole, parts = ([line.split(",") for line in file.read_text().splitlines()] for file in files)
    assert [(*row[:2], row[3]) for row in parts] == [(*row[:2], row[3]) for row in whole]
    scores = [[float(row[2] or "nan") for row in rows[1:]] for rows in (parts, whole)]
    np.testing.assert_allclose(*scores, rtol=1e-4)
