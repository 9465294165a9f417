"""A whole training: data, search for the number of epochs, refit, test, and the folder with the results."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from edgeseq_runtime.atomic import check_writable
from edgeseq_runtime.errors import UsageError

from edgeseq.data import Dataset, Parts, open_data
from edgeseq.nn import Recurrent
from edgeseq.recipe import Recipe
from edgeseq.training.evaluate import confusion, evaluate
from edgeseq.training.fitting import Fit, choose_device, fit
from edgeseq.training.folder import Outcome, write_folder
from edgeseq.training.network import network_for
from edgeseq.training.resume import Resumed, ResumeFile

SEARCH, REFIT = "training", "refit"


@dataclass(frozen=True)
class TrainResult:
    """What a training came to.

    metrics: {"test": {...}, "validation": {...}, "epochs": n, ...}, as in metrics.json.
    shortfalls: what the recipe expects and the test part did not show, in words.
    resumed_epochs: how many epochs an interrupted run had already done; None where there was none.
    """

    metrics: Mapping[str, Any]
    checkpoint_path: Path
    seconds: float
    shortfalls: tuple[str, ...]
    resumed_epochs: int | None = None

    @property
    def passed(self) -> bool:
        """Whether everything the recipe expects was reached."""
        return not self.shortfalls


def train(recipe: Recipe, output_dir: str | Path, *, device: str = "auto", progress: bool = False) -> TrainResult:
    """Train what the recipe says and write STEM.pt, recipe.toml, sample.npz, metrics.json and card.md.

    A run that was killed goes on where it stopped when it is started again with the same recipe. The same
    recipe gives the same weights on the same machine's CPU. The test part is used once, at the end.

    Args:
        output_dir: made where it is missing. device: auto, cpu or cuda.
        progress: draw a bar on standard error.

    Raises:
        UsageError: the recipe does not fit its data. FileError: a file cannot be read or written.
        MissingError: a device or a package is not there.
    """
    started = time.monotonic()
    folder = Path(output_dir)
    device = choose_device(device)
    parts = open_data(recipe.data, recipe.folder)
    _check_expectations(recipe, parts.train)
    check_writable(folder / "metrics.json")
    file = ResumeFile(folder, recipe, parts.about.sha256, device)
    run = _Run(recipe, parts, device, progress, file, file.find())
    with torch.random.fork_rng():  # the caller's random numbers are none of our business
        network, found = run.search()
        if recipe.train.refit:
            network = run.refit(found)
    metrics = {
        "test": evaluate(network, parts.test),
        **found,
        "data": _counts(parts),
        "parameters": sum(p.numel() for p in network.parameters()),
        "seconds": round(time.monotonic() - started, 1),
    }
    shortfalls = _shortfalls(recipe, metrics["test"])
    table = confusion(network, parts.test) if parts.test.task == "classify" else None
    path = write_folder(folder, recipe, Outcome(network, parts, metrics, table))
    file.remove()
    return TrainResult(metrics, path, metrics["seconds"], shortfalls, run.resumed.epochs if run.resumed else None)


@dataclass(frozen=True)
class _Run:
    recipe: Recipe
    parts: Parts
    device: str
    progress: bool
    file: ResumeFile
    resumed: Resumed | None

    def search(self) -> tuple[Recurrent, dict[str, Any]]:
        """Train until the validation loss no longer falls; the network, and what was found."""
        train, validation = self.parts.train, self.parts.validation
        network = network_for(self.recipe.model, train, self.recipe.train.seed)
        if self.resumed is not None and self.resumed.phase == REFIT:
            return network, dict(self.resumed.notes)
        plan = Fit(SEARCH, self.recipe.train, train, validation, self.device, self.progress)
        fitted = fit(plan, network, self.file, {}, resume=self.resumed is not None)
        found = {
            "validation": evaluate(network, validation),
            "search": {"ran": fitted.ran, "best": fitted.best},
        }
        # a run that was not stopped early has earned its whole schedule: where its best epoch lay is chance
        refit_epochs = fitted.best if fitted.early else fitted.ran
        return network, {**found, "epochs": refit_epochs if self.recipe.train.refit else fitted.best}

    def refit(self, found: Mapping[str, Any]) -> Recurrent:
        """Train once more, on training and validation part together, for the epochs that the search found."""
        together = self.parts.train.join(self.parts.validation)
        network = network_for(self.recipe.model, together, self.recipe.train.seed)
        table = replace(self.recipe.train, epochs=found["epochs"])
        plan = Fit(REFIT, table, together, None, self.device, self.progress)
        fit(plan, network, self.file, found, resume=self.resumed is not None and self.resumed.phase == REFIT)
        return network


def _counts(parts: Parts) -> dict[str, Any]:
    """What is asked, and of how many sequences."""
    data = parts.train
    return {
        "task": data.task,
        "outputs": len(data.labels) if data.labels is not None else data.y.shape[-1],
        "stepwise": data.stepwise,
        **{"training": len(data), "validation": len(parts.validation), "test": len(parts.test)},
    }


def _check_expectations(recipe: Recipe, data: Dataset) -> None:
    unfit = "test_mae" if data.task == "classify" else "test_accuracy"
    if getattr(recipe.expect, unfit) is not None:
        raise UsageError(f"the recipe expects '{unfit}', but its data asks to {data.task}")


def _shortfalls(recipe: Recipe, test: Mapping[str, float]) -> tuple[str, ...]:
    least, most = recipe.expect.test_accuracy, recipe.expect.test_mae
    found = []
    if least is not None and test["accuracy"] < least:
        found.append(f"the test accuracy is {test['accuracy']:.4f}, but at least {least} is expected")
    if most is not None and test["mae"] > most:
        found.append(f"the mean absolute error is {test['mae']:.4g}, but at most {most} is expected")
    return tuple(found)
