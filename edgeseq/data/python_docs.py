"""CPython's documentation topics, what `help("for")` shows: about 465,000 characters of English prose and Python.

They lie in every Python as `pydoc_data/topics.py`, but each release has a text of its own, so the file is known by its
hash. It is read without being run.

Many topics are a section of a longer one, or repeat parts of it. What a longer topic holds nearly whole is left
out, and topics that share more than a tenth of their text are one group, which the split does not tear apart.
"""

import ast
import sys
import sysconfig
from hashlib import sha256
from pathlib import Path

from edgeseq_runtime.errors import MissingFileError, UsageError

from edgeseq.data import text
from edgeseq.data.dataset import About, Loaded
from edgeseq.data.text import Document

KNOWN = {
    "2d8108030912648feda37d4894ab700d247582568fe7a53260dd6a3c2d8e518d": "3.11.2",
    "abaa56a64551d8eead1b19cbae3c6db443f99f0cab81df07bed3cb75c0db9346": "3.11.7",
    "03c807afbe2513d6f37c541603593445678e6edc95f365a81e3943171da832f8": "3.12.1",
    "db8fd639b4e0e45d066a7a6aa4dc22629c32eb751a591faf89076bf042108a0e": "3.13.0",
}
"""The Python releases whose topics.py is known, by its SHA-256. The reference model's figures are of 3.11.7."""

_CITATION = (
    "Python Software Foundation: The Python Language Reference and Library Reference, https://docs.python.org/3/"
)
_LICENCE = "Python Software Foundation License Version 2; read from the standard library of Python"

PARAGRAPH = 40
"""Shorter paragraphs, such as headings, say nothing about where a text comes from."""

COPY, RELATED = 0.9, 0.1
"""Of a topic's paragraphs, counted in characters, the share that a longer topic has: from COPY on it is a copy of that
one, and above RELATED of the same group."""


def load() -> Loaded:
    """The training, validation and test part, divided by topic.

    Raises:
        MissingFileError: this Python comes without the file. UsageError: its text is not a known one.
    """
    path = topics_file()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise MissingFileError(
            f"this Python has no documentation topics: '{path}' cannot be read. {_REMEDY}"
        ) from error
    digest = sha256(content).hexdigest()
    if digest not in KNOWN:
        running = ".".join(map(str, sys.version_info[:3]))
        raise UsageError(
            f"the documentation topics of this Python {running} ('{path}') have the SHA-256 {digest}, which is not a "
            f"known one; known are those of Python {', '.join(KNOWN.values())}. {_REMEDY}"
        )
    train, validation, test = text.datasets(*text.divide(documents(topics(content)), seed=0))
    about = About("python-docs", digest, _CITATION, f"{_LICENCE} {KNOWN[digest]}")
    return Loaded(train, about, test, validation)


def topics_file() -> Path:
    """Where this Python has its documentation topics."""
    return Path(sysconfig.get_path("stdlib")) / "pydoc_data" / "topics.py"


def topics(content: bytes) -> dict[str, str]:
    """The texts by topic, as literals of the file's syntax tree: nothing in it is run."""
    for node in ast.parse(content).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            value: dict[str, str] = ast.literal_eval(node.value)
            return value
    raise UsageError("topics.py holds no dict of topics")


def documents(texts: dict[str, str]) -> list[Document]:
    """The topics without copies, those that share more than RELATED in one group; the longest first."""
    kept: list[tuple[str, set[str], int]] = []
    for name in sorted(texts, key=lambda name: (-len(texts[name]), name)):
        own = paragraphs(texts[name])
        size = sum(map(len, own)) or 1
        shares = [sum(map(len, own & other)) / size for _, other, _ in kept]
        if max(shares, default=0.0) >= COPY:
            continue
        related = {group for (_, _, group), share in zip(kept, shares, strict=True) if share > RELATED}
        first = min(related, default=len(kept))
        kept = [(n, p, first if group in related else group) for n, p, group in kept]
        kept.append((name, own, first))
    return [Document(texts[name], group) for name, _, group in kept]


def paragraphs(topic: str) -> set[str]:
    """The paragraphs that are long enough to be told apart, whatever their indentation and line breaks."""
    found = (" ".join(paragraph.split()) for paragraph in topic.split("\n\n"))
    return {paragraph for paragraph in found if len(paragraph) >= PARAGRAPH}


_REMEDY = (
    "Train with one of those releases, or on a text of your own: --set data.path=mine.txt (UTF-8, a form feed between "
    "documents)"
)
