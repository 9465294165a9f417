"""Whether the settings that a recipe searches or compares are ones that its family has, before anything is trained."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from edgeseq_runtime.errors import UsageError

from edgeseq import schema
from edgeseq.data import Dataset
from edgeseq.nn import entry
from edgeseq.ranges import Choices, Range
from edgeseq.recipe import Recipe, TrainTable


def check_settings(recipe: Recipe, data: Dataset) -> Recipe:
    """The recipe, with ranges of real numbers for the settings that are real numbers, even if it writes [0, 1].

    Raises:
        UsageError: a setting in the tables `tune` and `compare` that the family lacks or would not take.
    """
    for key, values in recipe.compare.settings.items():
        _checked(recipe, data, "compare", key, values)
    if recipe.tune is None:
        return recipe
    asked = recipe.tune.ranges.items()
    ranges = {key: _typed(one, _checked(recipe, data, "tune", key, one.ends)) for key, one in asked}
    return replace(recipe, tune=replace(recipe.tune, ranges=ranges))


def _typed(searched: Range | Choices, ends: tuple[Any, ...]) -> Range | Choices:
    """The same range or choices with `ends` of the setting's type; one in steps stays one of whole numbers."""
    if isinstance(searched, Choices):
        return Choices(ends)
    return searched if searched.step > 1 else replace(searched, low=ends[0], high=ends[1])


def _checked(recipe: Recipe, data: Dataset, table: str, key: str, values: Iterable[Any]) -> tuple[Any, ...]:
    found = entry(recipe.model.family)
    decided = (*found.network.sizes(data), *found.decided)
    if key in decided:
        raise UsageError(f"'{key}' in the table '{table}' is decided by the data and the family; leave it out")
    kind, name = (TrainTable, key.removeprefix("train.")) if key.startswith("train.") else (found.config, key)
    where = f"the table '{table}' (family '{recipe.model.family}')"
    return tuple(schema.check(kind, {name: value}, where, decided)[name] for value in values)
