"""How a foreign graph lays out its axes, where a caller's arrays are always (batch, time, …)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeseq_runtime._ort.session import Binding, Session
from edgeseq_runtime.errors import InputError, StreamError
from edgeseq_runtime.signature import BATCH, TIME, Axis, Signature

Array = NDArray[Any]
Axes = tuple[Axis, ...]


@dataclass(frozen=True)
class Layout:
    """Where the graph has the axes.

    axes: by the names of inputs, outputs and states, in the graph's order; beside batch and time they stand as in the
        signature. Batch or time may be missing: then there is one row, or a call is a step.
    one_step: whether a call takes one step, because no input has a time axis or only one of size 1.
    """

    axes: Mapping[str, Axes]
    one_step: bool = False


def user_axes(graph: Axes, batch: bool, time: bool) -> Axes:
    """The axes as a caller has them: batch and time first, where there are to be such."""
    others = tuple(axis for axis in graph if axis not in (BATCH, TIME))
    return (*((BATCH,) if batch else ()), *((TIME,) if time else ()), *others)


class _Turn:
    """One tensor's way between the caller's axes and the graph's."""

    def __init__(self, user: Axes, graph: Axes) -> None:
        self.rank = len(graph)
        self.missing = tuple(i for i, axis in enumerate(user) if axis in (BATCH, TIME) and axis not in graph)
        kept = [i for i in range(len(user)) if i not in self.missing]
        others = iter([n for n, i in enumerate(kept) if user[i] not in (BATCH, TIME)])
        named = {user[i]: n for n, i in enumerate(kept) if user[i] in (BATCH, TIME)}
        self.order = [named[axis] if axis in named else next(others) for axis in graph]
        self.back = list(np.argsort(self.order))
        self.same = not self.missing and self.order == sorted(self.order)

    def to_graph(self, array: Array) -> Array:
        """A view in the graph's axes; those that it has not are of size 1."""
        return array if self.same else array.squeeze(self.missing).transpose(self.order)

    def from_graph(self, array: Array) -> Array:
        """A view in the caller's axes. What has another number of axes than the file declares stays as it came."""
        if self.same or array.ndim != self.rank:
            return array
        return np.expand_dims(array.transpose(self.back), self.missing)


class Laid:
    """A session of a foreign graph, called with arrays as the signature has them.

    Where a call takes one step, a sequence takes as many calls, the states carried from one to the next.
    """

    def __init__(self, session: Session, name: str, signature: Signature, layout: Layout) -> None:
        self._session, self._name, self._signature = session, name, signature
        self._one_step = layout.one_step
        tensors = (
            *signature.inputs,
            *signature.outputs,
            *(s.input_tensor for s in signature.states),
            *(s.output_tensor for s in signature.states),
        )
        self._turns = {t.name: _Turn(t.axes, layout.axes.get(t.name, t.axes)) for t in tensors}
        self._timed = tuple(t.name for t in signature.inputs if TIME in t.axes)

    def bind(self, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> Binding:
        """Bind arrays of one step. Each lies in memory as the graph has it, since its time axis has size 1."""
        return self._session.bind(self._to_graph(inputs), self._to_graph(outputs))

    def run_checked(self, names: Sequence[str], feeds: Mapping[str, Array]) -> list[Array]:
        """Outputs in the order of `names`. Raises InputError as `Session.run_checked`."""
        if not self._one_step or not self._timed or feeds[self._timed[0]].shape[1] == 1:
            return self._call(names, feeds)
        steps = feeds[self._timed[0]].shape[1]
        if not steps:
            raise InputError(f"'{self._timed[0]}' has 0 steps, but {self._name} takes at least 1")
        every = self._signature.output_names
        taken: list[dict[str, Array]] = []
        states: dict[str, Array] = {}
        for step in range(steps):
            piece = {name: np.ascontiguousarray(feeds[name][:, step : step + 1]) for name in self._timed}
            outputs = dict(zip(every, self._call(every, {**feeds, **piece, **states}), strict=True))
            states = {s.input: outputs[s.output] for s in self._signature.states}
            taken.append(outputs)
        stepwise = {t.name for t in self._signature.outputs if t.kind == "step"}
        return [
            np.concatenate([outputs[name] for outputs in taken], 1) if name in stepwise else taken[-1][name]
            for name in names
        ]

    def check_states(self, outputs: Mapping[str, Array], states: Mapping[str, Array]) -> None:
        """Raise StreamError where a state comes out in another shape or type than it went in."""
        for state in self._signature.states:
            before, after = states[state.input], outputs[state.output]
            if before.shape != after.shape or before.dtype != after.dtype:
                raise StreamError(
                    f"state '{state.input}' of {self._name} is {before.dtype} {before.shape}, but '{state.output}' "
                    f"came out as {after.dtype} {after.shape}: they are not one state. Say which are with "
                    "--state IN=OUT, or load(states={...})"
                )

    def _call(self, names: Sequence[str], feeds: Mapping[str, Array]) -> list[Array]:
        outputs = self._session.run_checked(names, self._to_graph(feeds))
        return [self._turns[name].from_graph(array) for name, array in zip(names, outputs, strict=True)]

    def _to_graph(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """By name, in the graph's axes; a fixed input is as the graph has it."""
        turns = self._turns
        return {name: turns[name].to_graph(array) if name in turns else array for name, array in arrays.items()}
