"""Several networks of one recipe: their seeds, and the mean and spread of their figures."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from edgeseq.recipe import Recipe

Figures = Mapping[str, float]

_ROUNDING = 1e-6
"""Relative: figures that differ by less are the same, added up in another order."""


def seeded(recipe: Recipe, count: int | None = None) -> list[Recipe]:
    """The recipe once for each of its seeds, or for the first `count`."""
    first, repeats = recipe.train.seed, recipe.train.repeats if count is None else count
    return [replace(recipe, train=replace(recipe.train, seed=first + i)) for i in range(repeats)]


def means(figures: Sequence[Figures]) -> dict[str, float]:
    """The mean of each figure over the seeds."""
    return {name: sum(each[name] for each in figures) / len(figures) for name in figures[0]}


def deviations(figures: Sequence[Figures]) -> dict[str, float]:
    """The sample standard deviation of each figure over at least two seeds; NaN where one is not finite."""
    return {name: _deviation([each[name] for each in figures]) for name in figures[0]}


def _deviation(values: Sequence[float]) -> float:
    with np.errstate(all="ignore"):
        found = float(np.std(values, ddof=1))
    return 0.0 if found <= _ROUNDING * max(map(abs, values)) else found
