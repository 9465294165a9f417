"""Weights that an ONNX file keeps in other files: where, told from its bytes, before anybody follows the paths."""

from edgeseq_runtime.errors import UnsafeFileError
from edgeseq_runtime.wire import fields, leaves

_LOCATION = b"location"
_EXTERNAL_DATA = ("tensor", 13)


def external_files(content: bytes, name: str) -> tuple[str, ...]:
    """The paths of the files in which an ONNX file keeps weights, each once; most have none.

    Raises:
        UnsafeFileError: one leads out of the file's own folder.
        DamagedFileError: it is nested beyond all use, or numbers a field beyond what protobuf has.
    """
    if _LOCATION not in content:
        return ()
    found: dict[str, None] = {}
    for field, value in leaves(content, name):
        if field == _EXTERNAL_DATA and isinstance(value, memoryview):
            entry = {key: bytes(text) for key, text in fields(value, name) if isinstance(text, memoryview)}
            if entry.get(1) == _LOCATION:
                found[entry.get(2, b"").decode(errors="replace")] = None
    for path in found:
        # a star: onnxruntime's own mark for an address in memory
        if path.startswith("/") or ".." in path.split("/") or any(sign in path for sign in "\\:*\0"):
            raise UnsafeFileError(
                f"'{name}' keeps weights in the file {path!r}, which is not in its own folder. It was refused and "
                "nothing was read; save the model as one file"
            )
    return tuple(found)
