"""Text for a model that reads token ids: from `--text` or lines to rows of its inputs, and what cannot be used."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
from edgeseq_runtime.errors import InputError, UsageError
from edgeseq_runtime.feed import Feed
from edgeseq_runtime.signature import BATCH, TIME, Limit, Signature, Tensor
from edgeseq_runtime.text import Vocabulary, vocabularies
from numpy.typing import NDArray

from edgeseq.files import jsonl
from edgeseq.files.inputs import Item, Sequences, chance_inputs, sniffed, split_name
from edgeseq.files.lines import STANDARD, decode, numbered, opened, title

if TYPE_CHECKING:
    from edgeseq_runtime import Model

Array = NDArray[Any]


def read_texts(model: "Model", texts: Sequence[str]) -> Sequences:
    """Texts as rows of the inputs of a model that reads text; one that cannot be used is an item with its error.

    Raises:
        UsageError: no input of the model reads text.
    """
    return _sequences(model, [_Given(f"text {number}", text=text) for number, text in enumerate(texts, 1)])


def text_path(model: "Model", given: Sequence[str]) -> str | None:
    """The path behind `--input` whose lines may hold text; None where all that is given is numbers.

    Raises:
        UsageError: a file of text that the model cannot read, or that stands beside other inputs.
    """
    named = [split_name(item) for item in given]
    suffixes = [PurePath(path).suffix.lower() for _, path in named]
    alone = reading(model) is not None and len(named) == 1 and named[0][0] is None
    if alone and (named[0][1] == STANDARD or suffixes[0] in (".txt", ".jsonl")):
        return named[0][1]
    for (_, path), suffix in zip(named, suffixes, strict=True):
        if suffix == ".txt":
            raise UsageError(
                f"'{path}' holds text. That is for a model with a vocabulary, as its only --input and without a name; "
                f"give {model.name} numbers here"
            )
    return None


def read_lines(model: "Model", path: str) -> Sequences:
    """Each line of a file or of standard input as a text, or as JSON that holds a text or numbers.

    A JSON line is a string, an object with "text", or numbers as for any other model. Blank lines are skipped. A line
    that cannot be used is an item with its error.

    Raises:
        UsageError: no input of the model reads text. InputError: no lines. FileError: a file that cannot be read.
    """
    where, needed = title(path), _needed(model)
    given = []
    with opened(path) as stream:
        suffix = PurePath(path).suffix.lower()
        if path == STANDARD:
            suffix, stream = sniffed(stream, ".txt")
        for number, line in numbered(stream):
            shown = line.decode("utf-8-sig", "replace").rstrip("\r\n")  # spaces at its ends are part of a text
            if not shown.strip():
                continue
            if suffix == ".jsonl":
                given.append(_json_line(where, number, line, needed))
            else:
                given.append(_Given(f"{where}, line {number}", text=shown, error=_not_utf8(line)))
    if not given:
        raise InputError(f"{where} has no lines; one text a line is expected")
    return _sequences(model, given)


def reading(model: "Model") -> tuple[Tensor, Vocabulary] | None:
    """The input that reads text, with its vocabulary."""
    found = [(t, vocabulary) for t, vocabulary in _legible(model) if t.axes == (BATCH, TIME)]
    return found[0] if found else None


def known(model: "Model") -> dict[str, Vocabulary]:
    """The model's vocabularies, by input or output."""
    return vocabularies(model.contract.vocabulary) if model.contract is not None else {}


def joined(parts: Sequence[Mapping[str, Array]], fill: Mapping[str, int]) -> dict[str, Array]:
    """Batches as one, by name, all other axes as long as the longest; fill: what stands behind a row's end, else 0."""
    whole: dict[str, Array] = {}
    for name in parts[0] if parts else ():
        arrays = [part[name] for part in parts]
        sizes = [max(size) for size in zip(*(array.shape[1:] for array in arrays), strict=True)]
        whole[name] = np.full((sum(map(len, arrays)), *sizes), fill.get(name, 0), arrays[0].dtype)
        start = 0
        for array in arrays:
            end = start + len(array)
            whole[name][(slice(start, end), *map(slice, array.shape[1:]))] = array
            start = end
    return whole


def fillers(model: "Model") -> dict[str, int]:
    """What stands behind the end of a row of ids, by input or output: an id that is not shown."""
    hidden = {name: v.end if v.padding is None else v.padding for name, v in known(model).items()}
    return {name: number for name, number in hidden.items() if number is not None}


