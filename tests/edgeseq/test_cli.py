"""The command line as a table: arguments, exit code, and what is said where."""

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgeseq_runtime import Comparison, ParityReport, load
from edgeseq_runtime.errors import UsageError
from rich.console import Console
from typer.testing import CliRunner, Result

from edgeseq import cadence, checkpoint
from edgeseq.cli import doctor
from edgeseq.cli.app import app
from edgeseq.cli.bench import parse_budget
from edgeseq.cli.output import pairs, table
from edgeseq.cli.render import report_markdown, summarise, verdict
from edgeseq.machine import examine

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "onnx", "pytorch_lightning", "onnxscript")


def run(*arguments: object, stdin: str | None = None, env: Mapping[str, str] | None = None) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], input=stdin, env=env, prog_name="edgeseq")


def program(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("", 2, "Usage: edgeseq"),
        ("--help", 0, "Exit codes: 0 done"),
        ("--version", 0, r"edgeseq \d+\.\d+"),
        ("frobnicate", 2, "No such command"),
        ("verfy x", 2, "Did you mean 'verify'"),
        ("run", 2, "Missing argument 'MODEL'"),
        ("run {m}/none.onnx", 2, "none.onnx' does not exist"),
        ("run {m}", 2, "Is a directory"),
        ("run {m}/lstm.pt --input {m}/x.csv", 2, "not an ONNX file"),
        ("run {m}/lstm.onnx --input {m}/none.csv", 2, "none.csv' does not exist"),
        ("run {m}/lstm.onnx --input {m}/lstm.pt", 2, "no known format"),
        ("run {m}/lstm.onnx --input {m}/x.csv -o {m}/out.txt", 2, "no known format"),
        ("run {m}/lstm.onnx --input {m}/x.csv -o {m}/x.csv/out.csv", 2, "cannot write"),
        ("run {m}/lstm.onnx --input {m}/x.csv --stream -o {m}/out.npz", 2, "line by line"),
        ("run {m}/lstm.onnx --input {m}/x.csv --chunk 2 -o {m}/out.npz", 2, "is written whole"),
        ("run {m}/bidirectional.onnx --input {m}/x.csv --stream", 2, "both directions"),
        ("run {m}/lstm.onnx --provider tpu", 2, "provider 'tpu' is not known"),
        ("run {m}/lstm.onnx --threads 0", 2, "--threads 0 is not understood; give a number"),
        ("bench {m}/lstm.onnx --time 1000000000000", 2, "out of memory: Unable to allocate"),
        ("bench {m}/lstm.onnx --threads two", 2, "--threads two is not understood"),
        ("run {m}/gru.onnx --input {m}/x.csv", 2, "has 3 columns, but 'x' takes 2"),
        ("export {m}/none.pt", 2, "none.pt'"),
        ("export {m}/lstm.pt -o {m}", 2, "is a folder"),
        ("export {m}/lstm.pt -o {m}/lstm.pt", 2, "ends in .onnx, but '.*lstm.pt' was given"),
        ("export .", 2, "is a folder"),
        ("run {m}/lstm.onnx --input {m}/x.csv -o {m}/x.csv", 2, "is the input"),
        ("run {m}/lstm.pt --input {m}/x.csv", 2, "not an ONNX file; export it first"),
        ("export {m}/lstm.pt --opset 0", 2, "opset 0 cannot be written"),
        (
            "export {m}/lstm.pt --recurrence magic",
            2,
            "recurrence 'magic' cannot be written; choose native, loop, unroll",
        ),
        ("export {m}/lstm.pt --steps 5", 2, "steps are of the unroll form"),
        ("export {m}/lstm.pt --no-verify --report {m}/r.md", 2, "--no-verify leaves out"),
        ("export {m}/lstm.pt --report {m}/r.txt", 2, "ends in .json or .md"),
        ("verify {m}/none.onnx", 2, "does not exist"),
        ("verify {m}/lstm.onnx {m}/none.pt", 2, "none.pt'"),
        ("verify {m}/lstm.onnx --report {m}", 2, "ends in .json or .md"),
        ("bench {m}/lstm.onnx --budget p98=5ms", 2, "budget 'p98=5ms' is not understood"),
        ("bench {m}/lstm.onnx --rate 50", 2, "--rate times one stream: give --stream"),
        ("bench {m}/lstm.onnx --stream --rate 50 --against {m}/lstm.pt", 2, "leave --against out"),
        ("bench {m}/lstm.onnx --stream --rate 0", 2, "Invalid value for '--rate'"),
        ("bench {m}/lstm.onnx --batch 0", 2, "Invalid value for '--batch'"),
        ("bench {m}/bidirectional.onnx --stream", 2, "both directions"),
        ("inspect {m}/none.pt", 2, "none.pt'"),
        ("inspect {m}/x.csv", 2, "not an ONNX file"),
        ("doctor {m}/none.onnx", 2, "does not exist"),
        ("train {m}/none", 2, "no recipe"),
        ("train --set train.epochs=3", 2, "say which recipe"),
    ],
)
def test_usage(models: Path, arguments: str, code: int, message: str) -> None:
    (models / "x.csv").write_text("1,2,3\n4,5,6\n")
    result = run(*arguments.format(m=models).split())
    assert result.exit_code == code
    assert re.search(message, result.output), result.output
    assert "Traceback" not in result.output


