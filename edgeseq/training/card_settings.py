"""The model card on settings: how they were searched, and what others would have shown."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict
from typing import Any

from edgeseq.nn import entry
from edgeseq.recipe import Recipe, TuneTable
from edgeseq.training.markdown import rounded, table

Row = Mapping[str, Any]

_NONE = "–"
"""In place of a figure: of a combination that was refused, or of one that does not measure it."""


def searched(recipe: Recipe, metrics: Mapping[str, Any]) -> str | None:
    """What `--tune` searched, or that it searched nothing; None where the recipe has no ranges."""
    if recipe.tune is None:
        return None
    ranges = recipe.tune.ranges
    if "tune" not in metrics:
        told = table(("setting", "range"), list(ranges.items()))
        return f"This training searched nothing. The recipe has ranges for `--tune`:\n\n{told}"
    found = metrics["tune"]
    best = found["best"]
    told = table(("setting", "range", "best"), [(key, one, best["settings"][key]) for key, one in ranges.items()])
    failed = f", of which {found['failed']} failed" if found["failed"] else ""
    return (
        f"{told}\n\n`--tune {found['trials']}`: {found['trials']} trials{failed}. The first had the recipe's own "
        f"settings, as far as the ranges hold them; the others were drawn by Optuna's TPE sampler, seed "
        f"{recipe.train.seed}. A trial's value is the mean {found['metric']} {_judged(recipe.tune)}; the best was "
        f"{best['value']:.6g}, of trial {best['trial'] + 1}. The test part had no share in it."
    )


def _judged(asked: TuneTable) -> str:
    networks = f", of {asked.seeds} networks with different seeds" + (" a fold" if asked.folds > 1 else "")
    over = (
        f"over {asked.folds} folds of the training and validation parts"
        if asked.folds > 1
        else "on the validation part"
    )
    return over + (networks if asked.seeds > 1 else "")


def compared(recipe: Recipe, metrics: Mapping[str, Any]) -> str | None:
    """The recipe's comparisons, two settings as rows and columns; None where there are none."""
    rows: Sequence[Row] = metrics.get("compare", ())
    if not rows:
        return None
    repeats = recipe.train.repeats
    spread = f", means over {repeats} seeds ± sample standard deviation" if repeats > 1 else ""
    settings = recipe.compare.settings
    names = list(settings)
    if len(names) > 2:
        names = [name for name, values in settings.items() if len(values) > 1] or names
    common = [f", with {name} {values[0]}" for name, values in settings.items() if name not in names]
    if len(names) == 2:
        figure = _first_figure(recipe, metrics["test"])
        told, what = _crossed(names, recipe, rows, figure), f"the {figure}"
    else:
        told, what = _listed(names, rows, list(metrics["test"])), "figures"
    return "\n\n".join(
        [
            f"Other settings{''.join(common)}, each trained as this network was: {what} of the test part{spread}. "
            "Nothing was chosen by this table: the recipe's own settings stood before it was made.",
            told,
            *_notes(recipe, rows, metrics),
        ]
    )


def _first_figure(recipe: Recipe, test: Mapping[str, float]) -> str:
    """What the recipe expects first; else the first that is no loss."""
    expected = [key.removeprefix("test_") for key, value in asdict(recipe.expect).items() if value is not None]
    return next(name for name in (*expected, *(name for name in test if name != "loss"), "loss") if name in test)


def _crossed(names: Sequence[str], recipe: Recipe, rows: Sequence[Row], figure: str) -> str:
    """The first setting by row, the second by column."""
    first, second = names
    down, across = recipe.compare.settings[first], recipe.compare.settings[second]
    cells = iter(rows)  # they come in this order
    lines = [(f"{first} {value}", *(_cell(next(cells), figure) for _ in across)) for value in down]
    return table(("", *(f"{second} {value}" for value in across)), lines)


def _listed(names: Sequence[str], rows: Sequence[Row], figures: Sequence[str]) -> str:
    lines = [(*(row["settings"][n] for n in names), *(_cell(row, figure) for figure in figures)) for row in rows]
    return table((*names, *figures), lines)


def _cell(row: Row, figure: str) -> str:
    if figure not in row.get("test", ()):
        return _NONE
    text = rounded(row["test"][figure])
    if "deviation" in row:
        text += f" ± {rounded(row['deviation']['test'][figure])}"
    return f"**{text}**" if "own" in row else text


def _notes(recipe: Recipe, rows: Sequence[Row], metrics: Mapping[str, Any]) -> list[str]:
    """Which are the recipe's own, and why a combination has no figures."""
    notes = []
    if any("own" in row for row in rows):
        notes = ["Bold: the recipe's own settings."]
    elif not _left_to_the_data(recipe):  # else what the data chose may be among them
        figures = ", ".join(f"{name} {_cell(metrics, name)}" for name in metrics["test"])
        notes = [f"The recipe's own settings are not among them: {figures}."]
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if "refused" in row:
            settings = ", ".join(f"{key} {value}" for key, value in row["settings"].items())
            reasons.setdefault(row["refused"], []).append(settings)
    return notes + [f"{_NONE} {'; '.join(which)}: {reason}." for reason, which in reasons.items()]


def _left_to_the_data(recipe: Recipe) -> bool:
    """Whether the recipe leaves a setting that is compared to the data or the training."""
    config = entry(recipe.model.family).config
    left = [key for key in recipe.compare.settings if key not in recipe.model.settings]
    return any(getattr(config, key, MISSING) is None for key in left)
