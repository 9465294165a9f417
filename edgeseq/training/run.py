"""A whole training: data, search for the number of epochs, refit, test, and the folder with the results."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from edgeseq_runtime.atomic import check_writable
from edgeseq_runtime.errors import UsageError

from edgeseq.data import Parts, open_data
from edgeseq.nn import ClosedForm, Network
from edgeseq.recipe import Recipe
from edgeseq.training.evaluate import confusion, evaluate
from edgeseq.training.figures import check_expectations, check_measured, shortfalls
from edgeseq.training.fitting import Fit, choose_device, fit
from edgeseq.training.folder import Outcome, write_folder
from edgeseq.training.network import network_for, parts_for
from edgeseq.training.resume import ResumeFile

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
    parts = parts_for(recipe.model, open_data(recipe.data, recipe.folder))
    check_expectations(recipe.expect, parts.train)
    _check_train_table(recipe, parts)
    check_writable(folder / "metrics.json")
    runs = [
        _Run(one, parts, device, progress, ResumeFile(folder, one, parts.about.sha256, device))
        for one in _seeds(recipe)
    ]
    resumed = [state.epochs for run in runs if (state := run.file.find()) is not None]
    with torch.random.fork_rng():  # the caller's random numbers are none of our business
        network, found = _best_of(runs)
    metrics = {**found, **_about(network, parts), "seconds": round(time.monotonic() - started, 1)}
    missed = shortfalls(recipe.expect, metrics["test"])
    path = write_folder(folder, recipe, Outcome(network, parts, metrics, confusion(network, parts.test)))
    for run in runs:
        run.file.remove()
    return TrainResult(metrics, path, metrics["seconds"], missed, sum(resumed) if resumed else None)


def _check_train_table(recipe: Recipe, parts: Parts) -> None:
    """Raise UsageError for keys of the table `train` that mean nothing for this data."""
    table, data = recipe.train, parts.train
    if table.truncate is not None and not data.stepwise:
        raise UsageError("'truncate' is for data with an answer for every step; this has one for each example")
    if table.shift and (data.lengths is not None or data.x.ndim < 3):
        raise UsageError(f"'shift' moves images, but x has shape {data.x.shape}; leave it out")


def _seeds(recipe: Recipe) -> list[Recipe]:
    """The recipe once for each of its seeds."""
    first = recipe.train.seed
    return [replace(recipe, train=replace(recipe.train, seed=first + i)) for i in range(recipe.train.repeats)]


def _best_of(runs: "Sequence[_Run]") -> tuple[Network, dict[str, Any]]:
    """Train with each seed; the network of the lowest validation loss, and its figures, or means of several seeds'."""
    done = [run.train() for run in runs]
    kept, (network, found) = min(enumerate(done), key=lambda one: one[1][1]["validation"]["loss"])
    seeds = [run.recipe.train.seed for run in runs]
    found = {**found, "seed": seeds[kept]}
    if len(runs) == 1:
        return network, found
    figures = {part: _means([each[part] for _, each in done]) for part in ("test", "validation")}
    repeats = [{"seed": seed, **each} for seed, (_, each) in zip(seeds, done, strict=True)]
    return network, {**found, **figures, "repeats": repeats}


def _means(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: sum(each[name] for each in figures) / len(figures) for name in figures[0]}


def _about(network: Network, parts: Parts) -> dict[str, Any]:
    """What was asked, of how many examples, and how large the network is."""
    data = parts.train
    counts = {"training": len(data), "validation": len(parts.validation), "test": len(parts.test)}
    outputs = len(data.labels) if data.labels is not None else data.y.shape[-1]
    about = {"task": data.task, "outputs": outputs, "stepwise": data.stepwise, **counts}
    return {"data": about, "parameters": sum(p.numel() for p in network.parameters())}


def _solved(network: Any, parts: Parts) -> tuple[Network, dict[str, Any]]:
    """A readout solved for on the training part, and once more on all but the test part."""
    network.solve(parts.train)
    found = {"validation": evaluate(network.eval(), parts.validation)}
    chosen = network.solve(parts.train.join(parts.validation))
    return network.eval(), {**found, "solved": dict(chosen)}


@dataclass(frozen=True)
class _Run:
    """One training with one seed. file: the state it resumes from, kept until the whole training is done."""

    recipe: Recipe
    parts: Parts
    device: str
    progress: bool
    file: ResumeFile

    def train(self) -> tuple[Network, dict[str, Any]]:
        """By gradient, with a refit where the recipe asks for it, or in closed form; the network and its figures."""
        network = network_for(self.recipe.model, self.parts.train, self.recipe.train.seed)
        check_measured(self.recipe.expect, network, self.parts.validation)
        if self.recipe.train.truncate is not None and not network.carries:
            raise UsageError("'truncate' carries states from piece to piece, but this network has none to carry on")
        if isinstance(network, ClosedForm):
            network, found = _solved(network, self.parts)
        else:
            network, found = self._search(network)
            if self.recipe.train.refit:
                network = self._refit(found)
        return network, {"test": evaluate(network, self.parts.test), **found}

    def _search(self, network: Network) -> tuple[Network, dict[str, Any]]:
        """Train until the validation loss no longer falls; the network, and what was found."""
        resumed = self.file.find()
        if resumed is not None and resumed.phase == REFIT:
            return network, dict(resumed.notes)
        train, validation = self.parts.train, self.parts.validation
        plan = Fit(SEARCH, self.recipe.train, train, validation, self.device, self.progress)
        fitted = fit(plan, network, self.file, {}, resume=resumed is not None)
        found = {
            "validation": evaluate(network, validation),
            "search": {"ran": fitted.ran, "best": fitted.best},
        }
        # a run that was not stopped early has earned its whole schedule: where its best epoch lay is chance
        refit_epochs = fitted.best if fitted.early else fitted.ran
        return network, {**found, "epochs": refit_epochs if self.recipe.train.refit else fitted.best}

    def _refit(self, found: Mapping[str, Any]) -> Network:
        """Train once more, on training and validation part together, for the epochs that the search found."""
        together = self.parts.train.join(self.parts.validation)
        network = network_for(self.recipe.model, together, self.recipe.train.seed)
        table = replace(self.recipe.train, epochs=found["epochs"])
        resumed = self.file.find()
        plan = Fit(REFIT, table, together, None, self.device, self.progress)
        fit(plan, network, self.file, found, resume=resumed is not None and resumed.phase == REFIT)
        return network
