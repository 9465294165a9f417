"""Exchange every layer of a network that has a form of its own in ONNX, on a copy: the network is not touched."""

import copy
from typing import cast

from torch import nn

from edgeseq_export.ops import Layer
from edgeseq_export.ops.torch_layers import exchange, is_based_on_torch


def exchanged(module: nn.Module, native: bool) -> nn.Module:
    """A copy of `module` in eval mode in which every Layer, and every recurrent layer of torch, is exchanged.

    Wherever it sits, and however often.

    native: for its operator, where it has one; otherwise for a step that is repeated.
    """
    copied = copy.deepcopy(module).eval()
    forms: dict[int, nn.Module] = {}
    for parent in list(copied.modules()):
        for name, child in parent._modules.items():  # named_children leaves out a layer's second name
            if isinstance(child, Layer):
                if id(child) not in forms:
                    forms[id(child)] = _form(child, native)
                setattr(parent, name, forms[id(child)])
    for layer in list(copied.modules()):
        if is_based_on_torch(layer):
            exchange(cast(nn.RNNBase, layer), native)
    return copied.requires_grad_(False)


def _form(layer: Layer, native: bool) -> nn.Module:
    operator = layer.native() if native else None
    return layer.stepped() if operator is None else operator
