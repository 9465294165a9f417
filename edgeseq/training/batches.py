"""Batches of a dataset, in an order that the seed and the epoch alone decide."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from edgeseq.data import Dataset


class Batches:
    """Iterates over {x, y, lengths} as in Dataset, as tensors, cut after the longest sequence of each batch.

    seed: None for the dataset's own order. epoch: asked at the start of each pass; the order of a pass
    depends on nothing else, so a resumed training sees what an uninterrupted one would have seen.
    """

    def __init__(
        self, data: Dataset, batch_size: int, seed: int | None = None, epoch: Callable[[], int] = lambda: 0
    ) -> None:
        self._x, self._y = torch.from_numpy(data.x), torch.from_numpy(data.y)
        self._lengths = torch.from_numpy(data.lengths)
        self._stepwise = data.stepwise
        self._batch_size, self._seed, self._epoch = batch_size, seed, epoch

    def __len__(self) -> int:
        return -(-len(self._x) // self._batch_size)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        order = self._order()
        for start in range(0, len(order), self._batch_size):
            rows = order[start : start + self._batch_size]
            lengths = self._lengths[rows]
            time = int(lengths.max())
            y = self._y[rows]
            yield {"x": self._x[rows, :time], "y": y[:, :time] if self._stepwise else y, "lengths": lengths}

    def _order(self) -> Tensor:
        if self._seed is None:
            return torch.arange(len(self._x))
        generator = torch.Generator().manual_seed(mix(self._seed, self._epoch()))
        return torch.randperm(len(self._x), generator=generator)


def mix(seed: int, count: int) -> int:
    """A seed for the `count`-th draw, far from those of neighbouring seeds and counts."""
    return (seed * 0x9E3779B97F4A7C15 + count * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) % 2**63
