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
from edgeseq.training.figures import check_expectations, shortfalls
from edgeseq.training.fitting import Fit, choose_device, fit
from edgeseq.training.folder import Outcome, write_folder
from edgeseq.training.network import network_for, parts_for
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
    parts = parts_for(recipe.model, open_data(recipe.data, recipe.folder))
    check_expectations(recipe.expect, parts.train)
    if recipe.train.truncate is not None and not parts.train.stepwise:
        raise UsageError("'truncate' is for data with an answer for every step; this has one for each example")
    check_writable(folder / "metrics.json")
    file = ResumeFile(folder, recipe, parts.about.sha256, device)
    resumed = file.find()
    with torch.random.fork_rng():  # the caller's random numbers are none of our business
        network, found = _best_of(recipe, parts, device, progress, file, resumed)
    metrics = {**found, **_about(network, parts), "seconds": round(time.monotonic() - started, 1)}
    missed = shortfalls(recipe.expect, metrics["test"])
    path = write_folder(folder, recipe, Outcome(network, parts, metrics, confusion(network, parts.test)))
    file.remove()
    return TrainResult(metrics, path, metrics["seconds"], missed, resumed.epochs if resumed else None)


def _best_of(
    recipe: Recipe, parts: Parts, device: str, progress: bool, file: ResumeFile, resumed: Resumed | None
) -> tuple[Network, dict[str, Any]]:
    """Train with each seed; the network of the lowest validation loss, and the figures: means where there are several.

    The state to resume from belongs to one seed: those before it are trained again from the start.
    """
    runs: list[tuple[Network, dict[str, Any]]] = []
    for seed in range(recipe.train.seed, recipe.train.seed + recipe.train.repeats):
        one = replace(recipe, train=replace(recipe.train, seed=seed))
        network, found = _one(one, parts, device, progress, file, resumed)
        runs.append((network, {"test": evaluate(network, parts.test), **found}))
    network, found = min(runs, key=lambda run: run[1]["validation"]["loss"])
    if len(runs) == 1:
        return network, found
    figures = {part: _means([each[part] for _, each in runs]) for part in ("test", "validation")}
    seeds = [{"seed": recipe.train.seed + i, **each} for i, (_, each) in enumerate(runs)]
    return network, {**found, **figures, "repeats": seeds}


def _means(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: sum(each[name] for each in figures) / len(figures) for name in figures[0]}


def _about(network: Network, parts: Parts) -> dict[str, Any]:
    """What was asked, of how many examples, and how large the network is."""
    data = parts.train
    counts = {"training": len(data), "validation": len(parts.validation), "test": len(parts.test)}
    outputs = len(data.labels) if data.labels is not None else data.y.shape[-1]
    about = {"task": data.task, "outputs": outputs, "stepwise": data.stepwise, **counts}
    return {"data": about, "parameters": sum(p.numel() for p in network.parameters())}


def _one(
    recipe: Recipe, parts: Parts, device: str, progress: bool, file: ResumeFile, resumed: Resumed | None
) -> tuple[Network, dict[str, Any]]:
    """One training with one seed: by gradient, with a refit where the recipe asks for it, or in closed form."""
    network = network_for(recipe.model, parts.train, recipe.train.seed)
    if isinstance(network, ClosedForm):
        return _solved(network, parts)
    run = _Run(recipe, parts, device, progress, file, resumed)
    network, found = run.search(network)
    return (run.refit(found) if recipe.train.refit else network), found


def _solved(network: Any, parts: Parts) -> tuple[Network, dict[str, Any]]:
    """A readout solved for on the training part, and once more on all but the test part."""
    network.solve(parts.train)
    found = {"validation": evaluate(network.eval(), parts.validation)}
    chosen = network.solve(parts.train.join(parts.validation))
    return network.eval(), {**found, "solved": dict(chosen)}


@dataclass(frozen=True)
class _Run:
    recipe: Recipe
    parts: Parts
    device: str
    progress: bool
    file: ResumeFile
    resumed: Resumed | None

    def search(self, network: Network) -> tuple[Network, dict[str, Any]]:
        """Train until the validation loss no longer falls; the network, and what was found."""
        train, validation = self.parts.train, self.parts.validation
        resumed = self._mine(SEARCH, REFIT)
        if resumed is not None and resumed.phase.startswith(REFIT):
            return network, dict(resumed.notes)
        plan = Fit(self._phase(SEARCH), self.recipe.train, train, validation, self.device, self.progress)
        fitted = fit(plan, network, self.file, {}, resume=resumed is not None)
        found = {
            "validation": evaluate(network, validation),
            "search": {"ran": fitted.ran, "best": fitted.best},
        }
        # a run that was not stopped early has earned its whole schedule: where its best epoch lay is chance
        refit_epochs = fitted.best if fitted.early else fitted.ran
        return network, {**found, "epochs": refit_epochs if self.recipe.train.refit else fitted.best}

    def refit(self, found: Mapping[str, Any]) -> Network:
        """Train once more, on training and validation part together, for the epochs that the search found."""
        together = self.parts.train.join(self.parts.validation)
        network = network_for(self.recipe.model, together, self.recipe.train.seed)
        table = replace(self.recipe.train, epochs=found["epochs"])
        plan = Fit(self._phase(REFIT), table, together, None, self.device, self.progress)
        fit(plan, network, self.file, found, resume=self._mine(REFIT) is not None)
        return network

    def _phase(self, name: str) -> str:
        """The name of a fit; where there are several seeds, with its own."""
        return name if self.recipe.train.repeats == 1 else f"{name}, seed {self.recipe.train.seed}"

    def _mine(self, *phases: str) -> Resumed | None:
        """What was left of an interrupted run, if it was in one of these phases of this seed."""
        mine = self.resumed is not None and self.resumed.phase in map(self._phase, phases)
        return self.resumed if mine else None
