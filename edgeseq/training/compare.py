"""A recipe's table `compare`: other settings of the model, trained as the recipe's own are, and their test figures."""

import itertools
from collections.abc import Mapping
from typing import Any

from edgeseq_runtime.errors import FileError, UsageError

from edgeseq.data import Parts
from edgeseq.nn import Network
from edgeseq.recipe import Recipe
from edgeseq.training.progress import bar
from edgeseq.training.seeds import Figures, deviations, means, seeded
from edgeseq.training.single import passing

Row = dict[str, Any]


def compare(
    recipe: Recipe, network: Network, metrics: Mapping[str, Any], parts: Parts, device: str, progress: bool
) -> list[Row]:
    """The test figures of every combination: {"settings", "test", "deviation"}, or "refused" with the reason.

    The recipe's own, where it is among them, is marked with "own": its figures are those of `metrics`, not trained
    again. network: the one that was trained.
    """
    rows: list[Row] = []
    every = _combinations(recipe)
    with bar(len(every), progress) as told:
        for settings in every:
            told(len(rows), "comparison: " + ", ".join(map(str, settings.values())))
            if all(getattr(network.config, key) == value for key, value in settings.items()):
                rows.append({"settings": settings, "own": True, **_kept(metrics)})
            else:
                rows.append({"settings": settings, **_trained(recipe.with_settings(settings), parts, device)})
        told(len(rows), "comparison")
    return rows


def _combinations(recipe: Recipe) -> list[dict[str, Any]]:
    table = recipe.compare.settings
    return [dict(zip(table, values, strict=True)) for values in itertools.product(*table.values())]


def _kept(metrics: Mapping[str, Any]) -> Row:
    return {name: metrics[name] for name in ("test", "deviation") if name in metrics}


def _trained(recipe: Recipe, parts: Parts, device: str) -> Row:
    try:
        figures = [_test_figures(one, parts, device) for one in seeded(recipe)]
    except FileError:
        raise  # no fault of the settings
    except UsageError as error:
        return {"refused": str(error)}
    return {"test": means(figures), **({"deviation": {"test": deviations(figures)}} if len(figures) > 1 else {})}


def _test_figures(recipe: Recipe, parts: Parts, device: str) -> Figures:
    with passing(recipe, parts, device) as run:
        _, found = run.train()
    figures: Figures = found["test"]
    return figures
