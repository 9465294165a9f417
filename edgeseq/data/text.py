"""Text as sequences of characters: windows to read, and at every step the character that comes next.

A user's own text is a .txt file in UTF-8: one document, or several with a form feed between them.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from edgeseq_runtime.errors import UsageError

from edgeseq.data.dataset import Array, Dataset

START, UNKNOWN = 0, 1
SPECIAL = ("", "\N{REPLACEMENT CHARACTER}")
"""The symbols of START, which stands before and behind a document, and of UNKNOWN."""

WINDOW = 1024
"""Characters a row: a document is cut into consecutive windows, and training carries its state through one."""

RARE = 3
"""A character that the training part has less often is read and predicted as UNKNOWN, which is trained that way."""

SHARE = 0.1
"""Of all characters, what the validation part takes, and the test part."""

LARGEST = 1 / 3
"""Of such a part, what one group may make up at most: larger ones are trained on."""


Divided = tuple[Dataset, Dataset, Dataset]
"""The training, validation and test part."""


@dataclass(frozen=True)
class Document:
    """group: what a split must not tear apart."""

    text: str
    group: int


def parse(content: str, name: str) -> Divided:
    """The training, validation and test part of a text. Documents are divided; a single one is cut in its order.

    Raises:
        UsageError: less text than three parts need.
    """
    texts = [text for text in content.split("\f") if text.strip()]
    least = 3 * WINDOW
    if sum(map(len, texts)) < least:
        raise UsageError(f"{name} has {len(content)} characters, but at least {least} are needed to train and test")
    if len(texts) < 3:
        whole = "".join(texts)
        first, second = (round(len(whole) * share) for share in (1 - 2 * SHARE, 1 - SHARE))
        return datasets(*([Document(part, 0)] for part in (whole[:first], whole[first:second], whole[second:])))
    return datasets(*divide([Document(text, number) for number, text in enumerate(texts)], seed=0))


def divide(documents: Sequence[Document], seed: int) -> tuple[list[Document], list[Document], list[Document]]:
    """Training, validation and test documents: whole groups, drawn as long as a part lacks so many characters."""
    sizes: Counter[int] = Counter()
    for document in documents:
        sizes[document.group] += len(document.text)
    groups = sorted(sizes)
    left = [groups[i] for i in np.random.default_rng(seed).permutation(len(groups))]
    target = SHARE * sizes.total()
    drawn: list[set[int]] = []
    for _ in range(2):
        part: set[int] = set()
        for group in left:
            lacking = target - sum(sizes[g] for g in part)
            if sizes[group] <= min(lacking, LARGEST * target):
                part.add(group)
        part = part or {min(left, key=lambda group: sizes[group])}
        left = [group for group in left if group not in part]
        drawn.append(part)
    if not left:
        raise UsageError(f"a text of {len(groups)} documents cannot be divided into three parts; more are needed")
    chosen = (set(left), drawn[1], drawn[0])
    return tuple([d for d in documents if d.group in part] for part in chosen)  # type: ignore[return-value]


def datasets(train: Sequence[Document], validation: Sequence[Document], test: Sequence[Document]) -> Divided:
    """The parts as datasets, with the vocabulary of the training part."""
    symbols = vocabulary([document.text for document in train])
    return _dataset(train, symbols), _dataset(validation, symbols), _dataset(test, symbols)


def vocabulary(texts: Sequence[str]) -> tuple[str, ...]:
    """The symbols by id: the special ones, then every character that is not rare, in the order of Unicode."""
    counts = Counter("".join(texts))
    return (*SPECIAL, *sorted(character for character, count in counts.items() if count >= RARE))


def _dataset(documents: Sequence[Document], symbols: tuple[str, ...]) -> Dataset:
    """Rows of at most WINDOW steps. x: a character's id, y: the next one's, both int64 (n, time)."""
    ids = {symbol: i for i, symbol in enumerate(symbols) if symbol not in SPECIAL}
    pairs: list[tuple[Array, int]] = []
    for document in documents:
        line = np.array([START, *(ids.get(character, UNKNOWN) for character in document.text), START], np.int64)
        pairs += [(line[start : start + WINDOW + 1], document.group) for start in range(0, len(line) - 1, WINDOW)]
    lengths = np.array([len(line) - 1 for line, _ in pairs], np.int64)
    x, y = np.zeros((2, len(pairs), lengths.max()), np.int64)
    for row, (line, _) in enumerate(pairs):
        x[row, : len(line) - 1], y[row, : len(line) - 1] = line[:-1], line[1:]
    groups = np.array([group for _, group in pairs], np.int64)
    return Dataset(x, y, lengths, labels=symbols, groups=groups, vocabulary={"tokens": symbols})
