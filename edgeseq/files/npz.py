"""NumPy's `.npz`: several arrays by name. Nothing in it can run code, as pickled objects are refused."""

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from edgeseq_runtime.errors import DamagedFileError, InputError
from numpy.typing import NDArray

from edgeseq.files.npy import UNREADABLE

Array = NDArray[Any]


def read(stream: BinaryIO, where: str, names: Sequence[str]) -> dict[str, Array]:
    """The arrays of the given names that are there; others, such as targets, are not even unpacked.

    Raises:
        InputError: none of the names is there. DamagedFileError: it is no archive, or holds pickles.
    """
    try:
        archive = np.load(stream, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise DamagedFileError(f"{where} is not a .npz file but a single array; name it .npy")
        found = {name: archive[name] for name in names if name in archive.files}
        keys = list(archive.files)
    except (*UNREADABLE, KeyError, AttributeError, RuntimeError, zlib.error, zipfile.BadZipFile) as error:
        raise DamagedFileError(f"{where} is not a readable .npz file: {error}") from error
    if not found:
        raise InputError(f"{where} has the keys {', '.join(keys) or '(none)'}, but {', '.join(names)} can be used here")
    return found


def write(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write arrays by name, compressed."""
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # numpy's stub takes any keyword for allow_pickle
