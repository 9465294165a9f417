"""A stream's states at one moment: taken from it, given back to it, kept in a file over a restart."""

import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeseq_runtime.errors import DamagedFileError, FileError, MissingFileError

Array = NDArray[Any]

STATE_VERSION = 1
_ABOUT = "edgeseq.state"
_SAMPLES = "samples"


@dataclass(frozen=True)
class State:
    """A stream's states at one moment, copies by input name; `model` is the hash of the file they belong to.

    samples: those of an unfinished hop, (batch, so many, features); None where there are none.
    """

    model: str | None
    arrays: Mapping[str, Array]
    samples: Array | None = None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the states to a file that is either whole or not there: an npz of plain arrays.

        The arrays are numbered, since a foreign file's names need not be names of files; what they are called stands
        in the entry `edgeseq.state`, as JSON. The npz has a checksum of each.

        Raises:
            FileError: the file cannot be written; an older one is untouched.
        """
        from edgeseq_runtime.atomic import write_bytes  # not needed to stream

        about = {
            "version": STATE_VERSION,
            "model": self.model,
            "states": list(self.arrays),
            "samples": self.samples is not None,
        }
        arrays: dict[str, Any] = {_ABOUT: np.array(json.dumps(about))}
        arrays |= {f"state{number}": array for number, array in enumerate(self.arrays.values())}
        if self.samples is not None:
            arrays[_SAMPLES] = self.samples
        content = io.BytesIO()
        np.savez(content, **arrays)
        write_bytes(path, content.getvalue())

    @staticmethod
    def load(path: str | os.PathLike[str]) -> "State":
        """Read what `save` wrote. Nothing in the file is run. `Stream.restore` checks that it belongs to the model.

        Raises:
            MissingFileError: no such file.
            DamagedFileError: it is no state, or was cut or changed since it was written.
            FileError: it cannot be read, or a newer edgeseq-runtime wrote it.
        """
        content = _read(path)
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as archive:
                about = json.loads(archive[_ABOUT].item())
                version = int(about["version"])
                if version > STATE_VERSION:
                    raise FileError(
                        f"the state '{path}' has version {version}, but this runtime reads up to {STATE_VERSION}. "
                        "Upgrade edgeseq-runtime"
                    )
                arrays = {str(name): archive[f"state{number}"] for number, name in enumerate(about["states"])}
                samples = archive[_SAMPLES] if about["samples"] else None
        except FileError:
            raise
        except _damages() as error:
            raise DamagedFileError(
                f"'{path}' is not a stream's state, or was cut or changed since State.save wrote it ({error}). "
                "Start from the initial states, or from an older copy"
            ) from error
        return State(about["model"], arrays, samples)


def _read(path: str | os.PathLike[str]) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError as error:
        raise MissingFileError(f"the state '{os.fspath(path)!s}' does not exist") from error
    except (OSError, ValueError) as error:  # a path with a zero byte in it is a ValueError
        raise FileError(f"cannot read '{os.fspath(path)!s}': {getattr(error, 'strerror', None) or error}") from error


def _damages() -> tuple[type[Exception], ...]:
    """What reading a cut or changed npz may raise."""
    import zipfile  # numpy has imported both by now, and a stream that is not kept needs neither
    import zlib

    return (
        *(zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError, TypeError, OverflowError),
        *(RuntimeError, AttributeError, MemoryError, OSError),  # a flipped bit can mark an entry as encrypted, or huge
    )
