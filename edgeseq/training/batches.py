"""Batches of a dataset, in an order that the seed and the epoch alone decide."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from edgeseq.data import Dataset

CONTINUES = "continues"
"""In a batch that goes on where the one before it stopped: the states are to be carried over."""


class Batches:
    """Iterates over {x, y, lengths, y_lengths, accepted, …further inputs} as in Dataset, as tensors, where present.

    Time axes are cut after the longest sequence of each batch; y that has lengths of its own, and accepted, are not.

    seed: None for the dataset's own order. epoch: asked at the start of each pass; the order of a pass
    depends on nothing else, so a resumed training sees what an uninterrupted one would have seen.
    truncate: sequences come in pieces of so many steps, one after the other; each but the first has the key
    CONTINUES. A row that has ended stays in the later pieces, with length 0.
    bucket: the rows of so many batches are sorted by length before they are cut into batches; 0: they are not. Has no
    effect on data without lengths.
    """

    def __init__(
        self,
        data: Dataset,
        batch_size: int,
        seed: int | None = None,
        epoch: Callable[[], int] = lambda: 0,
        truncate: int | None = None,
        bucket: int = 0,
    ) -> None:
        names = ("x", "y", "lengths", "y_lengths", "accepted", "naive")
        arrays = {name: getattr(data, name) for name in names}
        present = {name: array for name, array in {**arrays, **data.more}.items() if array is not None}
        self._tensors = {name: torch.from_numpy(array) for name, array in present.items()}
        self._timed = [] if data.lengths is None else ["x", *data.more, *(["y", "naive"] if data.stepwise else [])]
        self._count = len(data)
        self._batch_size, self._seed, self._epoch = batch_size, seed, epoch
        self._truncate = truncate if data.lengths is not None else None
        self._sizes = next((self._tensors[n] for n in ("y_lengths", "lengths") if n in self._tensors), None)
        self._bucket = bucket if self._sizes is not None and seed is not None else 0

    def __len__(self) -> int:
        """How many there are in the pass that the epoch is at: of ragged rows, their order decides the pieces."""
        if self._truncate is None:
            return -(-self._count // self._batch_size)
        lengths = self._tensors["lengths"]
        return sum(-(-int(lengths[rows].max()) // self._truncate) for rows in self._rows())

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for rows in self._rows():
            batch = self._cut({name: tensor[rows] for name, tensor in self._tensors.items()})
            yield from [batch] if self._truncate is None else self._pieces(batch, self._truncate)

    def _rows(self) -> Sequence[Tensor]:
        """The rows of each batch, before it is cut into pieces."""
        order = self._order(self._count)
        if not self._bucket or self._sizes is None:
            return torch.split(order, self._batch_size)
        pools = torch.split(order, self._bucket * self._batch_size)
        batches = [batch for pool in pools for batch in torch.split(self._sorted(pool), self._batch_size)]
        return [batches[index] for index in self._order(len(batches)).tolist()]

    def _sorted(self, rows: Tensor) -> Tensor:
        """The rows by length; those of one length in the order they have."""
        assert self._sizes is not None
        return rows[self._sizes[rows].argsort(stable=True)]

    def _cut(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        if "lengths" in batch:
            time = int(batch["lengths"].max())
            batch.update({name: batch[name][:, :time] for name in self._timed if name in batch})
        return batch

    def _pieces(self, batch: dict[str, Tensor], steps: int) -> Iterator[dict[str, Tensor]]:
        lengths = batch["lengths"]
        for start in range(0, int(lengths.max()), steps):
            piece = {name: t[:, start : start + steps] if name in self._timed else t for name, t in batch.items()}
            piece["lengths"] = (lengths - start).clamp(0, steps)
            yield {**piece, CONTINUES: torch.tensor(True)} if start else piece

    def _order(self, count: int) -> Tensor:
        """The numbers below `count`, as the seed and the epoch order them."""
        if self._seed is None:
            return torch.arange(count)
        generator = torch.Generator().manual_seed(mix(self._seed, self._epoch()))
        return torch.randperm(count, generator=generator)


def mix(seed: int, count: int) -> int:
    """A seed for the `count`-th draw, far from those of neighbouring seeds and counts."""
    return (seed * 0x9E3779B97F4A7C15 + count * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) % 2**63
