"""The network a recipe asks for, made to measure for its data: sizes, standardisation, hints."""

from typing import Any

import numpy as np
import torch
from edgeseq_runtime.errors import UsageError

from edgeseq.data import Dataset
from edgeseq.data.dataset import Array
from edgeseq.nn import Hints, Recurrent, build
from edgeseq.recipe import ModelTable

_FROM_DATA = ("cell", "input_size", "output_size", "task")


def network_for(table: ModelTable, data: Dataset, seed: int) -> Recurrent:
    """A network with fresh weights, standardised by the data it will be trained on.

    Raises:
        UsageError: an unknown or ill-typed setting, one that the data decides, or a head that does not fit y.
    """
    if given := [key for key in _FROM_DATA if key in table.settings]:
        raise UsageError(f"'{given[0]}' in the table 'model' is decided by the data and the family; leave it out")
    settings = {"head": "step" if data.stepwise else "last", **_sizes(data), **table.settings}
    if (settings["head"] == "step") != data.stepwise:
        has = "an answer for every step" if data.stepwise else "one answer for each sequence"
        raise UsageError(f"the head is '{settings['head']}', but the data has {has}; only 'step' answers every step")
    torch.manual_seed(seed)
    network = build(table.family, settings, hints_for(data))
    if not network.config.ragged and (data.lengths != data.x.shape[1]).any():
        raise UsageError("ragged is false, but the sequences are of unequal length")
    standardise(network, data)
    return network


def standardise(network: Recurrent, data: Dataset) -> None:
    """Put the mean and deviation of the data's valid steps into the network."""
    config = network.config
    x = (np.zeros(config.input_size), np.ones(config.input_size))
    y = (np.zeros(config.output_size), np.ones(config.output_size))
    if not data.tokens:
        x = _statistics(data.x[data.valid])
    if data.task == "forecast":
        y = _statistics(data.y[data.valid] if data.stepwise else data.y)
    network.standardise(*(torch.tensor(value, dtype=torch.float32) for value in (*x, *y)))


def hints_for(data: Dataset) -> Hints:
    """What a device wants to know: class names, how to draw realistic inputs, the median length."""
    typical = {"batch": 1, "time": int(np.median(data.lengths))}
    if data.tokens:
        return Hints(data.labels, {}, typical)
    mean, deviation = ([float(f"{value:.4g}") for value in values] for values in _statistics(data.x[data.valid]))
    return Hints(data.labels, {"x": {"normal": [mean, deviation]}}, typical)


def _sizes(data: Dataset) -> dict[str, Any]:
    outputs = len(data.labels) if data.labels is not None else data.y.shape[-1]
    sizes = {"input_size": 1 if data.tokens else data.x.shape[2], "output_size": outputs, "task": data.task}
    return {**sizes, "vocabulary_size": int(data.x.max()) + 1} if data.tokens else sizes


def _statistics(values: Array) -> tuple[Array, Array]:
    """Mean and deviation, float64 (features,), of values (rows, features); 1 for a constant feature."""
    mean, deviation = values.mean(0, dtype=np.float64), values.std(0, dtype=np.float64)
    return mean, np.where(deviation > 1e-6 * np.abs(mean) + 1e-12, deviation, 1.0)
