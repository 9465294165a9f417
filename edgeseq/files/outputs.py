"""A run's outputs to a file by its suffix, or as lines for standard output."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from edgeseq_runtime.atomic import replacing
from numpy.typing import NDArray

from edgeseq.files import csv, jsonl, npy, npz
from edgeseq.files.answers import ANSWER_LENGTH, Answers
from edgeseq.files.inputs import suffix_of
from edgeseq.files.rows import Item

Array = NDArray[Any]

ERROR = "error"
"""What stands in place of an answer where there is none."""


@dataclass(frozen=True)
class Results:
    """Outputs of a batch of sequences by name, and how they are read.

    lengths: valid steps of each sequence, or None where all are.
    ids: what the sequences call themselves; one without an id is called by its number from 0.
    items: what is answered, in its order, with its rows of the outputs; None where each row is an item.
    seen: samples that each row had before these, int64 (rows, 1), where a state was given that says so.
    asked: how many steps were asked for of each answer that has steps of its own, where that is an input.
    """

    outputs: Mapping[str, Array]
    answers: Answers
    lengths: Array | None = None
    ids: Sequence[str | None] | None = None
    items: Sequence[Item] | None = None
    seen: Array | int = 0
    asked: Array | None = None

    @cached_property
    def main(self) -> Array:
        """The output that is read: (batch, width), or (batch, time, width) with one answer a step."""
        array = self.answers.read(self.outputs, self.seen)
        leading = 2 if self.answers.stepwise else 1
        width = math.prod(array.shape[leading:])
        return array.reshape(*array.shape[:leading], width) if array.ndim else array.reshape(1, 1)

    @property
    def count(self) -> int:
        """How many items there are."""
        return len(self.main) if self.items is None else len(self.items)

    @property
    def refused(self) -> list[Item]:
        """The items that could not be used."""
        return [item for item in self.items or () if item.error is not None]

    @property
    def columns(self) -> tuple[str, ...]:
        """The header of `rows`."""
        return ("sequence", *self.leading_columns, *self.answer_columns)

    @property
    def leading_columns(self) -> tuple[str, ...]:
        """What stands between an item's name and its answer."""
        return ("step",) if self.answers.stepwise else ()

    @property
    def answer_columns(self) -> tuple[str, ...]:
        """The names of one answer's cells."""
        return self.answers.columns(self.main.shape[-1])

    def rows(self) -> Iterator[tuple[str, ...]]:
        """One row of text for each answer; steps after a sequence's end are left out.

        What could not be used has one row, with "error" for an answer.
        """
        for number, item, places in self.placed():
            name = str(self.name(number))
            if item.error is None:
                yield from ((name, *cells) for cells in self.cells(number, places))
            else:
                leading = ((item.text or "") if column == "text" else "" for column in self.leading_columns)
                yield (name, *leading, ERROR, *[""] * (len(self.answer_columns) - 1))

    def records(self) -> Iterator[dict[str, Any]]:
        """One object for each item; a list for each field where there is one answer a step, or a word.

        What could not be used has "error", which says why, and its text where it is known.
        """
        for number, item, places in self.placed():
            name = {"sequence": self.name(number)}
            if item.error is None:
                answers = [self.fields(place) for place in places]
                yield {**name, **self.leading_fields(number), **(_lists(answers) if item.split else answers[0])}
            else:
                yield {**name, **({} if item.text is None else {"text": item.text}), "error": item.error}

    def placed(self) -> Iterator[tuple[int, Item, range]]:
        """Each item with its number and the places of its rows among the outputs'."""
        start = 0
        for number, item in enumerate([Item()] * len(self.main) if self.items is None else self.items):
            yield number, item, range(start, start + item.rows)
            start += item.rows

    def cells(self, number: int, places: range) -> Iterator[tuple[str, ...]]:
        """An item's rows of the table, without its name. places: of its rows among the outputs'."""
        for place in places:
            answer = self.main[place]
            if self.answers.stepwise:
                steps, hop = answer[: self._steps(place)], self.answers.hop
                ends = range(hop - 1, hop * len(steps), hop)  # of a hop its last step
                yield from ((str(end), *self.answers.cells(values)) for end, values in zip(ends, steps, strict=True))
            else:
                yield self.answers.cells(answer)

    def leading_fields(self, number: int) -> dict[str, Any]:
        """What an item's object has beside its answers."""
        return {}

    def fields(self, place: int) -> dict[str, Any]:
        """The answer of one row of the outputs as JSON values."""
        answer = self.main[place]
        if not self.answers.stepwise:
            return self.answers.fields(answer)
        steps = [self.answers.fields(step) for step in answer[: self._steps(place)]]
        return _lists(steps) if steps else {column: [] for column in self.answers.columns(1)}

    def name(self, number: int) -> str | int:
        """An item's id, or its number from 0."""
        given = self.ids[number] if self.ids is not None and number < len(self.ids) else None
        return number if given is None else given

    def _steps(self, place: int) -> int | None:
        """How many steps of a row are an answer; None: all."""
        counts = self.outputs.get(ANSWER_LENGTH, self.asked) if self.answers.own_steps else self.lengths
        return int(counts[place]) if counts is not None else None


def write_results(path: str, results: Results) -> None:
    """Write atomically, as the suffix says: npz holds every output by name (and lengths), others the answers.

    Where not every item is one row of the outputs, npz has `sequence`, int64 (rows,): the number of each row's item.

    Raises:
        UsageError: an unknown suffix. FileError: the file cannot be written.
    """
    suffix = suffix_of(path)
    with replacing(path) as temporary:
        if suffix == ".npz":
            lengths = {"lengths": results.lengths} if results.lengths is not None else {}
            npz.write(temporary, {**_owners(results), **lengths, **results.outputs})
        elif suffix == ".npy":
            npy.write(temporary, results.outputs[results.answers.output])
        elif suffix == ".csv":
            csv.write(temporary, results.columns, results.rows())
        else:
            jsonl.write(temporary, results.records())


def _owners(results: Results) -> dict[str, Array]:
    counts = [item.rows for item in results.items or ()]
    return {} if set(counts) <= {1} else {"sequence": np.repeat(np.arange(len(counts)), counts)}


def _lists(fields: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Objects of the same keys as one object of lists."""
    return {key: [one[key] for one in fields] for key in fields[0]}
