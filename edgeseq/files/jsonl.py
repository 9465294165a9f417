"""JSON lines: each line one sequence, a list of steps or an object by input name."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeseq_runtime.errors import InputError
from edgeseq_runtime.signature import Signature, Tensor
from numpy.typing import NDArray

from edgeseq.files.lines import writable
from edgeseq.files.numbers import as_dtype, from_nested, refuse_nonfinite

Array = NDArray[Any]


def parse(text: str) -> Any:
    """One line's value. Raises InputError where it is not JSON."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"not JSON: {error.msg} at character {error.colno}") from error
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


def arrays(value: Any, signature: Signature) -> dict[str, Array]:
    """One line's value as arrays by input name, each a batch of one. Raises InputError where it does not fit."""
    required = [t for t in signature.inputs if t.of is None]
    given = named(value, required)
    found = {t.name: _fit(from_nested(given[t.name], t.name), t) for t in required}
    for tensor in signature.inputs:
        if tensor.of is not None and tensor.name in given:
            found[tensor.name] = as_dtype(from_nested(given[tensor.name], tensor.name), tensor)
    return {name: array[None] for name, array in found.items()}


def name_of(value: Any) -> str | None:
    """What a line calls itself, under "id"."""
    name = value.get("id") if isinstance(value, Mapping) else None
    return None if name is None else writable(str(name))


def write(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Write one object a line."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{json.dumps(record)}\n" for record in records)


def _fit(array: Array, tensor: Tensor) -> Array:
    """One sequence in the type of an input, and nested as deep; its sizes are left for the model to check."""
    expected = tensor.axes[1:]
    if array.size == 0:
        raise InputError(f"'{tensor.name}' is empty, but at least one step is needed")
    if array.ndim != len(expected):
        raise InputError(
            f"'{tensor.name}' is nested {array.ndim} deep, but a sequence is {len(expected)} deep "
            f"({', '.join(map(str, expected))})"
        )
    found = as_dtype(array, tensor)
    refuse_nonfinite(found, f"input '{tensor.name}'")
    return found
