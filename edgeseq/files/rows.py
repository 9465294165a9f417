"""What is to be answered, one by one: from lines and texts to rows of a model's inputs, and what cannot be used."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

from edgeseq_runtime.errors import InputError
from edgeseq_runtime.feed import Feed
from edgeseq_runtime.signature import BATCH, TIME, Signature, Tensor
from numpy.typing import NDArray

from edgeseq.files import jsonl
from edgeseq.files.batches import fillers, joined
from edgeseq.files.lines import decode, filled, writable
from edgeseq.text import Vocabulary

Array = NDArray[Any]


@dataclass(frozen=True)
class Item:
    """One of the things that are to be answered: a text, or a sequence of numbers.

    text: as it was given; None where numbers were.
    rows: how many rows of the arrays are its own: several where a text is cut into words, none where it cannot be used.
    split: whether there is one answer a word, also where there is one word alone.
    place: where it stands, for messages. error: why it cannot be used.
    """

    text: str | None = None
    rows: int = 1
    split: bool = False
    place: str = ""
    error: str | None = None


@dataclass(frozen=True)
class Sequences:
    """Whole sequences. arrays: by input name, with a batch axis; empty where none can be used.

    ids: what the sequences call themselves. items: what they are, where they were read one by one; None: each row is
        one. left_over: steps at the end of each that are no whole hop, and are left out (edgeseq.files.hops).
    """

    arrays: Mapping[str, Array]
    ids: Sequence[str | None] | None = None
    items: Sequence[Item] | None = None
    left_over: int = 0


@dataclass(frozen=True)
class Given:
    """What a line or a --text holds: a text, or arrays by input name, a batch of one; or why it is neither."""

    place: str
    id: str | None = None
    text: str | None = None
    arrays: Mapping[str, Array] | None = None
    error: str | None = None


class Reader:
    """From what is given to rows of the inputs of one model; here from numbers.

    name: the model's. needed: what must be given. vocabularies: of ids, by input; they say what fills a row up.
    split: whether a text is cut into words, with a row each.
    """

    split = False

    def __init__(self, name: str, needed: Signature, vocabularies: Mapping[str, Vocabulary] | None = None) -> None:
        self._name, self._needed = name, needed
        limits = {axis: limit for axis, limit in needed.limits.items() if axis != BATCH}  # it is fed a row at a time
        self._feed = Feed(name, replace(needed, inputs=tuple(map(_of_one_row, needed.inputs)), limits=limits), {}, {})
        self._fill = fillers(needed, vocabularies or {})
        self._uneven = {*(vocabularies or {}), *(t.name for t in needed.inputs if t.earlier)}
        self._measured = any(t.of is not None for t in needed.inputs)

    def read_json(self, stream: BinaryIO, where: str) -> Sequences:
        """Each line, JSON, as an item. Raises InputError: there is none."""
        return self.sequences(self._from_json(place, line) for place, line in filled(stream, where))

    def sequences(self, given: Iterable[Given]) -> Sequences:
        """All rows as one array an input, filled up behind their ends; what cannot be used is an item with its error.

        A model that takes no lengths cannot tell where a row ends, so all are to be of one size, that of the first.
        """
        items, ids = [], []
        parts: list[dict[str, Array]] = []
        for one in given:
            rows, error = [], one.error
            if error is None:
                try:
                    rows = self.rows(one)
                    self._check_sizes(rows, (parts or rows)[0])
                except InputError as refusal:
                    rows, error = [], str(refusal)
            text = None if one.text is None else writable(one.text)
            items.append(Item(text, len(rows), self.split, one.place, error))
            ids.append(one.id)
            parts += rows
        return Sequences(joined(parts, self._fill), ids, items)

    def rows(self, given: Given) -> list[dict[str, Array]]:
        """The rows of one of them, each a batch of one by input name. Raises InputError."""
        return [self._feed.complete(given.arrays or {})]

    def text_in(self, value: Any) -> str | None:
        """The text that a JSON value holds; None where it is to be numbers."""
        return None

    def _from_json(self, place: str, line: bytes) -> Given:
        name = None
        try:
            value = jsonl.parse(decode(line))
            name = jsonl.name_of(value)
            text = self.text_in(value)
            return Given(place, name, text, None if text is not None else jsonl.arrays(value, self._needed))
        except InputError as error:
            return Given(place, name, error=str(error))

    def _check_sizes(self, rows: Iterable[Mapping[str, Array]], first: Mapping[str, Array]) -> None:
        for row in rows:
            for tensor in self._needed.inputs:
                sizes = zip(tensor.axes, row[tensor.name].shape, first[tensor.name].shape, strict=True)
                for axis, size, expected in sizes:
                    free = self._measured if axis == TIME else tensor.name in self._uneven
                    if size != expected and not free:
                        raise InputError(
                            f"'{tensor.name}' has {size} along '{axis}', but what was read before has {expected}, and "
                            f"{self._name} takes no lengths of it. Give it sequences of one size at a time"
                        )


def _of_one_row(tensor: Tensor) -> Tensor:
    """What one row of an input is: where the first axis has a fixed size, it is one of so many."""
    fixed = tensor.axes and isinstance(tensor.axes[0], int)
    return replace(tensor, axes=("rows", *tensor.axes[1:])) if fixed else tensor
