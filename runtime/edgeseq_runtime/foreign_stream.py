"""Streams of files whose sizes are known only from what they are given: each call is an ordinary run."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeseq_runtime.capture import Capture
from edgeseq_runtime.errors import InputError, StreamError
from edgeseq_runtime.feed import Feed, Inputs, as_array, cast
from edgeseq_runtime.guards import Rows, alone, check_out, filled, refuse_nonfinite
from edgeseq_runtime.layout import Laid
from edgeseq_runtime.signature import BATCH, TIME, Signature, Tensor
from edgeseq_runtime.stream import Stream

if TYPE_CHECKING:
    from edgeseq_runtime.model import Model

Array = NDArray[Any]

CONTEXT = "edgeseq.context"
"""The name, among the states, of the samples that are put before the next chunk."""


def can_be_bound(signature: Signature) -> bool:
    """Whether a step's buffers can be made before the first step: all sizes are known, batch and time come first."""
    inputs_fit = all(t.axes[:2] == (BATCH, TIME) and _known(t, 2) for t in signature.inputs)
    outputs_fit = all(
        t.axes[:1] == (BATCH,) and _known(t, 1 + (t.kind == "step")) and (TIME in t.axes) == (t.kind == "step")
        for t in signature.outputs
    )
    return inputs_fit and outputs_fit and bool(signature.inputs)


def _known(tensor: Tensor, start: int) -> bool:
    return all(isinstance(axis, int) for axis in tensor.axes[start:])


class _Held:
    """States that are held, and nothing that is bound."""

    def __init__(self, states: dict[str, Array]) -> None:
        self.states = states

    def fetch(self) -> dict[str, Array]:
        """The states, which are always on the host."""
        return self.states

    def store(self) -> None:
        """Nothing is to be done."""


