"""Float64 also for what a network makes in float32 whatever it is given: types that a tracer wrote down, constants."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map


@contextmanager
def doubled(module: nn.Module) -> Iterator[None]:
    """Inside, `module`, a copy in float64, computes all in float64.

    A TorchScript archive and a program of torch.export have float32 in their graphs, as the type of what they make
    anew. Other networks are left alone: they follow the type of their weights, and run at full speed.
    """
    if not any(isinstance(part, torch.jit.ScriptModule | fx.GraphModule) for part in module.modules()):
        yield
        return
    with _Doubled():  # type: ignore[no-untyped-call]
        yield


class _Doubled(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Every operator gets float64 for float32, tensors and types."""

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call `func` on what it was given, and give back what it makes, in float64."""
        wide_args, wide_kwargs = tree_map(_wide, (args, dict(kwargs or {})))
        return tree_map(_wide, func(*wide_args, **wide_kwargs))


def _wide(value: Any) -> Any:
    if isinstance(value, Tensor) and value.dtype == torch.float32:
        return value.double()
    return torch.float64 if value is torch.float32 else value
