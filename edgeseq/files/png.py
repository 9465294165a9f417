"""Pictures (`.png`) of what a model gives: side by side, or each below the picture that went in."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from edgeseq_runtime.errors import UsageError
from edgeseq_runtime.signature import BATCH, TIME, Signature, Tensor
from numpy.typing import NDArray

Array = NDArray[Any]

PNG = ".png"


def check_pictures(signature: Signature, path: str) -> None:
    """Raise UsageError where the first output of a model is no pictures."""
    main = signature.outputs[0]
    if not _is_pictures(main):
        raise UsageError(
            f"'{path}' is to be a picture, but '{main.name}' has the axes {', '.join(map(str, main.axes))}, and a "
            "picture is drawn of batch, height, width; give a file that ends in .npz or .csv"
        )


def drawn(signature: Signature, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> bytes:
    """The first output as a PNG file, values from 0 (white) to 1 (black); below the input, where that has its axes.

    Raises:
        UsageError: nothing to draw, values that are not finite, or too many pictures.
        MissingPackageError: matplotlib is not installed.
    """
    from edgeseq.pictures import grid, pairs

    main = signature.outputs[0]
    beside = [t.name for t in signature.inputs if t.axes == main.axes and t.name in inputs]
    rebuilt = _flat(outputs[main.name])
    return pairs(_flat(inputs[beside[0]]), rebuilt) if beside else grid(rebuilt)


def _is_pictures(tensor: Tensor) -> bool:
    """Whether a tensor is (batch, height, width), or (batch, 1, height, width)."""
    axes = tensor.axes[1:] if tensor.axes[:1] == (BATCH,) else ()
    grey = axes[1:] if len(axes) == 3 and axes[0] == 1 else axes
    return len(grey) == 2 and TIME not in grey and np.issubdtype(np.dtype(tensor.dtype), np.floating)


def _flat(pictures: Array) -> Array:
    """(n, height, width) of pictures with or without a channel."""
    return pictures.reshape(len(pictures), *pictures.shape[-2:])
