"""Windows and hops: a model that scores windows, perhaps once in several samples; files and lines hold samples."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from edgeseq_runtime.errors import InputError
from edgeseq_runtime.signature import BATCH, TIME, Signature, Tensor
from numpy.typing import NDArray

from edgeseq.files.rows import Sequences

if TYPE_CHECKING:
    from edgeseq_runtime import Model

Array = NDArray[Any]

SCORE, ALARM = "score", "alarm"
PAST, SEEN = "past", "seen"
"""The states of a stream's anomaly scores: the samples of the window that came before, and how many there have been."""
LENGTHS = "lengths"
"""What may stand beside series, though a score of windows takes none: answers behind a row's end are left out."""


def hop_of(model: "Model") -> int:
    """How many samples a step of the model has; of most models one."""
    return model.contract.hop if model.contract is not None else 1


def window_of(model: "Model") -> int | None:
    """How many samples the windows have that a stream's anomaly scores are of; None where they are of no windows.

    Before so many have been seen, the file says that the score is 0 and that there is no alarm.
    """
    outputs = {t.name: t for t in model.signature.outputs}
    states = {s.input: s.axes for s in model.signature.states}
    if SEEN not in states or SCORE not in outputs or ALARM not in outputs or outputs[SCORE].kind != "step":
        return None
    return hop_of(model) + (int(states[PAST][1]) if PAST in states else 0)


def by_samples(model: "Model") -> Signature:
    """The model's signature as its data is read: a step is a sample, x (batch, time, features).

    A score of windows may have lengths beside x.
    """
    signature, hop = model.signature, hop_of(model)
    inputs = [replace(t, axes=(*t.axes[:2], *t.axes[3:])) if _has_hops(t.axes, hop) else t for t in signature.inputs]
    if window_of(model) is not None:
        inputs.append(Tensor(LENGTHS, "int64", (BATCH,), of=inputs[0].name))
    return replace(signature, inputs=tuple(inputs))


def in_hops(model: "Model", sequences: Sequences) -> tuple[Sequences, Array | None]:
    """Sequences of samples (batch, time, features) as those of hops (batch, hops, hop, features).

    Samples at the end that are no whole hop are left out. What has hops already stays as it is.

    Returns: the sequences as the model takes them; and how many samples each row has, int64 (batch,), where that stood
        beside them and the model takes none.

    Raises:
        InputError: there is no whole hop, or not one length a row.
    """
    hop = hop_of(model)
    names = [t.name for t in model.signature.inputs if hop > 1 and _has_hops(t.axes, hop)]
    arrays: dict[str, Array] = dict(sequences.arrays)
    ends = _ends(model, arrays)
    left_over = 0
    for name in names:
        x = arrays.get(name)
        if x is None or x.ndim != 3:
            continue  # what is wrong with it is told by the model
        count, left_over = divmod(x.shape[1], hop)
        if not count:
            raise InputError(f"there are {x.shape[1]} steps, but {model.name} takes {hop} at a time; give more steps")
        arrays[name] = x[:, : count * hop].reshape(len(x), count, hop, x.shape[2])
    if ends is not None:
        left_over = int((ends % hop).max(initial=0))
    return replace(sequences, arrays=arrays, left_over=left_over), ends


def told_left_over(left_over: int, hop: int) -> str:
    """What a user is told of samples behind the last whole hop."""
    last = "the last step is" if left_over == 1 else f"the last {left_over} steps are"
    return f"{last} left out: there is a score once in {hop} steps"


def told_too_short(model: "Model", steps: int, window: int) -> str:
    """What a user is told where no window is full, so that no step has a score."""
    hop = hop_of(model)
    told = f"windows of {window}" if hop == 1 else f"windows of {window} once in {hop} steps"
    needed = steps_until_score(window, hop)
    more = "more steps" if needed == window else f"at least {needed} steps"
    return f"there are {steps} steps, but {model.name} scores {told}, so no step has a score; give {more}"


def steps_until_score(window: int, hop: int) -> int:
    """How many samples there are when the first score comes: a window, up to the end of its hop."""
    return -(-window // hop) * hop


def _ends(model: "Model", arrays: dict[str, Array]) -> Array | None:
    """Take the lengths out of `arrays`, where they are there for a score of windows; in samples."""
    if window_of(model) is None or LENGTHS not in arrays:
        return None
    x, ends = arrays.get(model.signature.inputs[0].name), arrays.pop(LENGTHS)
    if x is None:
        return None  # the model tells what is missing
    if ends.shape != x.shape[:1] or not np.issubdtype(ends.dtype, np.integer):
        raise InputError(
            f"'{LENGTHS}' is {ends.dtype} of the shape {ends.shape}, but whole numbers, one for each of the {len(x)} "
            "rows, are expected"
        )
    return np.asarray(ends * (hop_of(model) if x.ndim == 4 else 1))


def _has_hops(axes: tuple[int | str, ...], hop: int) -> bool:
    return hop > 1 and len(axes) == 4 and axes[:3] == (BATCH, TIME, hop)
