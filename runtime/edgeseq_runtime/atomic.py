"""Files that are either whole or not there: write to a temporary name, fsync, rename."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeseq_runtime.errors import FileError


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path in the same folder; on success it is fsynced and renamed to `path`.

    When the block raises, the temporary file is removed and an existing `path` stays as it was.

    Raises:
        FileError: the folder is missing, `path` is a folder, or writing failed (a full disk, no permission).
    """
    target = check_writable(path)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        _fsync(temporary)
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes private files; a model is an ordinary one
        temporary.replace(target)
        _fsync(target.parent)
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise FileError(
            f"cannot write '{target}': {error.strerror or error}. The old file, if any, is untouched"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Write `content` to `path` atomically. Raises FileError like `replacing`."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def check_writable(path: str | os.PathLike[str]) -> Path:
    """Return `path` as a Path, creating its parent folder; raise FileError when no file can be written there."""
    target = Path(path)
    if target.is_dir():
        raise FileError(f"output '{target}' is a folder; give a file name inside it")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"cannot create the folder '{target.parent}': {error.strerror or error}") from error
    if not os.access(target.parent, os.W_OK):
        raise FileError(f"cannot write into '{target.parent}': permission denied")
    return target


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
