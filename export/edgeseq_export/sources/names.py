"""What the tensors of an answer are called: keys, fields, or the names that a forward returns them under."""

import ast
import inspect
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from edgeseq_export.sources.call import leaves
from edgeseq_export.sources.spec import Path, name_of

OUTPUT = "output"


def output_names(module: nn.Module, answer: Any, inputs: Iterable[str], others: Iterable[str]) -> dict[Path, str]:
    """A name for each tensor of an answer, by path, none twice and none that an input has.

    inputs: their names. others: of the forward's further parameters; what is returned under one is the next of it.
    """
    returned = {} if isinstance(answer, Mapping) or hasattr(answer, "_fields") else _returned(module)
    used, found, others = {*inputs, *others}, dict[Path, str](), set(others)
    paths = [path for path, _ in leaves(answer)]
    for number, path in enumerate(paths):
        fields = getattr(answer, "_fields", None)
        plain = OUTPUT if isinstance(answer, Tensor) else f"{OUTPUT}{number}"
        ends = next((n for n in range(len(path), -1, -1) if path[:n] in returned), None)
        named = None if ends is None else name_of((returned[path[:ends]], *path[ends:]))
        first: str | int | None = None if ends is None else returned[path[:ends]]
        if isinstance(answer, Mapping) or fields:
            first = path[0] if fields is None else fields[path[0]]
            named = name_of((path[0] if fields is None else fields[path[0]], *path[1:]))
        if first in others:
            named = f"{named}_next"
        name = named if named and named.isidentifier() and named not in used else plain
        while name in used:
            name += "_out"
        used.add(name)
        found[path] = name
    return found


def left_out(answer: Any, path: Path = ()) -> list[str]:
    """What of an answer is no tensor, in words: where it is, and its type."""
    if isinstance(answer, Tensor):
        return []
    items: Iterable[tuple[Any, Any]] | None = None
    if isinstance(answer, Mapping):
        items = answer.items()
    elif isinstance(answer, list | tuple):
        items = zip(getattr(answer, "_fields", range(len(answer))), answer, strict=True)
    if items is None:
        kind = "None" if answer is None else type(answer).__name__
        return [f"'{name_of(path)}' ({kind})" if path else kind]
    return [told for key, item in items for told in left_out(item, (*path, key))]


def _returned(module: nn.Module) -> dict[Path, str]:
    """The variables of a forward's last `return`, by their place in it; nothing where there is no source to read."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(type(module).forward)))
    except (OSError, TypeError, SyntaxError, AttributeError):  # nor has TorchScript
        return {}
    function = tree.body[0]
    inner = [
        node for node in ast.walk(function) if isinstance(node, ast.FunctionDef | ast.Lambda) and node is not function
    ]
    nested = {id(node) for each in inner for node in ast.walk(each)}
    returns = [n.value for n in ast.walk(function) if isinstance(n, ast.Return) and n.value and id(n) not in nested]
    return dict(_variables(returns[-1], ())) if returns else {}


def _variables(node: ast.expr, path: Path) -> Iterable[tuple[Path, str]]:
    if isinstance(node, ast.Name):
        yield path, node.id
    elif isinstance(node, ast.Tuple | ast.List):
        for place, item in enumerate(node.elts):
            yield from _variables(item, (*path, place))
