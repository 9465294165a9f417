"""The model card: what the network is, what it was trained on, and how well it does, in Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from edgeseq.data import Dataset, Parts
from edgeseq.data.dataset import Array
from edgeseq.recipe import Recipe

_MOST_CLASSES = 30
"""Beyond so many classes a confusion table can no longer be read."""


def card(name: str, recipe: Recipe, parts: Parts, metrics: Mapping[str, Any], confusion: Array | None) -> str:
    """The card's text. confusion: int64 (classes, classes), true class by row."""
    sections = [
        f"# {name}\n\n{_network(recipe, parts, metrics)}",
        f"## Data\n\n{_data(parts)}",
        f"## Split\n\n{_split(recipe, parts, metrics)}",
        f"## Figures\n\n{_figures(metrics)}",
    ]
    if confusion is not None and parts.test.labels is not None:
        sections.append(f"## Classes of the test part\n\n{_classes(parts.test.labels, confusion)}")
    sections.append(f"## Command\n\n{_command(recipe)}")
    return "\n\n".join(sections) + "\n"


def _network(recipe: Recipe, parts: Parts, metrics: Mapping[str, Any]) -> str:
    settings = ", ".join(f"{key} {value}" for key, value in recipe.model.settings.items())
    data = parts.train
    labels, values = data.labels, data.y.shape[-1]
    asked = f"{len(labels)} classes" if labels is not None else f"{values} values"
    if data.task == "transcribe":
        asked = f"a sequence of {asked}"
    every = ", at every step" if data.stepwise else ""
    return (
        f"Family `{recipe.model.family}` ({settings or 'default settings'}), {metrics['parameters']:,} "
        f"parameters. It reads {_given(data)} and answers with {asked}{every}."
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
        table = _table(("part", "examples"), [(part, len(data)) for part, data in three])
    else:
        rows = [(part, len(d), f"{d.lengths.min()} to {d.lengths.max()}") for part, d in three if d.lengths is not None]
        table = _table(("part", "sequences", "steps"), rows)
    how = _how(recipe, metrics) + "The test part decided nothing in this training; it gives the figures below."
    return table + "\n\n" + how


def _how(recipe: Recipe, metrics: Mapping[str, Any]) -> str:
    if "solved" in metrics:
        chosen = ", ".join(f"{name} {value:.4g}" for name, value in metrics["solved"].items())
        return (
            "The readout was solved for in closed form, on the training part for the validation figures, and then on "
            f"the training and validation parts together ({chosen}). "
        )
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
    if recipe.train.repeats > 1:
        how += (
            f"{recipe.train.repeats} networks were trained so, from different seeds; the one kept, of seed "
            f"{metrics['seed']}, had the lowest validation loss, and what is said here of epochs is its. "
        )
    return how


def _figures(metrics: Mapping[str, Any]) -> str:
    names = list(metrics["test"])
    rows = [(part, *(f"{metrics[part][name]:.4f}" for name in names)) for part in ("validation", "test")]
    text = _table(("part", *names), rows) + "\n\nThe validation figures are of the network before any refit."
    if "repeats" not in metrics:
        return text
    each = [(run["seed"], *(f"{run['test'][name]:.4f}" for name in names)) for run in metrics["repeats"]]
    return f"{text} All are means over the seeds. On the test part, seed by seed:\n\n" + _table(("seed", *names), each)


def _classes(labels: Sequence[str], confusion: Array) -> str:
    right, total = confusion.diagonal(), confusion.sum(1)
    if len(labels) > _MOST_CLASSES:
        return f"{len(labels)} classes; {right.sum()} of {total.sum()} right."
    rows = [(label, *confusion[i], f"{right[i] / total[i]:.3f}" if total[i] else "-") for i, label in enumerate(labels)]
    return "True class by row, predicted class by column.\n\n" + _table(("", *labels, "recall"), rows)


def _command(recipe: Recipe) -> str:
    return f"In this folder, with seed {recipe.train.seed}:\n\n    edgeseq train recipe.toml -o ."


def _table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
