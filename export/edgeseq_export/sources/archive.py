"""What kind of file a path is, by looking at its bytes. Nothing in it is run, whatever it is."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgeseq_runtime.errors import DamagedFileError, FileError, MissingFileError, UnsafeFileError

from edgeseq_export.sources.pickles import called_names, foreign_names, read_pickles
from edgeseq_export.sources.zips import MAGIC, check_zip, read_entry

Kind = Literal["checkpoint", "weights", "module", "torchscript", "program", "safetensors", "onnx", "other"]

CHECKPOINT_KEYS = frozenset(("format", "family", "config", "state", "hints", "metrics", "provenance"))
"""What an edgeseq checkpoint is a dict of."""

SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".safetensors", ".pt2")
"""Of files that hold networks or their weights, by convention."""

_WORDS: dict[Kind, str] = {
    "checkpoint": "a checkpoint of edgeseq",
    "weights": "weights without the network they belong to",
    "module": "a pickle that calls functions when it is opened, such as a whole network in place of its weights",
    "torchscript": "a TorchScript archive",
    "program": "a program of torch.export",
    "safetensors": "weights without the network they belong to",
    "onnx": "an ONNX file",
}
_SAFETENSORS_HEADER = 100_000_000
_OTHERS = ((b"\x93NUMPY", "a NumPy array"), (b"\x1f\x8b\x08", "a gzip archive"), (b"\x89HDF", "an HDF5 file"))
_PICKLE_STARTS = b"\x80(]}cS"


@dataclass(frozen=True)
class Found:
    """A file that was looked at. calls: what its pickles would call when they are opened. words: what it is."""

    path: Path
    kind: Kind
    words: str
    calls: tuple[str, ...] = ()


def look(path: str | Path) -> Found:
    """What kind of file this is; archives are checked before anybody may open them.

    kind: "module" is a pickle of a whole network, or of anything else that calls what is no part of a tensor;
        "weights" is a pickle of tensors and plain values; "other" is none of them, and words says what it is.

    Raises:
        MissingFileError, FileError: there is no such file, or it cannot be read.
        DamagedFileError: it is empty, or no whole archive.
        UnsafeFileError: an archive that nobody should unpack (see zips.check_zip).
    """
    file = Path(path)
    start, size = _start(file)
    if start.startswith(MAGIC):
        return _zip(file)
    header = int.from_bytes(start[:8], "little")
    if file.suffix.lower() == ".safetensors" or (header <= _SAFETENSORS_HEADER and start[8:9] == b"{"):
        return _found(file, "safetensors")
    if file.suffix.lower() == ".onnx" or (start[:1] == b"\x08" and start[1:2] <= b"\x20" and size > 8):
        return _found(file, "onnx")
    for magic, words in _OTHERS:
        if start.startswith(magic):
            return Found(file, "other", words)
    return _pickle(file) if start[0] in _PICKLE_STARTS else Found(file, "other", "a file of another kind")


def check_trusted(found: Found, trust: bool) -> None:
    """Raise UnsafeFileError where opening a file can run code that is in it, and nobody said that it may."""
    if trust or found.kind not in ("module", "torchscript", "program"):
        return
    many = f" and {len(found.calls) - 4} more" if len(found.calls) > 4 else ""
    calls = f" It would call {', '.join(found.calls[:4])}{many}." if found.calls else ""
    raise UnsafeFileError(
        f"'{found.path}' is {found.words}, and opening one can run code that is in it.{calls} It was refused and "
        "nothing in it was run. The safe ways: save the weights alone, torch.save(network.state_dict(), 'weights.pt') "
        "or a .safetensors file, and give the network as package.module:factory with --weights weights.pt. If you know "
        "who made the file: --trust"
    )


def _found(file: Path, kind: Kind, calls: list[str] | None = None) -> Found:
    return Found(file, kind, _WORDS[kind], tuple(calls or ()))


def _start(file: Path) -> tuple[bytes, int]:
    try:
        with file.open("rb") as stream:
            start = stream.read(64)
            size = stream.seek(0, io.SEEK_END)
    except FileNotFoundError as error:
        raise MissingFileError(f"there is no file '{file}'") from error
    except IsADirectoryError as error:
        raise FileError(f"'{file}' is a folder; give the file inside it") from error
    except (OSError, ValueError) as error:  # a path with a zero byte in it is a ValueError
        raise FileError(f"'{file}' cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not start:
        raise DamagedFileError(f"'{file}' is empty")
    return start, size


def _zip(file: Path) -> Found:
    name = f"'{file}'"
    entries = check_zip(file, name, _in_program)
    inner = {entry.partition("/")[2] for entry in entries}
    if "models/model.json" in inner or any(entry.endswith("serialized_exported_program.json") for entry in entries):
        return _found(file, "program", called_names(file.read_bytes()))
    if "constants.pkl" in inner:
        return _found(file, "torchscript", called_names(file.read_bytes()))
    data = next((entry for entry in entries if entry.partition("/")[2] == "data.pkl"), None)
    if data is None:
        arrays = bool(entries) and all(entry.endswith(".npy") for entry in entries)
        return Found(file, "other", "an .npz archive of NumPy arrays" if arrays else "a zip archive of another kind")
    pickles = read_pickles(read_entry(file, data, name))
    if calls := foreign_names(pickles.names):
        return _found(file, "module", calls)
    return _found(file, "checkpoint" if pickles.texts >= CHECKPOINT_KEYS else "weights")


def _in_program(entry: str) -> bool:
    """Entries of a torch.export program that are archives themselves."""
    return (
        entry.endswith(".pt") and any(part in entry for part in ("/sample_inputs/", "/weights/", "/constants/"))
    ) or (entry in ("serialized_state_dict.pt", "serialized_constants.pt", "serialized_example_inputs.pt"))


def _pickle(file: Path) -> Found:
    pickles = read_pickles(file.read_bytes())
    if not pickles.whole:
        damaged = "a pickle that is cut off or changed" if file.suffix.lower() in SUFFIXES else "a file of another kind"
        return Found(file, "other", damaged)
    calls = foreign_names(pickles.names)
    return _found(file, "module", calls) if calls else _found(file, "weights")
