"""Exchange every recurrent layer of a network for its ONNX form, on a copy: the network itself is not touched."""

import copy
from collections.abc import Callable

from torch import nn

from edgeseq_export.ops import NativeLayer, RecurrentLayer
from edgeseq_export.ops.stepped import Bodies, SteppedLayer


def native_form(module: nn.Module) -> nn.Module:
    """A copy of `module` in eval mode in which every RecurrentLayer is one native ONNX operator, wherever it sits."""
    return _exchanged(module, NativeLayer)


def stepped_form(module: nn.Module) -> tuple[nn.Module, Bodies]:
    """A copy in eval mode in which every RecurrentLayer is a placeholder for its step, and the steps."""
    bodies = Bodies()
    return _exchanged(module, lambda layer: SteppedLayer(layer, bodies)), bodies


def _exchanged(module: nn.Module, form: Callable[[RecurrentLayer], nn.Module]) -> nn.Module:
    copied = copy.deepcopy(module).eval()
    for parent in list(copied.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, RecurrentLayer):
                setattr(parent, name, form(child))
    return copied.requires_grad_(False)
