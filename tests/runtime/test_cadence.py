"""Calls at the pace of the data: those that keep it, and those that fall behind."""

import threading
import time
from collections.abc import Iterator

import pytest
from edgeseq_runtime import cadence
from edgeseq_runtime.cadence import keep_pace, resident_bytes


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cadence, "IDLE_SECONDS", 0.05)


def test_a_quick_call_keeps_pace() -> None:
    made: list[float] = []
    found = keep_pace(lambda: made.append(time.perf_counter()), 100, 0.3)
    assert (found.due, found.calls, len(made)) == (30, 30, 30 + cadence.WARM_UP)
    assert made[-1] - made[cadence.WARM_UP] > 0.25  # it waited for its data
    assert found.missed < 30
    assert found.real_time_factor < 0.2
    assert found.call.p50_us <= found.answer.p50_us
    assert found.seconds_s == pytest.approx(0.3)


def test_a_slow_call_falls_behind_and_every_lateness_counts() -> None:
    found = keep_pace(lambda: time.sleep(0.02), 200, 0.2)
    assert found.due == 40
    assert found.calls <= 11
    assert found.missed == 40  # those that were made were late, too
    assert found.real_time_factor > 3.9
    assert found.answer.max_us > 100_000 > found.call.p50_us
    assert found.to_json()["answer"]["p999_us"] == found.answer.p999_us


def test_one_slow_call_delays_those_after_it_and_then_the_pace_is_kept_again() -> None:
    durations: Iterator[float] = iter([0, 0, 0, 0.1] + [0] * 100)
    found = keep_pace(lambda: time.sleep(next(durations)), 100, 0.6)
    assert (found.due, found.calls) == (60, 60)
    assert found.call.max_us > 99_000
    assert 9 <= found.missed < 60
    assert found.answer.p50_us < 50_000


def test_steps_of_a_call_come_together() -> None:
    found = keep_pace(lambda: None, 1000, 0.2, steps=50)
    assert (found.due, found.calls) == (4, 4)


def test_the_process_is_seen() -> None:
    assert 5_000_000 < (resident_bytes() or 0) < 2**40
    stop = threading.Event()
    busy = threading.Thread(target=lambda: [sum(range(1000)) for _ in iter(stop.is_set, True)])
    busy.start()
    try:
        found = keep_pace(lambda: None, 100, 0.05)
    finally:
        stop.set()
        busy.join()
    assert found.idle_cpu_percent > 5
