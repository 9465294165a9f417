"""The model card: what the network is, what it was trained on, and how well it does, in Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from edgeseq.data import Dataset, Parts
from edgeseq.data.dataset import Array
from edgeseq.recipe import Recipe
from edgeseq.training.card_settings import compared, searched
from edgeseq.training.examples import Example
from edgeseq.training.markdown import rounded, table
from edgeseq.training.pictures import Picture

_MOST_CLASSES = 30
"""Beyond so many classes a confusion table can no longer be read."""


def card(
    name: str,
    recipe: Recipe,
    parts: Parts,
    metrics: Mapping[str, Any],
    confusion: Array | None,
    examples: Sequence[Example] = (),
    pictures: Mapping[str, Picture] | None = None,
) -> str:
    """The card's text.

    confusion: int64 (classes, classes), true class by row. examples: of the test part. pictures: by file name.
    """
    sections = [
        f"# {name}\n\n{_network(recipe, parts, metrics)}",
        f"## Data\n\n{_data(parts)}",
        f"## Split\n\n{_split(recipe, parts, metrics)}",
        f"## Figures\n\n{_figures(metrics, _notes(recipe, parts.train, metrics))}",
    ]
    for title, text in (("Search", searched(recipe, metrics)), ("Comparison", compared(recipe, metrics))):
        if text is not None:
            sections.append(f"## {title}\n\n{text}")
    if alarms := [name for name in metrics["test"] if name not in metrics["validation"]]:
        told = table(("figure", "value"), [(name, rounded(metrics["test"][name])) for name in alarms])
        sections.append(f"## Alarms on the test part\n\n{_threshold(recipe)}\n\n{told}")
    if confusion is not None and parts.test.labels is not None:
        sections.append(f"## Classes of the test part\n\n{_classes(parts.test.labels, confusion)}")
    if pictures:
        shown = [f"{each.title}\n\n![{each.title}]({name})" for name, each in pictures.items()]
        sections.append("## Pictures\n\n" + "\n\n".join(shown))
    if examples:
        rows = [(each.given, each.written, " / ".join(each.right)) for each in examples]
        sections.append(f"## Examples of the test part\n\n{table(('given', 'written', 'right'), rows)}")
    sections.append(f"## Command\n\n{_command(recipe)}")
    return "\n\n".join(sections) + "\n"


def _network(recipe: Recipe, parts: Parts, metrics: Mapping[str, Any]) -> str:
    settings = ", ".join(f"{key} {value}" for key, value in recipe.model.settings.items())
    data = parts.train
    labels, values = data.labels, data.y.shape[-1]
    if "rebuild_error" in metrics["test"]:
        return _autoencoder(recipe, data, metrics, settings)
    asked = f"{len(labels)} classes" if labels is not None else f"{values} values"
    if data.y_lengths is not None:
        asked = f"a sequence of {asked}"
    every = ", at every step" if data.stepwise else ""
    return (
        f"Family `{recipe.model.family}` ({settings or 'default settings'}), {metrics['parameters']:,} "
        f"parameters. It reads {_given(data)} and answers with {asked}{every}."
    )


def _autoencoder(recipe: Recipe, data: Dataset, metrics: Mapping[str, Any], settings: str) -> str:
    """Of a network that answers with what it was given."""
    size, window = recipe.model.settings.get("code_size", 16), recipe.model.settings.get("window")
    read = f"windows of {window} steps of {data.x.shape[-1]} features" if window else _given(data)
    return (
        f"Family `{recipe.model.family}` ({settings or 'default settings'}), {metrics['parameters']:,} "
        f"parameters. It codes {read} as {size} numbers, and rebuilds them from those."
    )


def _given(data: Dataset) -> str:
    if data.tokens:
        return "token ids"
    if data.lengths is not None:
        return f"{data.x.shape[2]} features a step"
    shape = " × ".join(map(str, data.x.shape[1:]))
    return f"arrays of {shape}" if data.x.ndim > 2 else f"{shape} features"


def _data(parts: Parts) -> str:
    about = parts.about
    source = f"{about.name}: {about.citation}.\n\nLicence: {about.licence}."
    return f"{source}\n\nSHA-256 of the data: `{about.sha256}`."


def _split(recipe: Recipe, parts: Parts, metrics: Mapping[str, Any]) -> str:
    three = (("training", parts.train), ("validation", parts.validation), ("test", parts.test))
    if parts.train.lengths is None:
        sizes = table(("part", "examples"), [(part, len(data)) for part, data in three])
    else:
        rows = [(part, len(d), f"{d.lengths.min()} to {d.lengths.max()}") for part, d in three if d.lengths is not None]
        sizes = table(("part", "sequences", "steps"), rows)
    how = _how(recipe, metrics) + "The test part decided nothing in this training; it gives the figures below."
    return sizes + "\n\n" + how


def _how(recipe: Recipe, metrics: Mapping[str, Any]) -> str:
    how, told = (_solved(metrics), "penalties") if "solved" in metrics else (_fitted(recipe, metrics), "epochs")
    if recipe.train.repeats > 1:
        how += (
            f"{recipe.train.repeats} networks were trained so, from different seeds; the one kept, of seed "
            f"{metrics['seed']}, had the lowest validation loss, and what is said here of {told} is its. "
        )
    return how


def _solved(metrics: Mapping[str, Any]) -> str:
    chosen = ", ".join(f"{name} {_short(value)}" for name, value in metrics["solved"].items())
    return (
        "The readout was solved for in closed form, on the training part for the validation figures, and then on "
        f"the training and validation parts together ({chosen}). "
    )


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _fitted(recipe: Recipe, metrics: Mapping[str, Any]) -> str:
    search = metrics["search"]
    how = (
        f"Training ran for {search['ran']} of at most {recipe.train.epochs} epochs (patience "
        f"{recipe.train.patience}); the validation loss was lowest after epoch {search['best']}. "
    )
    if recipe.train.refit:
        how += (
            f"A fresh network was then trained for {metrics['epochs']} epochs on the training and validation "
            "parts together, with nothing left to choose; it is the one kept. "
        )
    return how


def _threshold(recipe: Recipe) -> str:
    """What the alarms' threshold was chosen on."""
    if not recipe.train.refit:
        return "Alarms are by the threshold chosen on the validation part."
    return (
        "Alarms are by the threshold chosen on the training and validation parts together, which the network was "
        "trained on: on what it has not seen scores are higher."
    )


