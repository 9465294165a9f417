"""Text to token ids and back, by the vocabularies that a contract holds; numpy alone.

A contract's `vocabulary` has, by the name of an input or output, an object of
    symbols: what each id stands for, in order.
    kind: "character" (a text is its characters, one after the other) or "word" (symbols between spaces: words, or
        phonemes).
    unknown: the id of what is none of the symbols; left out, a text with such a thing is refused.
    start, end: ids that are put before and behind a text when it is encoded, and are not shown when it is decoded.
    padding: an id that fills rows and is not shown.
    split: true where a text is cut at its white space, and each word is a sequence of its own.
    lower: true where a text is put into small letters before it is looked up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np
from edgeseq_runtime.errors import ContractError, InputError
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]
Kind = Literal["character", "word"]

KINDS: Mapping[Kind, str] = {"character": "", "word": " "}
"""The kinds, with what stands between two symbols of a text."""

_IDS = ("unknown", "start", "end", "padding")
_TRUTHS = ("split", "lower")


@dataclass(frozen=True)
class Vocabulary:
    """What the token ids of one input or output stand for; see above.

    Raises:
        ContractError: an unknown kind, a symbol that stands twice, an id that no symbol has, or a `split` or `lower`
            that is neither true nor false.
    """

    symbols: tuple[str, ...]
    kind: Kind = "character"
    unknown: int | None = None
    start: int | None = None
    end: int | None = None
    padding: int | None = None
    split: bool = False
    lower: bool = False
    _ids: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ContractError(f"the vocabulary is of the kind {self.kind!r}; known are {', '.join(KINDS)}")
        ids = {symbol: number for number, symbol in enumerate(self.symbols)}
        if len(ids) < len(self.symbols):
            twice = next(symbol for number, symbol in enumerate(self.symbols) if ids[symbol] != number)
            raise ContractError(f"the symbol {twice!r} stands twice in the vocabulary")
        for name in _IDS:
            number = getattr(self, name)
            if number is not None and (type(number) is not int or not 0 <= number < len(self.symbols)):
                raise ContractError(
                    f"'{name}' of the vocabulary is {number!r}, but its ids go from 0 to {len(self.symbols) - 1}"
                )
        for name in _TRUTHS:
            if type(truth := getattr(self, name)) is not bool:
                raise ContractError(f"'{name}' of the vocabulary is {truth!r}, but true or false is expected")
        object.__setattr__(self, "_ids", ids)

    def __len__(self) -> int:
        return len(self.symbols)

    def pieces(self, text: str) -> list[str]:
        """The texts that are sequences of their own: the words of `text` with `split`, otherwise `text` alone.

        Raises:
            InputError: a text without a word is to be cut into its words.
        """
        if not self.split:
            return [text]
        words = text.split()
        if not words:
            raise InputError("the text is empty, but the model reads at least one word")
        return words

    def encode(self, text: str) -> Array:
        """The ids of a text, int64 (steps,), with `start` before and `end` behind it where the vocabulary has them.

        With `split`, give one of the text's `pieces`.

        Raises:
            InputError: something that is none of the symbols, with its place; a text without any id.
        """
        text = text.lower() if self.lower else text
        found: Sequence[str] = text if self.kind == "character" else text.split()
        ids = [self._id(symbol, place) for place, symbol in enumerate(found, 1)]
        before = [self.start] if self.start is not None else []
        behind = [self.end] if self.end is not None else []
        if not (ids or before or behind):
            raise InputError(f"the text is empty, but the model reads at least one {self.kind}")
        return np.array([*before, *ids, *behind], np.int64)

    def encode_all(self, texts: Sequence[str]) -> tuple[Array, Array]:
        """Several texts: ids int64 (texts, steps), filled up behind the end of each, and lengths int64 (texts,).

        Raises:
            InputError: as `encode`, with the number of the text.
        """
        rows = []
        for number, text in enumerate(texts, 1):
            try:
                rows.append(self.encode(text))
            except InputError as error:
                raise InputError(f"text {number}: {error}" if len(texts) > 1 else str(error)) from error
        lengths = np.array([len(row) for row in rows], np.int64)
        ids = np.full((len(rows), lengths.max(initial=0)), self.padding or 0, np.int64)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = row
        return ids, lengths

    def spell(self, texts: Sequence[str], letters: int = 1) -> Array:
        """The characters of every word of several texts: int64 (texts, words, letters), filled up behind each word.

        letters: how long that axis is at least.

        Raises:
            InputError: a character that is none of the symbols.
        """
        spelt = [[self.encode(word) for word in text.split()] for text in texts]
        longest = max((len(word) for words in spelt for word in words), default=0)
        shape = (len(spelt), max(map(len, spelt), default=0), max(longest, letters))
        ids = np.full(shape, self.padding or 0, np.int64)
        for row, words in enumerate(spelt):
            for place, word in enumerate(words):
                ids[row, place, : len(word)] = word
        return ids

    def decode(self, ids: ArrayLike) -> str:
        """The text of ids (steps,), up to `end`; without `start` and `padding`.

        Raises:
            InputError: an id that no symbol has.
        """
        hidden = {number for number in (self.start, self.padding) if number is not None}
        shown: list[str] = []
        for place, number in enumerate(np.asarray(ids).tolist()):
            if type(number) is not int or not 0 <= number < len(self.symbols):
                raise InputError(
                    f"id {place + 1} is {number}, but the vocabulary's go from 0 to {len(self.symbols) - 1}"
                )
            if number == self.end:
                break
            if number not in hidden:
                shown.append(self.symbols[number])
        return KINDS[self.kind].join(shown)

    def to_json(self) -> dict[str, Any]:
        """The vocabulary as a contract holds it."""
        ids = {name: getattr(self, name) for name in _IDS if getattr(self, name) is not None}
        truths = {name: True for name in _TRUTHS if getattr(self, name)}
        return {"symbols": list(self.symbols), "kind": self.kind, **ids, **truths}

    def _id(self, symbol: str, place: int) -> int:
        number = self._ids.get(symbol, self.unknown)
        if number is None:
            raise InputError(
                f"{self.kind} {place} of the text, {symbol!r}, is none of the {len(self.symbols)} that the model knows"
            )
        return number


def vocabularies(value: Any) -> dict[str, Vocabulary]:
    """The vocabularies of a contract, by the input or output they belong to; none where it has none.

    Raises:
        ContractError: it is malformed.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ContractError(f"the contract's vocabulary is {type(value).__name__}, but objects by input are expected")
    return {str(name): _from_json(str(name), item) for name, item in value.items()}


def _from_json(name: str, value: Any) -> Vocabulary:
    known = {f.name for f in fields(Vocabulary) if f.init}
    if not isinstance(value, Mapping) or not isinstance(value.get("symbols"), list):
        raise ContractError(f"the vocabulary of '{name}' is malformed: an object with a list of symbols is expected")
    if not all(isinstance(symbol, str) for symbol in value["symbols"]):
        raise ContractError(f"the vocabulary of '{name}' has symbols that are no text")
    if unknown := sorted(set(value) - known):
        raise ContractError(f"the vocabulary of '{name}' has '{unknown[0]}', which this runtime does not know")
    return Vocabulary(**{**value, "symbols": tuple(value["symbols"])})
