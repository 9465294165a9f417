"""Hops: a model that answers once in so many samples takes them as one step; files and lines hold single samples."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgeseq_runtime.errors import InputError
from edgeseq_runtime.signature import BATCH, TIME, Signature
from numpy.typing import NDArray

from edgeseq.files.rows import Sequences

if TYPE_CHECKING:
    from edgeseq_runtime import Model

Array = NDArray[Any]


def hop_of(model: "Model") -> int:
    """How many samples a step of the model has; of most models one."""
    return model.contract.hop if model.contract is not None else 1


def by_samples(model: "Model") -> Signature:
    """The model's signature as its data is read: a step is a sample, x (batch, time, features)."""
    signature, hop = model.signature, hop_of(model)
    if hop == 1:
        return signature
    inputs = (replace(t, axes=(*t.axes[:2], *t.axes[3:])) if _has_hops(t.axes, hop) else t for t in signature.inputs)
    return replace(signature, inputs=tuple(inputs))


def in_hops(model: "Model", sequences: Sequences) -> Sequences:
    """Sequences of samples (batch, time, features) as those of hops (batch, hops, hop, features).

    Samples at the end that are no whole hop are left out. What has hops already stays as it is.

    Raises:
        InputError: there is no whole hop.
    """
    hop = hop_of(model)
    names = [t.name for t in model.signature.inputs if hop > 1 and _has_hops(t.axes, hop)]
    arrays: dict[str, Array] = dict(sequences.arrays)
    left_over = 0
    for name in names:
        x = arrays.get(name)
        if x is None or x.ndim != 3:
            continue  # what is wrong with it is told by the model
        count, left_over = divmod(x.shape[1], hop)
        if not count:
            raise InputError(f"there are {x.shape[1]} steps, but {model.name} takes {hop} at a time; give more steps")
        arrays[name] = x[:, : count * hop].reshape(len(x), count, hop, x.shape[2])
    return replace(sequences, arrays=arrays, left_over=left_over)


def told_left_over(left_over: int, hop: int) -> str:
    """What a user is told of samples behind the last whole hop."""
    last = "the last step is" if left_over == 1 else f"the last {left_over} steps are"
    return f"{last} left out: there is a score once in {hop} steps"


def steps_until_score(window: int, hop: int) -> int:
    """How many samples there are when the first score comes: a window, up to the end of its hop."""
    return -(-window // hop) * hop


def _has_hops(axes: tuple[int | str, ...], hop: int) -> bool:
    return len(axes) == 4 and axes[:3] == (BATCH, TIME, hop)
