"""Exchange every recurrent layer of a network for its ONNX form, on a copy: the network itself is not touched."""

import copy
from collections.abc import Callable

from torch import nn

from edgeseq_export.ops import RecurrentLayer


def exchanged(module: nn.Module, form: Callable[[RecurrentLayer], nn.Module]) -> nn.Module:
    """A copy of `module` in eval mode in which every RecurrentLayer is exchanged, wherever it sits and however often.

    form: NativeLayer (one operator) or SteppedLayer (a step that is repeated).
    """
    copied = copy.deepcopy(module).eval()
    forms: dict[int, nn.Module] = {}
    for parent in list(copied.modules()):
        for name, child in parent._modules.items():  # named_children leaves out a layer's second name
            if isinstance(child, RecurrentLayer):
                setattr(parent, name, forms.setdefault(id(child), form(child)))
    return copied.requires_grad_(False)
