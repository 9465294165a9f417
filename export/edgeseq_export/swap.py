"""Exchange every recurrent layer of a network for its ONNX form, on a copy: the network itself is not touched."""

import copy

from torch import nn

from edgeseq_export.ops import NativeLayer, RecurrentLayer


def native_form(module: nn.Module) -> nn.Module:
    """A copy of `module` in eval mode in which every RecurrentLayer is a NativeLayer, wherever it sits."""
    copied = copy.deepcopy(module).eval()
    for parent in list(copied.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, RecurrentLayer):
                setattr(parent, name, NativeLayer(child))
    return copied.requires_grad_(False)
