"""`edgeseq train --tune N`: a search of the recipe's ranges, each trial judged by cross-validation."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from statistics import fmean
from typing import Any

from edgeseq_runtime.errors import FileError, UsageError

from edgeseq.data import Dataset, Parts
from edgeseq.data.split import folds
from edgeseq.recipe import Recipe, TuneTable
from edgeseq.training.figures import measures
from edgeseq.training.progress import bar
from edgeseq.training.seeds import seeded
from edgeseq.training.single import passing
from edgeseq.training.study import Record, Trial, quiet

LOG = ".tune.log"
"""In the output folder: the record of the search. It stays; without it a search starts anew."""

_FOLDS_SEED = 2
"""Added to the seed of the data, beside those of the test and the validation part."""


@dataclass(frozen=True)
class Search:
    """What a search came to. resumed: trials that an earlier call had already done; seconds: of this call."""

    table: TuneTable
    trials: Sequence[Trial]
    best: int
    seconds: float
    resumed: int

    @property
    def settings(self) -> Mapping[str, Any]:
        """The best ones."""
        return self.trials[self.best].settings

    def summary(self) -> dict[str, Any]:
        """As metrics.json holds it."""
        failed = sum(trial.value is None for trial in self.trials)
        table = {"folds": self.table.folds, "seeds": self.table.seeds, "metric": self.table.metric}
        best = {"trial": self.best, "value": self.trials[self.best].value, "settings": dict(self.settings)}
        return {"trials": len(self.trials), "failed": failed, **table, "best": best}


def search(recipe: Recipe, parts: Parts, folder: Path, count: int, device: str, progress: bool) -> Search:
    """Try settings until `count` trials have ended, those of an earlier call with the same recipe counted.

    The first trial is the recipe's own settings, the others are drawn by TPE (Bergstra et al. 2011). Only the
    training and the validation part are used. Settings that the network refuses, or with which the figure is no
    number, are trials that failed.

    Raises:
        UsageError: the recipe has no ranges, or its own settings do not fit; too few examples; no trial came to a
        figure.
    """
    started = time.monotonic()
    table = _table(recipe, count)
    cuts = _cuts(table, parts, recipe.data.seed + _FOLDS_SEED)
    own = _own_settings(recipe, table, cuts[0], device)
    with quiet():
        record = Record(folder / LOG, _fingerprint(recipe, table, parts, device), table, recipe.train.seed)
        resumed = len(record.trials)
        with bar(count, progress) as told:
            while (done := len(record.trials)) < count:
                told(done, _label(table, record.trials))
                trial, settings = record.ask(own)
                record.tell(trial, _tried(recipe.with_settings(settings), table, cuts, device, settings))
            told(count, _label(table, record.trials))
        trials = record.trials[:count]
    return Search(table, trials, _best(table, trials), time.monotonic() - started, min(resumed, count))


def _table(recipe: Recipe, count: int) -> TuneTable:
    if recipe.tune is None:
        raise UsageError(
            "a search needs the table 'tune' in the recipe, with what is to be searched, such as "
            "tune = { hidden_size = [32, 128] }"
        )
    if count < 1:
        raise UsageError(f"a search of {count} trials was asked for, but it must be at least 1")
    return recipe.tune


def _cuts(table: TuneTable, parts: Parts, seed: int) -> list[Parts]:
    """Each fold as parts: held out is the validation part."""
    pairs: list[tuple[Dataset, Dataset]] = [(parts.train, parts.validation)]
    if table.folds > 1:
        pairs = folds(parts.train.join(parts.validation), table.folds, seed)
    return [Parts(rest, held_out, parts.test, parts.about) for rest, held_out in pairs]


def _own_settings(recipe: Recipe, table: TuneTable, parts: Parts, device: str) -> dict[str, Any]:
    """The recipe's values of what is searched. Raises UsageError where it, or the figure, does not fit its data."""
    with passing(recipe, parts, device) as run:
        network = run.fresh()
    measured = measures(network, parts.validation)
    if table.metric not in measured:
        raise UsageError(
            f"'metric' of the table 'tune' is '{table.metric}', but this family measures {', '.join(measured)}"
        )
    values = {f"train.{key}": value for key, value in asdict(recipe.train).items()}
    return {key: values[key] if key in values else getattr(network.config, key) for key in table.ranges}


def _tried(recipe: Recipe, table: TuneTable, cuts: Sequence[Parts], device: str, settings: Mapping[str, Any]) -> Trial:
    """The mean of the figure over folds and seeds, or why there is none."""
    try:
        value = fmean(_figure(one, table, parts, device) for parts in cuts for one in seeded(recipe, table.seeds))
    except FileError:
        raise  # no fault of the settings
    except UsageError as error:
        return Trial(settings, None, str(error))
    if not math.isfinite(value):
        return Trial(settings, None, f"the {table.metric} is {value}")
    return Trial(settings, value)


def _figure(recipe: Recipe, table: TuneTable, parts: Parts, device: str) -> float:
    with passing(recipe, parts, device) as run:
        _, found = run.decide()
    return float(found["validation"][table.metric])


def _best(table: TuneTable, trials: Sequence[Trial]) -> int:
    """The number of the best trial, of equals the first. Raises UsageError where none has a value."""
    values = {number: trial.value for number, trial in enumerate(trials) if trial.value is not None}
    if not values:
        raise UsageError(f"none of {len(trials)} trials came to a figure; the first failed because {trials[0].reason}")
    return (max if table.more_is_better else min)(values, key=lambda number: values[number])


def _label(table: TuneTable, trials: Sequence[Trial]) -> str:
    values = [trial.value for trial in trials if trial.value is not None]
    best = max(values, default=None) if table.more_is_better else min(values, default=None)
    return "search" if best is None else f"search: best {table.metric} {best:.4g}"


def _fingerprint(recipe: Recipe, table: TuneTable, parts: Parts, device: str) -> str:
    """What decides the trials; the values that are searched do not, so that a recipe with the best of them goes on."""
    train = {f"train.{key}": value for key, value in asdict(recipe.train).items() if key not in ("refit", "repeats")}
    fixed = {key: value for key, value in {**recipe.model.settings, **train}.items() if key not in table.ranges}
    data = {key: value for key, value in asdict(recipe.data).items() if key != "path"}
    decisive = [recipe.model.family, sorted(fixed.items()), data, table.plain(), parts.about.sha256, device]
    return sha256(repr(decisive).encode()).hexdigest()
