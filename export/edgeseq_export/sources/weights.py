"""Weights from a file (`.pt`, `.pth`, `.bin`, `.safetensors`), and weights into a network. Nothing in them is run."""

import json
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from edgeseq_runtime.errors import DamagedFileError, FileError, MissingPackageError, UnsafeFileError, UsageError
from torch import Tensor, nn

from edgeseq_export.sources.archive import Found, look
from edgeseq_export.sources.zips import MOST_BYTES

Weights = dict[str, Tensor]

_NESTED = ("state_dict", "model_state_dict", "model", "module", "net", "state")
"""The keys under which a training script's own checkpoint keeps the weights."""

_PARALLEL = "module."
_SHOWN = 10


def load_weights(path: str | Path) -> tuple[Weights, tuple[str, ...]]:
    """The tensors of a file by name, on the CPU, and notes on what was done to find them.

    Of a training script's checkpoint the weights alone are taken, and the prefix that DataParallel writes goes.

    Raises:
        MissingFileError, DamagedFileError: no such file; or cut off, changed, or with a header that lies.
        UnsafeFileError: it would run code, or unpack to what no memory holds.
        FileError: it holds no weights.
    """
    found = look(path)
    if found.kind == "safetensors":
        return _safetensors(found.path), ()
    if found.kind in ("weights", "checkpoint"):
        return as_weights(_unpickled(found), f"'{found.path}'")
    if found.kind == "module":
        raise UnsafeFileError(
            f"'{found.path}' is a pickle that would call {', '.join(found.calls[:4])} when it is opened. It was "
            "refused and nothing in it was run; weights are tensors alone: "
            "torch.save(network.state_dict(), 'weights.pt')"
        )
    raise FileError(f"'{found.path}' is {found.words}; weights are a state dict (.pt, .pth, .bin) or .safetensors")


def as_weights(content: Any, name: str) -> tuple[Weights, tuple[str, ...]]:
    """The tensors in what a file held, and notes. name: how messages call the file. Raises FileError."""
    notes: list[str] = []
    if isinstance(content, Mapping) and not _is_state(content):
        nested = [key for key in _NESTED if isinstance(content.get(key), Mapping) and _is_state(content[key])]
        if len(nested) != 1:
            keys = ", ".join(map(str, list(content)[:8])) or "none"
            raise FileError(
                f"{name} is a dict with the keys {keys}, in which no weights are found under "
                f"{', '.join(map(repr, _NESTED))}. Save them alone: torch.save(network.state_dict(), 'weights.pt')"
            )
        content = content[nested[0]]
        notes.append(f"the weights are those under '{nested[0]}' in {name}")
    if not isinstance(content, Mapping):
        raise FileError(f"{name} is a {type(content).__name__}, not weights by name (network.state_dict())")
    state = {str(key): value.detach() for key, value in content.items()}
    _check_tensors(state, name)
    if all(key.startswith(_PARALLEL) for key in state):
        state = {key.removeprefix(_PARALLEL): value for key, value in state.items()}
        notes.append(f"the prefix '{_PARALLEL}' of each name in {name}, which DataParallel writes, was taken off")
    return state, tuple(notes)


