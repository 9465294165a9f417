"""Text for a model that reads token ids: from `--text` or lines to rows of its inputs, and what cannot be used."""

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, BinaryIO

from edgeseq_runtime.errors import InputError, UsageError
from edgeseq_runtime.signature import BATCH, TIME, Limit, Signature, Tensor
from numpy.typing import NDArray

from edgeseq.files.inputs import FORMATS, needed, sniffed, split_name, suffix_of
from edgeseq.files.lines import STANDARD, decode, filled, opened, title, writable
from edgeseq.files.rows import Given, Reader, Sequences
from edgeseq.files.wav import WAV
from edgeseq.text import Vocabulary, vocabularies

if TYPE_CHECKING:
    from edgeseq_runtime import Model

Array = NDArray[Any]

TEXT = ".txt"
"""What a file of texts ends in, one a line."""


def read_texts(model: "Model", texts: Sequence[str]) -> Sequences:
    """Texts as rows of the inputs of a model that reads text; one that cannot be used is an item with its error.

    Raises:
        UsageError: no input of the model reads text.
    """
    return TextReader(model).sequences(Given(f"text {number}", text=text) for number, text in enumerate(texts, 1))


def text_path(model: "Model", given: Sequence[str]) -> str | None:
    """The path behind `--input` whose lines may hold text; None where all that is given is numbers.

    Raises:
        UsageError: a file of text that the model cannot read, or that stands beside other inputs; no known format.
    """
    named = [split_name(item) for item in given]
    path, legible = named[0][1], reading(model) is not None
    if legible and len(named) == 1 and named[0][0] is None:
        lines = path == STANDARD or suffix_of(path, (*FORMATS, TEXT, WAV)) in (TEXT, ".jsonl")
        return path if lines else None
    for _, path in named:
        if PurePath(path).suffix.lower() == TEXT:
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
    where, reader = title(path), TextReader(model)
    with opened(path) as stream:
        suffix = PurePath(path).suffix.lower()
        if path == STANDARD:
            suffix, stream = sniffed(stream, TEXT)
        return reader.read_json(stream, where) if suffix == ".jsonl" else reader.read_text(stream, where)


def reading(model: "Model") -> tuple[Tensor, Vocabulary] | None:
    """The input that reads text, with its vocabulary."""
    found = [(t, vocabulary) for t, vocabulary in _legible(model) if t.axes == (BATCH, TIME)]
    return found[0] if found else None


def known(model: "Model") -> dict[str, Vocabulary]:
    """The model's vocabularies, by input or output."""
    return vocabularies(model.contract.vocabulary) if model.contract is not None else {}


class TextReader(Reader):
    """From texts, or numbers, to rows. Raises UsageError: no input of the model reads text."""

    def __init__(self, model: "Model") -> None:
        found = reading(model)
        if found is None:
            raise UsageError(f"{model.name} has no vocabulary, so it reads no text; give it numbers by --input")
        super().__init__(model.name, needed(model.signature), known(model))
        self._tensor, self._vocabulary = found
        self.split = self._vocabulary.split
        spelt = [(t, v) for t, v in _legible(model) if t.axes[:2] == (BATCH, TIME) and len(t.axes) == 3]
        self._spelt = [(t.name, v, _least(t.axes[2], model.signature)) for t, v in spelt]

    def read_text(self, stream: BinaryIO, where: str) -> Sequences:
        """Each line, text, as an item. Raises InputError: there is none."""
        return self.sequences(_line(place, line) for place, line in filled(stream, where))

    def text_in(self, value: Any) -> str | None:
        """A string, or that of an object's "text"."""
        text = value.get("text") if isinstance(value, Mapping) else value
        return text if isinstance(text, str) else None

    def rows(self, given: Given) -> list[dict[str, Array]]:
        """The rows of one line or text, one a word where it is cut into words. Raises InputError."""
        if given.text is None:
            return super().rows(given)
        if given.text != writable(given.text):
            raise InputError("the text is not UTF-8")
        pieces = self._vocabulary.pieces(given.text)
        rows = []
        for place, piece in enumerate(pieces, 1):
            try:
                rows.append(self._row(piece))
            except InputError as error:
                raise InputError(f"word {place}, {piece!r}: {error}" if len(pieces) > 1 else str(error)) from error
        return rows

    def _row(self, piece: str) -> dict[str, Array]:
        arrays = {self._tensor.name: self._vocabulary.encode(piece)[None]}
        arrays.update({name: spelling.spell([piece], least) for name, spelling, least in self._spelt})
        return self._feed.complete(arrays)


def _line(place: str, line: bytes) -> Given:
    """A line as a text; spaces at its ends are part of it."""
    shown, error = line.decode("utf-8-sig", "replace").rstrip("\r\n"), None
    try:
        decode(line)
    except InputError as refusal:
        error = str(refusal)
    return Given(place, text=shown, error=error)


def _least(axis: int | str, signature: Signature) -> int:
    """How long an axis is at least."""
    return axis if isinstance(axis, int) else signature.limits.get(axis, Limit()).min


def _legible(model: "Model") -> list[tuple[Tensor, Vocabulary]]:
    """The inputs that have a vocabulary."""
    found = known(model)
    return [(t, found[t.name]) for t in model.signature.inputs if t.name in found]
