"""The hash at the end of an edgeseq file: the SHA-256 of all bytes before it, as the last metadata entry.

An ONNX file is a protobuf message, and a protobuf message may be continued by appending fields. The seal is one
more `metadata_props` entry (field 14 of ModelProto) of fixed size, key `edgeseq.sha256`, value 64 hex digits.
Nothing else notices a flipped bit in a weight: the file loads, and answers wrongly.
"""

import hashlib
from collections.abc import Iterable

from edgeseq_runtime.errors import DamagedFileError, FileError

KEY = b"edgeseq.sha256"
_DIGITS = 64
_ENTRY = b"\x0a" + bytes([len(KEY)]) + KEY + b"\x12" + bytes([_DIGITS])
_PREFIX = bytes([14 << 3 | 2, len(_ENTRY) + _DIGITS]) + _ENTRY
SEAL_SIZE = len(_PREFIX) + _DIGITS


def seal(content: bytes) -> bytes:
    """Return the file `content` with its hash appended; a seal that is already there is renewed."""
    body = content[:-SEAL_SIZE] if is_sealed(content) else content
    return body + _PREFIX + hashlib.sha256(body).hexdigest().encode()


def is_sealed(content: bytes) -> bool:
    """Whether `content` ends in a seal, right or wrong."""
    return content[-SEAL_SIZE:-_DIGITS] == _PREFIX


def check_seal(content: bytes, name: str) -> str:
    """Return the hash of a sealed file, or raise DamagedFileError when it does not fit the bytes before it."""
    expected = content[-_DIGITS:]
    actual = hashlib.sha256(content[:-SEAL_SIZE]).hexdigest()
    if expected != actual.encode():
        raise DamagedFileError(
            f"'{name}' is damaged: its bytes have the SHA-256 {actual[:12]}…, but "
            f"{expected[:12].decode(errors='replace')}… was stored when it was written. Copy or export it again"
        )
    return actual


def digest(content: bytes, paths: Iterable[str] = ()) -> str:
    """The SHA-256 of a file's bytes and of those that belong to it, by which one that has no seal is known."""
    found = hashlib.sha256(content)
    for path in paths:
        try:
            with open(path, "rb") as file:
                found.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise FileError(f"cannot read '{path}': {error.strerror or error}") from error
    return found.hexdigest()