class ForeignStream(Stream):
    """A stream that binds nothing: any chunk, with samples of the one before put in front of it.

    context: how many samples of the previous chunk a call takes before the new ones: along time, or where a step has
    several samples as its last axis, along that. The first chunk has zeros there.
    """

    def __init__(
        self, model: "Model", runner: Laid, feed: Feed, batch: int, allow_nonfinite: bool, context: int, one_step: bool
    ) -> None:
        if context < 0:
            raise StreamError(f"a context of {context} was asked for, but it is a number of samples")
        signature = model.signature
        self._model, self._laid, self._feed, self._signature = model, runner, feed, signature
        self._output_names = signature.output_names
        self.batch, self.hop, self._pushed = batch, 1, 0
        self._allow_nonfinite = allow_nonfinite
        self._tensors = {t.name: t for t in signature.inputs}
        if not self._tensors:
            raise StreamError(f"{model.name} has no inputs beside its states, so there is nothing to stream")
        self._name = next((t.name for t in signature.inputs if TIME in t.axes), signature.inputs[0].name)
        self._timed = tuple(t.name for t in signature.inputs if TIME in t.axes)
        self._frames: dict[str, Array] = {}
        self._within = one_step
        self._context = context
        initial = self._initial_states()
        self._direction: Any
        self._other: Any
        self._direction, self._other = (_Held({n: array.copy() for n, array in initial.items()}) for _ in range(2))
        self._batch_axes = {CONTEXT: 0, **{s.input: s.batch_axis for s in signature.states}}
        self.busy = False
        self.cuda_graphs = Capture(False, "each call is an ordinary run, since its shapes may change")

    @alone
    def step(self, frame: Inputs, out: dict[str, Array] | None = None, *, rows: Rows | None = None) -> dict[str, Array]:
        """Take one step, as `Stream.step`."""
        chosen = None if rows is None else self._rows_of_a_step(rows)
        chunk, single = self._as_chunk(frame)
        found, states = self._call(chunk, chosen)
        kinds = {t.name: t for t in self._signature.outputs}
        answer = {name: _first(array, kinds[name], single) for name, array in found.items()}
        if out is not None:
            check_out(out, answer)
        self._go_on(states, chosen)
        return answer if out is None else filled(out, answer)

    @alone
    def run(self, chunk: Inputs) -> dict[str, Array]:
        """Take any number of steps, as `Stream.run`; where a call takes one step, as many calls."""
        named = chunk if isinstance(chunk, Mapping) else {self._name: chunk}
        outputs, states = self._call({name: as_array(name, value) for name, value in named.items()}, None)
        self._go_on(states)
        return outputs

    def _initial_states(self) -> Mapping[str, Array]:
        initial = self._feed.initial_states(self.batch)
        return {**initial, CONTEXT: self._no_context()} if self._context else initial

    def _as_chunk(self, frame: Inputs) -> tuple[dict[str, Array], bool]:
        """A frame with a time axis of one step, and whether it came without a batch axis."""
        named = frame if isinstance(frame, Mapping) else {self._name: frame}
        given = {name: as_array(name, value) for name, value in named.items()}
        if not self._timed:
            return given, False
        single = {self._is_single(name, array) for name, array in given.items() if name in self._timed} == {True}
        for name in set(given) & set(self._timed):
            given[name] = given[name][None, None] if single else given[name][:, None]
        return given, single

    def _call(
        self, given: dict[str, Array], rows: NDArray[np.intp] | None
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """The outputs of a chunk, (batch, time, …) by input name, and the states after it, of these rows or of all."""
        held = self._direction.states if rows is None else self._rows_of(self._direction.states, rows)
        self._refuse_states(given)
        batch = self.batch if rows is None else rows.size
        for name, array in given.items():
            if name in self._tensors:
                given[name] = array = cast(name, array, np.dtype(self._tensors[name].dtype))
                if BATCH in self._tensors[name].axes and array.ndim and array.shape[0] != batch:
                    what = "this stream has" if rows is None else f"{rows.tolist()} are"
                    raise InputError(f"'{name}' has {array.shape[0]} rows, but {what} {batch}")
                if not self._allow_nonfinite:
                    refuse_nonfinite(name, array)
        if not batch:
            return self._no_rows(), held
        if {given[name].shape[1:2] for name in self._timed if name in given} == {(0,)}:
            return self._no_steps(), held
        states = {s.input: held[s.input] for s in self._signature.states}
        after = {}
        if self._context and self._name in given:
            given[self._name], after[CONTEXT] = self._with_context(given[self._name], held[CONTEXT])
        feeds = {**self._feed.complete(given), **states}
        outputs = dict(zip(self._output_names, self._laid.run_checked(self._output_names, feeds), strict=True))
        self._laid.check_states(outputs, states)
        after.update({s.input: outputs.pop(s.output) for s in self._signature.states})
        return outputs, after

    def _no_context(self) -> Array:
        """Zeros in place of the previous chunk's last samples: (batch, context, …)."""
        tensor = self._tensors[self._name]
        if len(self._timed) != 1:
            raise StreamError(f"a context is for one sequence, but {self._model.name} takes {len(self._timed)}")
        rest = tensor.axes[2:]
        if self._within:
            if not rest or (isinstance(rest[-1], int) and rest[-1] <= self._context):
                raise StreamError(
                    f"a context of {self._context} was asked for, but a step of {self._model.name} has "
                    f"{rest[-1] if rest else 1} samples, which are to hold new ones, too"
                )
            rest = rest[:-1]
        if any(isinstance(axis, str) for axis in rest):
            raise StreamError(f"a context needs the size of every axis of '{tensor.name}', but {tensor.axes} are free")
        sizes = [axis for axis in rest if isinstance(axis, int)]
        shape = (self.batch, *sizes, self._context) if self._within else (self.batch, self._context, *sizes)
        return np.zeros(shape, tensor.dtype)

    def _with_context(self, array: Array, before: Array) -> tuple[Array, Array]:
        """What the model takes, and the context of the next chunk."""
        size = self._context
        expected = len(self._tensors[self._name].axes)
        if array.ndim != expected:
            return array, before  # what is wrong with it is told where inputs are checked
        try:
            if not self._within:
                joined = np.concatenate([before, array], 1)
                return joined, joined[:, -size:]
            steps = [before, *(array[:, t] for t in range(array.shape[1]))]
            line, new = np.concatenate(steps, -1), array.shape[-1]
        except ValueError as error:
            raise InputError(
                f"input '{self._name}' has the shape {array.shape}, which does not go on: {error}"
            ) from error
        windows = [line[..., t * new : t * new + size + new] for t in range(array.shape[1])]
        return np.stack(windows, 1), line[..., -size:]

    def _is_single(self, name: str, array: Array) -> bool:
        """Whether a frame comes without a batch axis; InputError where its shape is neither."""
        rank = len(self._tensors[name].axes) - 1  # without time
        if array.ndim == rank - 1 and self.batch == 1:
            return True
        if array.ndim != rank:
            raise InputError(
                f"a frame of '{name}' has {array.ndim} axes (shape {array.shape}), but this stream takes {rank}"
                + (f" or {rank - 1}" if self.batch == 1 else "")
            )
        return False


def _first(array: Array, tensor: Tensor, single: bool) -> Array:
    """One step's answer: without its time axis, and without the batch where the frame came without."""
    if tensor.kind == "step" and array.ndim > 1:
        array = array[:, 0]
    return array[0] if single and tensor.axes[:1] == (BATCH,) and array.ndim else array
