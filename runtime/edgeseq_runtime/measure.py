"""Latency, measured: many timed calls, and the percentiles a device is judged by."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Latency:
    """Wall times of single calls, in microseconds."""

    calls: int
    mean_us: float
    p50_us: float
    p90_us: float
    p99_us: float
    max_us: float

    def to_json(self) -> dict[str, Any]:
        """The figures as plain JSON values."""
        return asdict(self)


def measure_calls(call: Callable[[], object], seconds: float = 1.0, warm_up: int = 20) -> Latency:
    """Time single calls of `call` for about `seconds`, at least 10 and at most 100,000 of them."""
    for _ in range(warm_up):
        call()
    clock = time.perf_counter_ns
    times: list[int] = []
    end = clock() + int(seconds * 1e9)
    while len(times) < 10 or (clock() < end and len(times) < 100_000):
        start = clock()
        call()
        times.append(clock() - start)
    return summarise(times)


def measure_interleaved(
    calls: Mapping[str, Callable[[], object]], rounds: int = 15, seconds: float = 0.02
) -> dict[str, Latency]:
    """Time several calls side by side, so that a machine whose speed drifts is as fair to each.

    Each round times each call for about `seconds`, at least three times.
    """
    times: dict[str, list[int]] = {name: [] for name in calls}
    for call in calls.values():
        call()
        call()
    clock = time.perf_counter_ns
    for _ in range(rounds):
        for name, call in calls.items():
            end = clock() + int(seconds * 1e9)
            taken = times[name]
            first = len(taken)
            while len(taken) < first + 3 or clock() < end:
                start = clock()
                call()
                taken.append(clock() - start)
    return {name: summarise(taken) for name, taken in times.items()}


def summarise(times_ns: list[int]) -> Latency:
    """Percentiles of wall times given in nanoseconds."""
    us = np.asarray(times_ns, np.float64) / 1000
    p50, p90, p99 = (float(p) for p in np.percentile(us, [50, 90, 99]))
    return Latency(len(us), float(us.mean()), p50, p90, p99, float(us.max()))
