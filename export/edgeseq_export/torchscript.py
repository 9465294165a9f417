"""TorchScript inside a network: whether there is some, and its constants, which are weights after torch.jit.freeze."""

import io
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn


def is_scripted(module: nn.Module) -> bool:
    """Whether any part of a network is TorchScript, scripted or traced."""
    return any(isinstance(part, torch.jit.ScriptModule) for part in module.modules())


def move_constants(module: nn.Module, move: Callable[[Tensor], Tensor]) -> None:
    """Put `move(constant)` in the place of every floating-point constant of the TorchScript parts of `module`.

    The parts are exchanged for copies of their own first: deep copies of TorchScript share one graph.
    """
    for name, part in list(module._modules.items()):
        if isinstance(part, torch.jit.ScriptModule):
            if any(True for _ in _constants(part)):
                own = _reloaded(part)
                for node in _constants(own):
                    node.t_("value", move(node.t("value")))
                module._modules[name] = own
        elif part is not None:
            move_constants(part, move)


def _constants(part: torch.jit.ScriptModule) -> Iterator[Any]:
    """The nodes of a graph that hold tensors of floating-point numbers."""
    graph: Any = part.graph  # torch's stub does not know what it has
    for node in graph.findAllNodes("prim::Constant", True):
        if node.hasAttribute("value") and node.kindOf("value") == "t" and node.t("value").is_floating_point():
            yield node


def _reloaded(part: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
    buffer = io.BytesIO()
    torch.jit.save(part, buffer)
    buffer.seek(0)
    loaded: torch.jit.ScriptModule = torch.jit.load(buffer, map_location="cpu")  # type: ignore[no-untyped-call]
    return loaded.eval()
