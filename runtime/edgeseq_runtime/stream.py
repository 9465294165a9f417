"""Streams: a model with its states carried from call to call, in buffers that never move."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import isfinite
from operator import index
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeseq_runtime._ort.session import RUN_ERRORS, Session
from edgeseq_runtime.errors import InputError, StreamError
from edgeseq_runtime.feed import Feed, Inputs, as_array, cast, check_range, describe
from edgeseq_runtime.layout import Laid
from edgeseq_runtime.signature import BATCH, TIME, Signature
from edgeseq_runtime.unrolled import Unrolled

if TYPE_CHECKING:
    from edgeseq_runtime.model import Model

Array = NDArray[Any]


@dataclass(frozen=True)
class State:
    """A stream's states at one moment, copies by input name; `model` is the hash of the file they belong to.

    samples: those of an unfinished hop, (batch, so many, features); None where there are none.
    """

    model: str | None
    arrays: Mapping[str, Array]
    samples: Array | None = None


class _Direction:
    """One of the two directions of the state buffers: reads `states`, writes those of the other, and the outputs."""

    other: "_Direction"

    def __init__(
        self,
        session: Session | Laid,
        signature: Signature,
        sizes: Mapping[str, int],
        inputs: dict[str, Array],
        states: dict[str, Array],
        write: dict[str, Array],
    ) -> None:
        self.states = states
        buffers = {t.name: np.zeros(t.shape(sizes), t.dtype) for t in signature.outputs}
        states_out = {s.output: write[s.input] for s in signature.states}
        self._binding = session.bind({**inputs, **states}, {**buffers, **states_out})  # it keeps the buffers alive
        self.run = self._binding.run
        self.outputs = [
            (t.name, buffers[t.name][:, 0] if t.kind == "step" else buffers[t.name]) for t in signature.outputs
        ]
        self.single = (
            [(name, array.reshape(array.shape[1:])) for name, array in self.outputs] if sizes[BATCH] == 1 else []
        )


class _InputBuffer:
    """Where a stream's first input lies, (batch, …), seen in each shape a frame may have.

    quick: whether a frame's type and shape are all there is to check; otherwise there are no views.
    """

    def __init__(self, frame: Array, quick: bool) -> None:
        self.dtype = frame.dtype
        self.total = partial(frame.reshape(-1).dot, np.ones(frame.size, frame.dtype))
        self.single = frame.reshape(frame.shape[1:]) if len(frame) == 1 else None
        self.views = {view.shape: view for view in (frame, self.single) if quick and view is not None}


class Stream:
    """`batch` sequences stepped together. One owner: do not share a stream between threads.

    Made by `Model.stream`. A step reads one buffer of states and writes another; the two change places.

    hop: how many samples make a step, (hop, features); `push` takes them one by one. Of most models a sample is a step.
    """

    def __init__(
        self,
        model: "Model",
        session: Session | Laid,
        runner: Session | Unrolled | Laid,
        feed: Feed,
        batch: int,
        allow_nonfinite: bool,
    ) -> None:
        signature = model.signature
        if not signature.streamable:
            reason = signature.reason or "the file has no contract that says what is carried from step to step"
            raise StreamError(f"{model.name} cannot be streamed: {reason}. Use run on whole sequences")
        if batch < 1:
            raise StreamError(f"a stream of batch {batch} was asked for, but at least 1 is needed")
        self._model, self._runner, self._feed, self._signature = model, runner, feed, signature
        self._output_names = signature.output_names
        self.batch = batch
        self._allow_nonfinite = allow_nonfinite
        self.hop = model.contract.hop if model.contract else 1
        self._pushed = 0
        steps = model.contract.steps if model.contract else None
        sizes = {BATCH: batch, TIME: steps or 1}  # an unrolled file takes its first step, and holds the rest
        buffers = {t.name: np.zeros(t.shape(sizes), t.dtype) for t in signature.inputs if t.of is None}
        self._frames = {name: buffer[:, 0] for name, buffer in buffers.items()}
        lengths = {t.name: np.ones(t.shape(sizes), t.dtype) for t in signature.inputs if t.of is not None}
        inputs = {**buffers, **lengths, **feed.values}
        here, there = ({n: a.copy() for n, a in feed.initial_states(batch).items()} for _ in range(2))
        self._direction = _Direction(session, signature, sizes, inputs, here, there)
        self._direction.other = _Direction(session, signature, sizes, inputs, there, here)
        self._direction.other.other = self._direction
        self._tensors = {t.name: t for t in signature.inputs}
        self._name, frame = next(iter(self._frames.items()))
        quick = len(self._frames) == 1 and self._tensors[self._name].range is None and frame.flags.c_contiguous
        self._buffer = _InputBuffer(frame, quick)
        self._watched = not allow_nonfinite and np.issubdtype(frame.dtype, np.floating)

    def tried(self) -> bool:
        """Whether the bound buffers run at all, tried before the first step; what is written then is written anew.

        A file of another exporter may declare sizes that are wrong, which onnxruntime then holds its buffers to.
        """
        try:
            self._direction.run()
        except RUN_ERRORS:
            return False
        return True

    def step(self, frame: Inputs, out: dict[str, Array] | None = None) -> dict[str, Array]:
        """Take one step.

        Args:
            frame: (features,) where batch is 1, or (batch, features); token ids () or (batch,); a dict for a model
                with several inputs.
            out: arrays to write into, by the names of the outputs that are wanted; then no array is allocated.

        Returns: arrays by output name, without a time axis, and without a batch axis where the frame came without.

        Raises:
            InputError: the frame does not fit or is not finite, or `out` does not fit. The states are as before.
            StreamError: a hop is unfinished, see `push`.
        """
        if self._pushed:
            self._refuse_unfinished()
        direction = self._direction
        buffer = self._buffer
        if (
            isinstance(frame, np.ndarray)
            and frame.dtype is buffer.dtype
            and (view := buffer.views.get(frame.shape)) is not None
        ):  # the short way; _place would do the same
            view[...] = frame
            outputs = direction.single if view is buffer.single else direction.outputs
            if self._watched:
                try:
                    finite = isfinite(buffer.total())  # quick, and false for a few huge finite values too
                except (FloatingPointError, RuntimeWarning):  # where the caller has made numpy's warnings errors
                    finite = False
                if not finite:
                    refuse_nonfinite(self._name, frame)
        else:
            outputs = direction.single if self._place(frame) else direction.outputs
        if out is not None:
            check_out(out, outputs)
        self._advance(direction)
        if out is None:
            return {name: array.copy() for name, array in outputs}
        for name, array in outputs:
            if name in out:
                out[name][...] = array
        return out

    def push(self, sample: Inputs) -> dict[str, Array] | None:
        """Take one sample of a model that answers once in a hop; of another it is `step`.

        Args:
            sample: (features,) where batch is 1, or (batch, features).

        Returns: as `step` where the sample is the last of a hop, otherwise None.

        Raises:
            InputError: the sample does not fit or is not finite. The states and the samples before are as they were.
        """
        if self.hop == 1:
            return self.step(sample)
        single = self._place_sample(sample)
        if self._pushed + 1 < self.hop:
            self._pushed += 1
            return None
        direction = self._direction
        self._advance(direction)
        self._pushed = 0
        return {name: array.copy() for name, array in (direction.single if single else direction.outputs)}

    def run(self, chunk: Inputs) -> dict[str, Array]:
        """Take any number of steps at once.

        Args:
            chunk: (batch, time, features), or a dict by input name (with lengths, if rows end early). A chunk of
                zero steps is a no-op.

        Returns: arrays by output name; step outputs (batch, time, …), the others after the chunk's last step. For
            an empty chunk: step outputs of zero steps, and nothing else.

        Raises:
            InputError: the chunk does not fit or is not finite. The states are as before.
            StreamError: a hop is unfinished, see `push`.
        """
        if self._pushed:
            self._refuse_unfinished()
        named = chunk if isinstance(chunk, Mapping) else {self._name: chunk}
        given = {name: as_array(name, value) for name, value in named.items()}
        clash = [s.input for s in self._signature.states if s.input in given]
        if clash:
            raise InputError(f"a stream carries its states itself; '{clash[0]}' can be set with restore()")
        if self._is_empty(given):
            sizes = {BATCH: self.batch, TIME: 0}
            return {t.name: np.zeros(t.shape(sizes), t.dtype) for t in self._signature.outputs if t.kind == "step"}
        feeds = {**self._feed.complete(given), **self._direction.states}
        if not self._allow_nonfinite:
            for name in self._frames:
                refuse_nonfinite(name, feeds[name])
        names = self._output_names
        outputs = dict(zip(names, self._runner.run_checked(names, feeds), strict=True))
        for state in self._signature.states:
            self._direction.states[state.input][...] = outputs.pop(state.output)
        return outputs

    @property
    def state(self) -> State:
        """A copy of the states as they are now, and of the samples of an unfinished hop."""
        samples = self._frames[self._name][:, : self._pushed].copy() if self._pushed else None
        states = {name: array.copy() for name, array in self._direction.states.items()}
        return State(self._model.identity, states, samples)

    def restore(self, state: State) -> None:
        """Go on from a state taken earlier, of this stream or another of the same file and batch.

        Raises:
            StreamError: the state is of another model or another batch.
        """
        if state.model != self._model.identity:
            raise StreamError(f"the state belongs to another model than {self._model.name} (its hash differs)")
        current = self._direction.states
        for name, array in current.items():
            given = state.arrays.get(name)
            if not isinstance(given, np.ndarray) or given.shape != array.shape or given.dtype != array.dtype:
                what = f"{given.dtype} {given.shape}" if isinstance(given, np.ndarray) else repr(given)
                raise StreamError(f"state '{name}' is {what}, but this stream's is {array.dtype} {array.shape}")
        samples = state.samples
        if samples is not None:
            self._check_samples(samples)
        for name, array in current.items():
            array[...] = state.arrays[name]
        self._pushed = 0 if samples is None else samples.shape[1]
        if samples is not None:
            self._frames[self._name][:, : self._pushed] = samples

    def reset(self, rows: Sequence[int] | None = None) -> None:
        """Back to the initial states: every row, or the given ones; with every row the samples of an unfinished hop go.

        Raises:
            StreamError: a row that is not there, or not every row while a hop is unfinished: all rows share its start.
        """
        chosen = [index(row) for row in (range(self.batch) if rows is None else rows)]
        for row in chosen:
            if not 0 <= row < self.batch:
                raise StreamError(f"row {row} was to be reset, but the stream has rows 0 to {self.batch - 1}")
        if self._pushed and chosen and len(set(chosen)) < self.batch:
            self._refuse_unfinished()
        if len(set(chosen)) == self.batch:
            self._pushed = 0
        initial = self._feed.initial_states(self.batch)
        for state in self._signature.states:
            where = (slice(None),) * state.batch_axis + (chosen,)
            self._direction.states[state.input][where] = initial[state.input][where]

    def _advance(self, direction: _Direction) -> None:
        """Run on what the buffers hold; the states change places. Raises InputError."""
        try:
            direction.run()
        except RUN_ERRORS as error:
            raise InputError(f"onnxruntime refused the frame: {error}") from error
        self._direction = direction.other

    def _place_sample(self, sample: Inputs) -> bool:
        """Check a sample and copy it behind those before it; True where it came without a batch axis."""
        if isinstance(sample, Mapping):
            if set(sample) != {self._name}:
                raise InputError(f"a sample of {self._model.name} has {self._name}, but {', '.join(sample)} was given")
            sample = sample[self._name]
        target = self._frames[self._name][:, self._pushed]
        array = cast(self._name, sample, target.dtype)
        single = self.batch == 1 and array.shape == target.shape[1:]
        if not single and array.shape != target.shape:
            raise InputError(
                f"a sample of '{self._name}' has shape {array.shape}, but this stream takes {target.shape}"
                + (f" or {target.shape[1:]}" if self.batch == 1 else "")
                + f", one of the {self.hop} of a hop; step takes all of them at once"
            )
        if not self._allow_nonfinite:
            refuse_nonfinite(self._name, array)
        target[...] = array
        return single

    def _refuse_unfinished(self) -> None:
        raise StreamError(
            f"{self._pushed} of the {self.hop} samples of a hop have been pushed; push the others, or reset every row"
        )

    def _check_samples(self, samples: Array) -> None:
        """Raise StreamError where these cannot be the samples of an unfinished hop."""
        frame = self._frames[self._name]
        fits = samples.ndim == 3 and frame.ndim == 3 and samples.dtype == frame.dtype
        if not (fits and samples.shape[::2] == frame.shape[::2] and samples.shape[1] < self.hop):
            raise StreamError(
                f"the samples of the state are {samples.dtype} {samples.shape}, but this stream takes {frame.dtype} "
                f"({self.batch}, fewer than {self.hop}, {frame.shape[-1]})"
            )

    def _place(self, frame: Inputs) -> bool:
        """Check a frame of any kind and copy it into the bound buffers; True where it came without a batch axis."""
        if not isinstance(frame, Mapping):
            if len(self._frames) > 1:
                names = ", ".join(self._frames)
                raise InputError(f"{self._model.name} takes several inputs ({names}); give a dict by name")
            frame = {self._name: frame}
        if set(frame) != set(self._frames):
            raise InputError(
                f"a frame of {self._model.name} has {', '.join(self._frames)}, but {', '.join(frame)} was given"
            )
        arrays = {name: cast(name, frame[name], target.dtype) for name, target in self._frames.items()}
        singles = {self._is_single(name, array) for name, array in arrays.items()}
        if not self._allow_nonfinite:
            for name, array in arrays.items():
                refuse_nonfinite(name, array)
        for name, array in arrays.items():
            check_range(self._tensors[name], array)
        for name, array in arrays.items():
            target = self._frames[name]
            target[...] = array.reshape(target.shape)
        return singles == {True}

    def _is_single(self, name: str, array: Array) -> bool:
        """Whether a frame comes without a batch axis; InputError where its shape is neither."""
        shape = self._frames[name].shape
        if array.shape == shape:
            return False
        if self.batch == 1 and array.shape == shape[1:]:
            return True
        raise self._wrong_frame(name, array.shape)

    def _is_empty(self, given: Mapping[str, Array]) -> bool:
        """Whether a chunk has no steps. Raises InputError where its batch or its features do not fit."""
        empty = False
        for name, frame in self._frames.items():
            array = given.get(name)
            if array is None or array.ndim != frame.ndim + 1:
                return False  # what is wrong with it is told where all inputs are checked
            if array.shape[0] != self.batch:
                raise InputError(f"'{name}' has {array.shape[0]} rows, but this stream has {self.batch}")
            empty = TIME in self._tensors[name].axes and array.shape[self._tensors[name].axes.index(TIME)] == 0
            if empty and array.shape[2:] != frame.shape[1:]:
                raise self._wrong_frame(name, array.shape)
        return empty

    def _wrong_frame(self, name: str, shape: tuple[int, ...]) -> InputError:
        tensor = self._tensors[name]
        expected = self._frames[name].shape
        return InputError(
            f"a frame of '{name}' has shape {shape}, but this stream takes {expected}"
            + (f" or {expected[1:]}" if self.batch == 1 else "")
            + f": one step of ({describe(tensor)})"
        )


def check_out(out: Mapping[str, Array], outputs: Sequence[tuple[str, Array]]) -> None:
    """Raise InputError where the caller's arrays cannot take the outputs."""
    expected = dict(outputs)
    for name, array in out.items():
        if name not in expected:
            raise InputError(f"out has '{name}', but the outputs are {', '.join(expected)}")
        wanted = expected[name]
        if not isinstance(array, np.ndarray) or array.shape != wanted.shape or array.dtype != wanted.dtype:
            given = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
            raise InputError(f"out['{name}'] is {given}, but {wanted.dtype} {wanted.shape} is needed")
        if not array.flags.writeable:
            raise InputError(f"out['{name}'] is read-only")


def refuse_nonfinite(name: str, array: Array) -> None:
    """Raise InputError where an array has NaN or infinity, with the place."""
    if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise InputError(
            f"input '{name}' has {array[where]} at {where}: it would stay in the state for ever. "
            "The state is as before; repair the sample, or open the stream with allow_nonfinite=True"
        )
