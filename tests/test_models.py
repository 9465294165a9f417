"""Every folder in models/ keeps its promises: the file equals the checkpoint, proves itself, and runs on its sample."""

import json
import tomllib
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from edgeseq_runtime import load
from typer.testing import CliRunner

from edgeseq.cli.app import app
from edgeseq.recipe import FIGURES
from edgeseq.training.markdown import rounded

ROOT = Path(__file__).parents[1]
FOLDERS = sorted(path.parent for path in (ROOT / "models").glob("*/recipe.toml"))


@pytest.fixture(params=FOLDERS, ids=lambda folder: folder.name)
def folder(request):
    return request.param


def the(folder, pattern):
    (found,) = folder.glob(pattern)
    return found


def edgeseq(*arguments):
    """The exit code of a command, and what it printed."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.output


def test_file_was_proven_and_is_of_the_checkpoint(folder):
    provenance = load(the(folder, "*.onnx")).contract.provenance
    assert provenance["proven"]
    assert provenance["checkpoint_sha256"] == sha256(the(folder, "*.pt").read_bytes()).hexdigest()


@pytest.mark.full
def test_file_equals_checkpoint(folder):
    code, printed = edgeseq("verify", the(folder, "*.onnx"), the(folder, "*.pt"))
    assert code == 0, printed


def test_file_proves_itself(folder):
    code, printed = edgeseq("verify", the(folder, "*.onnx"))
    assert code == 0, printed


def test_runs_on_its_sample(folder):
    code, printed = edgeseq("run", the(folder, "*.onnx"), "--input", folder / "sample.npz", "--json")
    assert code == 0, printed
    results = json.loads(printed)["results"]
    assert len(results) == len(np.load(folder / "sample.npz")["y"])


def test_figures_are_what_the_recipe_expects(folder):
    expect = tomllib.loads((folder / "recipe.toml").read_text())["expect"]
    test = json.loads((folder / "metrics.json").read_text())["test"]
    assert expect
    for key, wanted in expect.items():
        name = key.removeprefix("test_")
        assert test[name] >= wanted if FIGURES[name].at_least else test[name] <= wanted
        assert rounded(test[name]) in (folder / "card.md").read_text()


def test_the_page_of_devices_has_its_size_and_parameters(folder):
    (row,) = [line for line in (ROOT / "docs" / "devices.md").read_text().splitlines() if f"[{folder.name}]" in line]
    size = the(folder, "*.onnx").stat().st_size / 1000
    parameters = json.loads((folder / "metrics.json").read_text())["parameters"]
    assert row.split(" | ")[1:3] == [f"{size:.0f}", f"{parameters:,}"]


def test_all_of_models_stays_small():
    assert sum(path.stat().st_size for path in (ROOT / "models").rglob("*")) < 25_000_000


@pytest.mark.parametrize("page", ["README.md", "docs/families.md"])
def test_tables_show_the_figures(folder, page):
    rows = [line for line in (ROOT / page).read_text().splitlines() if line[:1] == "|" and f"[{folder.name}]" in line]
    (key, *_) = tomllib.loads((folder / "recipe.toml").read_text())["expect"]
    value = json.loads((folder / "metrics.json").read_text())["test"][key.removeprefix("test_")]
    digits = 2 if abs(value) > 0.1 else 6
    told = f"{100 * value:.1f} %" if key.endswith("accuracy") else f"{value:.{digits}f}"
    assert len(rows) == 1
    assert f"| {told}" in rows[0]
