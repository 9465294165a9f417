"""The `.pt` format: a trained network with all that is needed to build, export and judge it.

A torch.save archive of one dict, {format, family, config, state, hints, metrics, provenance}, of plain values
and tensors alone: `torch.load(path, weights_only=True)` opens it too. The archive's zip comment is a seal,
the SHA-256 of all bytes before it, because neither torch nor the zip format notices every changed bit.
"""

import io
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from edgeseq_export.sources.archive import CHECKPOINT_KEYS
from edgeseq_export.sources.pickles import called_names
from edgeseq_export.sources.weights import misfits
from edgeseq_export.sources.zips import check_zip
from edgeseq_runtime.atomic import write_bytes
from edgeseq_runtime.errors import DamagedFileError, FileError, MissingFileError, UnsafeFileError, UsageError
from torch import Tensor

from edgeseq.nn import Hints, Network, build

FORMAT = 1

_SEAL = b"edgeseq sha256 "
_SEAL_SIZE = len(_SEAL) + 64


@dataclass(frozen=True)
class Checkpoint:
    """What a `.pt` file holds. module: in eval mode, on the CPU. sha256: of the whole file."""

    module: Network
    family: str
    hints: Hints
    metrics: Mapping[str, Any]
    provenance: Mapping[str, Any]
    sha256: str


def save(path: str | Path, module: Network, metrics: Mapping[str, Any], provenance: Mapping[str, Any]) -> None:
    """Write a checkpoint atomically. metrics, provenance: plain values (numbers, text, lists, dicts).

    Raises:
        FileError: the file cannot be written; an old one is untouched.
        TypeError: metrics or provenance hold something else, which `load` would refuse.
    """
    _check_plain("metrics", metrics)
    _check_plain("provenance", provenance)
    content = {
        "format": FORMAT,
        "family": module.family,
        "config": asdict(module.config),
        "state": {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()},
        "hints": module.hints.to_dict(),
        "metrics": dict(metrics),
        "provenance": dict(provenance),
    }
    write_bytes(path, dump(content))


def load(path: str | Path) -> Checkpoint:
    """Read a checkpoint. Nothing in the file is executed, whatever it is.

    Raises:
        MissingFileError: there is no such file.
        DamagedFileError: it is empty, cut off, or not what was written.
        UnsafeFileError: opening it would run code, or unpack to what no memory holds.
        FileError: it is no edgeseq checkpoint, of a newer format, or its weights do not fit its config.
    """
    data = _read(Path(path))
    name = f"'{path}'"
    content = open_sealed(data, name)
    _check_content(content, name)
    module = _module(content, name)
    digest = sha256(data).hexdigest()
    return Checkpoint(module, module.family, module.hints, content["metrics"], content["provenance"], digest)


def dump(content: Mapping[str, Any]) -> bytes:
    """The bytes of a sealed archive of plain values and tensors."""
    buffer = io.BytesIO()
    torch.save(dict(content), buffer)
    archive = buffer.getvalue()
    sealed = archive[:-2] + _SEAL_SIZE.to_bytes(2, "little") + _SEAL  # a zip ends with its comment's length
    return sealed + sha256(sealed).hexdigest().encode()


def open_sealed(data: bytes, name: str) -> Any:
    """What `dump` wrote; name: how messages call the file. Raises the errors of `load`."""
    if not data:
        raise DamagedFileError(f"{name} is empty")
    seal = data[-_SEAL_SIZE:]
    sealed = seal.startswith(_SEAL)
    if sealed and seal[len(_SEAL) :] != sha256(data[:-64]).hexdigest().encode():
        raise DamagedFileError(f"{name} is damaged: it was cut or changed since it was written. Take a fresh copy")
    content = _unpickle(data, name)
    if sealed:
        return content
    if isinstance(content, dict) and set(content) >= CHECKPOINT_KEYS:
        raise DamagedFileError(f"{name} is damaged: the seal at its end is missing or changed. Take a fresh copy")
    raise FileError(f"{name} is {_describe(content)}, not a checkpoint of edgeseq, which `edgeseq train` writes")