def fill(module: nn.Module, state: Mapping[str, Tensor], name: str) -> tuple[str, ...]:
    """Load weights into a network, all of them and no others; returns notes. Floats of another precision are converted.

    Raises:
        UsageError: a weight that is missing, has no place, or is of another shape; all of them are listed.
    """
    expected = module.state_dict()
    given = {**dict(_shared(state, expected)), **state}
    converted = {
        key: value.to(expected[key].dtype)
        for key, value in given.items()
        if key in expected and value.dtype != expected[key].dtype and value.is_floating_point()
        and expected[key].is_floating_point()
    }  # fmt: skip
    if problems := misfits({**given, **converted}, expected):
        more = [f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        raise UsageError(
            f"the weights do not fit {name}:\n" + "\n".join(f"  {line}" for line in (*problems[:_SHOWN], *more))
        )
    module.load_state_dict({**given, **converted})
    kinds = sorted({f"{given[key].dtype} is used as {value.dtype}" for key, value in converted.items()})
    return tuple(f"of the weights, {kind}".replace("torch.", "") for kind in kinds)


def misfits(state: Mapping[str, Any], expected: Mapping[str, Tensor]) -> list[str]:
    """Why weights do not fit a network, a line each: names on one side alone, other shapes, other types."""
    problems = [f"'{key}' is missing" for key in expected if key not in state]
    problems += [f"'{key}' has no place in it" for key in state if key not in expected]
    for key, tensor in expected.items():
        if key not in state:
            continue
        given = state[key]
        if not isinstance(given, Tensor):
            problems.append(f"'{key}' is a {type(given).__name__}, not a tensor")
        elif given.shape != tensor.shape:
            problems.append(f"'{key}' has shape {tuple(given.shape)}, but {tuple(tensor.shape)} is expected")
        elif given.dtype != tensor.dtype:
            problems.append(f"'{key}' is {given.dtype}, but {tensor.dtype} is expected")
    return problems


def _is_state(content: Mapping[Any, Any]) -> bool:
    return bool(content) and all(isinstance(value, Tensor) for value in content.values())


def _check_tensors(state: Mapping[str, Tensor], name: str) -> None:
    for key, tensor in state.items():
        if tensor.is_meta or tensor.is_quantized or tensor.layout != torch.strided:
            raise FileError(f"{name} has no plain numbers as '{key}' (meta, quantised or sparse), which cannot be read")
    total = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    if total > MOST_BYTES:  # a tensor may repeat one number without end
        raise UnsafeFileError(f"{name} has weights of {total:,} bytes; at most {MOST_BYTES:,} are opened")


def _shared(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Weights that two layers of the network share, where the file keeps them once (as .safetensors does)."""
    places = {(tensor.data_ptr(), tensor.shape): key for key, tensor in expected.items() if key in state}
    for key, tensor in expected.items():
        twin = places.get((tensor.data_ptr(), tensor.shape))
        if key not in state and twin is not None and tensor.numel():
            yield key, state[twin]


def _unpickled(found: Found) -> Any:
    """Tensors and plain values; torch refuses everything else before it is called."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of foreign files, which get an error of our own
            return torch.load(found.path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch has no one error for what it cannot read
        if "weights_only" in str(error).lower() or "Unsupported" in str(error):
            raise UnsafeFileError(
                f"'{found.path}' holds more than tensors and plain values: {_reason(error)}. It was refused and "
                "nothing in it was run; save the weights alone: torch.save(network.state_dict(), 'weights.pt')"
            ) from error
        raise DamagedFileError(f"'{found.path}' is damaged: torch cannot read it ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = next((line for line in lines if "Unsupported" in line or "Unpickl" in line), lines[0] if lines else "")
    return (told or type(error).__name__).removeprefix("WeightsUnpickler error: ")[:200].rstrip(". ")


def _safetensors(path: Path) -> Weights:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f"'{path}' needs the package 'safetensors', which is not installed: pip install 'edgeseq[export]'"
        ) from error
    _check_header(path)
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError, AttributeError) as error:
        raise DamagedFileError(f"'{path}' is damaged, or its header lies: {_reason(error)}") from error


def _check_header(path: Path) -> None:
    """Refuse a header that names a tensor twice, of which safetensors takes the last without a word.

    It refuses by itself lengths beyond the file or 100 MB, offsets that overlap, leave holes or lead outside, and
    shapes that do not fit their bytes.
    """
    with path.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        header = stream.read(size) if size <= path.stat().st_size else b""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise DamagedFileError(f"'{path}' is damaged, or its header lies: it has '{key}' twice")
            found[key] = value
        return found

    try:
        json.loads(header, object_pairs_hook=once)
    except DamagedFileError:
        raise
    except (ValueError, RecursionError):
        return  # safetensors says what is wrong with it
