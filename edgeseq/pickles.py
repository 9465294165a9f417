"""What a pickle would call, read from its opcodes without running any."""

import io
import pickletools
import zipfile

_TEXT = ("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE")
_SAFE_PREFIXES = ("torch.FloatStorage", "torch._utils._rebuild", "collections.OrderedDict")


def called_names(content: bytes) -> list[str]:
    """The functions and classes that opening a .pt or pickle file would look up, beyond those tensors need.

    content: the whole file, a zip archive with pickles in it or plain pickles. What cannot be read has no
    names.
    """
    found: list[str] = []
    for stream in _pickles(content):
        found += [name for name in _globals(stream) if not _is_tensor_part(name)]
    return sorted(set(found))


def _pickles(content: bytes) -> list[bytes]:
    if not content.startswith(b"PK"):
        return [content]
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return [archive.read(name) for name in archive.namelist() if name.endswith(".pkl")]
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError):
        return []


def _globals(content: bytes) -> list[str]:
    """`module.name` of every look-up in pickles that lie end to end, up to what is no pickle any more."""
    stream, names, texts = io.BytesIO(content), list[str](), list[str]()
    try:
        while stream.tell() < len(content):
            for opcode, argument, _ in pickletools.genops(stream):
                if opcode.name in ("GLOBAL", "INST"):
                    names.append(str(argument).replace(" ", "."))
                elif opcode.name == "STACK_GLOBAL":
                    names.append(".".join(texts[-2:]))
                elif opcode.name in _TEXT:
                    texts.append(str(argument))
    except (ValueError, LookupError):
        return names
    return names


def _is_tensor_part(name: str) -> bool:
    return name.startswith(_SAFE_PREFIXES) or (name.startswith("torch.") and name.endswith(("Storage", "Size")))
