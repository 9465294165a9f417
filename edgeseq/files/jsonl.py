"""JSON lines: each line one sequence, a list of steps or an object by input name."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeseq_runtime.errors import InputError
from edgeseq_runtime.signature import TIME, Signature, Tensor
from numpy.typing import NDArray

from edgeseq.files.lines import decode
from edgeseq.files.numbers import as_dtype, from_nested, pad

Array = NDArray[Any]


@dataclass(frozen=True)
class Line:
    """One sequence. arrays: by input name, without a batch axis; id: what the line calls itself, or None."""

    number: int
    arrays: Mapping[str, Array]
    id: str | None = None


def read(
    lines: Iterable[tuple[int, bytes]], where: str, signature: Signature
) -> tuple[dict[str, Array], list[str | None]]:
    """All sequences as arrays by input name, padded, with their lengths, and the lines' ids.

    Args:
        lines: numbered from 1; blank ones are skipped.
        where: what to call the file in messages.
        signature: what the model takes.

    Raises:
        InputError: a line that is not JSON or does not fit, naming file and line; sequences of different
            lengths for a model that takes no lengths; no lines at all.
    """
    sequences: list[Line] = []
    for number, line in lines:
        try:
            text = decode(line)
            if text:
                sequences.append(_sequence(number, parse(text), signature))
        except InputError as error:
            raise InputError(f"{where}, line {number}: {error}") from error
    if not sequences:
        raise InputError(f"{where} has no lines; one sequence a line is expected")
    return _stack(sequences, where, signature), [line.id for line in sequences]


def parse(text: str) -> Any:
    """One line's value. Raises InputError where it is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"not JSON: {error}") from error


def named(value: Any, tensors: Sequence[Tensor]) -> Mapping[str, Any]:
    """A line's value by input name: an object as it is, a list as the only input. Raises InputError."""
    names = ", ".join(t.name for t in tensors)
    if isinstance(value, Mapping):
        missing = [t.name for t in tensors if t.name not in value]
        if missing:
            raise InputError(f"the key '{missing[0]}' is missing; an object with {names} is expected")
        return value
    if len(tensors) != 1:
        raise InputError(f"values without names are ambiguous, as the model takes {names}; give an object by name")
    return {tensors[0].name: value}


def write(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Write one object a line."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{json.dumps(record)}\n" for record in records)


def _sequence(number: int, value: Any, signature: Signature) -> Line:
    required = [t for t in signature.inputs if t.of is None]
    given = named(value, required)
    arrays = {t.name: _fit(from_nested(given[t.name], t.name), t) for t in required}
    for tensor in signature.inputs:
        if tensor.of is not None and tensor.name in given:
            arrays[tensor.name] = as_dtype(from_nested(given[tensor.name], tensor.name), tensor)
    name = given.get("id")
    return Line(number, arrays, None if name is None else str(name))


def _fit(array: Array, tensor: Tensor) -> Array:
    """Check one sequence against an input's axes, all but the batch."""
    expected = tensor.axes[1:]
    if array.size == 0:
        raise InputError(f"'{tensor.name}' is empty, but at least one step is needed")
    if array.ndim != len(expected):
        raise InputError(
            f"'{tensor.name}' is nested {array.ndim} deep, but a sequence is {len(expected)} deep "
            f"({', '.join(map(str, expected))})"
        )
    for size, axis in zip(array.shape, expected, strict=True):
        if isinstance(axis, int) and size != axis:
            raise InputError(f"'{tensor.name}' has {size} features a step, but the model takes {axis}")
    return as_dtype(array, tensor)


def _stack(sequences: Sequence[Line], where: str, signature: Signature) -> dict[str, Array]:
    stacked: dict[str, Array] = {}
    for tensor in (t for t in signature.inputs if t.of is None):
        rows = [line.arrays[tensor.name] for line in sequences]
        if TIME in tensor.axes and not any(t.of == tensor.name for t in signature.inputs):
            _refuse_ragged(sequences, rows, tensor, where)
        stacked[tensor.name] = pad(rows) if TIME in tensor.axes else from_nested(rows, tensor.name)
    for tensor in (t for t in signature.inputs if t.of is not None):
        lengths = [line.arrays.get(tensor.name, len(line.arrays[tensor.of or ""])) for line in sequences]
        stacked[tensor.name] = as_dtype(from_nested(lengths, tensor.name), tensor)
    return stacked


def _refuse_ragged(sequences: Sequence[Line], rows: Sequence[Array], tensor: Tensor, where: str) -> None:
    for line, row in zip(sequences, rows, strict=True):
        if len(row) != len(rows[0]):
            raise InputError(
                f"{where}, line {line.number}: '{tensor.name}' has {len(row)} steps, but line "
                f"{sequences[0].number} has {len(rows[0])}, and this model takes no lengths. Give it "
                "sequences of one length at a time"
            )
