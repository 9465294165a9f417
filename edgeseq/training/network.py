"""The network a recipe asks for, made to measure for its data: sizes, standardisation, hints."""

from dataclasses import fields

import numpy as np
import torch
from edgeseq_runtime.errors import UsageError

from edgeseq.data import Dataset, Parts
from edgeseq.data.dataset import Array
from edgeseq.nn import Hints, Network, build, entry
from edgeseq.nn.network import BASELINE, statistics
from edgeseq.recipe import ModelTable


def parts_for(table: ModelTable, parts: Parts) -> Parts:
    """The data as the family sees it: without a time axis for one whose input is a single array.

    Raises:
        UsageError: sequences of unequal length for such a family, no time axis where one is needed, one class only,
            or what else the family cannot learn from.
    """
    network = entry(table.family).network
    if network.timeless:
        parts = parts.each(Dataset.timeless)
    x = parts.train.x
    if network.timeless is False and (parts.train.lengths is None or not (parts.train.tokens or x.ndim == 3)):
        hint = "; one feature a step is x[..., None]" if x.ndim == 2 else ""
        raise UsageError(
            f"the family '{table.family}' takes sequences, but x has shape {x.shape}; (examples, time, features) is "
            f"expected{hint}"
        )
    if parts.train.task == "classify" and parts.train.labels is not None and len(parts.train.labels) < 2:
        raise UsageError("the data holds one class only, but at least two are needed")
    for part in (parts.train, parts.validation, parts.test):
        network.sizes(part)  # refuses what the family cannot learn from, in whichever part it lies
        _check_targets(parts.train, part, table.settings.get("stop"))
    return parts


def network_for(table: ModelTable, data: Dataset, seed: int) -> Network:
    """A network with fresh weights, standardised by the data it will be trained on.

    Raises:
        UsageError: an unknown or ill-typed setting, one that the data decides, a head or inputs that do not fit.
    """
    found = entry(table.family)
    sizes = found.network.sizes(data)
    if given := [key for key in (*sizes, *found.decided) if key in table.settings]:
        raise UsageError(f"'{given[0]}' in the table 'model' is decided by the data and the family; leave it out")
    settings = {**sizes, **table.settings}
    if any(field.name == "head" for field in fields(found.config)):
        settings.setdefault("head", "step" if data.stepwise else "last")
        _check_head(settings["head"], data)
    torch.manual_seed(seed)
    network = build(table.family, settings, hints_for(data))
    network.initialise()
    _check_inputs(network, data)
    network.standardise(data)
    return network


def hints_for(data: Dataset) -> Hints:
    """What a device wants to know: class names, how to draw realistic inputs, ordinary sizes, symbols."""
    typical = {"batch": 1}
    if data.lengths is not None:
        typical["time"] = int(np.median(data.lengths))
    draw = {}
    if not data.tokens:
        axes = 1 if data.lengths is not None or data.x.ndim == 2 else 0  # features differ; pixels are one quantity
        mean, deviation = (_rounded(values) for values in statistics(data.values, axes))
        draw["x"] = {"normal": [mean, deviation]}
    if BASELINE in data.more:
        baseline = data.more[BASELINE][data.valid]
        draw[BASELINE] = {"normal": [_rounded(values) for values in statistics(baseline, 0)]}
    longest = None if data.lengths is None else int(data.lengths.max())
    features = {} if data.features is None else {"x": data.features}
    return Hints(data.labels, draw, typical, data.vocabulary, longest, features)


def _rounded(values: Array) -> list[float] | float:
    rounded = [float(f"{value:.4g}") for value in np.atleast_1d(values)]
    return rounded if np.ndim(values) else rounded[0]


def _check_targets(train: Dataset, part: Dataset, stop: object) -> None:
    """Raise UsageError where a part has longer sequences of values to answer than those that are trained on.

    stop: the setting of that name; where it is to be learnt, targets have to end in several places.
    """
    if train.task != "forecast" or train.y_lengths is None or part.y_lengths is None:
        return
    if train.y_lengths.min() == train.y_lengths.max() and stop == "learned":
        raise UsageError(
            f"all targets of the training part have {train.y_lengths.max()} steps, so there is no stop to learn; leave "
            "'stop' out"
        )
    if part.y_lengths.max() > train.y_lengths.max():
        raise UsageError(
            f"a target of the validation or test part has {part.y_lengths.max()} steps, but the longest of the "
            f"training part, {train.y_lengths.max()}, decides how many the network gives; divide the data otherwise"
        )


def _check_head(head: str, data: Dataset) -> None:
    if (head == "step") != data.stepwise:
        has = "an answer for every step" if data.stepwise else "one answer for each sequence"
        raise UsageError(f"the head is '{head}', but the data has {has}; only 'step' answers every step")


def _check_inputs(network: Network, data: Dataset) -> None:
    """Raise UsageError where the data has inputs the network does not take, or lengths it would not see."""
    signature = network.signature()
    takes = [tensor.name for tensor in signature.inputs]
    if strange := [name for name in data.more if name not in takes]:
        raise UsageError(f"the data has '{strange[0]}', but the network takes {', '.join(takes)}")
    ragged = any(tensor.of is not None for tensor in signature.inputs)
    if data.lengths is not None and not ragged and (data.lengths != data.x.shape[1]).any():
        raise UsageError("it takes no lengths because ragged is false, but the sequences are of unequal length")
