"""Which shared libraries a shared library of Linux needs, read from the file without loading it."""

import os
import struct
from typing import BinaryIO

_MAGIC = b"\x7fELF\x02\x01"
"""64 bits, least significant byte first: x86-64 and 64-bit Arm."""

_LOAD, _DYNAMIC = 1, 2
"""Kinds of segments: what is put into memory, and what the loader has to do."""

_END, _NEEDED, _STRINGS = 0, 1, 5
"""Tags of dynamic entries: the last; a library that is needed; the address of the names."""


def needed_libraries(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """The names that the loader will look for, in order; none of a file that is no such library."""
    try:
        with open(path, "rb") as file:
            return tuple(_names(file))
    except (OSError, struct.error, StopIteration, KeyError, UnicodeDecodeError):
        return ()


def _names(file: BinaryIO) -> list[str]:
    segments = _segments(file)
    entries: list[tuple[int, int]] = []
    for offset, _, length in segments.get(_DYNAMIC, []):
        entries += struct.iter_unpack("<QQ", _read(file, offset, length // 16 * 16))
    end = next(i for i, (tag, _) in enumerate(entries) if tag == _END)
    address = next(value for tag, value in entries[:end] if tag == _STRINGS)
    strings = next(o + address - begin for o, begin, length in segments[_LOAD] if 0 <= address - begin < length)
    needed = [value for tag, value in entries[:end] if tag == _NEEDED]
    return [_read(file, strings + value, 256).split(b"\0", 1)[0].decode() for value in needed]


def _segments(file: BinaryIO) -> dict[int, list[tuple[int, int, int]]]:
    """Offset in the file, address and length in the file of each segment, by kind."""
    header = _read(file, 0, 64)
    if not header.startswith(_MAGIC):
        raise struct.error("not such a library")
    (start,), (size, count) = struct.unpack_from("<Q", header, 32), struct.unpack_from("<HH", header, 54)
    table, segments = _read(file, start, size * count), dict[int, list[tuple[int, int, int]]]()
    for index in range(count):
        kind, _, offset, address, _, length = struct.unpack_from("<IIQQQQ", table, size * index)
        segments.setdefault(kind, []).append((offset, address, length))
    return segments


def _read(file: BinaryIO, offset: int, length: int) -> bytes:
    file.seek(offset)
    return file.read(length)
