"""Calls at the pace of the data, on a clock of the tests' own: those that keep it, and those that fall behind."""

import threading
from collections.abc import Iterator
from itertools import pairwise

import pytest
from edgeseq_runtime.errors import UsageError

from edgeseq import cadence
from edgeseq.cadence import WARM_UP, keep_pace, resident_bytes


def test_more_calls_than_memory_holds_are_refused():
    with pytest.raises(UsageError, match="100000000 calls, but at most"):
        keep_pace(lambda: None, 1e6, 100.0)


class Clock:
    """Time that passes only in `sleep` and `work`, and counts as CPU time only in `work`."""

    def __init__(self) -> None:
        self.now_ns = 10**12
        self.cpu_ns = 0

    def perf_counter_ns(self) -> int:
        return self.now_ns

    def process_time_ns(self) -> int:
        return self.cpu_ns

    def sleep(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)

    def work(self, seconds: float) -> None:
        self.sleep(seconds)
        self.cpu_ns += round(seconds * 1e9)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(cadence, "time", clock)
    return clock


def test_a_quick_call_keeps_pace(clock: Clock) -> None:
    made: list[int] = []

    def call() -> None:
        made.append(clock.now_ns)
        clock.work(0.001)

    found = keep_pace(call, 100, 0.3)
    paced = made[WARM_UP:]
    assert [after - before for before, after in pairwise(paced)] == [10_000_000] * 29
    assert (found.due, found.calls, found.missed) == (30, 30, 0)
    assert (found.call.p50_us, found.answer.max_us) == (1000, 1000)
    assert found.real_time_factor == pytest.approx(0.1)
    assert found.cpu_percent == pytest.approx(10)
    assert found.idle_cpu_percent == 0
    assert found.seconds_s == pytest.approx(0.3)


def test_a_slow_call_falls_behind_and_every_lateness_counts(clock: Clock) -> None:
    found = keep_pace(lambda: clock.work(0.02), 200, 0.2)
    assert (found.due, found.calls, found.missed) == (40, 10, 40)
    assert found.real_time_factor == pytest.approx(4)
    assert found.call.max_us == 20_000
    assert found.answer.max_us == 200_000 - 9 * 5_000
    assert found.to_json()["answer"]["p999_us"] == found.answer.p999_us


def test_one_slow_call_delays_those_after_it_and_then_the_pace_is_kept_again(clock: Clock) -> None:
    durations: Iterator[float] = iter([0] * WARM_UP + [0.1] + [0] * 100)
    found = keep_pace(lambda: clock.work(next(durations)), 100, 0.6)
    assert (found.due, found.calls, found.missed) == (60, 60, 9)  # those due after 0, 10, … 80 ms
    assert found.call.max_us == found.answer.max_us == 100_000
    assert (found.call.p50_us, found.answer.p50_us) == (0, 0)


def test_waking_up_late_counts_for_the_answer_and_not_for_the_call(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleep = clock.sleep
    monkeypatch.setattr(clock, "sleep", lambda seconds: sleep(seconds + 0.002))
    found = keep_pace(lambda: None, 100, 0.3)
    assert (found.call.max_us, found.answer.max_us, found.missed) == (0, 2000, 0)


def test_steps_of_a_call_come_together(clock: Clock) -> None:
    found = keep_pace(lambda: clock.work(0.025), 1000, 0.2, steps=50)
    assert (found.due, found.calls, found.missed) == (4, 4, 0)
    assert found.real_time_factor == pytest.approx(0.5)


def test_the_process_itself_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cadence, "IDLE_SECONDS", 0.1)
    assert 5_000_000 < (resident_bytes() or 0) < 2**40
    stop = threading.Event()
    busy = threading.Thread(target=lambda: [sum(range(1000)) for _ in iter(stop.is_set, True)])
    busy.start()
    try:
        found = keep_pace(lambda: None, 100, 0.05)
    finally:
        stop.set()
        busy.join()
    assert found.idle_cpu_percent > 1  # another thread was at work
