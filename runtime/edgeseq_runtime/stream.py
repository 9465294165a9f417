"""Streams: a model with its states carried from call to call, in buffers that never move."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgeseq_runtime._ort.session import Binding, Session
from edgeseq_runtime.errors import InputError, StreamError
from edgeseq_runtime.feed import Feed, Inputs, cast, describe
from edgeseq_runtime.signature import BATCH, TIME, Signature

if TYPE_CHECKING:
    from edgeseq_runtime.model import Model

Array = NDArray[Any]


@dataclass(frozen=True)
class State:
    """A stream's states at one moment, copies by input name; `model` is the hash of the file they belong to."""

    model: str | None
    arrays: Mapping[str, Array]


class _Slot:
    """One direction of the two state buffers: reads `states_in`, writes `states_out` and the outputs."""

    def __init__(
        self, session: Session, signature: Signature, inputs: dict[str, Array], read: dict[str, Array], write: dict[str, Array]
    ) -> None:
        sizes = {BATCH: next(iter(inputs.values())).shape[0], TIME: 1}
        outputs = {t.name: np.zeros(t.shape(sizes), t.dtype) for t in signature.outputs}
        states_out = {s.output: write[s.input] for s in signature.states}
        self.binding: Binding = session.bind({**inputs, **read}, {**outputs, **states_out})
        self.run = self.binding.run
        self.outputs = [
            (t.name, outputs[t.name][:, 0] if t.kind == "step" else outputs[t.name]) for t in signature.outputs
        ]
        self.single = [(name, array[0]) for name, array in self.outputs]


