"""Examples for the card of a network that turns text into text: what it reads, what it writes, what would be right."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from edgeseq.data import Dataset
from edgeseq.nn import Network
from edgeseq.text import KINDS, vocabularies
from edgeseq.training.batches import Batches

SHOWN = 20


@dataclass(frozen=True)
class Example:
    """One row of a dataset. right: every answer that counts as right."""

    given: str
    written: str
    right: tuple[str, ...]


def examples(network: Network, data: Dataset) -> list[Example]:
    """A few rows, evenly spread; none where the network does not read and write text."""
    known = vocabularies(network.vocabulary())
    if "tokens" not in known or "generated" not in known or data.labels is None:
        return []
    rows = np.unique(np.linspace(0, len(data) - 1, SHOWN).astype(int))
    (batch,) = Batches(data.rows(rows), SHOWN)
    with torch.no_grad():
        generated = network(**network.inputs(batch))["generated"]
    right = _right(batch, data.labels, KINDS[known["generated"].kind])
    best = generated.reshape(len(rows), -1, generated.shape[-1])[:, 0]
    return [
        Example(known["tokens"].decode(x[:length]), known["generated"].decode(said), tuple(answers))
        for x, length, said, answers in zip(batch["x"], batch["lengths"], best, right, strict=True)
    ]


def _right(batch: dict[str, Tensor], labels: tuple[str, ...], between: str) -> Iterator[list[str]]:
    """Of each row the answers that are right, as text. between: what stands between two symbols."""
    for row, (y, length) in enumerate(zip(batch["y"].tolist(), batch["y_lengths"].tolist(), strict=True)):
        answers = batch["accepted"][row].tolist() if "accepted" in batch else [y[:length]]
        yield [between.join(labels[c] for c in answer if c >= 0) for answer in answers if any(c >= 0 for c in answer)]
