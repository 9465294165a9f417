"""Figures of a trained network on a dataset: loss, accuracy or error, and the confusion of classes."""

import numpy as np
import torch

from edgeseq.data import Dataset
from edgeseq.data.dataset import Array
from edgeseq.nn import Recurrent
from edgeseq.training.batches import Batches

_BATCH = 256


def evaluate(network: Recurrent, data: Dataset) -> dict[str, float]:
    """`loss` and the family's own metrics, each the mean over all sequences (or over all valid steps)."""
    totals: dict[str, float] = {}
    count = 0
    with torch.no_grad():
        for batch in Batches(data, _BATCH):
            weight = int(batch["lengths"].sum()) if data.stepwise else len(batch["x"])
            figures = {"loss": network.loss(batch), **network.metrics(batch)}
            count += weight
            for name, value in figures.items():
                totals[name] = totals.get(name, 0.0) + weight * float(value)
    return {name: total / count for name, total in totals.items()}


def confusion(network: Recurrent, data: Dataset) -> Array:
    """int64 (classes, classes): how often a true class (row) was taken for a class (column)."""
    size = len(data.labels or ())
    counts = np.zeros((size, size), np.int64)
    source, *rest = network.signature().inputs
    with torch.no_grad():
        for batch in Batches(data, _BATCH):
            lengths = {tensor.name: batch["lengths"] for tensor in rest}
            logits = network(**{source.name: batch["x"]}, **lengths)["logits"]
            predicted, truth = logits.argmax(-1), batch["y"]
            if data.stepwise:
                valid = torch.arange(truth.shape[1]) < batch["lengths"][:, None]
                predicted, truth = predicted[valid], truth[valid]
            np.add.at(counts, (truth.numpy(), predicted.numpy()), 1)
    return counts