def test_a_provider_that_is_named_is_there_or_the_command_fails(models: Path) -> None:
    if "cuda" in examine().providers:
        pytest.skip("this machine has the provider that should be missing")
    for command in ("run", "verify", "bench"):
        result = run(command, models / "lstm.onnx", "--provider", "cuda", stdin="1,2,3\n")
        assert result.exit_code == 3
        assert "'cuda' was asked for" in result.stderr


@pytest.mark.parametrize(("arguments", "env"), [(["--debug"], {}), ([], {"EDGESEQ_DEBUG": "1"})])
def test_debug_shows_the_traceback_and_keeps_the_code(arguments: list[str], env: dict[str, str]) -> None:
    result = run(*arguments, "run", "none.onnx", env=env)
    assert result.exit_code == 2
    assert "Traceback" in result.output
    assert "MissingFileError" in result.output


@pytest.mark.parametrize(
    ("stdin", "expected"),
    [
        ("a,b,c\n1,2,3\n4,5,6\n", ["0"]),
        ('[[1,2,3],[4,5,6]]\n{"x": [[1,2,3]], "id": "short"}\n', ["0", "short"]),
    ],
)
def test_run_reads_a_pipe_and_prints_lines(models: Path, stdin: str, expected: list[str]) -> None:
    result = run("run", models / "lstm.onnx", stdin=stdin)
    assert result.exit_code == 0
    header, *rows = (line.split("\t") for line in result.stdout.splitlines())
    assert header == ["sequence", "label", "probability"]
    assert [row[0] for row in rows] == expected
    model = load(models / "lstm.onnx")
    first = model.run(np.array([[[1, 2, 3], [4, 5, 6]]], np.float32))["probabilities"][0]
    assert rows[0][1] == ("ae", "oe", "ue")[first.argmax()]
    assert float(rows[0][2]) == pytest.approx(first.max(), rel=1e-5)
    answers = json.loads(run("run", models / "lstm.onnx", "--json", stdin=stdin).stdout)
    assert answers["version"] == 1
    assert [str(answer["sequence"]) for answer in answers["results"]] == expected
    assert [answer["label"] for answer in answers["results"]] == [row[1] for row in rows]


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.npy", "a.npz"])
def test_run_writes_files_and_many_sequences_go_in_batches(models: Path, tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(0)
    x, lengths = rng.standard_normal((150, 7, 3)).astype(np.float32), rng.integers(1, 8, 150)
    np.savez(tmp_path / "in.npz", x=x, lengths=lengths, y=np.zeros(150))
    result = run("run", models / "lstm.onnx", "--input", tmp_path / "in.npz", "-o", tmp_path / name)
    assert result.exit_code == 0
    expected = load(models / "lstm.onnx").run({"x": x, "lengths": lengths})["probabilities"]
    if name == "a.npz":
        with np.load(tmp_path / name) as archive:
            np.testing.assert_allclose(archive["probabilities"], expected, rtol=1e-4, atol=1e-6)
            assert set(archive.files) == {"logits", "probabilities", "lengths"}
    elif name == "a.npy":
        np.testing.assert_allclose(np.load(tmp_path / name), expected, rtol=1e-4, atol=1e-6)
    else:
        assert len((tmp_path / name).read_text().splitlines()) == 150 + (name == "a.csv")


def test_a_bad_line_of_numbers_does_not_lose_the_others(models: Path, tmp_path: Path) -> None:
    good = ["[[1,2,3],[4,5,6]]", '{"x": [[7,8,9]], "id": "last"}']
    lines = "\n".join([good[0], '{"x": [[1,2]], "id": "narrow"}', "[[1,2,NaN]]", good[1]])
    (tmp_path / "in.jsonl").write_text(lines)
    expected = json.loads(run("run", models / "lstm.onnx", "--json", stdin="\n".join(good)).stdout)["results"]
    for source in ({"stdin": lines}, {}):
        arguments = ("run", models / "lstm.onnx", *(() if source else ("--input", tmp_path / "in.jsonl")))
        result = run(*arguments, "--json", **source)
        assert result.exit_code == 2
        first, narrow, infinite, last = json.loads(result.stdout)["results"]
        assert [first, last] == expected
        assert narrow == {"sequence": "narrow", "error": narrow["error"]}
        assert "has 2 features, but lstm.onnx takes 3" in narrow["error"]
        assert infinite == {"sequence": 2, "error": "input 'x' has nan at [0, 2]; repair or drop that value"}
        assert re.search(r"line 2: .*\n.*line 3: .*\nedgeseq: 2 of 4 sequences could not be used\n", result.stderr)
        assert run(*arguments, **source).stdout.splitlines()[2:4] == ["narrow\terror\t", "2\terror\t"]
        assert run(*arguments, "-o", tmp_path / "out.npz", **source).exit_code == 2
        with np.load(tmp_path / "out.npz") as archive:
            assert archive["sequence"].tolist() == [0, 3]
            assert len(archive["probabilities"]) == 2


@pytest.mark.parametrize("name", ["lstm.onnx", "gru.onnx"])
def test_bad_lines_of_numbers_alone_are_answered_too(models: Path, name: str) -> None:
    result = run("run", models / name, "--json", stdin="[[1]]\n[1,2\n")
    assert result.exit_code == 2
    assert [list(record) for record in json.loads(result.stdout)["results"]] == [["sequence", "error"]] * 2
    assert "2 of 2 sequences could not be used" in result.stderr
    assert run("run", models / name, stdin="[[1]]\n").stdout.splitlines()[1].split("\t")[-2] == "error"


def test_streams_count_their_bad_lines(models: Path, tmp_path: Path) -> None:
    result = run("run", models / "gru.onnx", "--stream", stdin="1,2\nnan,2\n3,4\n")
    assert result.exit_code == 2
    assert result.stdout.splitlines()[1] == "error,"
    assert len(result.stdout.splitlines()) == 3
    assert "line 2: 'x' has nan" in result.stderr
    assert "1 of 3 lines could not be used" in result.stderr
    result = run("run", models / "gru.onnx", "--stream", "-o", tmp_path / "a.jsonl", stdin="1,2\n3,4\n")
    assert result.exit_code == 0
    assert [json.loads(line)["line"] for line in (tmp_path / "a.jsonl").read_text().splitlines()] == [1, 2]


def test_export_and_verify(models: Path, tmp_path: Path) -> None:
    target = tmp_path / "out" / "gru.onnx"
    result = run("export", models / "gru.pt", "-o", target, "--report", tmp_path / "proof.json", "--json")
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert printed["version"] == 1
    assert printed["proof"]["passed"]
    assert json.loads((tmp_path / "proof.json").read_text())["comparisons"] == printed["proof"]["comparisons"]
    golden = run("verify", target, "--report", tmp_path / "golden.md")
    assert golden.exit_code == 0
    assert "gru.onnx equals PyTorch's answers in its golden vectors" in golden.stdout
    assert (
        (tmp_path / "golden.md").read_text().startswith("# gru.onnx against PyTorch's answers in its golden vectors\n")
    )
    whole = run("verify", target, models / "gru.pt")
    assert whole.exit_code == 0
    assert "gru.onnx equals gru.pt" in whole.stdout


def test_a_changed_weight_fails_both_proofs(models: Path, tmp_path: Path) -> None:
    from edgeseq_export.mutant import mutant

    changed = mutant((models / "gru.onnx").read_bytes())
    assert changed is not None
    (tmp_path / "gru.onnx").write_bytes(changed.content)
    for reference in ((), (models / "gru.pt",)):
        result = run("verify", tmp_path / "gru.onnx", *reference, "--report", tmp_path / "proof.md")
        assert result.exit_code == 1
        assert "differs from" in result.stderr
        assert "DIFFERS" in result.stdout
        assert "## Failures" in (tmp_path / "proof.md").read_text()
    printed = json.loads(run("verify", tmp_path / "gru.onnx", "--json").stdout)
    assert not printed["passed"]


def test_bench_at_the_pace_of_the_data(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cadence, "IDLE_SECONDS", 0.01)
    paced = ("bench", models / "lstm.onnx", "--stream", "--rate", 200, "--seconds", 0.1)
    result = run(*paced, "--budget", "p99.9=10s", "--report", tmp_path / "b.md", "--json")
    assert result.exit_code == 0, result.output
    value = json.loads(result.stdout)
    assert value["cadence"]["due"] == 20
    assert value["latency"] == value["cadence"]["answer"]
    assert value["budgets"][0]["measured_us"] == value["latency"]["p999_us"]
    report = (tmp_path / "b.md").read_text()
    for told in ("200 steps a second", "| answer |", "deadlines missed: ", "real-time factor: ", "resident memory: "):
        assert told in report
    assert run(*paced, "--budget", "p99.9=0.001us").exit_code == 1


def test_bench_keeps_and_breaks_budgets(models: Path, tmp_path: Path) -> None:
    result = run("bench", models / "lstm.onnx", "--budget", "p99=10s", "--report", tmp_path / "b.md", "--json")
    assert result.exit_code == 0
    value = json.loads(result.stdout)
    assert value["sizes"] == {"batch": 1, "time": 6}
    assert value["latency"]["p50_us"] <= value["latency"]["p99_us"] <= value["latency"]["max_us"]
    assert "kept" in (tmp_path / "b.md").read_text()
    result = run("bench", models / "lstm.onnx", "--stream", "--budget", "p50=0.001us")
    assert result.exit_code == 1
    assert "over budget: p50 is" in result.stderr
    assert "OVER" in result.stdout


@pytest.mark.parametrize(("reference", "mode"), [("lstm.pt", "run"), ("lstm.pt", "stream"), ("lstm.onnx", "run")])
def test_bench_against_a_reference(models: Path, reference: str, mode: str) -> None:
    flags = ["--stream"] if mode == "stream" else ["--time", "5", "--batch", "2"]
    result = run("bench", models / "lstm.onnx", "--against", models / reference, *flags, "--json")
    assert result.exit_code == 0, result.output
    value = json.loads(result.stdout)
    assert value["mode"] == mode
    assert value["sizes"]["time"] == (1 if mode == "stream" else 5)
    against = value["against"]
    assert against["ratio"] == pytest.approx(against["latency"]["p50_us"] / value["latency"]["p50_us"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("p99=5ms", ("p99", 5000)),
        ("p50=30us", ("p50", 30)),
        ("max=1.5s", ("max", 1.5e6)),
        ("mean=2µs", ("mean", 2)),
        ("p90=.5 ms", ("p90", 500)),
    ],
)
def test_budgets_are_read(text: str, expected: tuple[str, float]) -> None:
    assert parse_budget(text) == expected


@pytest.mark.parametrize("text", ["p99", "p99=5", "p99=ms", "p98=5ms", "p99=-1ms", "p99=5m", "=5ms", "calls=5s", ""])
def test_budgets_that_are_not_understood(text: str) -> None:
    with pytest.raises(UsageError, match=r"p99=5ms"):
        parse_budget(text)


@pytest.mark.parametrize("name", ["lstm.onnx", "lstm.pt"])
def test_inspect(models: Path, name: str) -> None:
    value = json.loads(run("inspect", models / name, "--json").stdout)
    assert value["version"] == 1
    assert [t["name"] for t in value["inputs"]] == ["x", "lengths"]
    assert [(s["input"], s["axes"]) for s in value["states"]] == [
        ("h0", [1, "batch", 8]),
        ("c0", [1, "batch", 8]),
    ]
    assert value["streamable"] is True
    assert value["labels"] == ["ae", "oe", "ue"]
    assert len(value["sha256"]) == 64
    text = run("inspect", models / name).stdout
    for word in ("Inputs", "batch, time, 3", "h0_next", "ae, oe, ue", "yes"):
        assert word in text
    assert "no: it reads the sequence in both directions" in run("inspect", models / f"bidirectional.{name[5:]}").stdout


def test_doctor(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    value = json.loads(run("doctor", models / "lstm.onnx", "--json").stdout)
    assert value["model"]["provider"] == "cpu"
    assert "cpu" in value["providers"]
    assert value["model"]["reason"].startswith("auto: ")
    assert [one["name"] for one in value["findings"]] == ["cpu", "cuda"]
    text = run("doctor").stdout
    for word in ("execution providers", "its instructions", "cuda", "usable"):
        assert word in text
    broken = replace(examine(), problems=("onnxruntime and onnxruntime-gpu are both installed",))
    monkeypatch.setattr(doctor, "examine", lambda: broken)
    result = run("doctor")
    assert result.exit_code == 3
    assert "both installed" in result.stderr


def test_train_lists_the_recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "no recipes" in run("train").stdout
    folder = tmp_path / "models" / "lstm-vowels"
    folder.mkdir(parents=True)
    recipe = 'model = { family = "lstm" }\ndata = { source = "japanese-vowels" }\nexpect = { test_accuracy = 0.97 }\n'
    (folder / "recipe.toml").write_text(recipe)
    (tmp_path / "models" / "broken").mkdir()
    (tmp_path / "models" / "broken" / "recipe.toml").write_text("model = ")
    assert "not trained" in run("train").stdout
    (folder / "metrics.json").write_text('{"test": {"accuracy": 0.975}, "validation": {"accuracy": 1.0}}')
    broken, good = json.loads(run("train", "--json").stdout)["recipes"]
    assert (good["metric"], good["expected"]) == ("accuracy 0.975", "accuracy 0.97")
    assert good["data"] == "japanese-vowels"
    assert broken["data"].startswith("not readable")


def test_train_and_what_it_expects(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 60)
    x = (rng.standard_normal((60, 5, 2)) + y[:, None, None] * 2).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x, y=y, lengths=np.full(60, 5))
    recipe = 'model = { family = "gru", hidden_size = 4 }\ndata = { path = "data.npz" }\ntrain = { epochs = 2 }\n'
    (tmp_path / "recipe.toml").write_text(recipe + "expect = { test_accuracy = 0.0 }\n")
    result = run("train", tmp_path, "-o", tmp_path / "out", "--device", "cpu", "--json")
    assert result.exit_code == 0, result.output
    value = json.loads(result.stdout)
    assert Path(value["checkpoint"]).is_file()
    assert "accuracy" in value["metrics"]["test"]
    arguments = ("train", tmp_path, "-o", tmp_path / "again", "--set", "expect.test_accuracy=1.1")
    result = run(*arguments)
    assert result.exit_code == 1
    assert "at least 1.1 is expected" in result.stderr


def test_reports_are_summarised_by_output_and_provider() -> None:
    good = Comparison("1×2", "logits", "cpu", 1e-7, 1e-6, 1.0, decisions=4)
    cases = (
        good,
        replace(good, case="3×2", max_abs=5e-7),
        replace(good, case="8|2", max_abs=2e-6),
        replace(good, provider="cuda"),
    )
    report = ParityReport("a.onnx", "a.pt", cases)
    first, second = summarise(report)
    assert (first.cases, first.max_abs, first.ratio, first.passed) == (3, 2e-6, pytest.approx(2), False)
    assert (second.provider, second.passed) == ("cuda", True)
    assert verdict(report) == "a.onnx differs from a.pt: 1 of 4 comparisons failed"
    assert "| 8\\|2 | logits | cpu | 2.00e-06 | 1.00e-06 | 0 of 4 |" in report_markdown(report)
    assert "not valid: blind" in verdict(ParityReport("a.onnx", "a.pt", (good,), ("blind",)))
    assert "nothing was compared" in verdict(ParityReport("a.onnx", "a.pt", ()))


def test_numbers_that_json_cannot_hold_become_null(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    infinite = Comparison("1×2", "logits", "cpu", float("inf"), 1e-6, 1.0)
    monkeypatch.setattr("edgeseq_runtime.Model.verify", lambda self: ParityReport("a", "b", (infinite,)))
    result = run("verify", models / "lstm.onnx", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout, parse_constant=_refuse)["comparisons"][0]["max_abs"] is None


def _refuse(constant: str) -> Any:
    raise AssertionError(f"{constant} is not JSON")


def test_no_command_loads_what_it_does_not_need(models: Path, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("1,2,3\n")
    commands = [
        ["run", "lstm.onnx", "--input", str(tmp_path / "x.csv")],
        ["run", "lstm.onnx", "--input", str(tmp_path / "x.csv"), "--stream"],
        ["verify", "lstm.onnx"],
        ["inspect", "lstm.onnx"],
        ["doctor", "lstm.onnx"],
        ["train"],
    ]
    code = f"""
import os, sys
os.chdir({str(models)!r})
from edgeseq.cli import main
for command in {commands!r}:
    try:
        main(command)
    except SystemExit as end:
        assert end.code == 0, command
    assert not [name for name in {HEAVY!r} if name in sys.modules], command
"""
    result = program(code)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("package", "command", "extra"),
    [
        ("torch", "export lstm.pt", "export"),
        ("torch", "verify lstm.onnx lstm.pt", "export"),
        ("torch", "inspect lstm.pt", "export"),
        ("torch", "bench lstm.onnx --against lstm.pt", "export"),
        ("pytorch_lightning", "train {recipe}", "train"),
    ],
)
def test_a_package_that_is_missing_is_named_with_its_extra(
    models: Path, tmp_path: Path, package: str, command: str, extra: str
) -> None:
    (tmp_path / "recipe.toml").write_text('model = { family = "lstm" }\ndata = { source = "japanese-vowels" }\n')
    arguments = command.format(recipe=tmp_path).split()
    result = program(
        f"import os, sys; os.chdir({str(models)!r}); sys.modules[{package!r}] = None\n"
        f"from edgeseq.cli import main; main({arguments!r})"
    )
    assert result.returncode == 3, result.stderr
    assert f"pip install 'edgeseq[{extra}]'" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_interrupt_ends_with_130(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("edgeseq_runtime.Model.verify", interrupted)
    result = run("verify", models / "lstm.onnx")
    assert result.exit_code == 130
    assert "Traceback" not in result.output


def test_a_closed_pipe_is_quiet(models: Path, tmp_path: Path) -> None:
    (tmp_path / "many.jsonl").write_text("[[1,2]]\n" * 5_000)
    command = [sys.executable, "-m", "edgeseq", "run", "gru.onnx", "--input", str(tmp_path / "many.jsonl")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=models, **pipes) as process:  # type: ignore[call-overload]
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 141


def test_no_colour_where_none_is_wanted(models: Path) -> None:
    result = run("inspect", models / "lstm.onnx", env={"NO_COLOR": "1", "FORCE_COLOR": "1"})
    assert not re.search(r"\x1b\[[349]\d", result.stdout)
    assert "\x1b" not in run("inspect", models / "lstm.onnx").stdout


def test_brackets_in_a_table_are_text() -> None:
    console = Console(width=80, file=io.StringIO())
    console.print(table("[bold]", ("[a]",), [("[red]x[/red]",), ("[1, 2]",)]), pairs(None, {"[b]": "[i]y"}))
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    for text in ("[bold]", "[a]", "[red]x[/red]", " [1, 2] ", "[b]", "[i]y"):
        assert text in printed


@pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals are of POSIX")
def test_a_terminal_gets_a_table_and_a_pipe_lines(models: Path) -> None:
    import pty

    parent, child = pty.openpty()
    (models / "x.csv").write_text("1,2,3\n")
    command = [sys.executable, "-m", "edgeseq", "run", "lstm.onnx", "--input", "x.csv"]
    subprocess.run(command, cwd=models, stdout=child, timeout=60, check=True)
    os.close(child)
    assert "│" in os.read(parent, 10_000).decode()
    os.close(parent)


def test_the_reference_page_is_what_help_says() -> None:
    command = [sys.executable, str(ROOT / "docs" / "generate_cli.py"), "--check"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stdout


def test_a_file_says_whether_it_was_proven(models: Path, tmp_path: Path) -> None:
    for flags, proven in ((["--no-verify"], False), ([], True)):
        run("export", models / "gru.pt", "-o", tmp_path / "gru.onnx", *flags)
        value = json.loads(run("inspect", tmp_path / "gru.onnx", "--json").stdout)
        assert value["provenance"]["proven"] is proven


def test_tables_fit_eighty_columns(models: Path) -> None:
    result = run("verify", models / "lstm.onnx")
    assert max(map(len, result.stdout.splitlines()[:-1])) <= 80


def test_without_onnxruntime_help_and_doctor_still_speak() -> None:
    for command, code in (("--help", 0), ("--version", 0), ("doctor", 3), ("run x.onnx --input x.csv", 3)):
        result = program(
            f"import sys; sys.modules['onnxruntime'] = None\nfrom edgeseq.cli import main; main({command.split()!r})"
        )
        assert result.returncode == code, result.stderr
        assert "Traceback" not in result.stderr
        assert code == 0 or "pip install 'edgeseq-runtime[cpu]'" in result.stderr


def test_export_takes_form_and_steps_from_the_recipe_unless_told_otherwise(models: Path, tmp_path: Path) -> None:
    loaded = checkpoint.load(models / "lstm.pt")
    asked = {"export": {"recurrence": "unroll", "steps": 4, "opset": 20}}
    checkpoint.save(tmp_path / "x.pt", loaded.module, {}, asked)
    for flags, form in (
        ([], "unroll, 4 steps"),
        (["--recurrence", "unroll"], "unroll, 4 steps"),
        (["--steps", "3"], "unroll, 3 steps"),
        (["--recurrence", "native"], "native"),
    ):
        assert run("export", tmp_path / "x.pt", "--no-verify", *flags).exit_code == 0
        value = json.loads(run("inspect", tmp_path / "x.onnx", "--json").stdout)
        assert (value["recurrence"], value["provenance"]["opset"]) == (form, 20)
