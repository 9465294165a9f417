"""Runs of a file whose time axis is fixed: a shorter sequence is padded, a longer one goes in chunks."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeseq_runtime._ort.session import Session
from edgeseq_runtime.signature import BATCH, TIME, Signature, Tensor, followed

Array = NDArray[Any]


class Unrolled:
    """A session of an unrolled file, called like one that takes any length.

    After a row's end the file holds its state, so what is padded changes nothing, and the states after one chunk
    start the next; a row that ended in an earlier chunk is sent as length 0. Sequences longer than a file that cannot
    stream allows are refused before, by its limits.

    Args:
        steps: how long the file's time axis is.
    """

    def __init__(self, session: Session, signature: Signature, steps: int) -> None:
        self._session = session
        self._signature = signature
        self._steps = steps
        self._time_axes = {t.name: t.axes.index(TIME) for t in signature.inputs if TIME in t.axes}

    def run_checked(self, names: Sequence[str], feeds: Mapping[str, Array]) -> list[Array]:
        """Outputs in the order of `names`, for sequences of any length. Raises InputError as `Session.run_checked`."""
        first, axis = next(iter(self._time_axes.items()))
        time = feeds[first].shape[axis]
        if time == self._steps:
            return self._session.run_checked(names, feeds)
        pieces: list[dict[str, Array]] = []
        states: dict[str, Array] = {}
        for start in range(0, time, self._steps):
            outputs = self._chunk({**feeds, **states}, start)
            states = {s.input: outputs[s.output] for s in self._signature.states}
            pieces.append(outputs)
        ends = self._ends(feeds)
        joined = {t.name: self._joined(t, pieces, time, ends) for t in self._signature.outputs}
        return [joined[name] if name in joined else pieces[-1][name] for name in names]

    def _joined(self, tensor: Tensor, pieces: Sequence[Mapping[str, Array]], time: int, ends: Array | None) -> Array:
        """One output of the whole sequence: all steps of all chunks, or for each row that of the chunk it ended in."""
        parts = [piece[tensor.name] for piece in pieces]
        if tensor.kind == "step":
            axis = tensor.axes.index(TIME)
            whole = np.concatenate(parts, axis)
            return np.ascontiguousarray(whole[(slice(None),) * axis + (slice(time),)])
        if ends is None or BATCH not in tensor.axes:
            return self._cut(tensor, parts[-1], time)
        rows = np.moveaxis(np.stack(parts), 1 + tensor.axes.index(BATCH), 1)[ends, np.arange(len(ends))]
        return self._cut(tensor, np.moveaxis(rows, 0, tensor.axes.index(BATCH)), time)

    def _cut(self, tensor: Tensor, array: Array, time: int) -> Array:
        """Without what follows from padding, along axes that follow from time. Such networks take one chunk."""
        sizes = {n: followed(time, rule) for n, rule in self._signature.derived.items() if rule[0] == TIME}
        if not sizes.keys() & set(tensor.axes):
            return array
        return np.ascontiguousarray(array[tuple(slice(sizes.get(str(axis))) for axis in tensor.axes)])

    def _ends(self, feeds: Mapping[str, Array]) -> Array | None:
        """In which chunk each row ends, int64 (batch,)."""
        lengths = next((feeds[t.name] for t in self._signature.inputs if t.of is not None), None)
        return None if lengths is None else (lengths - 1) // self._steps

    def _chunk(self, feeds: Mapping[str, Array], start: int) -> dict[str, Array]:
        """All outputs of the steps from `start` on, as many as the file has; a row that has ended has length 0."""
        part = dict(feeds)
        for name, axis in self._time_axes.items():
            part[name] = _padded(feeds[name], axis, start, self._steps)
        for tensor in self._signature.inputs:
            if tensor.of is not None:
                part[tensor.name] = np.clip(feeds[tensor.name] - start, 0, self._steps)
        names = self._signature.output_names
        return dict(zip(names, self._session.run_checked(names, part), strict=True))


def _padded(array: Array, axis: int, start: int, steps: int) -> Array:
    """`steps` entries along an axis from `start` on, with zeros behind the last."""
    index = (slice(None),) * axis + (slice(start, start + steps),)
    piece = array[index]
    missing = steps - piece.shape[axis]
    if not missing:
        return np.ascontiguousarray(piece)
    widths = [(0, missing if position == axis else 0) for position in range(array.ndim)]
    return np.pad(piece, widths)
