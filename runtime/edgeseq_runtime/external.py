"""Weights that an ONNX file keeps in other files: where, told from its bytes, before anybody follows the paths.

Read without the onnx package, as protobuf is: a message is a row of fields, each a number and a value.
"""

from collections.abc import Iterator, Mapping

from edgeseq_runtime.errors import DamagedFileError, UnsafeFileError

_LOCATION = b"location"

# By message, the fields that lead to a tensor (onnx.proto): a number and the message it holds.
_MESSAGES: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
_DEPTH = 64
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_GROUP = (3, 4)
"""Marks around fields, which a reader of protobuf passes over."""
_TAG_BYTES, _TAG_BITS = 5, 32


def external_files(content: bytes, name: str) -> tuple[str, ...]:
    """The paths of the files in which an ONNX file keeps weights, each once; most have none.

    Raises:
        UnsafeFileError: one leads out of the file's own folder.
        DamagedFileError: it is nested beyond all use, or numbers a field beyond what protobuf has.
    """
    if _LOCATION not in content:
        return ()
    found = dict.fromkeys(_locations(memoryview(content), "model", name, 0))
    for path in found:
        # a star: onnxruntime's own mark for an address in memory
        if path.startswith("/") or ".." in path.split("/") or any(sign in path for sign in "\\:*\0"):
            raise UnsafeFileError(
                f"'{name}' keeps weights in the file {path!r}, which is not in its own folder. It was refused and "
                "nothing was read; save the model as one file"
            )
    return tuple(found)


def _locations(message: memoryview, kind: str, name: str, depth: int) -> Iterator[str]:
    if depth > _DEPTH:
        raise DamagedFileError(f"'{name}' is damaged: its graphs are nested more than {_DEPTH} times")
    inner = _MESSAGES[kind]
    for number, value in _fields(message, name):
        if number not in inner:
            continue
        if inner[number] != "entry":
            yield from _locations(value, inner[number], name, depth + 1)
            continue
        entry = {key: bytes(text) for key, text in _fields(value, name)}
        if entry.get(1) == _LOCATION:
            yield entry.get(2, b"").decode(errors="replace")


def _fields(message: memoryview, name: str) -> Iterator[tuple[int, memoryview]]:
    """The fields of a message that hold bytes; what is cut off or no message at all ends it."""
    place, end = 0, len(message)
    while place < end:
        start = place
        tag, place = _varint(message, start)
        if place - start > _TAG_BYTES or tag >> _TAG_BITS:
            # some readers of protobuf cut it, and then see another field than is seen here
            raise DamagedFileError(f"'{name}' is damaged: a field's number is more than protobuf's {_TAG_BITS} bits")
        wire = tag & 7
        if wire == _BYTES:
            size, place = _varint(message, place)
            yield tag >> 3, message[place : place + size]
            place += size
        elif wire == _VARINT:
            _, place = _varint(message, place)
        elif wire in (_FIXED32, _FIXED64):
            place += 4 if wire == _FIXED32 else 8
        elif wire not in _GROUP:
            return


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where it ends."""
    value, shift = 0, 0
    while place < len(message):
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place += 1
        if byte < 0x80:
            break
        shift += 7
    return value, place
