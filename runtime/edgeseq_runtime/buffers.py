"""The bound buffers of a stream: where a frame lies, and the states that are read and written in turns."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeseq_runtime._ort.memory import Memory
from edgeseq_runtime._ort.session import Session
from edgeseq_runtime.layout import Laid
from edgeseq_runtime.signature import BATCH, Signature

Array = NDArray[Any]


class Direction:
    """One of the two directions of the state buffers: reads `states`, writes those of the other, and the outputs."""

    def __init__(
        self,
        session: Session | Laid,
        memory: Memory,
        signature: Signature,
        sizes: Mapping[str, int],
        frames: Mapping[str, Array],
        fixed: Mapping[str, Array],
        states: dict[str, Array],
        write: dict[str, Array],
    ) -> None:
        self.states = states
        self._memory = memory
        buffers = {t.name: np.zeros(t.shape(sizes), t.dtype) for t in signature.outputs}
        pairs = {s.output: s.input for s in signature.states}
        inputs = {**frames, **fixed, **states}
        outputs = {**buffers, **{name: write[state] for name, state in pairs.items()}}
        self._binding = session.bind(memory, inputs, outputs, frames, pairs)  # it keeps the buffers alive
        self.run = self._binding.run
        outputs = {t.name: buffers[t.name][:, 0] if t.kind == "step" else buffers[t.name] for t in signature.outputs}
        self.batched = Answer(outputs)
        self.single = Answer({n: a.reshape(a.shape[1:]) for n, a in outputs.items()} if sizes[BATCH] == 1 else {})

    def fetch(self) -> dict[str, Array]:
        """`states` as they are now; what is written into them counts from `store` on."""
        self._memory.fetch(self.states.values())
        return self.states

    def store(self) -> None:
        """Take what was written into `states`."""
        self._memory.store(self.states.values())


def directions(
    session: Session | Laid,
    memory: Memory,
    signature: Signature,
    sizes: Mapping[str, int],
    frames: Mapping[str, Array],
    fixed: Mapping[str, Array],
    initial: Mapping[str, Array],
) -> tuple[Direction, Direction]:
    """Two directions that change places: each writes the states that the other reads.

    Args:
        frames: the inputs that change from step to step; fixed: those that do not; initial: the states to start from.
    """
    here, there = ({name: array.copy() for name, array in initial.items()} for _ in range(2))
    return (
        Direction(session, memory, signature, sizes, frames, fixed, here, there),
        Direction(session, memory, signature, sizes, frames, fixed, there, here),
    )


class Answer:
    """The bound outputs as a caller gets them, with or without a batch axis; `copies` makes fresh arrays, by name."""

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self.arrays = arrays
        self.copies = [(name, array.copy) for name, array in arrays.items()]


class InputBuffer:
    """Where a stream's first input lies, (batch, …), seen in each shape a frame may have.

    quick: whether a frame's type and shape are all there is to check; otherwise there are no views.
    """

    def __init__(self, frame: Array, quick: bool) -> None:
        self.dtype = frame.dtype
        self.finite = bytearray(frame.size)
        """Which values are, a byte each: a search for a zero in them is many times faster than numpy's `all`."""
        marks = np.frombuffer(self.finite, np.bool_).reshape(frame.shape)
        self.look = partial(np.isfinite, frame, marks)
        self.single = frame.reshape(frame.shape[1:]) if len(frame) == 1 else None
        self.views = {view.shape: view for view in (frame, self.single) if quick and view is not None}
