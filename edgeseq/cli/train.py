"""`edgeseq train`: a recipe to a folder with a checkpoint; without a recipe, the list of those there are."""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from edgeseq_runtime.errors import CheckFailedError, EdgeseqError, UsageError

from edgeseq import recipe as recipes
from edgeseq.cli.options import AsJson
from edgeseq.cli.output import needing, pairs, show, size_text, table

if TYPE_CHECKING:
    from edgeseq.training import TrainResult
    from edgeseq.training.tune import Search

EXAMPLES = (
    "edgeseq train                                    # the recipes in ./models",
    "edgeseq train models/lstm-vowels -o out/vowels",
    "edgeseq train models/lstm-vowels --set train.epochs=5 --set model.hidden_size=32",
    "edgeseq train mine/recipe.toml --tune 50         # search the ranges of its table 'tune' first",
)

MODELS = Path("models")


def train(
    recipe: Annotated[
        Path | None,
        typer.Argument(metavar="RECIPE", help="A recipe.toml, or the folder it is in.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            help="Where the results go; by default out/NAME, after the recipe's folder.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the recipe, such as train.epochs=5."),
    ] = None,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="Where to train.")] = "auto",
    tune: Annotated[
        int | None,
        typer.Option(
            "--tune",
            metavar="N",
            min=1,
            help="First search the ranges of the recipe's table 'tune' with N trials in all, then train with the best "
            "settings. The search goes on from DIR/.tune.log, which stays there; remove it to start anew.",
            show_default=False,
        ),
    ] = None,
    no_compare: Annotated[
        bool, typer.Option("--no-compare", help="Leave out what the recipe's table 'compare' asks for.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train what a recipe says, or list the recipes.

    Without RECIPE, those in ./models are listed with what their last training reached.

    A training that was interrupted goes on where it stopped when it is started again. Exits with 1 where the
    figures are not what the recipe expects.
    """
    if recipe is None:
        if output is not None or settings or tune is not None or no_compare:
            raise UsageError("say which recipe to train; `edgeseq train` alone lists those in ./models")
        _list(as_json)
        return
    loaded = recipes.load(recipe, settings or ())
    target = output or Path("out") / loaded.folder.resolve().name
    with needing("train"):
        from edgeseq.training import train as train_recipe
    try:
        result = train_recipe(
            loaded, target, device=device, progress=sys.stderr.isatty(), tune=tune, comparisons=not no_compare
        )
    except KeyboardInterrupt:
        if tune is not None or _resumes(loaded.model.family):
            anew = "; comparisons begin anew" if loaded.compare.settings and not no_compare else ""
            typer.echo(f"edgeseq: the same command goes on where this one stopped{anew}", err=True)
        raise
    show(_value(result), pairs(None, _about(result)), as_json=as_json)
    if not result.passed:
        raise CheckFailedError("; ".join(result.shortfalls))


def _resumes(family: str) -> bool:
    """Whether epochs that were trained are kept; a network that is solved for has none."""
    from edgeseq.nn import ClosedForm, entry

    return not issubclass(entry(family).network, ClosedForm)


def _value(result: "TrainResult") -> dict[str, Any]:
    """What `--json` prints."""
    value = {
        "checkpoint": str(result.checkpoint_path),
        "seconds": round(result.seconds, 1),
        "resumed_epochs": result.resumed_epochs,
        "metrics": dict(result.metrics),
        "passed": result.passed,
    }
    if result.compare_seconds is not None:
        value["compare_seconds"] = round(result.compare_seconds, 1)
    if (search := result.search) is not None:
        trials = [asdict(trial) for trial in search.trials]
        value["tune"] = {"seconds": round(search.seconds, 1), "resumed_trials": search.resumed, "trials": trials}
    return value


def _about(result: "TrainResult") -> dict[str, object]:
    """What a reader is told."""
    spread = result.metrics.get("deviation", {})
    figures = {
        f"{part} {name}": f"{figure:.4g}" + (f" ± {spread[part][name]:.2g}" if part in spread else "")
        for part, name, figure in _figures(dict(result.metrics))
    }
    search, compared = result.search, result.compare_seconds
    return {
        "data": _told(result.metrics["data"]),
        "search": None if search is None else _searched(search),
        "checkpoint": result.checkpoint_path,
        "resumed": f"after epoch {result.resumed_epochs}" if result.resumed_epochs is not None else None,
        "took": f"{result.seconds:.1f} s",
        "comparisons": None if compared is None else f"{len(result.metrics['compare'])}, in {compared:.1f} s",
        **figures,
    }


def _searched(search: "Search") -> str:
    told = search.summary()
    settings = ", ".join(f"{key} {value}" for key, value in search.settings.items())
    counts = [f"{told['failed']} failed" if told["failed"] else "", f"{search.resumed} of an earlier call"]
    beside = ", ".join(text for text in (counts if search.resumed else counts[:1]) if text)
    return (
        f"{told['trials']} trials{f' ({beside})' if beside else ''} in {search.seconds:.1f} s; best "
        f"{told['metric']} {told['best']['value']:.4g}: {settings}"
    )


def _told(data: dict[str, Any]) -> str:
    """What the data asks for, and how many examples there are in each part."""
    what = f"{data['outputs']} values" if data["task"] == "forecast" else f"{data['outputs']} classes"
    if data["sequence"]:
        what = f"a sequence of {what}"
    each = "every step" if data["stepwise"] else "each example"
    return f"{what}, for {each}; {data['training']} + {data['validation']} + {data['test']} examples"


def _figures(metrics: dict[str, Any]) -> list[tuple[str, str, float]]:
    parts = {part: metrics[part] for part in ("test", "validation") if isinstance(metrics.get(part), dict)}
    return [
        (part, name, float("nan") if value is None else float(value))  # JSON has no NaN
        for part, values in parts.items()
        for name, value in values.items()
    ]


def _list(as_json: bool) -> None:
    found = [_describe(file) for file in sorted(MODELS.glob("*/recipe.toml"))]
    rows = [
        (r["recipe"], r["data"], r["metric"] or "not trained", r["expected"] or "", size_text(r["bytes"]))
        for r in found
    ]
    if not found:
        show(
            {"recipes": []},
            f"there are no recipes in ./{MODELS} (folders with a recipe.toml)",
            as_json=as_json,
        )
        return
    show({"recipes": found}, table(None, ("recipe", "data", "test part", "expected", "size"), rows), as_json=as_json)


def _describe(file: Path) -> dict[str, Any]:
    """What the list says of one recipe."""
    wanted: dict[str, float] = {}
    try:
        recipe = recipes.load(file)
        source = recipe.data.source or recipe.data.path
        wanted = {name.removeprefix("test_"): v for name, v in asdict(recipe.expect).items() if v is not None}
    except EdgeseqError as error:
        source = f"not readable: {error}"
    size = sum(part.stat().st_size for part in file.parent.rglob("*") if part.is_file())
    return {
        "recipe": str(file.parent),
        "data": source,
        "metric": _metric(file.parent, wanted),
        "expected": ", ".join(f"{_words(name)} {value:g}" for name, value in wanted.items()) or None,
        "bytes": size,
    }


def _words(name: str) -> str:
    return recipes.FIGURES[name].words if name in recipes.FIGURES else name


def _metric(folder: Path, wanted: Mapping[str, float]) -> str | None:
    """The figures of the test part that the recipe expects (all, where it expects none), as the last training wrote."""
    try:
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        figures = {name: figure for part, name, figure in _figures(metrics) if part == "test"}
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    names = [name for name in figures if name in wanted] or list(figures)
    return ", ".join(f"{_words(name)} {figures[name]:.4g}" for name in names) or None
