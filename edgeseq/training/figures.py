"""The figures a test can give: what each is called, which way is better, and what a recipe expects of it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from edgeseq_runtime.errors import UsageError

from edgeseq.data import Dataset
from edgeseq.recipe import ExpectTable


@dataclass(frozen=True)
class Figure:
    """words: what it is. at_least: whether more is better, so that a recipe expects at least so much."""

    words: str
    at_least: bool
    tasks: tuple[str, ...]


FIGURES = {
    "accuracy": Figure("accuracy", True, ("classify",)),
    "sequence_accuracy": Figure("share of sequences that are right as a whole", True, ("transcribe",)),
    "mae": Figure("mean absolute error", False, ("forecast",)),
    "relative_mae": Figure("mean absolute error, relative to the naive forecast's,", False, ("forecast",)),
    "bits": Figure("bits a symbol", False, ("classify",)),
}
"""Those that a recipe can expect, by their name in metrics.json; the table `expect` puts `test_` before it."""


def check_expectations(expect: ExpectTable, data: Dataset) -> None:
    """Raise UsageError where a recipe expects a figure that its data cannot give."""
    for name, value in _expected(expect).items():
        if value is None:
            continue
        if data.task not in FIGURES[name].tasks:
            raise UsageError(f"the recipe expects 'test_{name}', but its data asks to {data.task}")
        if name == "relative_mae" and data.naive is None:
            raise UsageError(
                "the recipe expects 'test_relative_mae', but its data has no naive forecast to compare with"
            )


def shortfalls(expect: ExpectTable, test: Mapping[str, float]) -> tuple[str, ...]:
    """What the recipe expects and the test part did not show, in words. Raises UsageError for a figure not measured."""
    found = []
    for name, wanted in _expected(expect).items():
        if wanted is None:
            continue
        if name not in test:
            raise UsageError(f"the recipe expects 'test_{name}', but this family measures {', '.join(test)}")
        figure, value = FIGURES[name], test[name]
        if (value < wanted) if figure.at_least else (value > wanted):
            bound = "least" if figure.at_least else "most"
            found.append(f"the {figure.words} on the test part is {value:.4g}, but at {bound} {wanted} is expected")
    return tuple(found)


def _expected(expect: ExpectTable) -> dict[str, float | None]:
    return {key.removeprefix("test_"): value for key, value in asdict(expect).items()}
