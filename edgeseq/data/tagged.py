"""Tagged sentences as arrays: whole documents in three parts, vocabularies of the training part, ids.

A user's own sentences are a `.conllu` file, tagged in its column UPOS.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from edgeseq_runtime.errors import UsageError

from edgeseq.data import conllu
from edgeseq.data.dataset import Array, Dataset
from edgeseq.data.text import Divided

PADDING, UNKNOWN = 0, 1
SPECIAL = ("", "\N{REPLACEMENT CHARACTER}")
"""The symbols of the first two ids of every vocabulary."""

_AT_LEAST = 2  # what training sees once stands for what it never sees: it is learnt as unknown
_TRAIN, _VALIDATION, _TEST = range(3)
_SHARES = 10  # of ten shares the first is the test part's and the second the validation part's


@dataclass(frozen=True)
class Tagged:
    """A sentence: its words as written, and a tag for each. group: what a split must not tear apart, its document."""

    words: tuple[str, ...]
    tags: tuple[str, ...]
    group: str


def parse(text: str, name: str) -> Divided:
    """The training, validation and test part of a `.conllu` file's text; every word that has a line has a tag.

    Where the file tells of no documents, every sentence is one.

    Raises:
        UsageError: as conllu.parse; fewer than three documents.
    """
    sentences = conllu.parse(text, name)
    known = sentences[-1].document != ""
    return divided(
        [
            Tagged(
                tuple(word.form for word in sentence.words),
                tuple(word.tag for word in sentence.words),
                sentence.document if known else str(number),
            )
            for number, sentence in enumerate(sentences)
        ],
        name,
    )


def divided(sentences: Sequence[Tagged], name: str) -> Divided:
    """Whole documents as training, validation and test part; the vocabulary is of the first alone.

    Raises:
        UsageError: fewer than three documents.
    """
    groups = {sentence.group for sentence in sentences}
    if len(groups) < 3:
        raise UsageError(
            f"{name} has {len(groups)} documents, too few to train, decide and test on; at least 3 are needed"
        )
    part_of = _by_share(groups)
    if len(set(part_of.values())) < 3:
        part_of = _by_rank(groups)
    parts = [[sentence for sentence in sentences if part_of[sentence.group] == part] for part in range(3)]
    symbols, tags = vocabulary(parts[0]), tuple(sorted({tag for s in sentences for tag in s.tags}))
    train, validation, test = (dataset(part, symbols, tags) for part in parts)
    return train, validation, test


def vocabulary(train: Sequence[Tagged]) -> dict[str, tuple[str, ...]]:
    """What the ids stand for, by input: `words` and `characters` seen at least twice, the most frequent first."""
    words = [word for sentence in train for word in sentence.words]
    return {"words": _symbols(words), "characters": _symbols(letter for word in words for letter in word)}


def dataset(sentences: Sequence[Tagged], symbols: Mapping[str, tuple[str, ...]], tags: tuple[str, ...]) -> Dataset:
    """Sentences as a Dataset: x (n, time) word ids, y (n, time) tag numbers, more characters (n, time, letters).

    symbols: as vocabulary() makes them of the training part. tags: all there are, in the order of their numbers.
    """
    lengths = np.array([len(sentence.words) for sentence in sentences], np.int64)
    letters = max(len(word) for sentence in sentences for word in sentence.words)
    words, characters = _index(symbols["words"]), _index(symbols["characters"])
    numbers = {tag: number for number, tag in enumerate(tags)}
    x, y = np.zeros((2, len(sentences), lengths.max()), np.int64)
    spelt = np.zeros((*x.shape, letters), np.int64)
    for row, sentence in enumerate(sentences):
        x[row, : lengths[row]] = [words.get(word, UNKNOWN) for word in sentence.words]
        y[row, : lengths[row]] = [numbers[tag] for tag in sentence.tags]
        for step, word in enumerate(sentence.words):
            spelt[row, step, : len(word)] = [characters.get(letter, UNKNOWN) for letter in word]
    groups: Array = np.array([sentence.group for sentence in sentences])
    return Dataset(x, y, lengths, tags, groups, more={"characters": spelt}, vocabulary=symbols)


def _by_share(groups: Set[str]) -> dict[str, int]:
    """Each document's part, by its name alone, so that it stays there whatever is added. A part may stay empty."""
    shares = {group: int.from_bytes(_hash(group)[:4], "big") % _SHARES for group in groups}
    return {group: {0: _TEST, 1: _VALIDATION}.get(share, _TRAIN) for group, share in shares.items()}


def _by_rank(groups: Set[str]) -> dict[str, int]:
    """Each document's part, by the order of the names' hashes: no part is empty, where there are three documents."""
    each = max(1, round(len(groups) / _SHARES))
    ranked = sorted(groups, key=_hash)
    return {group: _TEST if i < each else _VALIDATION if i < 2 * each else _TRAIN for i, group in enumerate(ranked)}


def _hash(group: str) -> bytes:
    return sha256(group.encode()).digest()


def _symbols(seen: Iterable[str]) -> tuple[str, ...]:
    counts = Counter(seen)
    often = (symbol for symbol, count in counts.items() if count >= _AT_LEAST and symbol not in SPECIAL)
    return *SPECIAL, *sorted(often, key=lambda symbol: (-counts[symbol], symbol))


def _index(symbols: Sequence[str]) -> dict[str, int]:
    """The id of each symbol but the special ones, which no text has."""
    return {symbol: number for number, symbol in enumerate(symbols) if number > UNKNOWN}
