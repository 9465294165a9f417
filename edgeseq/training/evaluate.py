"""Figures of a trained network on a dataset: loss, accuracy or error, and the confusion of classes."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from edgeseq_runtime.errors import UsageError
from torch import Tensor

from edgeseq.data import Dataset
from edgeseq.data.dataset import Array
from edgeseq.nn import Batch, Network, Outputs
from edgeseq.training.batches import Batches

_BATCH = 256


def evaluate(network: Network, data: Dataset) -> dict[str, float]:
    """`loss` and the family's own metrics, each the mean over all examples, or over all scored steps or values.

    Of a mean squared error `mse` its root is shown, `rmse`, and `nrmse`, relative to the deviation of the targets; of
    `naive_mae` also `relative_mae`; of `valid_steps` also `valid_time`, in Lyapunov times, where the data knows those.

    Raises:
        UsageError: the network leaves out all steps.
    """
    totals: dict[str, float] = {}
    count = 0
    for outputs, batch in _answers(network, data):
        weight = _weight(network, data, batch)
        if not weight:
            continue
        figures = {"loss": network.loss(outputs, batch), **network.metrics(outputs, batch)}
        count += weight
        for name, value in figures.items():
            totals[name] = totals.get(name, 0.0) + weight * float(value)
    if not count:
        longest = data.x.shape[1] if data.lengths is None else data.lengths.max()
        raise UsageError(
            f"nothing can be scored: the first {network.unscored} steps of each sequence are left out (transient), "
            f"but the longest has {longest}"
        )
    return _derived({name: total / count for name, total in totals.items()}, network, data)


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


def _weight(network: Network, data: Dataset, batch: Batch) -> int:
    """How many answers of the batch are scored."""
    if data.stepwise:
        return int((batch["lengths"] - network.unscored).clamp(min=0).sum())
    if data.y_lengths is not None and data.task == "forecast":
        return int(batch["y_lengths"].sum())
    return len(batch["x"])


def _derived(means: Mapping[str, float], network: Network, data: Dataset) -> dict[str, float]:
    """The figures, and those that follow from means over all of the data."""
    figures = dict(means)
    if "naive_mae" in figures:
        figures["relative_mae"] = figures["mae"] / figures["naive_mae"]
    if "mse" in figures:
        figures["rmse"] = figures.pop("mse") ** 0.5
        deviation = _deviation(network, data)
        figures["nrmse"] = figures["rmse"] / deviation if deviation else np.inf
    if "valid_steps" in figures and data.lyapunov_steps is not None:
        figures["valid_time"] = figures["valid_steps"] / data.lyapunov_steps
    return figures


def _deviation(network: Network, data: Dataset) -> float:
    """The root mean squared deviation of the scored targets from the mean of each output."""
    scored = data.answered
    if data.stepwise:
        scored = scored & (np.arange(data.y.shape[1]) >= network.unscored)
    return float(np.sqrt(data.y[scored].var(0, dtype=np.float64).mean()))