@dataclass(frozen=True)
class _Given:
    """What a line or a --text holds: a text, or arrays by input name, a batch of one; or why it is neither."""

    place: str
    id: str | None = None
    text: str | None = None
    arrays: Mapping[str, Array] | None = None
    error: str | None = None


class _Reader:
    """From texts to rows, each a batch of one by input name that the model takes. Raises UsageError: it reads none."""

    def __init__(self, model: "Model") -> None:
        found = reading(model)
        if found is None:
            raise UsageError(f"{model.name} has no vocabulary, so it reads no text; give it numbers by --input")
        self.tensor, self.vocabulary = found
        spelt = [(t, v) for t, v in _legible(model) if t.axes[:2] == (BATCH, TIME) and len(t.axes) == 3]
        self._spelt = [(t.name, v, _least(t.axes[2], model.signature)) for t, v in spelt]
        self._feed = Feed(model.name, _needed(model), {}, {})

    def rows(self, given: _Given) -> list[dict[str, Array]]:
        """The rows of one line or text. Raises InputError."""
        if given.arrays is not None:
            return [self._feed.complete(given.arrays)]
        pieces = self.vocabulary.pieces(given.text or "")
        rows = []
        for place, piece in enumerate(pieces, 1):
            try:
                rows.append(self._row(piece))
            except InputError as error:
                raise InputError(f"word {place}, {piece!r}: {error}" if len(pieces) > 1 else str(error)) from error
        return rows

    def _row(self, piece: str) -> dict[str, Array]:
        arrays = {self.tensor.name: self.vocabulary.encode(piece)[None]}
        arrays.update({name: spelling.spell([piece], least) for name, spelling, least in self._spelt})
        return self._feed.complete(arrays)


def _sequences(model: "Model", given: Iterable[_Given]) -> Sequences:
    reader = _Reader(model)
    items, ids, parts = [], [], []
    for one in given:
        rows, error, text = [], one.error, one.text
        if text is not None and not _writable(text):
            text, error = text.encode("utf-8", "replace").decode(), "the text is not UTF-8"
        if error is None:
            try:
                rows = reader.rows(one)
            except InputError as refusal:
                error = str(refusal)
        items.append(Item(text, len(rows), reader.vocabulary.split, one.place, error))
        ids.append(one.id)
        parts += rows
    if not any(t.of == reader.tensor.name for t in model.signature.inputs):
        _refuse_ragged(model, [part[reader.tensor.name].shape[1] for part in parts])
    return Sequences(joined(parts, fillers(model)), ids, items)


def _refuse_ragged(model: "Model", steps: Sequence[int]) -> None:
    if len(set(steps)) > 1:
        raise InputError(
            f"the texts have from {min(steps)} to {max(steps)} ids, but {model.name} takes no lengths. Give it texts "
            "of one length at a time"
        )


def _json_line(where: str, number: int, line: bytes, needed: Signature) -> _Given:
    place, name = f"{where}, line {number}", None
    try:
        value = jsonl.parse(decode(line))
        fields = value if isinstance(value, Mapping) else {"text": value}
        name = None if fields.get("id") is None else str(fields["id"])
        if isinstance(text := fields.get("text"), str):
            return _Given(place, name, text)
        arrays, _ = jsonl.read([(number, line)], where, needed)
    except InputError as error:
        return _Given(place, name, error=str(error).removeprefix(f"{place}: "))
    return _Given(place, name, arrays=arrays)


def _writable(text: str) -> bool:
    """Whether a text is one: an argument or a JSON string can hold half of a surrogate pair."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _not_utf8(line: bytes) -> str | None:
    try:
        decode(line)
    except InputError as error:
        return str(error)
    return None


def _needed(model: "Model") -> Signature:
    """What must be given: neither states nor what is pure chance. Of what is long the run itself will warn."""
    signature, chance = model.signature, chance_inputs(model.signature)
    limits = {axis: replace(limit, trained=None) for axis, limit in signature.limits.items()}
    return replace(signature, inputs=tuple(t for t in signature.inputs if t not in chance), states=(), limits=limits)


def _least(axis: int | str, signature: Signature) -> int:
    """How long an axis is at least."""
    return axis if isinstance(axis, int) else signature.limits.get(axis, Limit()).min


def _legible(model: "Model") -> list[tuple[Tensor, Vocabulary]]:
    """The inputs that have a vocabulary."""
    found = known(model)
    return [(t, found[t.name]) for t in model.signature.inputs if t.name in found]
