"""Lines of a file or of standard input, each handed on as soon as it is there."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from edgeseq_runtime.errors import FileError, InputError, MissingFileError

STANDARD = "-"
"""The path that means standard input, or standard output."""


@contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """A file or standard input as bytes. Raises MissingFileError, FileError."""
    if path == STANDARD:
        yield sys.stdin.buffer
        return
    with _open(path) as stream:
        yield stream


def numbered(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """The lines with their numbers from 1. `readline` waits for one line alone, so a pipe is live."""
    return enumerate(iter(stream.readline, b""), 1)


def decode(line: bytes) -> str:
    """A line as text, without its end and byte order mark. Raises InputError where it is not UTF-8."""
    try:
        return line.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise InputError(f"byte {error.start + 1} is not UTF-8 text") from error


def title(path: str) -> str:
    """What to call a path in messages."""
    return "standard input" if path == STANDARD else f"'{path}'"


def _open(path: str) -> BinaryIO:
    try:
        return Path(path).open("rb")
    except FileNotFoundError as error:
        raise MissingFileError(f"'{path}' does not exist") from error
    except OSError as error:
        raise FileError(f"cannot read '{path}': {error.strerror or error}") from error
