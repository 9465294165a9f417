"""Pictures (`.png`) of what a model gives: side by side, or each below the picture that went in; windows as curves."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from edgeseq_runtime.errors import UsageError
from edgeseq_runtime.signature import BATCH, TIME, Tensor
from numpy.typing import NDArray

if TYPE_CHECKING:
    from edgeseq_runtime import Model

Array = NDArray[Any]

PNG = ".png"


def check_pictures(model: "Model", path: str, count: int = 1) -> None:
    """Raise UsageError where the first output is no pictures, or windows by themselves, or `count` fit on no sheet."""
    from edgeseq.pictures import check_grid

    main = model.signature.outputs[0]
    if not _is_pictures(main):
        raise UsageError(
            f"'{path}' is to be a picture, but '{main.name}' has the axes {', '.join(map(str, main.axes))}, and a "
            "picture is drawn of batch, height, width; give a file that ends in .npz or .csv"
        )
    if _has_windows(model):
        if not any(t.axes == main.axes for t in model.signature.inputs):
            raise UsageError(
                f"'{path}' is to be a picture, but '{main.name}' has windows of series, which are drawn as curves over "
                "those that they rebuild; take the part 'full', or give a file that ends in .npz or .csv"
            )
        return
    height, width = main.axes[-2:]
    if isinstance(height, int) and isinstance(width, int):
        check_grid(count, height, width)


def drawn(model: "Model", inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> bytes:
    """The first output as a PNG file, values from 0 (white) to 1 (black); below the input, where that has its axes.

    Windows are curves, a few of them, over those of the input.

    Raises:
        UsageError: nothing to draw, values that are not finite, or too many pictures.
        MissingPackageError: matplotlib is not installed.
    """
    from edgeseq.pictures import curves, grid, pairs

    main = model.signature.outputs[0]
    beside = [t.name for t in model.signature.inputs if t.axes == main.axes and t.name in inputs]
    if _has_windows(model):
        return curves(inputs[beside[0]], outputs[main.name])
    rebuilt = _flat(outputs[main.name])
    return pairs(_flat(inputs[beside[0]]), rebuilt) if beside else grid(rebuilt)


def _has_windows(model: "Model") -> bool:
    """Whether the model takes windows of series, (batch, steps, features): they have the axes of pictures."""
    return model.contract is not None and "window" in model.contract.settings


def _is_pictures(tensor: Tensor) -> bool:
    """Whether a tensor is (batch, height, width), or (batch, 1, height, width)."""
    axes = tensor.axes[1:] if tensor.axes[:1] == (BATCH,) else ()
    grey = axes[1:] if len(axes) == 3 and axes[0] == 1 else axes
    return len(grey) == 2 and TIME not in grey and np.issubdtype(np.dtype(tensor.dtype), np.floating)


def _flat(pictures: Array) -> Array:
    """(n, height, width) of pictures with or without a channel."""
    return pictures.reshape(len(pictures), *pictures.shape[-2:])
