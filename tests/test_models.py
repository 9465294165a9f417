"""Every folder in models/ keeps its promises: the file equals the checkpoint, proves itself, and runs on its sample."""

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
from edgeseq_export import verify
from edgeseq_runtime import load

from edgeseq.opening import open_source

ROOT = Path(__file__).parents[1]
FOLDERS = sorted(path.parent for path in (ROOT / "models").glob("*/recipe.toml"))


@pytest.fixture(params=FOLDERS, ids=lambda folder: folder.name)
def folder(request):
    return request.param


def the(folder, pattern):
    (found,) = folder.glob(pattern)
    return found


def test_file_equals_checkpoint_and_carries_its_hash(folder):
    source = open_source(the(folder, "*.pt"))
    assert verify(the(folder, "*.onnx"), source).passed
    provenance = load(the(folder, "*.onnx")).contract.provenance
    assert provenance["checkpoint_sha256"] == source.provenance["checkpoint_sha256"]


def test_file_proves_itself(folder):
    assert load(the(folder, "*.onnx")).verify().passed


def test_sample_runs_and_is_mostly_right(folder):
    model = load(the(folder, "*.onnx"))
    sample = np.load(folder / "sample.npz")
    names = {t.name for t in model.signature.inputs}
    outputs = model.run({name: sample[name] for name in sample.files if name in names})
    if model.contract.task == "classify":
        assert (outputs["logits"].argmax(-1) == sample["y"]).mean() > 0.5


def test_figures_are_what_the_recipe_expects(folder):
    expect = tomllib.loads((folder / "recipe.toml").read_text())["expect"]
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["test"]["accuracy"] >= expect["test_accuracy"]
    assert f"{metrics['test']['accuracy']:.4f}" in (folder / "card.md").read_text()


def test_all_of_models_stays_small():
    assert sum(path.stat().st_size for path in (ROOT / "models").rglob("*")) < 25_000_000
