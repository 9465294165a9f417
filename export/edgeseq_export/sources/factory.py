"""`package.module:factory`: somebody's own network, imported because they named it."""

import copy
import importlib
import inspect
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from edgeseq_runtime.errors import MissingPackageError, UsageError
from torch import nn

from edgeseq_export.sources.weights import fill, load_weights

_SPEC = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def is_spec(text: str) -> bool:
    """Whether this names a factory and no file."""
    return _SPEC.fullmatch(text) is not None and not Path(text).exists()


def factory_name(spec: str) -> str:
    """What a file is called that is made of it: `their.module:CharRNN` gives `charrnn`."""
    return spec.rpartition(":")[2].rpartition(".")[2].lower()


def load_factory(spec: str, weights: str | Path | None = None) -> tuple[nn.Module, tuple[str, ...]]:
    """The network of `package.module:factory`, in eval mode, with the weights of a file, and notes.

    spec: a function or class that is called without arguments, or a network itself, which is copied. The current
        folder is where modules are looked for first. weights: a state dict or .safetensors file; all of it must fit.

    Raises:
        UsageError: no such module or name, arguments that are needed, no network, an error inside; or weights that do
            not fit. MissingPackageError: the module needs a package that is not installed.
        FileError: the file of weights cannot be used (see weights.load_weights).
    """
    state, notes = (None, ()) if weights is None else load_weights(weights)
    with importable_here():
        module = copy.deepcopy(_made(spec)).eval()
    if state is not None:
        notes = (*notes, *fill(module, state, spec))
    return module, notes


@contextmanager
def importable_here() -> Iterator[None]:
    """With the current folder as the first place where modules are looked for, as `python` itself has it."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        if here in sys.path:
            sys.path.remove(here)


def _made(spec: str) -> nn.Module:
    name, _, attribute = spec.partition(":")
    found = _attribute(_imported(name, spec), attribute, spec)
    if isinstance(found, nn.Module):
        return found
    if not callable(found):
        raise UsageError(f"'{spec}' is a {type(found).__name__}, but a function, a class or an nn.Module is expected")
    if needed := _needed(found):
        raise UsageError(
            f"'{spec}' needs the arguments {', '.join(needed)}, but a factory is called without any. Write one that "
            f"gives them: def make(): return {attribute}({', '.join(f'{each}=…' for each in needed)})"
        )
    try:
        made = found()
    except (Exception, SystemExit) as error:
        raise UsageError(f"'{spec}' failed when it was called: {_last_line(error)}") from error
    if not isinstance(made, nn.Module):
        raise UsageError(f"'{spec}' gave a {type(made).__name__}, but an nn.Module is expected")
    return made


def _imported(name: str, spec: str) -> ModuleType:
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise UsageError(
                f"there is no module '{error.name}' for '{spec}', neither in the folder {Path.cwd()} nor among what is "
                "installed; expected is package.module:factory"
            ) from error
        raise MissingPackageError(
            f"'{name}' needs the package '{error.name}', which is not installed ({_last_line(error)})"
        ) from error
    except (Exception, SystemExit) as error:
        raise UsageError(f"'{name}' cannot be imported: {_last_line(error)}") from error


def _attribute(module: ModuleType, attribute: str, spec: str) -> Any:
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            known = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
            own = [name for name in known if getattr(getattr(module, name), "__module__", "") == module.__name__]
            near = get_close_matches(part, known, 1)
            hint = f"did you mean '{near[0]}'?" if near else f"it has {', '.join(own[:8]) or 'nothing to call'}"
            raise UsageError(f"'{spec}': the module '{module.__name__}' has no '{part}'; {hint}")
        found = getattr(found, part)
    return found


def _needed(found: Any) -> list[str]:
    """The arguments without which it cannot be called."""
    try:
        parameters = inspect.signature(found).parameters.values()
    except (ValueError, TypeError):  # of builtins nothing is known before they are called
        return []
    return [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def _last_line(error: BaseException) -> str:
    """What a traceback ends with, and where: the last place that is no part of the import machinery."""
    text = "".join(traceback.format_exception_only(error)).strip().splitlines()
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<frozen")]
    own = [f for f in frames if f.filename not in (__file__, importlib.__file__)]
    if isinstance(error, SyntaxError):
        return f"{text[-1]} ({error.filename}, line {error.lineno})"
    where = f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
    return f"{text[-1] if text else type(error).__name__}{where}"
