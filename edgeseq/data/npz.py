"""Examples in an `.npz` file, under the keys x, y and, where sequences are of unequal length, lengths.

x: floats (n, time, features), whole numbers (n, time) as token ids; or, without a time axis, floats (n, features) or
images (n, height, width) or (n, channels, height, width). y: whole numbers or text for classes, (n,) or (n, time);
floats for values, (n,), (n, outputs) or (n, time, outputs); with y_lengths (n,) a sequence for each example, as long as
it is: of classes (n, longest), or of values, floats (n, longest, outputs). lengths: (n,). Optional: labels (class names
by class number), groups (n,), and what else the network takes, by the input's name, such as characters, children, or
baseline (a first forecast).
"""

import io
import zipfile
import zlib

import numpy as np
from edgeseq_runtime.errors import DamagedFileError, UsageError

from edgeseq.data.dataset import Array, Dataset, number

_KNOWN = ("x", "y", "lengths", "labels", "groups", "y_lengths")


def parse(content: bytes, name: str) -> Dataset:
    """Read an `.npz` file's bytes; name: what to call it in messages.

    Raises:
        DamagedFileError: it is no npz file. UsageError: a key is missing or has the wrong shape or type.
    """
    arrays = _arrays(content, name)
    if missing := [key for key in ("x", "y") if key not in arrays]:
        raise UsageError(f"{name} lacks the key '{missing[0]}'; it has {', '.join(arrays) or 'none'}")
    x = _inputs(arrays["x"], name)
    lengths = _lengths(arrays, "lengths", name)
    if lengths is None and (x.ndim == 3 or x.dtype.kind == "i"):
        lengths = np.full(len(x), x.shape[1], np.int64)
    y, labels = _answers(arrays["y"], arrays.get("labels"), name)
    groups = arrays.get("groups")
    if groups is not None and groups.shape != (len(x),):
        raise UsageError(f"'groups' of {name} has shape {groups.shape}, but {(len(x),)} is expected, one an example")
    more = {key: _widened(key, array, name) for key, array in arrays.items() if key not in _KNOWN}
    count = int(x.max()) + 1 if x.dtype.kind == "i" else None
    return Dataset(x, y, lengths, labels, groups, _lengths(arrays, "y_lengths", name), more, token_count=count)


def _lengths(arrays: dict[str, Array], key: str, name: str) -> Array | None:
    lengths = arrays.get(key)
    if lengths is not None and not np.issubdtype(lengths.dtype, np.integer):
        raise UsageError(f"'{key}' of {name} is {lengths.dtype}, but whole numbers are needed")
    return None if lengths is None else lengths.astype(np.int64)


def _widened(key: str, array: Array, name: str) -> Array:
    """Whole numbers as int64, other numbers as float32."""
    if array.dtype.kind not in "fiub" or array.ndim < 2:
        raise UsageError(
            f"'{key}' of {name} is {array.dtype} of shape {array.shape}, but a further input is numbers (examples, "
            f"steps, …); known keys are {', '.join(_KNOWN)}"
        )
    return array.astype(np.int64 if np.issubdtype(array.dtype, np.integer) else np.float32)


def _arrays(content: bytes, name: str) -> dict[str, Array]:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except (ValueError, OSError, EOFError, TypeError, zlib.error, zipfile.BadZipFile) as error:
        if "allow_pickle" in str(error) and content.startswith(b"PK\x03\x04"):
            raise UsageError(
                f"{name} holds an array of Python objects, not read here; pad the sequences, give 'lengths'"
            ) from error
        raise DamagedFileError(f"{name} is no npz file, or a damaged one: {error}") from error


def _inputs(x: Array, name: str) -> Array:
    if np.issubdtype(x.dtype, np.integer) and x.ndim == 2:
        if x.size and x.min() < 0:
            raise UsageError(f"'x' of {name} holds the token {x.min()}, but ids start at 0")
        return x.astype(np.int64)
    if not 2 <= x.ndim <= 4 or x.dtype.kind not in "fiu" or not x.size:
        raise UsageError(
            f"'x' of {name} is {x.dtype} of shape {x.shape}, but numbers (sequences, time, features) are "
            "expected, token ids as whole numbers (sequences, time), or arrays of one shape (examples, …)"
        )
    return x.astype(np.float32)


def _answers(y: Array, labels: Array | None, name: str) -> tuple[Array, tuple[str, ...] | None]:
    """Classes numbered from 0 with their names, or values with a last axis of outputs."""
    if y.dtype.kind == "f" and 1 <= y.ndim <= 3:
        return (y[:, None] if y.ndim == 1 else y).astype(np.float32), None
    if y.dtype.kind not in "iuUb" or not 1 <= y.ndim <= 2:
        raise UsageError(
            f"'y' of {name} is {y.dtype} of shape {y.shape}, but classes (whole numbers or text) or values "
            "(floats) are expected, one a sequence or one a step"
        )
    if labels is not None and y.dtype.kind in "iu":
        if y.size and not 0 <= y.min() <= y.max() < len(labels):
            raise UsageError(f"'y' of {name} runs from {y.min()} to {y.max()}, but there are {len(labels)} 'labels'")
        return y.astype(np.int64), tuple(str(label) for label in labels)
    names = None if labels is None else [str(label) for label in labels]
    numbers, known = number([str(value) for value in y.ravel()], names)
    return numbers.reshape(y.shape), known
