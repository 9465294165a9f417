"""What a pickle would call, read from its opcodes without running any."""

import io
import pickletools
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_TEXT = ("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE", "BINSTRING", "SHORT_BINSTRING", "STRING")
_STORE = ("PUT", "BINPUT", "LONG_BINPUT")
_FETCH = ("GET", "BINGET", "LONG_BINGET")
_PICKLES = (".pkl", ".pt", ".pth")
_DEPTH = 3
_COUNT = 5
"""Pickles that lie end to end in the oldest files of torch; behind them are raw numbers."""

_SAFE_NAMES = (
    *("collections.OrderedDict", "collections.Counter", "builtins.set", "builtins.complex", "builtins.bytearray"),
    *("__builtin__.set", "__builtin__.complex", "__builtin__.bytearray", "_codecs.encode"),
    *("torch.Size", "torch.device", "torch.Tensor", "torch.nn.parameter.Parameter", "torch.serialization._get_layout"),
)
_SAFE_PREFIXES = ("torch._utils._rebuild", "torch._tensor._rebuild_from_type")
_DTYPES = ("float", "double", "half", "int", "uint", "long", "short", "bool", "complex", "bfloat")


@dataclass(frozen=True)
class Pickles:
    """What the pickles at the start of a file say. names: `module.name` of every look-up. texts: every text in them.

    whole: whether the first came to its end, so that this is a pickle and not something that looks like one.
    """

    names: tuple[str, ...]
    texts: frozenset[str]
    whole: bool


def called_names(content: bytes) -> list[str]:
    """The functions and classes that opening a .pt or pickle file would look up, beyond those tensors need.

    content: the whole file, a zip archive with pickles in it or plain pickles. What cannot be read has no
    names. An archive is unpacked in memory: `zips.check_zip` comes first where its size is not known.
    """
    return foreign_names(name for stream in _pickles(content, _DEPTH) for name in read_pickles(stream).names)


def foreign_names(names: Iterable[str]) -> list[str]:
    """Those that tensors and plain values do not need, each once, in order."""
    return sorted({name for name in names if not _is_tensor_part(name)})


def read_pickles(content: bytes) -> Pickles:
    """Read pickles that lie end to end, up to what is none any more."""
    stream = io.BytesIO(content)
    names, texts, memo, whole = list[str](), list[str](), dict[int, str](), False
    try:
        for _ in range(_COUNT):
            if stream.tell() >= len(content):
                break
            memo.clear()
            last: str | None = None  # the text on top of the stack, where a text is there
            for opcode, argument, _place in pickletools.genops(stream):
                last = _read(opcode.name, argument, last, names, texts, memo)
            whole = True
    except (ValueError, LookupError, RecursionError, MemoryError):
        pass
    return Pickles(tuple(names), frozenset(texts), whole)


def _read(
    opcode: str, argument: object, last: str | None, names: list[str], texts: list[str], memo: dict[int, str]
) -> str | None:
    """Take in one opcode; returns the text that is on top of the stack behind it."""
    if opcode in ("GLOBAL", "INST"):
        names.append(str(argument).replace(" ", "."))
    elif opcode == "STACK_GLOBAL":
        names.append(".".join(texts[-2:]))
    elif opcode in _TEXT:
        texts.append(str(argument))
        return str(argument)
    elif opcode == "MEMOIZE":
        memo[len(memo)] = last if last is not None else ""
        return last
    elif opcode in _STORE:
        memo[int(str(argument))] = last if last is not None else ""
        return last
    elif opcode in _FETCH:
        text = memo.get(int(str(argument)), "")
        texts += [text] if text else []
        return text or None
    return None


def _pickles(content: bytes, depth: int) -> Iterator[bytes]:
    """The pickles in a file, those of archives inside an archive too."""
    if not content.startswith(b"PK"):
        yield content
    elif depth:
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                for name in archive.namelist():
                    if name.endswith(_PICKLES):
                        yield from _pickles(archive.read(name), depth - 1)
        except (zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError, RuntimeError):
            return


def _is_tensor_part(name: str) -> bool:
    if name in _SAFE_NAMES or name.startswith(_SAFE_PREFIXES):
        return True
    module, _, rest = name.rpartition(".")
    if module == "torch" and rest.startswith(_DTYPES):
        return True
    return module in ("torch", "torch.cuda", "torch.storage") and rest.endswith(("Storage", "Tensor", "Size"))
