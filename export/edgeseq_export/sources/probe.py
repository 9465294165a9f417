"""Somebody's network, called at sizes of its free axes with drawn inputs, to see what it takes and gives."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from edgeseq_runtime.draw import draw_inputs
from edgeseq_runtime.errors import UsageError
from edgeseq_runtime.signature import BATCH, TIME, Signature
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from edgeseq_export.sources.call import call, parameters_of
from edgeseq_export.sources.factory import importable_here
from edgeseq_export.sources.spec import Path, Spec, told

Hidden = Mapping[Path, Tensor]
"""States by the path of their parameter."""


class Probe:
    """A network and what is said of its inputs."""

    def __init__(self, module: nn.Module, specs: Sequence[Spec], name: str) -> None:
        self.module, self.specs, self.name = module, tuple(specs), name
        self.parameters = parameters_of(module)
        known = {p.name for p in self.parameters}
        if strange := [spec for spec in specs if spec.path[0] not in known]:
            takes = ", ".join(p.name for p in self.parameters) or "nothing"
            raise UsageError(f"the forward of {name} has no '{told(strange[0].path)}'; it takes {takes}")

    @property
    def free(self) -> tuple[str, ...]:
        """The free axes of the inputs, each once."""
        return tuple(dict.fromkeys(a for spec in self.specs for a in spec.axes if isinstance(a, str)))

    @property
    def others(self) -> tuple[str, ...]:
        """The parameters that no input goes to: states, where they are any."""
        used = {spec.path[0] for spec in self.specs}
        return tuple(p.name for p in self.parameters if p.name not in used)

    def required(self, name: str) -> bool:
        """Whether a parameter has no default."""
        return next(p.required for p in self.parameters if p.name == name)

    def draw(self, sizes: Mapping[str, int], seed: int = 0) -> dict[Path, Tensor]:
        """Inputs by path, each with its axes in the order the network takes them."""
        drawn = draw_inputs(Signature(tuple(spec.tensor for spec in self.specs), ()), {TIME: 1, **sizes}, seed)
        found = {}
        for spec in self.specs:
            tensor = torch.from_numpy(drawn[spec.tensor.name])
            found[spec.path] = tensor.movedim(0, spec.axes.index(BATCH)) if BATCH in spec.axes else tensor
        return found

    def __call__(self, given: Mapping[Path, Tensor], hidden: Hidden | None = None) -> Any:
        """The network's answer."""
        return answered(self.module, {**given, **(hidden or {})})


def answered(module: nn.Module, given: Mapping[Path, Tensor]) -> Any:
    """The answer of a network to tensors by path; what its forward raises is an Exception, so that nobody ends by it.

    Raises:
        RuntimeError: its forward calls sys.exit.
    """
    parameters = parameters_of(module)
    try:
        with torch.no_grad():
            try:
                return call(module, parameters, given)
            except ModuleNotFoundError:  # an import inside it, of what lies beside the factory
                with importable_here():
                    return call(module, parameters, given)
    except SystemExit as error:
        raise RuntimeError(f"its forward calls sys.exit({'' if error.code is None else repr(error.code)})") from error


def single(module: nn.Module) -> nn.Module:
    """A copy in eval mode, in float32, which is what a file computes in; the network itself stays as it is.

    Raises:
        UsageError: a layer does not know its size yet, or is quantised.
    """
    for path, part in module.named_modules():
        told = f"{type(module).__name__} has layers that"
        if any(is_lazy(weight) for weight in (*part.parameters(False), *part.buffers(False))):
            raise UsageError(f"{told} do not know their size yet ({_own(path)}): call it once in the factory")
        if ".nn.quantized" in type(part).__module__ or ".nn.intrinsic.quantized" in type(part).__module__:
            raise UsageError(f"{told} are quantised ({_own(path)}); export the float network")
    with torch.no_grad():  # copied weights of TorchScript would remember where they come from
        copied = copy.deepcopy(module).eval().float()
    for weight in copied.parameters():  # TorchScript has no requires_grad_ of its own
        weight.requires_grad_(False)
    return copied


def _own(path: str) -> str:
    return f"self.{path}" if path else "self"
