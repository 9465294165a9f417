"""Whether a zip archive may be opened: told from its directory, before any library unpacks it."""

import io
import zipfile
import zlib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import BinaryIO

from edgeseq_runtime.errors import DamagedFileError, UnsafeFileError

MOST_BYTES = 8 * 1024**3
"""What an archive may unpack to. A network for a device is far below it."""

MOST_TIMES = 100
"""How many times its file's size the compressed entries of an archive may be."""

MAGIC = b"PK\x03\x04"

_ENCRYPTED = 0x1
_ARCHIVES = (MAGIC, b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ\x00", b"7z\xbc\xaf\x27\x1c", b"\x28\xb5\x2f\xfd", b"Rar!")
_ERRORS = (
    *(zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error),
    *(ValueError, OSError, EOFError, NotImplementedError, RuntimeError),
)


def no_archive(entry: str) -> bool:
    """Whether an entry may be an archive itself: none may."""
    return False


def check_zip(
    file: str | Path | BinaryIO, name: str, may_nest: Callable[[str], bool] = no_archive
) -> dict[str, zipfile.ZipInfo]:
    """The entries of an archive, all of them harmless to unpack.

    Args:
        file: a path, or the archive itself. name: how messages call it.
        may_nest: whether an entry may be an archive; it is then checked too.

    Raises:
        DamagedFileError: it is no whole zip archive.
        UnsafeFileError: names that lead outside or stand twice, archives inside, sizes beyond all use, encryption.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            size = _size_of(archive)
            entries = archive.infolist()
            _check_names([entry.orig_filename for entry in entries], name)
            _check_sizes(entries, size, name)
            for entry in entries:
                _check_content(archive, entry, name, may_nest)
    except (DamagedFileError, UnsafeFileError):
        raise
    except _ERRORS as error:
        raise DamagedFileError(f"{name} is damaged: it cannot be read as a zip archive ({error})") from error
    return {entry.filename: entry for entry in entries}


def read_entry(file: str | Path, entry: str, name: str) -> bytes:
    """The bytes of an entry of an archive that was checked. Raises DamagedFileError."""
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.read(entry)
    except (*_ERRORS, KeyError) as error:
        raise DamagedFileError(f"{name} is damaged: its entry '{entry}' cannot be read ({error})") from error


def _size_of(archive: zipfile.ZipFile) -> int:
    file = archive.fp
    if file is None:
        raise ValueError("it is closed")
    return file.seek(0, io.SEEK_END)


def _check_names(names: Collection[str], name: str) -> None:
    seen = set[str]()
    for entry in names:
        parts = entry.split("/")
        if entry.startswith("/") or ".." in parts or "\\" in entry or ":" in parts[0] or "\0" in entry:
            raise UnsafeFileError(
                f"{name} has the entry {entry!r}, whose path leads out of the archive. It was refused: take the file "
                "from where it was made"
            )
        if entry in seen:
            raise UnsafeFileError(
                f"{name} has the entry '{entry}' twice, so that each program may read another. It was refused"
            )
        seen.add(entry)


def _check_sizes(entries: Collection[zipfile.ZipInfo], size: int, name: str) -> None:
    if hidden := next((entry for entry in entries if entry.flag_bits & _ENCRYPTED), None):
        raise UnsafeFileError(f"{name} has the encrypted entry '{hidden.filename}', which cannot be looked at")
    total = sum(entry.file_size for entry in entries)
    packed = sum(entry.file_size for entry in entries if entry.compress_type != zipfile.ZIP_STORED)
    if total > MOST_BYTES or packed > MOST_TIMES * size:
        raise UnsafeFileError(
            f"{name} has {size:,} bytes, but would unpack to {total:,}: at most {MOST_BYTES:,} are opened, and "
            f"{MOST_TIMES} times the file's size of what is compressed. It was refused"
        )
    for entry in entries:
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise UnsafeFileError(f"{name} has the entry '{entry.filename}' in a compression that no network has")
        if entry.compress_type == zipfile.ZIP_STORED and entry.file_size != entry.compress_size:
            raise DamagedFileError(f"{name} is damaged: its entry '{entry.filename}' has two sizes")
    if sum(entry.compress_size for entry in entries) > size:
        raise DamagedFileError(f"{name} is damaged: its entries need more bytes than it has")


def _check_content(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str, may_nest: Callable[[str], bool]
) -> None:
    """Look at how an entry begins: an archive in an archive hides what is in it."""
    with archive.open(entry) as stream:
        start = stream.read(8)
    magic = (MAGIC,) if _is_tensor(entry.filename) else _ARCHIVES  # weights may begin with any two or three bytes
    if not start.startswith(magic):
        return
    if not (start.startswith(MAGIC) and may_nest(entry.filename)):
        raise UnsafeFileError(f"{name} has an archive inside, '{entry.filename}', which no network has. It was refused")
    check_zip(io.BytesIO(archive.read(entry)), f"'{entry.filename}' in {name}")


def _is_tensor(entry: str) -> bool:
    return entry.rpartition("/")[2].removeprefix("weight_").isdigit()
