"""The bound buffers of a stream: frames, checked and placed, and the states that are read and written in turns."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeseq_runtime._ort.memory import Memory
from edgeseq_runtime._ort.session import Session
from edgeseq_runtime.errors import InputError
from edgeseq_runtime.feed import Inputs, cast, check_range, describe
from edgeseq_runtime.guards import refuse_nonfinite
from edgeseq_runtime.layout import Laid
from edgeseq_runtime.signature import BATCH, TIME, Signature, Tensor

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


class Frames:
    """The inputs of one step: checked, and copied to where they are bound.

    arrays: where, (batch, …) by name. model: its name; tensors: its inputs, by name.
    """

    def __init__(
        self, model: str, tensors: Mapping[str, Tensor], arrays: Mapping[str, Array], batch: int, allow_nonfinite: bool
    ) -> None:
        self._model, self._tensors, self.arrays, self._batch = model, tensors, arrays, batch
        self._allow_nonfinite = allow_nonfinite
        self._name = next(iter(arrays), "")

    def place(self, frame: Inputs) -> bool:
        """Check a frame of any kind and copy it into the bound buffers; True where it came without a batch axis."""
        arrays = self.checked(frame)
        singles = {self._is_single(name, array) for name, array in arrays.items()}
        for name, array in arrays.items():
            check_range(self._tensors[name], array)
        for name, array in arrays.items():
            target = self.arrays[name]
            target[...] = array.reshape(target.shape)
        return singles == {True}

    def checked(self, frame: Inputs) -> dict[str, Array]:
        """A frame of any kind by the names of the inputs, in their types, and finite."""
        if not isinstance(frame, Mapping):
            if len(self.arrays) > 1:
                names = ", ".join(self.arrays)
                raise InputError(f"{self._model} takes several inputs ({names}); give a dict by name")
            frame = {self._name: frame}
        if set(frame) != set(self.arrays):
            raise InputError(f"a frame of {self._model} has {', '.join(self.arrays)}, but {', '.join(frame)} was given")
        arrays = {name: cast(name, frame[name], target.dtype) for name, target in self.arrays.items()}
        if not self._allow_nonfinite:
            for name, array in arrays.items():
                refuse_nonfinite(name, array)
        return arrays

    def is_empty(self, given: Mapping[str, Array]) -> bool:
        """Whether a chunk has no steps. Raises InputError where its batch or its features do not fit."""
        steps = set()
        for name, frame in self.arrays.items():
            array = given.get(name)
            if array is None or array.ndim != frame.ndim + 1:
                return False  # what is wrong with it is told where all inputs are checked
            if array.shape[0] != self._batch:
                raise InputError(f"'{name}' has {array.shape[0]} rows, but this stream has {self._batch}")
            if TIME in self._tensors[name].axes:
                steps.add(array.shape[1])
                if not array.shape[1] and array.shape[2:] != frame.shape[1:]:
                    raise self.wrong(name, array.shape)
        return steps == {0}

    def wrong(self, name: str, shape: tuple[int, ...], wanted: str = "") -> InputError:
        """The error of a frame of another shape; wanted: what is, in words, where it is not a frame of every row."""
        expected = self.arrays[name].shape
        wanted = wanted or f"{expected}" + (f" or {expected[1:]}" if self._batch == 1 else "")
        step = describe(self._tensors[name])
        return InputError(
            f"a frame of '{name}' has shape {shape}, but this stream takes {wanted}: one step of ({step})"
        )

    def _is_single(self, name: str, array: Array) -> bool:
        """Whether a frame comes without a batch axis; InputError where its shape is neither."""
        shape = self.arrays[name].shape
        if array.shape == shape:
            return False
        if self._batch == 1 and array.shape == shape[1:]:
            return True
        raise self.wrong(name, array.shape)
