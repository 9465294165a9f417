"""What a recipe expects of its test part: whether it can be measured, and whether it was reached."""

from collections.abc import Mapping
from dataclasses import asdict

import numpy as np
from edgeseq_runtime.errors import UsageError

from edgeseq.data import Dataset
from edgeseq.nn import Autoencoder, Network
from edgeseq.recipe import FIGURES, ExpectTable
from edgeseq.training.alarms import ALARM_FIGURES
from edgeseq.training.evaluate import evaluate


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


def check_measured(expect: ExpectTable, network: Network, data: Dataset) -> None:
    """Raise UsageError, before anything is trained, where the recipe expects a figure the network does not measure."""
    measured = measures(network, data)
    if isinstance(network, Autoencoder) and network.config.window is not None:
        measured += ALARM_FIGURES  # there is no anomaly in what is held out
    for name, wanted in _expected(expect).items():
        if wanted is not None and name not in measured:
            raise UsageError(f"the recipe expects 'test_{name}', but this family measures {', '.join(measured)}")


def measures(network: Network, data: Dataset) -> list[str]:
    """The names of the network's figures. Raises UsageError where it scores no step of the longest sequence."""
    longest = 0 if data.lengths is None else int(data.lengths.argmax())
    figures = evaluate(network.eval(), data.rows(np.array([longest])))
    network.train()
    return list(figures)


def shortfalls(expect: ExpectTable, test: Mapping[str, float]) -> tuple[str, ...]:
    """What the recipe expects and the test part did not show, in words."""
    found = []
    for name, wanted in _expected(expect).items():
        if wanted is None:
            continue
        figure, value = FIGURES[name], test[name]
        if not (value >= wanted if figure.at_least else value <= wanted):  # NaN is neither
            bound = "least" if figure.at_least else "most"
            found.append(f"the {figure.words} on the test part is {value:.4g}, but at {bound} {wanted} is expected")
    return tuple(found)


def _expected(expect: ExpectTable) -> dict[str, float | None]:
    return {key.removeprefix("test_"): value for key, value in asdict(expect).items()}
