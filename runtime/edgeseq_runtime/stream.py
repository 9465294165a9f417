"""Streams: a model with its states carried from call to call, in buffers that never move."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeseq_runtime._ort.memory import Memory
from edgeseq_runtime._ort.session import RUN_ERRORS, Session, refused
from edgeseq_runtime.buffers import Frames, InputBuffer, directions
from edgeseq_runtime.errors import InputError, StreamError
from edgeseq_runtime.feed import Feed, Inputs, as_array, cast
from edgeseq_runtime.guards import Rows, alone, check_out, chosen_rows, filled, refuse_nonfinite, refuse_second
from edgeseq_runtime.layout import Laid
from edgeseq_runtime.replay import Runner, replayed_otherwise
from edgeseq_runtime.signature import BATCH, TIME, Limit, Tensor
from edgeseq_runtime.state import State

if TYPE_CHECKING:
    from edgeseq_runtime.model import Model

Array = NDArray[Any]


class Stream:
    """`batch` sequences stepped together. One owner: do not share a stream between threads.

    Made by `Model.stream`. A step reads one buffer of states and writes another; the two change places.

    hop: how many samples make a step, (hop, features); `push` takes them one by one. Of most models a sample is a step.
    cuda_graphs: whether steps are replayed as captured CUDA graphs, and why. busy: whether a call is under way.
    """

    def __init__(
        self,
        model: "Model",
        session: Session | Laid,
        runner: Runner,
        feed: Feed,
        batch: int,
        allow_nonfinite: bool,
        memory: Memory | None = None,
    ) -> None:
        signature = model.signature
        if not signature.streamable:
            reason = signature.reason or "the file has no contract that says what is carried from step to step"
            raise StreamError(f"{model.name} cannot be streamed: {reason}. Use run on whole sequences")
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
        fixed = {**lengths, **feed.values}
        initial = feed.initial_states(batch)
        memory = memory or session.memory(lengths, (*buffers, *initial))
        pair = directions(session, memory, signature, sizes, buffers, fixed, initial)
        if memory.capture.used:
            problem = replayed_otherwise(pair, session, signature, sizes, buffers, fixed)
            if problem:
                memory = memory.uncaptured(problem)
                pair = directions(session, memory, signature, sizes, buffers, fixed, initial)
        self._direction, self._other = pair
        self.cuda_graphs = memory.capture
        tensors = {t.name: t for t in signature.inputs}
        self._inputs = Frames(model.name, tensors, self._frames, batch, allow_nonfinite)
        self._name, frame = next(iter(self._frames.items()))
        self._batch_axes = {s.input: s.batch_axis for s in signature.states}
        self.busy = False
        quick = len(self._frames) == 1 and tensors[self._name].range is None and frame.flags.c_contiguous
        self._buffer = InputBuffer(frame, quick)
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

    def step(self, frame: Inputs, out: dict[str, Array] | None = None, *, rows: Rows | None = None) -> dict[str, Array]:
        """Take one step.

        Args:
            frame: (features,) where batch is 1, or (batch, features); token ids () or (batch,); a dict for a model
                with several inputs.
            out: arrays to write into, by the names of the outputs that are wanted; then no array is allocated.
            rows: which rows take the step, by number or as a mask of bools; the others keep their states, and cost
                nothing. The frame is then (so many rows, features), in that order.

        Returns: arrays by output name, without a time axis, and without a batch axis where the frame came without.
            With `rows`: (so many rows, …), in their order.

        Raises:
            InputError: the frame does not fit or is not finite, or `out` does not fit. The states are as before.
            StreamError: a hop is unfinished, see `push`; a row that is not there, or twice; another thread is here.
        """
        if self.busy:
            refuse_second()
        self.busy = True
        try:
            if self._pushed:
                self._refuse_unfinished()
            if rows is not None:
                return self._step_rows(frame, out, self._rows_of_a_step(rows))
            direction = self._direction
            buffer = self._buffer
            if (
                isinstance(frame, np.ndarray)
                and frame.dtype is buffer.dtype
                and (view := buffer.views.get(frame.shape)) is not None
            ):  # the short way; _place would do the same
                view[...] = frame
                answer = direction.single if view is buffer.single else direction.batched
                if self._watched:
                    buffer.look()
                    if 0 in buffer.finite:
                        refuse_nonfinite(self._name, frame)
            else:
                answer = direction.single if self._inputs.place(frame) else direction.batched
            if out is not None:
                check_out(out, answer.arrays)
            try:
                direction.run()
            except RUN_ERRORS as error:
                raise refused(error, "the frame") from error
            self._direction, self._other = self._other, direction
            if out is None:
                outputs = {}
                for name, copy in answer.copies:  # a comprehension would be a call more
                    outputs[name] = copy()
                return outputs
            arrays = answer.arrays
            for name, array in out.items():
                array[...] = arrays[name]
            return out
        finally:
            self.busy = False

    def push(self, sample: Inputs) -> dict[str, Array] | None:
        """Take one sample of a model that answers once in a hop; of another it is `step`.

        Args:
            sample: (features,) where batch is 1, or (batch, features).

        Returns: as `step` where the sample is the last of a hop, otherwise None.

        Raises:
            InputError: the sample does not fit or is not finite. The states and the samples before are as they were.
        """
        return self.step(sample) if self.hop == 1 else self._push(sample)

    @alone
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
        self._refuse_states(given)
        if self._inputs.is_empty(given):
            return self._no_steps()
        feeds = {**self._feed.complete(given), **self._direction.fetch()}
        if not self._allow_nonfinite:
            for name in self._frames:
                refuse_nonfinite(name, feeds[name])
        names = self._output_names
        outputs = dict(zip(names, self._runner.run_checked(names, feeds), strict=True))
        self._go_on({s.input: outputs.pop(s.output) for s in self._signature.states})
        return outputs

    @property
    @alone
    def state(self) -> State:
        """A copy of the states as they are now, and of the samples of an unfinished hop."""
        samples = self._frames[self._name][:, : self._pushed].copy() if self._pushed else None
        states = {name: array.copy() for name, array in self._direction.fetch().items()}
        return State(self._model.identity, states, samples)

    @alone
    def restore(self, state: State) -> None:
        """Go on from a state taken earlier, of this stream or another of the same file and batch.

        Raises:
            StreamError: the state is of another model or another batch, or of a stream with another context.
        """
        if state.model != self._model.identity:
            raise StreamError(f"the state belongs to another model than {self._model.name} (its hash differs)")
        current = self._direction.states
        if set(state.arrays) != set(current):
            raise StreamError(f"the state has {', '.join(state.arrays)}, but this stream carries {', '.join(current)}")
        for name, array in current.items():
            given = state.arrays[name]
            if not isinstance(given, np.ndarray) or given.shape != array.shape or given.dtype != array.dtype:
                what = f"{given.dtype} {given.shape}" if isinstance(given, np.ndarray) else repr(given)
                raise StreamError(f"state '{name}' is {what}, but this stream's is {array.dtype} {array.shape}")
        samples = state.samples
        if samples is not None:
            self._check_samples(samples)
            self._frames[self._name][:, : samples.shape[1]] = samples
        self._go_on(state.arrays)
        self._pushed = 0 if samples is None else samples.shape[1]

    @alone
    def reset(self, rows: Rows | None = None) -> None:
        """Back to the initial states: every row, or the given ones; with every row the samples of an unfinished hop go.

        rows: by number, or as a mask of bools.

        Raises:
            StreamError: a row that is not there; not every row while a hop is unfinished, since all rows share its
                start, or where a fixed batch of another exporter's file could be either axis of a state.
        """
        chosen = chosen_rows(range(self.batch) if rows is None else rows, self.batch)
        every = len(set(chosen.tolist())) == self.batch
        if self._pushed and chosen.size and not every:
            self._refuse_unfinished()
        fixed = self._model.layout and self._signature.limits[BATCH].max
        if fixed and not every and any(fixed in s.axes for s in self._signature.states):
            raise StreamError(f"a state has the size {self.batch} of the batch twice: where its rows are is not sure")
        self._direction.fetch()
        self._go_on(self._rows_of(self._initial_states(), chosen), chosen)
        if every:
            self._pushed = 0

    @alone
    def _push(self, sample: Inputs) -> dict[str, Array] | None:
        single = self._place_sample(sample)
        if self._pushed + 1 < self.hop:
            self._pushed += 1
            return None
        direction = self._direction
        try:
            direction.run()
        except RUN_ERRORS as error:
            raise refused(error, "the frame") from error
        self._direction, self._other = self._other, direction
        self._pushed = 0
        return {name: copy() for name, copy in (direction.single if single else direction.batched).copies}

    def _initial_states(self) -> Mapping[str, Array]:
        """All that is carried, as it is at the start."""
        return self._feed.initial_states(self.batch)

    def _rows_of(self, states: Mapping[str, Array], rows: NDArray[np.intp]) -> dict[str, Array]:
        return {name: array.take(rows, self._batch_axes[name]) for name, array in states.items()}

    def _go_on(self, states: Mapping[str, Array], rows: NDArray[np.intp] | None = None) -> None:
        """Go on from all of these states; from none where it is interrupted. rows: whose; those held were fetched."""
        other = self._other
        for name, array in self._direction.states.items():
            if rows is not None:
                other.states[name][...] = array
            where = (slice(None),) * self._batch_axes[name] + (slice(None) if rows is None else rows,)
            other.states[name][where] = states[name]
        other.store()
        self._direction, self._other = other, self._direction

    def _refuse_states(self, given: Iterable[str]) -> None:
        if clash := {s.input for s in self._signature.states} & set(given):
            raise InputError(f"a stream carries its states itself; '{clash.pop()}' can be set with restore()")

    def _no_steps(self) -> dict[str, Array]:
        return self._nothing([t for t in self._signature.outputs if t.kind == "step"], {BATCH: self.batch, TIME: 0})

    def _no_rows(self) -> dict[str, Array]:
        return self._nothing(self._signature.outputs, {BATCH: 0, TIME: 1})

    def _nothing(self, outputs: Iterable[Tensor], sizes: Mapping[str, int]) -> dict[str, Array]:
        """These outputs of no rows or no steps; an axis of unknown size is empty, too."""
        return {
            t.name: np.zeros([sizes.get(str(a), 0) if isinstance(a, str) else a for a in t.axes], t.dtype)
            for t in outputs
        }

    def _rows_of_a_step(self, rows: Rows) -> NDArray[np.intp]:
        """The numbers of the rows that take a step. Raises StreamError where they cannot without the others."""
        chosen = chosen_rows(rows, self.batch)
        if len(set(chosen.tolist())) < chosen.size:
            raise StreamError(f"rows is {chosen.tolist()}, but each of them can take one step at a time")
        limit = self._signature.limits.get(BATCH, Limit())
        if limit.max is not None and limit.min == limit.max and chosen.size != limit.max:
            raise StreamError(
                f"{self._model.name} takes {limit.max} rows in every call, so no step is of {chosen.size} of them; "
                "step every row, and reset or restore those that were not meant"
            )
        return chosen

    def _step_rows(self, frame: Inputs, out: dict[str, Array] | None, rows: NDArray[np.intp]) -> dict[str, Array]:
        """A step of some rows: a smaller batch that starts from their states, which are put back where it went well."""
        arrays = self._inputs.checked(frame)
        for name, array in arrays.items():
            if array.shape != (expected := (rows.size, *self._frames[name].shape[1:])):
                raise self._inputs.wrong(name, array.shape, f"{expected}, a row for each of {rows.tolist()}")
        if rows.size:
            states = self._rows_of(self._direction.fetch(), rows)
            feeds = self._feed.complete({**{name: array[:, None] for name, array in arrays.items()}, **states})
            names = self._output_names
            answered = dict(zip(names, self._runner.run_checked(names, feeds), strict=True))
        else:
            answered = self._no_rows()
        outputs = {
            t.name: answered[t.name][:, 0] if t.kind == "step" else answered[t.name] for t in self._signature.outputs
        }
        if out is not None:
            check_out(out, outputs)
        if rows.size:
            self._go_on({s.input: answered[s.output] for s in self._signature.states}, rows)
        return outputs if out is None else filled(out, outputs)

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
