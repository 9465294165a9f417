"""Figures of a trained network on a dataset: loss, accuracy or error, and the confusion of classes."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from edgeseq_runtime.errors import UsageError
from torch import Tensor

from edgeseq.data import Dataset
from edgeseq.data.dataset import Array
from edgeseq.nn import Autoencoder, Batch, Network, Outputs
from edgeseq.training.alarms import alarm_figures
from edgeseq.training.batches import Batches
from edgeseq.training.stepwise import reach_of, stepwise_alarms

_BATCH = 256


def evaluate(network: Network, data: Dataset) -> dict[str, float]:
    """`loss` and the family's own metrics, each the mean over all examples, or over all scored steps or values.

    Of a mean squared error `mse` its root is shown, `rmse`, and `nrmse`, relative to the deviation of the targets; of
    `naive_mae` also `relative_mae`; of `valid_steps` also `valid_time`, in Lyapunov times, where the data knows those;
    of answers that end by themselves `length_mae`, in steps; of `edits` and `symbols` the `error_rate`, edits a symbol
    of the answers; of `noisy_error` and `clean_error` the `psnr_gain` of what is rebuilt on the corrupted values, in
    decibels, and where a sigmoid gives them, from 0 to 1, the `psnr`.
    Of an autoencoder of windows also the figures of its alarms, where the data has anomalies (edgeseq.training.alarms).

    Raises:
        UsageError: the network leaves out all steps.
    """
    series, data = data, network.examples(data)
    totals: dict[str, float] = {}
    count = 0
    for outputs, batch in _answers(network, data):
        weight = network.scored(outputs, batch)
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
    means = {name: total / count for name, total in totals.items()}
    return {**_derived(means, network, data), **_alarms(network, series)}


def confusion(network: Network, data: Dataset) -> Array | None:
    """int64 (classes, classes): how often a true class (row) was taken for a class (column); None without classes."""
    data, size = network.examples(data), len(data.labels or ())
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


def _derived(means: Mapping[str, float], network: Network, data: Dataset) -> dict[str, float]:
    """The figures, and those that follow from means over all of the data."""
    figures = dict(means)
    if "answered" in figures:
        answered = figures.pop("answered")
        figures |= {name: figures[name] / answered for name in ("mae", "mse", "naive_mae") if name in figures}
        figures["length_mae"] = figures.pop("length_edits") / figures.pop("rows")
    if "naive_mae" in figures:
        figures["relative_mae"] = figures["mae"] / figures["naive_mae"]
    if "mse" in figures:
        figures["rmse"] = figures.pop("mse") ** 0.5
        deviation = _deviation(network, data)
        figures["nrmse"] = figures["rmse"] / deviation if deviation else np.inf
    if "clean_error" in figures:
        noisy, clean = figures.pop("noisy_error"), figures.pop("clean_error")
        if network.config.output == "sigmoid":
            figures["psnr"] = _decibels(1.0, clean)
        figures["psnr_gain"] = _decibels(noisy, clean)
    if "edits" in figures:
        edits, symbols = figures.pop("edits"), figures.pop("symbols")
        figures["error_rate"] = edits / symbols if symbols else float(edits and np.inf)
    if "valid_steps" in figures and data.lyapunov_steps is not None:
        figures["valid_time"] = figures["valid_steps"] / data.lyapunov_steps
    return figures


def _decibels(above: float, below: float) -> float:
    """Of a ratio of two errors; NaN where both are 0, infinite where one is."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(10 * np.log10(np.float64(above) / below))


def _alarms(network: Network, data: Dataset) -> dict[str, float]:
    if not isinstance(network, Autoencoder) or network.config.window is None or not (data.stepwise and data.y.any()):
        return {}
    scores, alarms = stepwise_alarms(network, data.x)
    labels = tuple(data.labels or ())
    return alarm_figures(scores, alarms, data.y, labels, reach_of(network), data.lengths, data.steps_a_week)


def _deviation(network: Network, data: Dataset) -> float:
    """The root mean squared deviation of the scored targets from the mean of each output."""
    scored = data.answered
    if data.stepwise:
        scored = scored & (np.arange(data.y.shape[1]) >= network.unscored)
    return float(np.sqrt(data.y[scored].var(0, dtype=np.float64).mean()))
