"""A run's outputs to a file by its suffix, or as lines for standard output."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgeseq_runtime.atomic import replacing
from numpy.typing import NDArray

from edgeseq.files import csv, jsonl, npy, npz
from edgeseq.files.answers import Answers
from edgeseq.files.inputs import suffix_of

Array = NDArray[Any]


@dataclass(frozen=True)
class Results:
    """Outputs of a batch of sequences by name, and how they are read.

    lengths: valid steps of each sequence, or None where all are.
    ids: what the sequences call themselves; one without an id is called by its number from 0.
    """

    outputs: Mapping[str, Array]
    answers: Answers
    lengths: Array | None = None
    ids: Sequence[str | None] | None = None

    @property
    def main(self) -> Array:
        """The output that is read: (batch, width), or (batch, time, width) with one answer a step."""
        array = self.outputs[self.answers.output]
        leading = 2 if self.answers.stepwise else 1
        return array.reshape(*array.shape[:leading], -1) if array.ndim else array.reshape(1, 1)

    @property
    def columns(self) -> tuple[str, ...]:
        """The header of `rows`."""
        place = ("sequence", "step") if self.answers.stepwise else ("sequence",)
        return place + self.answers.columns(self.main.shape[-1])

    def rows(self) -> Iterator[tuple[str, ...]]:
        """One row of text for each answer; steps after a sequence's end are left out."""
        for index, answer in enumerate(self.main):
            name = str(self.name(index))
            if self.answers.stepwise:
                steps = answer[: self._length(index)]
                yield from ((name, str(number), *self.answers.cells(step)) for number, step in enumerate(steps))
            else:
                yield (name, *self.answers.cells(answer))

    def records(self) -> Iterator[dict[str, Any]]:
        """One object for each sequence; a list for each field where there is one answer a step."""
        for index, answer in enumerate(self.main):
            if self.answers.stepwise:
                steps = [self.answers.fields(step) for step in answer[: self._length(index)]]
                fields = {key: [step[key] for step in steps] for key in steps[0]} if steps else {}
            else:
                fields = self.answers.fields(answer)
            yield {"sequence": self.name(index), **fields}

    def name(self, index: int) -> str | int:
        """A sequence's id, or its number from 0."""
        given = self.ids[index] if self.ids is not None and index < len(self.ids) else None
        return index if given is None else given

    def _length(self, index: int) -> int | None:
        return int(self.lengths[index]) if self.lengths is not None else None


def write_results(path: str, results: Results) -> None:
    """Write atomically, as the suffix says: npz holds every output by name (and lengths), others the answers.

    Raises:
        UsageError: an unknown suffix. FileError: the file cannot be written.
    """
    suffix = suffix_of(path)
    with replacing(path) as temporary:
        if suffix == ".npz":
            lengths = {"lengths": results.lengths} if results.lengths is not None else {}
            npz.write(temporary, {**lengths, **results.outputs})
        elif suffix == ".npy":
            npy.write(temporary, results.outputs[results.answers.output])
        elif suffix == ".csv":
            csv.write(temporary, results.columns, results.rows())
        else:
            jsonl.write(temporary, results.records())
