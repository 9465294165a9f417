"""What an ONNX file says of itself, read from its bytes without the onnx package: enough to know a risky one."""

from collections.abc import Iterator

RECURRENT = (b"LSTM", b"GRU", b"RNN")

_GRAPH, _NODE, _INITIALIZER = 7, 1, 5  # of ModelProto; of GraphProto
_OP_TYPE, _ATTRIBUTE = 4, 5  # of NodeProto
_TENSOR, _SUBGRAPH = 5, 6  # of AttributeProto
_DATA_TYPE = 2  # of TensorProto
_FLOAT16 = 10

Span = tuple[int, int]


def half_recurrent(content: bytes) -> bool:
    """Whether a file has a recurrent operator and float16 weights; False where its bytes are no such message."""
    if not any(name in content for name in RECURRENT):
        return False
    try:
        ops: set[bytes] = set()
        half = [False]
        for number, value in _fields(content, (0, len(content))):
            if number == _GRAPH and isinstance(value, tuple):
                _graph(content, value, ops, half)
    except (IndexError, ValueError):
        return False
    return half[0] and not ops.isdisjoint(RECURRENT)


def _graph(content: bytes, span: Span, ops: set[bytes], half: list[bool]) -> None:
    for number, value in _fields(content, span):
        if not isinstance(value, tuple):
            continue
        if number == _INITIALIZER:
            _tensor(content, value, half)
        elif number == _NODE:
            _node(content, value, ops, half)


def _node(content: bytes, span: Span, ops: set[bytes], half: list[bool]) -> None:
    for number, value in _fields(content, span):
        if not isinstance(value, tuple):
            continue
        if number == _OP_TYPE:
            ops.add(content[slice(*value)])
        elif number == _ATTRIBUTE:
            for inner, part in _fields(content, value):
                if inner == _SUBGRAPH and isinstance(part, tuple):
                    _graph(content, part, ops, half)
                elif inner == _TENSOR and isinstance(part, tuple):
                    _tensor(content, part, half)


def _tensor(content: bytes, span: Span, half: list[bool]) -> None:
    half[0] |= any(number == _DATA_TYPE and value == _FLOAT16 for number, value in _fields(content, span))


def _fields(content: bytes, span: Span) -> Iterator[tuple[int, int | Span]]:
    """The fields of a protobuf message: numbers as such, everything else as where it lies."""
    at, end = span
    while at < end:
        key, at = _varint(content, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(content, at)
            yield key >> 3, value
            continue
        if kind == 2:
            size, at = _varint(content, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"a field of the wire type {kind}")
        if at + size > end:
            raise ValueError("a field that goes beyond its message")
        yield key >> 3, (at, at + size)
        at += size


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")
