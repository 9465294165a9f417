"""How well the families tell anomalies, each trained and judged alike: the recipes alarm-pressure and alarm-load.

Each network is trained as the recipe says, with the settings of its own below in place of the recipe's, and sets its
threshold on what was held out from training. Nothing is adjusted by what the test part shows: precision and recall are
of single steps, and found means an alarm inside an anomaly or while a window still holds it.

    python benchmarks/alarms.py                    # about 10 minutes
    python benchmarks/alarms.py --recipe alarm-pressure --seeds 1
"""

import argparse
import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeseq import recipe as recipes
from edgeseq.data import Parts, open_data
from edgeseq.recipe import ModelTable, Recipe
from edgeseq.training.evaluate import evaluate
from edgeseq.training.single import passing

MODELS = Path(__file__).parents[1] / "models"
RECIPES = ("alarm-pressure", "alarm-load")

FAMILIES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "ae, vanilla": ("ae", {}),
    "ae, deep": ("ae", {"hidden_sizes": [64]}),
    "ae, deep, masking": ("ae", {"hidden_sizes": [64], "corruption": "masking", "corruption_level": 0.2}),
    "vae, error": ("vae", {"hidden_sizes": [64], "beta": 0.01}),
    "vae, bound": ("vae", {"hidden_sizes": [64], "beta": 0.01, "score": "bound"}),
    "convae": ("convae", {"channels": [16, 32]}),
    "recae, LSTM": ("recae", {"hidden_size": 32}),
    "recae, GRU": ("recae", {"hidden_size": 32, "cell": "gru"}),
}

COLUMNS = {
    "precision": "precision",
    "recall": "recall",
    "found": "event_recall",
    "delay": "delay",
    "peak": "peak_distance",
    "normal": "normal_alarm_share",
    "a week": "false_alarms_a_week",
}
"""Of the table, by the names of the figures (edgeseq.training.alarms)."""

KEPT = ("window", "hop", "code_size", "threshold_deviations", "threshold_quantile", "hold")
"""Settings of a recipe that all families take."""


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--seeds", type=int, default=3, help="networks of each family; means are shown (3)")
    arguments = parser.parse_args()
    for name in arguments.recipe:
        recipe = recipes.load(MODELS / name)
        parts = open_data(recipe.data, recipe.folder)
        print(f"\n{name}, means of {arguments.seeds} seeds\n{'':20}" + "".join(f"{column:>11}" for column in COLUMNS))
        for family, figures in _rows(recipe, parts, arguments.seeds):
            told = "".join(f"{_told(figures.get(figure, math.nan)):>11}" for figure in COLUMNS.values())
            print(f"{family:20}{told}", flush=True)
    return 0


def _rows(recipe: Recipe, parts: Parts, seeds: int) -> Iterator[tuple[str, Mapping[str, float]]]:
    for title, (family, settings) in FAMILIES.items():
        kept = {key: value for key, value in recipe.model.settings.items() if key in KEPT}
        table = ModelTable(family, {**kept, **settings})
        found = []
        for seed in range(seeds):
            one = replace(recipe, model=table, train=replace(recipe.train, seed=seed), text=None)
            with passing(one, parts, "cpu") as run:
                found.append(evaluate(run.fitted()[0], parts.test))
        yield title, {name: sum(each[name] for each in found) / seeds for name in found[0]}


def _told(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4g}"


if __name__ == "__main__":
    sys.exit(main())
