"""The walls between the floors, seen from outside: what an import drags in, and what the names and versions are."""

import subprocess
import sys
import tomllib
from pathlib import Path

import edgeseq_runtime
import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("edgeseq_runtime", ["torch", "onnx", "typer", "rich", "edgeseq", "edgeseq_export"]),
        ("edgeseq", ["torch", "onnx", "onnxruntime", "typer"]),
        ("edgeseq.cli", ["torch", "onnx", "onnxruntime", "pytorch_lightning"]),
        ("edgeseq.live", ["torch", "onnx"]),
        ("edgeseq_export", ["typer", "rich", "edgeseq", "pytorch_lightning"]),
    ],
)
def test_import_leaves_out(module, forbidden):
    code = f"import sys, {module}; print([m for m in {forbidden!r} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_one_version():
    projects = [tomllib.loads((ROOT / p / "pyproject.toml").read_text())["project"] for p in (".", "runtime")]
    assert {p["version"] for p in projects} == {edgeseq_runtime.__version__}
    wanted = f"edgeseq-runtime=={edgeseq_runtime.__version__}"
    assert wanted in projects[0]["dependencies"]


def test_public_names():
    assert edgeseq_runtime.__all__ == sorted(edgeseq_runtime.__all__)
    assert all(hasattr(edgeseq_runtime, name) for name in edgeseq_runtime.__all__)
