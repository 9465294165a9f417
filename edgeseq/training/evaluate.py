"""Figures of a trained network on a dataset: loss, accuracy or error, and the confusion of classes."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from edgeseq.data import Dataset
from edgeseq.data.dataset import Array
from edgeseq.nn import Batch, Network, Outputs
from edgeseq.training.batches import Batches

_BATCH = 256


def evaluate(network: Network, data: Dataset) -> dict[str, float]:
    """`loss` and the family's own metrics, each the mean over all examples (or over all valid steps)."""
    totals: dict[str, float] = {}
    count = 0
    for outputs, batch in _answers(network, data):
        weight = int(batch["lengths"].sum()) if data.stepwise else len(batch["x"])
        figures = {"loss": network.loss(outputs, batch), **network.metrics(outputs, batch)}
        count += weight
        for name, value in figures.items():
            totals[name] = totals.get(name, 0.0) + weight * float(value)
    means = {name: total / count for name, total in totals.items()}
    if "naive_mae" in means:
        means["relative_mae"] = means["mae"] / means["naive_mae"]
    return means


def confusion(network: Network, data: Dataset) -> Array | None:
    """int64 (classes, classes): how often a true class (row) was taken for a class (column); None without classes."""
    size = len(data.labels or ())
    counts = np.zeros((size, size), np.int64)
    for outputs, batch in _answers(network, data):
        decisions = network.decisions(outputs, batch)
        if decisions is None:
            return None
        predicted, truth = decisions
        np.add.at(counts, (truth.numpy(), predicted.numpy()), 1)
    return counts


def _answers(network: Network, data: Dataset) -> Iterator[tuple[Outputs, Batch]]:
    with torch.no_grad():
        for batch in Batches(data, _BATCH):
            outputs: dict[str, Tensor] = network(**network.inputs(batch))
            yield outputs, batch
