"""Latency, measured in turns: the percentiles a device is judged by, and a race for the fastest of several calls."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeseq_runtime.draw import draw_inputs
from edgeseq_runtime.signature import BATCH, TIME, Signature

if TYPE_CHECKING:
    from edgeseq_runtime.model import Model

Array = NDArray[Any]
Call = Callable[[], object]

WARM_UP = 3
AT_LEAST = 10
"""Timed calls of each, however long they take."""

TURN_NS = 25_000_000
"""Long enough that the caches, cold when the turns change, do not show in the percentiles of fast calls."""


RACE_ROUNDS = 10
"""Of a race, at most."""

FEW = 3
"""Rounds after which a call may be dropped that is but clearly slower."""

CLEARLY, HOPELESSLY = 1.5, 4.0
"""A call is dropped when its shortest time is so many times the best median: after a few rounds, after any."""

RACE_TURN_NS = 10_000_000
RACE_LONGEST_NS = 2_000_000_000
"""After which no further round begins."""


@dataclass(frozen=True)
class Latency:
    """Wall times of single calls, in microseconds. p999_us: of fewer than 1,000 calls it is close to the longest."""

    calls: int
    mean_us: float
    p50_us: float
    p90_us: float
    p99_us: float
    p999_us: float
    max_us: float

    def to_json(self) -> dict[str, Any]:
        """The figures as plain JSON values."""
        return asdict(self)


def measure(calls: Mapping[str, Call], seconds: float) -> dict[str, Latency]:
    """Time single calls in short turns, so that what disturbs the machine disturbs all alike.

    Args:
        calls: by name. seconds: about how long each is timed.
    """
    for call in calls.values():
        for _ in range(WARM_UP):
            call()
    times: dict[str, list[int]] = {name: [] for name in calls}
    end = time.perf_counter_ns() + int(seconds * len(calls) * 1e9)
    while time.perf_counter_ns() < end or min(map(len, times.values())) < AT_LEAST:
        for name, call in calls.items():
            times[name] += turn(call)
    return {name: summarise(np.asarray(taken)) for name, taken in times.items()}


def race(calls: Mapping[str, Call], clock: Callable[[], int] = time.perf_counter_ns) -> dict[str, float]:
    """Which of several calls is the fastest, timed in turns, no longer than it takes to tell.

    Returns: the median time of each in microseconds, the fastest first; of one that was dropped, until then.

    calls: by name, each called before, so that what is done once is done. clock: in nanoseconds.
    """
    times: dict[str, list[int]] = {name: [] for name in calls}
    running, begin = dict(calls), clock()
    for number in range(1, RACE_ROUNDS + 1):
        for name, call in running.items():
            times[name] += turn(call, RACE_TURN_NS, clock)
        limit = min(_median(times[name]) for name in running) * (HOPELESSLY if number < FEW else CLEARLY)
        running = {name: call for name, call in running.items() if min(times[name]) <= limit}
        if len(running) == 1 or (number >= FEW and clock() - begin > RACE_LONGEST_NS):
            break
    figures = {name: _median(taken) / 1000 for name, taken in times.items()}
    return dict(sorted(figures.items(), key=lambda item: (item[0] not in running, item[1])))


def _median(times: list[int]) -> float:
    return float(np.median(times))


def model_call(model: "Model", sizes: Mapping[str, int], stream: bool, context: int = 0) -> Call:
    """One call of a model on random inputs at the data's scale.

    `Model.run`; with `stream`, `Stream.step`, or `Stream.run` where a call has more than one step. context: of the
    stream; where it is part of a step, the step's new samples are so many fewer.
    """
    inputs = whole_inputs(model.signature, sizes)
    only = next(iter(inputs.values())) if len(inputs) == 1 else inputs
    axes = {t.name: t.axes for t in model.signature.inputs}
    if not stream:
        return lambda: model.run(only)
    opened = model.stream(sizes[BATCH], context=context)
    if context and model.layout is not None and model.layout.one_step:
        inputs = {name: array[..., context:] if TIME in axes[name] else array for name, array in inputs.items()}
        only = next(iter(inputs.values())) if len(inputs) == 1 else inputs
    if sizes[TIME] > 1:
        return lambda: opened.run(only)
    frames = {n: np.ascontiguousarray(a[:, 0]) if TIME in axes[n] else a for n, a in inputs.items()}
    frame = next(iter(frames.values())) if len(frames) == 1 else frames
    return lambda: opened.step(frame)


def whole_inputs(signature: Signature, sizes: Mapping[str, int]) -> dict[str, Array]:
    """Random inputs by name; lengths are left out, as a caller with whole sequences would."""
    drawn = draw_inputs(signature, sizes, seed=0)
    return {t.name: drawn[t.name] for t in signature.inputs if t.of is None}


def turn(call: Call, length_ns: int = TURN_NS, clock: Callable[[], int] = time.perf_counter_ns) -> list[int]:
    """Wall times in nanoseconds of the calls that fit in one turn, at least one."""
    times: list[int] = []
    end = clock() + length_ns
    stop = 0
    while stop < end:
        start = clock()
        call()
        stop = clock()
        times.append(stop - start)
    return times


def summarise(times_ns: Array) -> Latency:
    """What there is to say of many wall times. times_ns: (calls,), at least one."""
    us = times_ns / 1000
    p50, p90, p99, p999 = (float(p) for p in np.percentile(us, [50, 90, 99, 99.9]))
    return Latency(len(us), float(us.mean()), p50, p90, p99, p999, float(us.max()))
