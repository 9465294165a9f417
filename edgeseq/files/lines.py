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


def filled(stream: BinaryIO, where: str) -> list[tuple[str, bytes]]:
    """The lines that are not blank, each with its place for messages. Raises InputError where there is none."""
    lines = [(f"{where}, line {number}", line) for number, line in numbered(stream)]
    found = [(place, line) for place, line in lines if line.decode("utf-8-sig", "replace").strip()]
    if not found:
        raise InputError(f"{where} has no lines; one sequence or text a line is expected")
    return found


def decode(line: bytes) -> str:
    """A line as text, without its end and byte order mark. Raises InputError where it is not UTF-8."""
    try:
        return line.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise InputError(f"byte {error.start + 1} is not UTF-8 text") from error


def writable(text: str) -> str:
    """A text with "?" for each half of a surrogate pair: an argument or a JSON string can hold one, UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode()


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
