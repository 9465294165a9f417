"""Which cases a proof runs: batch × time × ragged lengths × initial or random states, and chunks of a stream."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from edgeseq_runtime.draw import draw_inputs, draw_states
from edgeseq_runtime.errors import UsageError
from edgeseq_runtime.signature import BATCH, TIME, Limit, Signature
from numpy.typing import NDArray

Array = NDArray[Any]

BATCHES = (1, 3, 8)
SHORT_TIMES = (1, 2, 7)
CHUNKS = (1, 3, 7)
_STREAM_BATCHES = 2


@dataclass(frozen=True)
class Case:
    """One call. time: of signatures with a time axis. others: the sizes of further free axes, typical where left out.

    chunk: None for a whole run, otherwise a stream fed in chunks of that many steps.
    """

    batch: int
    time: int = 1
    ragged: bool = False
    random_states: bool = False
    chunk: int | None = None
    others: tuple[tuple[str, int], ...] = ()

    @property
    def name(self) -> str:
        """A short name for reports, such as `3×20 ragged`."""
        parts = [f"{self.batch}×{self.time}"]
        parts += [f"{name} {size}" for name, size in self.others]
        parts += ["ragged"] if self.ragged else []
        parts += ["random states"] if self.random_states else []
        parts += [f"chunks of {self.chunk}"] if self.chunk is not None else []
        return " ".join(parts)

    def inputs(self, signature: Signature, seed: int) -> dict[str, Array]:
        """Drawn inputs, lengths included; states only where they are random."""
        sizes = self.sizes(signature)
        arrays = draw_inputs(signature, sizes, seed, self.ragged)
        if self.random_states:
            arrays.update(draw_states(signature, sizes, seed + 1))
        return arrays

    def sizes(self, signature: Signature) -> Mapping[str, int]:
        """The size of every named axis; axes other than batch and time as typical unless the case says otherwise."""
        sizes = {name: signature.typical.get(name, 2) for name in signature.symbols}
        return signature.sized({**sizes, BATCH: self.batch, TIME: self.time, **dict(self.others)})


@dataclass(frozen=True)
class Grid:
    """The sizes that a proof runs at.

    batches: of whole runs; the first two are also those of streams.
    times: None: 1, 2, 7, the typical one and a longer one.
    chunks: how many steps a stream is fed at once; the whole sequence is always among them.

    Raises:
        UsageError: none of them, or one that is below 1.
    """

    batches: tuple[int, ...] = BATCHES
    times: tuple[int, ...] | None = None
    chunks: tuple[int, ...] = CHUNKS

    def __post_init__(self) -> None:
        for name, sizes in (("batches", self.batches), ("times", self.times), ("chunks", self.chunks)):
            if sizes is not None and (not sizes or any(type(size) is not int or size < 1 for size in sizes)):
                raise UsageError(f"{name} of the grid are {sizes!r}, but whole numbers from 1 are expected")

    def cases(self, signature: Signature, steps: int | None = None) -> tuple[Case, ...]:
        """Whole runs first, then, where it streams, chunked ones.

        steps: the length of an unrolled file; it is then among the times, and so is what needs three chunks.
        """
        typical = signature.typical.get(TIME, 20)
        least = signature.limits.get(TIME, Limit()).min
        short = (max(time, least) for time in SHORT_TIMES)
        times = set(self.times or (*short, typical, longer(typical)))
        if self.times is None and steps is not None:
            times |= {steps, 2 * steps + 1}
        ragged = (False, True) if any(t.of for t in signature.inputs) else (False,)
        random_states = (False, True) if signature.states else (False,)
        whole = [
            Case(batch, time, is_ragged, is_random)
            for batch, time, is_ragged, is_random in product(
                self.batches, sorted(times) if TIME in signature.symbols else (1,), ragged, random_states
            )
            if time > 1 or not is_ragged  # a sequence of one step has one length
        ]
        every = (*whole, *_others(signature, typical), *self._chunked(signature, max(self.times or (typical,))))
        return tuple(case for case in every if _within(case, signature))

    def _chunked(self, signature: Signature, time: int) -> list[Case]:
        if not signature.streamable:
            return []
        time = max(time, 2 * max(self.chunks) + 1)
        sizes = product(self.batches[:_STREAM_BATCHES], dict.fromkeys((*self.chunks, time)))
        return [Case(batch, time, chunk=chunk) for batch, chunk in sizes]


DEFAULT = Grid()


def cases(signature: Signature, steps: int | None = None) -> tuple[Case, ...]:
    """The default grid of a signature."""
    return DEFAULT.cases(signature, steps)


def _others(signature: Signature, time: int) -> list[Case]:
    """Each free axis beside batch and time at short, typical and longer sizes, the others as typical."""
    axes = [name for name in signature.symbols if name not in (BATCH, TIME)]
    return [
        Case(batch, time, others=((axis, size),))
        for axis in axes
        for batch, size in zip((1, 3, 3, 1), (*SHORT_TIMES, longer(signature.typical.get(axis, 2))), strict=True)
    ]


def _within(case: Case, signature: Signature) -> bool:
    sizes = case.sizes(signature)
    return all(
        limit.min <= sizes[axis] <= (limit.max if limit.max is not None else sizes[axis])
        for axis, limit in signature.limits.items()
        if axis in signature.symbols
    )


def longer(typical: int) -> int:
    """A time well beyond the typical one: an axis that was frozen shows there."""
    return max(min(3 * typical, typical + 200), 50)
