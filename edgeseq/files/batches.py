"""Arrays by name with a batch axis: cut into batches, and put together again."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from edgeseq_runtime.signature import BATCH, Signature
from edgeseq_runtime.table import NONE
from numpy.typing import NDArray

from edgeseq.text import Vocabulary

Array = NDArray[Any]


def cut(signature: Signature, arrays: Mapping[str, Array], size: int) -> Iterator[dict[str, Array]]:
    """The arrays cut along their batch axes; what does not fit is left whole, for the model to refuse.

    size: rows of a batch, at most.
    """
    axes = {t.name: t.axes.index(BATCH) for t in signature.inputs if BATCH in t.axes}
    axes.update({s.input: s.batch_axis for s in signature.states})
    counts = {array.shape[axes[n]] for n, array in arrays.items() if n in axes and array.ndim > axes[n]}
    if len(counts) != 1 or set(arrays) - set(axes):
        yield dict(arrays)
        return
    count = counts.pop()
    for start in range(0, max(count, 1), size):
        rows = range(start, min(start + size, count))
        yield {name: array.take(rows, axes[name]) for name, array in arrays.items()}


def joined(parts: Sequence[Mapping[str, Array]], fill: Mapping[str, int]) -> dict[str, Array]:
    """Batches as one, by name, all other axes as long as the longest; fill: what stands behind a row's end, else 0."""
    whole: dict[str, Array] = {}
    for name in parts[0] if parts else ():
        arrays = [part[name] for part in parts]
        sizes = [max(size) for size in zip(*(array.shape[1:] for array in arrays), strict=True)]
        whole[name] = np.full((sum(map(len, arrays)), *sizes), fill.get(name, 0), arrays[0].dtype)
        start = 0
        for array in arrays:
            end = start + len(array)
            whole[name][(slice(start, end), *map(slice, array.shape[1:]))] = array
            start = end
    return whole


def fillers(signature: Signature, vocabularies: Mapping[str, Vocabulary]) -> dict[str, int]:
    """What stands behind the end of a row, by input or output: an id that is not shown, or no child."""
    hidden = {name: v.end if v.padding is None else v.padding for name, v in vocabularies.items()}
    ids = {name: number for name, number in hidden.items() if number is not None}
    return {**ids, **{t.name: NONE for t in signature.inputs if t.earlier}}
