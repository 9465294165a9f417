"""What an ONNX file holds, read from its bytes without the onnx package, as protobuf is.

A message is a row of fields, each a number and a value; a value may be a message again.
"""

from collections.abc import Iterator, Mapping

from edgeseq_runtime.errors import DamagedFileError, UnsafeFileError

# By message, the fields that lead to a node or a tensor (onnx.proto): a number and the message it holds.
_MESSAGES: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_DEPTH = 64
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_GROUP = (3, 4)
"""Marks around fields, which a reader of protobuf passes over."""
_TAG_BYTES, _TAG_BITS = 5, 32

_RECURRENT = (b"LSTM", b"GRU", b"RNN")
_OP_TYPE, _DATA_TYPE, _FLOAT16 = ("node", 4), ("tensor", 2), 10
_LOCATION, _EXTERNAL_DATA = b"location", ("tensor", 13)

Value = int | memoryview


def half_recurrent(content: bytes, name: str) -> bool:
    """Whether a file has a recurrent operator and float16 weights. Raises DamagedFileError as `leaves`."""
    if not any(operator in content for operator in _RECURRENT):
        return False
    found = {
        (field, bytes(value) if field == _OP_TYPE and isinstance(value, memoryview) else value)
        for field, value in leaves(content, name)
        if field in (_OP_TYPE, _DATA_TYPE)
    }
    return (_DATA_TYPE, _FLOAT16) in found and any((_OP_TYPE, operator) in found for operator in _RECURRENT)


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


def leaves(content: bytes, name: str) -> Iterator[tuple[tuple[str, int], Value]]:
    """Every field in which no other is looked for: the message that has it, its number, and its value.

    content: the bytes of an ONNX file. name: its name, for messages.

    Raises:
        DamagedFileError: it is nested beyond all use, or numbers a field beyond what protobuf has.
    """
    yield from _leaves(memoryview(content), "model", name, 0)


def _leaves(message: memoryview, kind: str, name: str, depth: int) -> Iterator[tuple[tuple[str, int], Value]]:
    if depth > _DEPTH:
        raise DamagedFileError(f"'{name}' is damaged: its graphs are nested more than {_DEPTH} times")
    inner = _MESSAGES[kind]
    for number, value in fields(message, name):
        if number in inner and isinstance(value, memoryview):
            yield from _leaves(value, inner[number], name, depth + 1)
        else:
            yield (kind, number), value


def fields(message: memoryview, name: str) -> Iterator[tuple[int, Value]]:
    """The fields of a message that hold bytes or a whole number; what is cut off or no message at all ends it."""
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
            value, place = _varint(message, place)
            yield tag >> 3, value
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
