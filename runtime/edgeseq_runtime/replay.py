"""Runs replayed as captured CUDA graphs: of shapes that come back, and only while they answer as ordinary runs do."""

from collections.abc import Collection, Mapping, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgeseq_runtime._ort.memory import Bound, Memory
from edgeseq_runtime._ort.session import RUN_ERRORS, Session
from edgeseq_runtime.signature import Signature

if TYPE_CHECKING:
    from edgeseq_runtime.buffers import Direction

Array = NDArray[Any]

REPEATS = 3
"""Runs of one shape in a row after which it is captured: a capture costs several runs."""

AT_MOST = 4
"""Captured shapes of one model: each keeps its buffers on the device."""

_CLOSE = 1e-3
"""Of the largest value. A frozen input is off by much more, the order of a sum by much less."""


class Runner(Protocol):
    """What answers whole calls."""

    def run_checked(self, names: Sequence[str], feeds: Mapping[str, Array]) -> list[Array]:
        """Outputs in the order of `names`. Raises InputError."""
        ...


def replayed(session: Session, lengths: Collection[str]) -> Runner:
    """The session itself, or where its runs may be captured, one that replays shapes that come back."""
    return Replayed(session, lengths) if session.capture(lengths, ()).used else session


class Replayed:
    """A session whose runs of a shape that comes back are replayed. Any number of threads may call it.

    While one thread replays, the others run as without.

    problem: why nothing is replayed any more, where that is so.
    """

    def __init__(self, session: Session, lengths: Collection[str], memory: Memory | None = None) -> None:
        self._session, self._lengths, self._memory = session, lengths, memory
        self._captured: dict[Any, _Captured] = {}
        self._last: tuple[Any, int] = (None, 0)
        self._lock = Lock()
        self.problem = ""

    def run_checked(self, names: Sequence[str], feeds: Mapping[str, Array]) -> list[Array]:
        """As `Session.run_checked`."""
        if self.problem or not self._lock.acquire(blocking=False):
            return self._session.run_checked(names, feeds)
        try:
            key = (tuple(names), *((name, array.shape) for name, array in feeds.items()))
            if (captured := self._captured.get(key)) is not None:
                try:
                    return captured.run(feeds)
                except RUN_ERRORS as error:
                    self._give_up(f"onnxruntime could not replay: {error}")
            outputs = self._session.run_checked(names, feeds)
            self._last = (key, self._last[1] + 1 if key == self._last[0] else 1)
            if self._last[1] == REPEATS and len(self._captured) < AT_MOST:
                self._capture(key, feeds, dict(zip(names, outputs, strict=True)))
            return outputs
        finally:
            self._lock.release()

    def _capture(self, key: Any, feeds: Mapping[str, Array], outputs: Mapping[str, Array]) -> None:
        """Capture a run of these shapes, at zeros, and see whether it answers as it should at these values."""
        if self._memory is None:
            if not self._session.capture(self._lengths, feeds).used:
                return
            self._memory = self._session.memory(self._lengths, feeds)
        if not self._memory.capture.used:
            self._give_up(self._memory.capture.reason)
            return
        try:
            captured = _Captured(self._session, self._memory, feeds, outputs)
            captured.bound.run()
            answered = captured.run(feeds)
        except RUN_ERRORS as error:
            self._give_up(f"onnxruntime could not capture: {error}")
            return
        if problem := _different(dict(zip(outputs, answered, strict=True)), outputs):
            self._give_up(problem)
        else:
            self._captured[key] = captured

    def _give_up(self, problem: str) -> None:
        self.problem = problem
        self._captured.clear()
        self._memory = None


class _Captured:
    """The buffers of one shape's runs."""

    def __init__(
        self, session: Session, memory: Memory, feeds: Mapping[str, Array], outputs: Mapping[str, Array]
    ) -> None:
        self._inputs = {name: np.zeros_like(array, order="C") for name, array in feeds.items()}
        self._outputs = {name: np.zeros_like(array, order="C") for name, array in outputs.items()}
        self.bound: Bound = session.bind(memory, self._inputs, self._outputs, self._inputs, {})

    def run(self, feeds: Mapping[str, Array]) -> list[Array]:
        """Fresh outputs, in the order that they were bound in."""
        for name, array in feeds.items():
            self._inputs[name][...] = array
        self.bound.run()
        return [array.copy() for array in self._outputs.values()]


def replayed_otherwise(
    pair: "tuple[Direction, Direction]",
    runner: Runner,
    signature: Signature,
    sizes: Mapping[str, int],
    frames: Mapping[str, Array],
    fixed: Mapping[str, Array],
) -> str:
    """What a stream's captured steps do otherwise than ordinary runs; empty where they agree.

    Both directions are captured at the buffers as they are, and then tried at random ones, frames and states; the
    buffers are left as they came.

    Args:
        pair: the two directions. runner: what runs ordinarily. sizes: of the named axes.
        frames: the input buffers that change; fixed: the inputs that do not.
    """
    names = signature.output_names
    before = {name: array.copy() for name, array in pair[0].fetch().items()}
    try:
        for way, other in (pair, pair[::-1]):
            way.run()
            for seed in (0, 1):
                _fill(way, signature, sizes, frames, seed)
                way.run()
                feeds = {**frames, **fixed, **way.states}
                expected = dict(zip(names, runner.run_checked(names, feeds), strict=True))
                expected |= {t.name: expected[t.name][:, 0] for t in signature.outputs if t.kind == "step"}
                after = other.fetch()
                answered = {**way.batched.arrays, **{s.output: after[s.input] for s in signature.states}}
                if problem := _different(answered, expected):
                    return problem
    except RUN_ERRORS as error:
        return f"onnxruntime could not capture: {error}"
    finally:
        for frame in frames.values():
            frame[...] = 0
        for way in pair:
            for name, array in way.states.items():
                array[...] = before[name]
            way.store()
    return ""


def _fill(
    way: "Direction", signature: Signature, sizes: Mapping[str, int], frames: Mapping[str, Array], seed: int
) -> None:
    """Random frames and states."""
    from edgeseq_runtime.draw import draw_inputs, draw_states  # not needed where nothing is captured

    inputs, states = draw_inputs(signature, sizes, seed), draw_states(signature, sizes, seed)
    for name, frame in frames.items():
        frame[...] = inputs[name]
    for name, array in way.states.items():
        array[...] = states[name]
    way.store()


def _different(answered: Mapping[str, Array], expected: Mapping[str, Array]) -> str:
    """Which output is another one, in words; empty where none is."""
    for name, array in expected.items():
        scale = float(np.max(np.abs(array[np.isfinite(array)]), initial=0)) if array.dtype.kind == "f" else 0
        if not np.allclose(answered[name], array, rtol=0, atol=_CLOSE * scale, equal_nan=array.dtype.kind == "f"):
            return f"the captured graph answered otherwise in '{name}' than an ordinary run: it would freeze something"
    return ""