class Stream:
    """`batch` sequences stepped together. One owner: do not share a stream between threads.

    Made by `Model.stream`. A step reads one buffer of states and writes another; the two change places.
    """

    def __init__(self, model: "Model", session: Session, feed: Feed, batch: int, allow_nonfinite: bool) -> None:
        signature = model.signature
        if not signature.streamable:
            reason = signature.reason or "the file has no contract that says what is carried from step to step"
            raise StreamError(f"{model.name} cannot be streamed: {reason}. Use run on whole sequences")
        if batch < 1:
            raise StreamError(f"a stream of batch {batch} was asked for, but at least 1 is needed")
        self._model, self._session, self._feed, self._signature = model, session, feed, signature
        self.batch = batch
        self._allow_nonfinite = allow_nonfinite
        self._states = tuple(
            {name: array.copy() for name, array in feed.initial_states(batch).items()} for _ in range(2)
        )
        sizes = {BATCH: batch, TIME: 1}
        self._frames = {t.name: np.zeros(t.shape(sizes), t.dtype) for t in signature.inputs if t.of is None}
        lengths = {t.name: np.ones(t.shape(sizes), t.dtype) for t in signature.inputs if t.of is not None}
        inputs = {**self._frames, **lengths}
        self._slots = tuple(
            _Slot(session, signature, inputs, self._states[turn], self._states[1 - turn]) for turn in (0, 1)
        )
        self._turn = 0
        self._only = next(iter(self._frames.values())) if len(self._frames) == 1 else None
        if self._only is not None:
            self._name = next(iter(self._frames))
            self._dtype = self._only.dtype
            self._frame_shape = (batch, *self._only.shape[2:])
            self._single_shape = self._frame_shape[1:] if batch == 1 else None
            self._floating = np.issubdtype(self._dtype, np.floating)
            self._flat = self._only.reshape(-1)
            self._target = self._only.reshape(self._frame_shape)
            self._single_target = self._target[0]

    def step(self, frame: Inputs, out: Mapping[str, Array] | None = None) -> dict[str, Array]:
        """Take one step.

        Args:
            frame: (features,) where batch is 1, or (batch, features); token ids () or (batch,); a dict for a model
                with several inputs.
            out: arrays by output name to write into; then nothing is allocated.

        Returns: arrays by output name, without a time axis, and without a batch axis where the frame came without.

        Raises:
            InputError: the frame does not fit or is not finite. The states are as before.
        """
        single = self._place(frame)
        slot = self._slots[self._turn]
        slot.run()
        self._turn ^= 1
        outputs = slot.single if single else slot.outputs
        if out is None:
            return {name: array.copy() for name, array in outputs}
        for name, array in outputs:
            if name in out:
                out[name][...] = array
        return dict(out)

    def run(self, chunk: Inputs) -> dict[str, Array]:
        """Take any number of steps at once.

        Args:
            chunk: (batch, time, features), or a dict by input name (with lengths, if rows end early). A chunk of
                zero steps is a no-op.

        Returns: arrays by output name; step outputs (batch, time, …), the others after the chunk's last step. For
            an empty chunk: step outputs of zero steps, and nothing else.

        Raises:
            InputError: the chunk does not fit or is not finite. The states are as before.
        """
        given = dict(chunk) if isinstance(chunk, Mapping) else {next(iter(self._frames)): chunk}
        clash = [s.input for s in self._signature.states if s.input in given]
        if clash:
            raise InputError(f"a stream carries its states itself; '{clash[0]}' can be set with restore()")
        if self._is_empty(given):
            sizes = {BATCH: self.batch, TIME: 0}
            return {t.name: np.zeros(t.shape(sizes), t.dtype) for t in self._signature.outputs if t.kind == "step"}
        feeds = self._feed.complete({**given, **self._states[self._turn]})
        if not self._allow_nonfinite:
            for name in self._frames:
                _refuse_nonfinite(name, feeds[name])
        names = self._signature.output_names
        outputs = dict(zip(names, self._session.run_checked(names, feeds), strict=True))
        for state in self._signature.states:
            self._states[self._turn][state.input][...] = outputs.pop(state.output)
        return outputs

    @property
    def state(self) -> State:
        """A copy of the states as they are now."""
        return State(self._model.sha256, {name: array.copy() for name, array in self._states[self._turn].items()})

    def restore(self, state: State) -> None:
        """Go on from a state taken earlier, of this stream or another of the same file and batch.

        Raises:
            StreamError: the state is of another model or another batch.
        """
        if state.model != self._model.sha256:
            raise StreamError(f"the state belongs to another model than {self._model.name} (its hash differs)")
        current = self._states[self._turn]
        for name, array in current.items():
            if name not in state.arrays or state.arrays[name].shape != array.shape:
                given = state.arrays[name].shape if name in state.arrays else "nothing"
                raise StreamError(f"state '{name}' has shape {given}, but this stream's is {array.shape}")
        for name, array in current.items():
            array[...] = state.arrays[name]

    def reset(self, rows: Sequence[int] | None = None) -> None:
        """Back to the initial states: every row, or the given ones. Raises StreamError for a row that is not there."""
        chosen = range(self.batch) if rows is None else rows
        for row in chosen:
            if not 0 <= row < self.batch:
                raise StreamError(f"row {row} was to be reset, but the stream has rows 0 to {self.batch - 1}")
        initial = self._feed.initial_states(self.batch)
        for state in self._signature.states:
            index = (slice(None),) * state.batch_axis + (list(chosen),)
            self._states[self._turn][state.input][index] = initial[state.input][index]

    def _place(self, frame: Inputs) -> bool:
        """Check a frame and copy it into the bound buffer; True where it came without a batch axis."""
        if self._only is None or isinstance(frame, Mapping):
            return self._place_several(frame)
        array = frame if type(frame) is np.ndarray else np.asarray(frame)
        if array.dtype is not self._dtype:
            array = cast(self._name, array, self._dtype)
        single = array.shape == self._single_shape
        if not single and array.shape != self._frame_shape:
            raise self._wrong_frame(self._name, array.shape)
        if not self._allow_nonfinite and self._floating:
            # one product tells; it overflows for huge finite values too, so a second look decides
            flat = array.ravel()
            if not isfinite(flat.dot(flat)):
                _refuse_nonfinite(self._name, array)
        if single:
            self._single_target[...] = array
        else:
            self._target[...] = array
        return single

    def _place_several(self, frame: Inputs) -> bool:
        if not isinstance(frame, Mapping):
            raise InputError(f"{self._model.name} takes several inputs ({', '.join(self._frames)}); give a dict by name")
        unknown = set(frame) - set(self._frames)
        if unknown:
            raise InputError(f"{self._model.name} has no stream input {sorted(unknown)}; it takes {', '.join(self._frames)}")
        arrays: dict[str, Array] = {}
        singles: set[bool] = set()
        for name, target in self._frames.items():
            if name not in frame:
                raise InputError(f"input '{name}' is missing from the frame")
            array = cast(name, frame[name], target.dtype)
            shape = (self.batch, *target.shape[2:])
            singles.add(self.batch == 1 and array.shape == shape[1:])
            if array.shape not in (shape, shape[1:] if self.batch == 1 else shape):
                raise self._wrong_frame(name, array.shape)
            if not self._allow_nonfinite:
                _refuse_nonfinite(name, array)
            arrays[name] = array
        for name, array in arrays.items():
            target = self._frames[name]
            target[...] = array.reshape(target.shape)
        return singles == {True}

    def _is_empty(self, given: Mapping[str, ArrayLike]) -> bool:
        for tensor in self._signature.inputs:
            if tensor.of is None and tensor.name in given and TIME in tensor.axes:
                shape = np.shape(given[tensor.name])
                position = tensor.axes.index(TIME)
                return len(shape) == len(tensor.axes) and shape[position] == 0
        return False

    def _wrong_frame(self, name: str, shape: tuple[int, ...]) -> InputError:
        tensor = next(t for t in self._signature.inputs if t.name == name)
        expected = (self.batch, *self._frames[name].shape[2:])
        return InputError(
            f"a frame of '{name}' has shape {shape}, but this stream takes {expected}"
            + (f" or {expected[1:]}" if self.batch == 1 else "")
            + f": one step of ({describe(tensor)})"
        )


def _refuse_nonfinite(name: str, array: Array) -> None:
    if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise InputError(
            f"input '{name}' has {array[where]} at {where}: it would stay in the state for ever. "
            "The state is as before; repair the sample, or open the stream with allow_nonfinite=True"
        )
