"""The CoNLL-U format of treebanks: a line a word, ten columns parted by tabs, an empty line after each sentence.

https://universaldependencies.org/format.html. Read are ID, FORM, UPOS and DEPREL, and the comments `sent_id` and
`newdoc`.
"""

import re
from dataclasses import dataclass

from edgeseq_runtime.errors import UsageError

_COLUMNS = 10
_WORD = re.compile(r"\d+")
_NO_WORD = re.compile(r"\d+-\d+|\d+\.\d+")
_NAME = re.compile(r"#\s*sent_id\s*=\s*(.*)")
_DOCUMENT = re.compile(r"#\s*newdoc\b(?:\s+id\s*=\s*(.*))?")


@dataclass(frozen=True)
class Word:
    """One syntactic word. form: as written. tag: its part of speech (UPOS). relation: to its head (DEPREL)."""

    form: str
    tag: str
    relation: str


@dataclass(frozen=True)
class Sentence:
    """Words in order. name: as sent_id says.

    document: the id of the comment newdoc before it, or where that has none, the how manieth it is; empty before the
    first.
    """

    name: str
    document: str
    words: tuple[Word, ...]


def parse(text: str, name: str) -> list[Sentence]:
    """Read a `.conllu` file's text; name: what to call it in messages.

    A range (`3-4`), which says how several words are written as one, and an empty node (`3.1`), which is not written,
    are no words and are left out.

    Raises:
        UsageError: a line without ten columns, with another ID, without a form or a tag, or no sentence at all; the
            message names the line.
    """
    sentences: list[Sentence] = []
    words: list[Word] = []
    title, document, documents = "", "", 0
    for number, line in enumerate([*text.replace("\r\n", "\n").split("\n"), ""], 1):
        if line.startswith("#"):
            if comment := _NAME.match(line):
                title = comment[1].strip()
            elif comment := _DOCUMENT.match(line):
                documents += 1
                document = (comment[1] or "").strip() or str(documents)
        elif line.strip():
            words += _words(line, f"line {number} of {name}")
        elif words:
            sentences.append(Sentence(title, document, tuple(words)))
            words, title = [], ""
    if not sentences:
        raise UsageError(f"{name} holds no sentence")
    return sentences


def _words(line: str, where: str) -> list[Word]:
    """The word of a line; none for a range or an empty node."""
    cells = line.split("\t")
    if len(cells) != _COLUMNS:
        raise UsageError(f"{where} has {len(cells)} columns parted by tabs, but {_COLUMNS} are expected")
    number, form, _, tag, _, _, _, relation, _, _ = cells
    if _NO_WORD.fullmatch(number):
        return []
    if not _WORD.fullmatch(number):
        raise UsageError(f"{where} has the ID {number!r}, but a number such as 3, 3-4 or 3.1 is expected")
    if not form or tag in ("", "_"):
        raise UsageError(f"{where} has no {'tag (UPOS)' if form else 'form'}")
    return [Word(form, tag, relation)]
