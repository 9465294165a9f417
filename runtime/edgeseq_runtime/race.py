"""Which of several calls is the fastest: timed in turns, and no longer than it takes to tell."""

import time
from collections.abc import Callable, Mapping

import numpy as np

from edgeseq_runtime.measure import Call, turn

ROUNDS = 10
FEW = 3
"""Rounds after which a call may be dropped that is but clearly slower."""

CLEARLY, HOPELESSLY = 1.5, 4.0
"""A call is dropped when its shortest time is so many times the best median: after a few rounds, after any."""

TURN_NS = 10_000_000
LONGEST_NS = 2_000_000_000
"""After which no further round begins."""


def race(calls: Mapping[str, Call], clock: Callable[[], int] = time.perf_counter_ns) -> dict[str, float]:
    """The median time of each call in microseconds, the fastest first; of one that was dropped, until then.

    calls: by name, each called before, so that what is done once is done. clock: in nanoseconds.
    """
    times: dict[str, list[int]] = {name: [] for name in calls}
    running, begin = dict(calls), clock()
    for number in range(1, ROUNDS + 1):
        for name, call in running.items():
            times[name] += turn(call, TURN_NS, clock)
        limit = min(_median(times[name]) for name in running) * (HOPELESSLY if number < FEW else CLEARLY)
        running = {name: call for name, call in running.items() if min(times[name]) <= limit}
        if len(running) == 1 or (number >= FEW and clock() - begin > LONGEST_NS):
            break
    figures = {name: _median(taken) / 1000 for name, taken in times.items()}
    return dict(sorted(figures.items(), key=lambda item: (item[0] not in running, item[1])))


def _median(times: list[int]) -> float:
    return float(np.median(times))
