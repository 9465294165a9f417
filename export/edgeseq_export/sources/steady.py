"""Whether a network answers the same call twice alike: one that keeps a state to itself, or draws, does not."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from edgeseq_runtime.errors import ExportError
from torch import Tensor, nn

from edgeseq_export.sources.call import leaves


def check_steady(module: nn.Module, answer: Callable[[int], Any], name: str) -> None:
    """Call a network with some input, with another, and with the first again.

    answer: to inputs drawn from a seed.

    Raises:
        ExportError: it answers otherwise the second time; with the attributes that have changed, if any have.
    """
    first, before = answer(0), _kept(module)
    _, after = answer(1), _kept(module)
    if _same(first, answer(0)):
        return
    changed = [key for key, value in after.items() if key not in before or not _same(before[key], value)]
    changed = changed or list(_assigned(module))
    if changed:
        raise ExportError(
            f"{name} answers the same call otherwise the second time, as it keeps a state in {', '.join(changed)}. Let "
            "forward take that state and return the next one: a file has no attributes"
        )
    raise ExportError(
        f"{name} answers the same call otherwise the second time: it draws at random, also in eval mode. Let forward "
        "take the noise as an input"
    )


def _kept(module: nn.Module) -> dict[str, Any]:
    """Copies of all that the parts of a network hold as buffers or plain attributes, and that tensors can be in."""
    found = {}
    for path, part in module.named_modules():
        for key, value in (*part._buffers.items(), *vars(part).items()):
            tensors = {place: tensor.clone() for place, tensor in leaves(value)} if not key.startswith("_") else {}
            if tensors:
                found[f"self.{path}.{key}" if path else f"self.{key}"] = tensors
    return found


def _assigned(module: nn.Module) -> Iterator[str]:
    """What TorchScript, whose attributes cannot be listed, assigns to in its code."""
    for path, part in module.named_modules():
        if isinstance(part, torch.jit.ScriptModule):
            graph: Any = part.inlined_graph  # torch's stub does not know what it has
            names = dict.fromkeys(node.s("name") for node in graph.findAllNodes("prim::SetAttr", True))
            yield from (f"self.{path}.{name}" if path else f"self.{name}" for name in names)


def _same(one: Any, other: Any) -> bool:
    pairs = zip(leaves(one), leaves(other), strict=False)
    return all(_equal(a, b) for (_, a), (_, b) in pairs)


def _equal(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    return torch.allclose(one, other, equal_nan=True) if one.is_floating_point() else torch.equal(one, other)
