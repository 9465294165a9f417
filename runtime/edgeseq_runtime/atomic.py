"""Files that are either whole or not there: write to a temporary name, fsync, rename."""

import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
    temporary = target.with_name(f".{target.name[:80]}.{os.getpid()}-{time.monotonic_ns()}.tmp")
    try:
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield temporary
        _fsync(temporary)
        if target.exists():
            temporary.chmod(stat.S_IMODE(target.stat().st_mode))
        temporary.replace(target)
        _fsync(target.parent)
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise FileError(
            f"cannot write '{target}': {error.strerror or error}. The old file, if any, is untouched"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Write `content` to `path` atomically. Raises FileError like `replacing`."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def check_writable(path: str | os.PathLike[str]) -> Path:
    """Where a file at `path` will really be (links followed), its folder made if it was missing.

    Raises:
        FileError: no file can be written there, or something that is no ordinary file stands there.
    """
    try:
        target = Path(path).resolve()
        if target.is_dir():
            raise FileError(f"output '{path}' is a folder; give a file name inside it")
        if target.exists() and not target.is_file():
            raise FileError(f"output '{path}' is a device or a pipe; give the name of an ordinary file")
        target.parent.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"cannot write '{path}': {getattr(error, 'strerror', None) or error}") from error
    if not os.access(target.parent, os.W_OK):
        raise FileError(f"cannot write into '{target.parent}': permission denied")
    return target


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