def _notes(recipe: Recipe, data: Dataset, metrics: Mapping[str, Any]) -> list[str]:
    """What is to be known of an autoencoder's figures."""
    told, settings = [], recipe.model.settings
    if "bound" in metrics["test"]:
        unit = "in nats" if settings.get("loss") == "bce" else "up to a constant"
        told.append(
            f"`bound` is the evidence bound of an example, {unit}, with the code's mean in place of draws of it, so no "
            "bound in the strict sense: mostly it lies higher."
        )
    several = data.x.shape[-1] > 1 and ("window" in settings or data.x.ndim == 2)
    if "rebuild_error" in metrics["test"] and several and settings.get("output") != "sigmoid":
        told.append("`rebuild_error` is in units of each feature's variance.")
    if "event_recall" in metrics["validation"]:  # else its alarms stand in a section of their own
        told.append(_threshold(recipe))
    return told


def _figures(metrics: Mapping[str, Any], notes: Sequence[str]) -> str:
    names = [name for name in metrics["test"] if name in metrics["validation"]]
    rows = [(part, *(rounded(metrics[part][name]) for name in names)) for part in ("validation", "test")]
    for method, figures in metrics.get("beside", {}).items():
        told = (rounded(figures[name]) if name in figures else "-" for name in names)
        rows.append((f"test, {method} with as many numbers", *told))
    note = " ".join(["The validation figures are of the network before any refit.", *notes])
    if "repeats" not in metrics:
        return f"{table(('part', *names), rows)}\n\n{note}"
    each = [(run["seed"], *(rounded(run["test"][name]) for name in names)) for run in metrics["repeats"]]
    return (
        f"{table(('part', *names), [*rows, *_spread(metrics, names)])}\n\n{note} All are means over the seeds; the "
        "deviation is the sample standard deviation, the standard error that of the mean. On the test part, seed by "
        f"seed:\n\n{table(('seed', *names), each)}"
    )


def _spread(metrics: Mapping[str, Any], names: Sequence[str]) -> list[tuple[str, ...]]:
    """Two rows: the deviation over the seeds, and the standard error of their mean."""
    deviation, seeds = metrics["deviation"]["test"], len(metrics["repeats"])
    return [
        ("test, deviation", *(rounded(deviation[name]) for name in names)),
        ("test, standard error", *(rounded(deviation[name] / seeds**0.5) for name in names)),
    ]


def _classes(labels: Sequence[str], confusion: Array) -> str:
    right, total = confusion.diagonal(), confusion.sum(1)
    if len(labels) > _MOST_CLASSES:
        return f"{len(labels)} classes; {right.sum()} of {total.sum()} right."
    rows = [(label, *confusion[i], f"{right[i] / total[i]:.3f}" if total[i] else "-") for i, label in enumerate(labels)]
    return "True class by row, predicted class by column.\n\n" + table(("", *labels, "recall"), rows)


def _command(recipe: Recipe) -> str:
    return f"In this folder, with seed {recipe.train.seed}:\n\n    edgeseq train recipe.toml -o ."
