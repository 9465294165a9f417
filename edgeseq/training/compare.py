"""A recipe's table `compare`: other settings of the model, trained as the recipe's own are, and their test figures."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from edgeseq_runtime.errors import FileError, UsageError

from edgeseq.data import Parts
from edgeseq.nn import Network, with_settings
from edgeseq.recipe import Recipe
from edgeseq.training.evaluate import evaluate
from edgeseq.training.progress import bar
from edgeseq.training.seeds import deviations, means, seeded
from edgeseq.training.single import passing

Row = dict[str, Any]


def compare(
    recipe: Recipe, network: Network, metrics: Mapping[str, Any], parts: Parts, device: str, progress: bool
) -> list[Row]:
    """The test figures of every combination: {"settings", "test", "deviation"}, or "refused" with the reason.

    The recipe's own, where it is among them, is marked with "own": its figures are those of `metrics`, not trained
    again. Combinations that differ only in settings on which no weight hangs share their networks. network: the one
    that was trained.
    """
    rows: list[Row] = []
    every = _combinations(recipe)
    trained = {} if recipe.train.repeats > 1 else {_weighty(network, {}): [network]}
    with bar(len(every), progress) as told:
        for settings in every:
            told(len(rows), "comparison: " + ", ".join(map(str, settings.values())))
            if all(getattr(network.config, key) == value for key, value in settings.items()):
                rows.append({"settings": settings, "own": True, **_kept(metrics)})
                continue
            try:
                key = _weighty(network, settings)
                if key not in trained:
                    trained[key] = [_network(one, parts, device) for one in seeded(recipe.with_settings(settings))]
                rows.append({"settings": settings, **_figures(trained[key], settings, parts)})
            except FileError:
                raise  # no fault of the settings
            except UsageError as error:
                rows.append({"settings": settings, "refused": str(error)})
        told(len(rows), "comparison")
    return rows


def _combinations(recipe: Recipe) -> list[dict[str, Any]]:
    table = recipe.compare.settings
    return [dict(zip(table, values, strict=True)) for values in itertools.product(*table.values())]


def _kept(metrics: Mapping[str, Any]) -> Row:
    return {name: metrics[name] for name in ("test", "deviation") if name in metrics}


def _weighty(network: Network, settings: Mapping[str, Any]) -> str:
    """The settings on which the weights hang, as a key. network: of the family, with the recipe's own."""
    own = {**asdict(network.config), **settings}
    return repr({key: value for key, value in own.items() if key not in network.export_settings})


def _network(recipe: Recipe, parts: Parts, device: str) -> Network:
    with passing(recipe, parts, device) as run:
        return run.fitted()[0]


def _figures(networks: Sequence[Network], settings: Mapping[str, Any], parts: Parts) -> Row:
    """The test figures of networks with some of their settings set anew, or their means and deviations."""
    free = {key: value for key, value in settings.items() if key in networks[0].export_settings}
    figures = [evaluate(with_settings(each, free) if free else each, parts.test) for each in networks]
    return {"test": means(figures), **({"deviation": {"test": deviations(figures)}} if len(figures) > 1 else {})}
