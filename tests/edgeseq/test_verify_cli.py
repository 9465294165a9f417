"""`edgeseq verify` against anything: references, reports, the worst case, and what is refused."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from foreign import foreign
from typer.testing import CliRunner

from edgeseq.cli.app import app

FACTORY = "from foreign import Layer\n\n\ndef make():\n    return Layer()\n"
REFERENCE = ("made:make", "--input", "x:float32[batch,time,4]")


def run(*arguments: object):
    return CliRunner().invoke(app, list(map(str, arguments)), prog_name="edgeseq")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a right, a wrong and a frozen file, and the factory `made:make`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "made.py").write_text(FACTORY)
    for name, content in (
        ("right", foreign(name="in")),
        ("wrong", foreign(factor=1.001)),
        ("frozen", foreign(["batch", 7, 4])),
    ):
        (tmp_path / f"{name}.onnx").write_bytes(content)
    return tmp_path


def test_a_foreign_file_and_a_factory(folder: Path) -> None:
    result = run("verify", "right.onnx", *REFERENCE, "--report", "r.md", "--save-worst", "w.npz")
    assert result.exit_code == 0, result.output
    assert "'in' of right.onnx is taken for 'x' of made:make, by order" in result.stdout
    assert "right.onnx equals made:make in PyTorch, float64" in result.stdout
    assert re.search(r"max rel .* RMS ratio .* SNR .* equal", result.stdout)
    page = (folder / "r.md").read_text()
    assert "- 'in' of right.onnx is taken for 'x' of made:make, by order" in page
    assert "## Output `output`" in page
    assert re.search(r"^\| 3×7 \| 3×7×3 \| cpu \| .* dB \| - \| equal \|$", page, re.M)
    again = run("verify", "right.onnx", "--replay", "w.npz")
    assert again.exit_code == 0, again.output
    assert "one saved case of right.onnx" in again.stdout


def test_a_failure_is_saved_and_run_again(folder: Path) -> None:
    result = run("verify", "wrong.onnx", *REFERENCE, "--save-worst", "w.npz", "--json")
    assert result.exit_code == 1
    first = json.loads(result.stdout)
    assert first["version"] == 1
    assert {"shape", "max_rel", "rms_ratio", "snr_db", "equal_share", "error"} <= first["comparisons"][0].keys()
    for arguments in (("--replay", "w.npz"), (*REFERENCE, "--replay", "w.npz")):
        again = run("verify", "wrong.onnx", *arguments, "--json")
        assert again.exit_code == 1
        (one,) = json.loads(again.stdout)["comparisons"]
        assert one["max_abs"] == pytest.approx(max(c["max_abs"] for c in first["comparisons"]), rel=0.5)
    (folder / "w.npz").rename(folder / "other.npz")
    assert run("verify", "wrong.onnx", "right.onnx", "--replay", "other.npz").exit_code == 1


def test_a_frozen_axis_fails_in_words(folder: Path) -> None:
    result = run("verify", "frozen.onnx", *REFERENCE, "--report", "r.json")
    assert result.exit_code == 1
    text = " ".join(result.stdout.split())
    assert "frozen.onnx fixes the axis 'time' of 'x' at 7; in the reference it is free" in text
    assert re.search(r"no answer at 1×1, 3×1, 8×1: input 'x' has 1 along axis 1, but frozen.onnx takes 7", text)
    assert "Traceback" not in result.output
    failed = [c for c in json.loads((folder / "r.json").read_text())["comparisons"] if not c["passed"]]
    assert failed
    assert all(c["error"] and c["max_abs"] is None for c in failed)


@pytest.mark.parametrize(
    ("one", "other", "flags", "code"),
    [
        ("right", "right", (), 0),
        ("right", "wrong", (), 1),
        ("right", "wrong", ("--tolerance", "1e-3"), 0),
        ("frozen", "right", (), 1),
        ("right", "frozen", (), 1),
    ],
)
def test_two_files(folder: Path, one: str, other: str, flags: tuple[str, ...], code: int) -> None:
    result = run("verify", f"{one}.onnx", f"{other}.onnx", *flags, "--json")
    report = json.loads(result.stdout)
    assert result.exit_code == code
    assert all(c["passed"] for c in report["comparisons"]) is (code == 0)
    assert "both are float32" in report["notes"][0]


def test_the_vectors_of_a_file_can_be_saved_and_sent_on(models: Path, tmp_path: Path) -> None:
    assert run("verify", models / "lstm.onnx", "--save-worst", tmp_path / "w.npz").exit_code == 0
    result = run("verify", models / "lstm.onnx", models / "lstm.pt", "--replay", tmp_path / "w.npz")
    assert result.exit_code == 0, result.output
    assert "100 %" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("right.onnx --tolerance 1e-3", "--tolerance is of a comparison with a REFERENCE"),
        ("right.onnx --trust", "--trust is of a comparison with a REFERENCE"),
        ("right.onnx wrong.onnx --tolerance 0", "the tolerance is 0.0, but a number above 0"),
        ("right.onnx wrong.onnx --weights w.pt", "--weights says how a network is opened, but 'wrong.onnx' is an ONNX"),
        ("right.onnx made:make --state h0", "--state 'h0' is not understood"),
        ("right.onnx --save-worst w.txt", "a saved case ends in .npz"),
        ("right.onnx --save-worst none/../made.py/w.npz", "cannot write"),
        ("right.onnx --replay none.npz", "'none.npz' does not exist"),
        ("right.onnx --replay made.py", "is not a case that `edgeseq verify --save-worst` wrote"),
        ("right.onnx --replay bad.npz", "is not a case that `edgeseq verify --save-worst` wrote"),
        ("right.onnx none.onnx", "none.onnx' does not exist"),
        ("right.onnx", "carries no test vectors"),
    ],
)
def test_what_is_refused(folder: Path, arguments: str, message: str) -> None:
    np.savez(folder / "bad.npz", x=np.zeros(3))
    before = sorted(folder.iterdir())
    result = run("verify", *arguments.split())
    assert result.exit_code == 2, result.output
    assert message in " ".join(result.output.split())
    assert "Traceback" not in result.output
    assert sorted(p for p in folder.iterdir() if p.name != "__pycache__") == before
