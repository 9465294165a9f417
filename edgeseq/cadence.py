"""A model at the pace at which its data comes: answers in time, deadlines missed, and what the process costs."""

import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from edgeseq_runtime.errors import UsageError
from edgeseq_runtime.measure import WARM_UP, Call, Latency, summarise

MOST_CALLS = 10_000_000
"""160 MB of times."""

IDLE_SECONDS = 1.0
"""How long the process is left alone to see whether it rests."""


@dataclass(frozen=True)
class Cadence:
    """How a model kept pace.

    rate_hz: steps a second; calls: those that were made; due: those that should have been, in seconds_s.
    call: how long each call took. answer: how long after its data was due each was answered, waking up included.
    missed: calls that were not answered before the next was due.
    real_time_factor: of the time that the data takes to come, the share that the calls take; above 1 it falls behind.
    cpu_percent: of one core, while keeping pace. idle_cpu_percent: with the model loaded and nothing to do.
    resident_bytes: of the whole process, None where the system does not say.
    """

    rate_hz: float
    seconds_s: float
    due: int
    calls: int
    missed: int
    call: Latency
    answer: Latency
    real_time_factor: float
    cpu_percent: float
    idle_cpu_percent: float
    resident_bytes: int | None

    def to_json(self) -> dict[str, Any]:
        """The figures as plain JSON values."""
        return asdict(self)


def keep_pace(call: Call, rate_hz: float, seconds: float, steps: int = 1) -> Cadence:
    """Make a call whenever its data is due, as a device would, and see how soon each is answered.

    A call that is late does not delay what is due after it: the next follows at once, and its lateness counts.

    Args:
        call: answers one piece of data. rate_hz: steps a second. seconds: for how long. steps: in one piece of data.

    Raises:
        UsageError: so many calls that their times would fill the memory.
    """
    period_ns = 1e9 * steps / rate_hz
    due = max(1, int(seconds * 1e9 / period_ns))
    if due > MOST_CALLS:
        raise UsageError(
            f"{seconds:g} s at {rate_hz:g} Hz are {due} calls, but at most {MOST_CALLS} are kept in memory"
        )
    for _ in range(WARM_UP):
        call()
    idle = _idle_cpu_percent(IDLE_SECONDS)
    times = np.zeros((due, 2), np.int64)  # begun and answered
    clock, sleep = time.perf_counter_ns, time.sleep
    cpu, start = time.process_time_ns(), clock()
    stop, made = start + int(due * period_ns), 0
    while made < due:
        ahead = start + int(made * period_ns) - clock()
        if ahead > 0:
            sleep(ahead / 1e9)
        begun = clock()
        if made and begun >= stop:
            break  # what is still due will not be answered in time
        call()
        times[made] = begun, clock()
        made += 1
    wall, cpu = max(clock(), stop) - start, time.process_time_ns() - cpu
    taken = times[:made, 1] - times[:made, 0]
    answered = times[:made, 1] - start - (np.arange(made) * period_ns).astype(np.int64)
    return Cadence(
        rate_hz=rate_hz,
        seconds_s=due * period_ns / 1e9,
        due=due,
        calls=made,
        missed=due - made + int((answered > period_ns).sum()),
        call=summarise(taken),
        answer=summarise(answered),
        real_time_factor=float(taken.mean() / period_ns),
        cpu_percent=100 * cpu / wall,
        idle_cpu_percent=idle,
        resident_bytes=resident_bytes(),
    )


def resident_bytes() -> int | None:
    """How much memory the process holds now; where the system tells only its most until now, that; None: neither."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _idle_cpu_percent(seconds: float) -> float:
    """How much of one core the process takes, all its threads together, while this thread sleeps."""
    cpu, start = time.process_time_ns(), time.perf_counter_ns()
    time.sleep(seconds)
    return 100 * (time.process_time_ns() - cpu) / (time.perf_counter_ns() - start)