def _check_plain(where: str, value: Any) -> None:
    """Raise TypeError at the first thing in a nest of dicts and lists that is no number, text, truth value or None."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            _check_plain(f"{where}[{key!r}]", item)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _check_plain(f"{where}[{index}]", item)
    elif type(value) not in (int, float, str, bool, type(None)):
        raise TypeError(f"{where} is a {type(value).__name__}, but a checkpoint takes plain numbers, text and lists")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise MissingFileError(f"there is no checkpoint '{path}'") from error
    except IsADirectoryError as error:
        raise FileError(f"'{path}' is a folder; give the .pt file inside it") from error
    except OSError as error:
        raise FileError(f"the checkpoint '{path}' cannot be read: {error.strerror or error}") from error


def _unpickle(data: bytes, name: str) -> Any:
    """Read tensors and plain values. torch refuses everything else before it is called."""
    if data.startswith(b"PK"):
        check_zip(io.BytesIO(data), name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of foreign files, which get an error of our own
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # torch has no one error for what it cannot read
        if _is_torchscript(data):
            raise FileError(f"{name} is a TorchScript archive, not a checkpoint of edgeseq") from error
        if names := called_names(data):
            raise UnsafeFileError(
                f"{name} is a pickle that would call {', '.join(names[:3])} when opened. It was refused and "
                "nothing in it was run; a checkpoint holds tensors and plain values alone"
            ) from error
        if not data.startswith((b"PK", b"\x80")):  # neither a zip archive nor a pickle
            raise FileError(f"{name} is no checkpoint (.pt) of edgeseq, but a file of another kind") from error
        raise DamagedFileError(f"{name} is damaged: it cannot be opened as a checkpoint (.pt)") from error


def _is_torchscript(data: bytes) -> bool:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return any(entry.endswith("/constants.pkl") for entry in archive.namelist())
    except (zipfile.BadZipFile, ValueError, OSError):
        return False


def _describe(content: Any) -> str:
    if isinstance(content, dict) and content and all(isinstance(value, Tensor) for value in content.values()):
        return "a bare state dict (weights without the network they belong to)"
    if isinstance(content, dict):
        return f"a dict with the keys {', '.join(map(str, list(content)[:5])) or 'none'}"
    return f"a {type(content).__name__}"


def _check_content(content: Any, name: str) -> None:
    if not isinstance(content, dict) or not isinstance(content.get("format"), int):
        raise FileError(f"{name} is {_describe(content)}, not a checkpoint of edgeseq")
    if content["format"] > FORMAT:
        raise FileError(
            f"{name} has checkpoint format {content['format']}, but this edgeseq reads up to {FORMAT}: upgrade edgeseq"
        )
    if missing := sorted(CHECKPOINT_KEYS - set(content)):
        raise FileError(f"{name} lacks '{missing[0]}', which a checkpoint of format {content['format']} has")
    kinds = {"family": str, **dict.fromkeys(("config", "state", "hints", "metrics", "provenance"), dict)}
    if wrong := [key for key, kind in kinds.items() if not isinstance(content[key], kind)]:
        raise FileError(f"{name} has a {type(content[wrong[0]]).__name__} as its '{wrong[0]}': it is no checkpoint")


def _module(content: Mapping[str, Any], name: str) -> Network:
    """The network of the config with the weights of the state dict, in eval mode."""
    with torch.random.fork_rng(devices=[]):  # the fresh weights are overwritten; the caller's seed stays
        try:
            module = build(content["family"], content["config"], Hints.from_dict(content["hints"]))
        except (UsageError, RuntimeError, MemoryError, TypeError, ValueError, AttributeError) as error:
            raise FileError(f"{name} has a config or hints that cannot be used: {error}") from error
    problems = misfits(content["state"], module.state_dict())
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise FileError(f"{name} has weights that do not fit its config: {problems[0]}{more}")
    module.load_state_dict(content["state"])
    return module.eval()
