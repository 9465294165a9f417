"""What an autoencoder does, drawn: by file name the PNGs of a model's folder, and what each shows."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from edgeseq import pictures
from edgeseq.data import Dataset, Parts
from edgeseq.nn import Autoencoder, Network
from edgeseq.nn.corruption import corrupted
from edgeseq.training.stepwise import stepwise_alarms

SHOWN, SAMPLES = 12, 64


@dataclass(frozen=True)
class Picture:
    """A PNG's bytes, and what it shows, for the card."""

    content: bytes
    title: str


def drawn(network: Network, parts: Parts) -> Mapping[str, Picture]:
    """Inputs above reconstructions; of series the signal, the score and the alarms; of a variational autoencoder the
    plane of codes, and samples. Nothing for other families.

    Raises:
        MissingPackageError: matplotlib is not installed.
    """
    if not isinstance(network, Autoencoder) or network.ragged:
        return {}
    examples = network.examples(parts.test)
    rows = examples.rows(_spread(examples, SHOWN))
    with torch.no_grad():
        if network.config.window is not None and parts.test.stepwise:
            found = {"alarms.png": _alarms(network, parts.test)}
        else:
            found = {"rebuilt.png": _rebuilt(network, rows)} if rows.x.ndim == 3 else {}
        if network.config.variational:
            found |= _generated(network, examples)
    return found


def _rebuilt(network: Autoencoder, rows: Dataset) -> Picture:
    x = torch.from_numpy(rows.x)
    shown = corrupted(x, network.config.corruption, network.config.corruption_level, torch.Generator().manual_seed(0))
    rebuilt = _decoded(network, network.encode(shown).mean).numpy()
    if network.config.window is not None:
        return Picture(pictures.curves(rows.x, rebuilt), "Windows of the test part, and what is rebuilt of them.")
    if network.config.corruption == "none":
        return Picture(
            pictures.pairs(rows.x, rebuilt), "Above examples of the test part, below what is rebuilt of them."
        )
    title = "From above: examples of the test part, what the network is shown of them, and what it rebuilds of that."
    return Picture(pictures.pairs(rows.x, rebuilt, shown.numpy()), title)


def _alarms(network: Autoencoder, test: Dataset) -> Picture:
    """Of the first series."""
    end = test.x.shape[1] if test.lengths is None else int(test.lengths[0])
    scores, alarms = stepwise_alarms(network, test.x[:1, :end])
    drawn = pictures.alarms(
        test.x[0, :end], scores[0], alarms[0], test.y[0, :end], float(network.threshold), test.labels
    )
    return Picture(drawn, "The first series of the test part, its score, and where alarms are raised.")


def _generated(network: Autoencoder, examples: Dataset) -> dict[str, Picture]:
    found = {}
    noise = torch.randn(SAMPLES, network.config.code_size, generator=torch.Generator().manual_seed(0))
    samples = _decoded(network, noise).numpy()
    if samples.ndim == 3 and network.config.window is None:
        found["samples.png"] = Picture(pictures.grid(samples), "Samples: noise of seed 0, decoded.")
    if network.config.code_size > 1 and examples.labels is not None:
        codes = network.encode(torch.from_numpy(examples.x)).mean.numpy()
        found["codes.png"] = Picture(
            pictures.plane(codes, examples.y, examples.labels), "The codes of the test part, by class."
        )
    return found


def _decoded(network: Autoencoder, code: Tensor) -> Tensor:
    return network.shown(network.rebuild(code, network.config.shape[0]))


def _spread(examples: Dataset, count: int) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Evenly spread rows; where there are classes, of the examples in their order."""
    order = np.argsort(examples.y, kind="stable") if examples.labels is not None else np.arange(len(examples))
    return order[np.unique(np.linspace(0, len(examples) - 1, count).astype(np.int64))]
