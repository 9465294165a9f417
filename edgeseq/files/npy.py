"""NumPy's `.npy`: one array. Nothing in it can run code, as pickled objects are refused."""

from pathlib import Path
from tokenize import TokenError
from typing import Any, BinaryIO

import numpy as np
from edgeseq_runtime.errors import DamagedFileError
from numpy.typing import NDArray

Array = NDArray[Any]

UNREADABLE = (ValueError, OSError, EOFError, TypeError, SyntaxError, TokenError, MemoryError)
"""What numpy may raise of damaged bytes; of a header with a huge shape, MemoryError."""


def read(stream: BinaryIO, where: str) -> Array:
    """The array. Raises DamagedFileError where it is none, or a pickle."""
    try:
        array = np.lib.format.read_array(stream, allow_pickle=False)
    except UNREADABLE as error:
        raise DamagedFileError(f"{where} is not a readable .npy file: {error}") from error
    return array


def write(path: Path, array: Array) -> None:
    """Write one array."""
    with path.open("wb") as file:
        np.lib.format.write_array(file, array, allow_pickle=False)
