"""A whole training: data, search of settings, one or several seeds, comparisons, and the folder with the results."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from edgeseq_runtime.atomic import check_writable

from edgeseq.data import Parts, open_data
from edgeseq.nn import Network
from edgeseq.recipe import Recipe
from edgeseq.training.beside import beside
from edgeseq.training.compare import compare
from edgeseq.training.evaluate import confusion
from edgeseq.training.figures import check_expectations, shortfalls
from edgeseq.training.fitting import choose_device
from edgeseq.training.folder import Outcome, write_figures, write_folder
from edgeseq.training.network import parts_for
from edgeseq.training.pictures import drawn
from edgeseq.training.resume import ResumeFile
from edgeseq.training.seeds import deviations, means, seeded
from edgeseq.training.settings import check_settings
from edgeseq.training.single import Run

if TYPE_CHECKING:
    from edgeseq.training.tune import Search


@dataclass(frozen=True)
class TrainResult:
    """What a training came to.

    metrics: {"test": {...}, "validation": {...}, "epochs": n, ...}, as in metrics.json.
    seconds: of the training itself, its data included. shortfalls: what the recipe expects and the test part did not
    show, in words. resumed_epochs: how many epochs an interrupted run had already done; None where there was none.
    search: of the settings, where one was asked for. compare_seconds: of the recipe's comparisons, where it has some.
    """

    metrics: Mapping[str, Any]
    checkpoint_path: Path
    seconds: float
    shortfalls: tuple[str, ...]
    resumed_epochs: int | None = None
    search: "Search | None" = None
    compare_seconds: float | None = None

    @property
    def passed(self) -> bool:
        """Whether everything the recipe expects was reached."""
        return not self.shortfalls


@dataclass(frozen=True)
class _Job:
    """What is trained, on what, where the results go, and where it is trained."""

    recipe: Recipe
    parts: Parts
    folder: Path
    device: str
    progress: bool


def train(
    recipe: Recipe,
    output_dir: str | Path,
    *,
    device: str = "auto",
    progress: bool = False,
    tune: int | None = None,
    comparisons: bool = True,
) -> TrainResult:
    """Train what the recipe says and write STEM.pt, recipe.toml, sample.npz, metrics.json and card.md.

    A run that was killed goes on where it stopped when it is started again with the same recipe. The same
    recipe gives the same weights on the same machine's CPU. The test part is used once, at the end.

    Args:
        output_dir: made where it is missing. device: auto, cpu or cuda.
        progress: draw a bar on standard error.
        tune: search the recipe's ranges with so many trials first (edgeseq.training.tune), and train with the best
        settings. comparisons: train what the recipe's table `compare` says, too.

    Raises:
        UsageError: the recipe does not fit its data. FileError: a file cannot be read or written.
        MissingError: a device or a package is not there.
    """
    started = time.monotonic()
    folder, device = Path(output_dir), choose_device(device)
    parts = parts_for(recipe.model, open_data(recipe.data, recipe.folder))
    check_expectations(recipe.expect, parts.train)
    recipe = check_settings(recipe, parts.train)
    check_writable(folder / "metrics.json")
    job = _Job(recipe, parts, folder, device, progress)
    with torch.random.fork_rng():  # the caller's random numbers are none of our business
        if tune is None:
            return _train(job, None, comparisons, started)
        found = _searched(job, tune)
        best = replace(job, recipe=recipe.with_settings(found.settings))
        return _train(best, found, comparisons, started + found.seconds)


def _searched(job: _Job, count: int) -> "Search":
    from edgeseq.training.tune import search  # its package is an extra of its own

    return search(job.recipe, job.parts, job.folder, count, job.device, job.progress)


def _train(job: _Job, search: "Search | None", comparisons: bool, started: float) -> TrainResult:
    """Train with every seed, write the folder, then compare; states to resume from go when all is there."""
    recipe, parts = job.recipe, job.parts
    runs = [
        Run(one, parts, job.device, job.progress, ResumeFile(job.folder, one, parts.about.sha256, job.device))
        for one in seeded(recipe)
    ]
    resumed = [state.epochs for run in runs if (state := run.file.find()) is not None]
    network, found = _best_of(runs)
    trained = time.monotonic()
    metrics = {**found, **_about(network, parts), "seconds": round(trained - started, 1)}
    if search is not None:
        metrics["tune"] = search.summary()
    if others := beside(network, parts):
        metrics["beside"] = others
    outcome = Outcome(network, parts, metrics, confusion(network, parts.test), drawn(network, parts))
    path = write_folder(job.folder, recipe, outcome)
    took = None
    if comparisons and recipe.compare.settings:
        metrics["compare"] = compare(recipe, network, metrics, parts, job.device, job.progress)
        write_figures(job.folder, recipe, outcome)
        took = time.monotonic() - trained
    for run in runs:
        run.file.remove()
    missed, epochs = shortfalls(recipe.expect, metrics["test"]), sum(resumed) if resumed else None
    return TrainResult(metrics, path, metrics["seconds"], missed, epochs, search, took)


def _best_of(runs: Sequence[Run]) -> tuple[Network, dict[str, Any]]:
    """Train with each seed; the network of the lowest validation loss, and its figures, or means of several seeds'."""
    done = [run.train() for run in runs]
    kept, (network, found) = min(enumerate(done), key=lambda one: one[1][1]["validation"]["loss"])
    seeds = [run.recipe.train.seed for run in runs]
    found = {**found, "seed": seeds[kept]}
    if len(runs) == 1:
        return network, found
    figures = {part: means([each[part] for _, each in done]) for part in ("test", "validation")}
    spread = {"test": deviations([each["test"] for _, each in done])}
    repeats = [{"seed": seed, **each} for seed, (_, each) in zip(seeds, done, strict=True)]
    return network, {**found, **figures, "deviation": spread, "repeats": repeats}


def _about(network: Network, parts: Parts) -> dict[str, Any]:
    """What was asked, of how many examples, and how large the network is."""
    data = parts.train
    counts = {"training": len(data), "validation": len(parts.validation), "test": len(parts.test)}
    outputs = len(data.labels) if data.labels is not None else data.y.shape[-1]
    answers = {"outputs": outputs, "stepwise": data.stepwise, "sequence": data.y_lengths is not None}
    about = {"task": data.task, **answers, **counts}
    return {"data": about, "parameters": network.weight_count}
