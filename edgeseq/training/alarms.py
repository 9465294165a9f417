"""Figures of alarms over series in which anomalies are labelled, step by step and event by event.

Nothing is adjusted: a step counts as found only if there is an alarm at that very step, and one alarm inside an event
does not mark the others of it. An event is a stretch of one anomalous class. A score that looks at a window still holds
the end of an event `window` − 1 steps later, so that an alarm there is the event's own: the event's reach. It ends
where the next event starts.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from edgeseq_runtime.errors import UsageError

from edgeseq.data.dataset import Array

ALARM_FIGURES = ("event_recall", "lowest_event_recall", "peak_distance", "normal_alarm_share", "false_alarms_a_week")
"""Those of `alarm_figures` that a recipe can expect."""


@dataclass(frozen=True)
class Event:
    """A stretch of one anomalous class: the steps from `start` to before `end`; with its reach to before `reach`."""

    row: int
    kind: int
    start: int
    end: int
    reach: int


def alarm_figures(
    scores: Array,
    alarms: Array,
    y: Array,
    labels: Sequence[str],
    window: int,
    lengths: Array | None = None,
    steps_a_week: int | None = None,
) -> dict[str, float]:
    """How well the alarms tell the anomalies of n series. NaN: a mean of nothing.

    scores: float (n, time); alarms: 0 or 1 (n, time); y: classes int64 (n, time), class 0 normal, named by `labels`.
    window: how many steps an alarm looks at; with alarms that hold for k of m windows, m − 1 more. lengths: int64 (n,);
    all of them `time` where left out.

    precision, recall: of steps, at the stored threshold. normal_alarm_share: the share of normal steps with an alarm,
        those in the reach of an event too.
    events, events_found: how many there are, and how many have an alarm inside or in their reach; event_recall: their
        share. With several anomalous classes also event_recall_NAME, and the lowest of these, lowest_event_recall.
    delay: steps from an event's start to its first alarm, 0 if one was on; the mean over the events found.
    peak_distance: steps from the highest score of all, from the first whole window on, to the nearest event in its
        series; 0 inside, infinite where that series has none.
    false_alarms: stretches of alarm that touch neither an event nor its reach. With `steps_a_week` also
        false_alarms_a_week: relative to the normal steps where there could be one, outside every reach and from the
        first whole window on.

    Raises:
        UsageError: shapes that do not fit, classes without a name, a window below 1, scores that are not finite.
    """
    lengths = np.full(len(y), y.shape[-1], np.int64) if lengths is None else lengths
    _check(scores, alarms, y, labels, window, lengths)
    steps = np.arange(y.shape[1])
    valid = steps < lengths[:, None]
    whole = valid & (steps >= window - 1)
    on, anomalous = (alarms != 0) & valid, (y != 0) & valid
    events = [event for row in range(len(y)) for event in _events(row, y[row, : lengths[row]], len(labels), window)]
    reached = np.zeros(y.shape, bool)
    for event in events:
        reached[event.row, event.start : event.reach] = True
    figures = {
        "precision": _share(on & anomalous, on),
        "recall": _share(on & anomalous, anomalous),
        "normal_alarm_share": _share(on & ~anomalous, valid & ~anomalous),
        **_event_figures(events, on, labels),
        "peak_distance": _peak_distance(events, np.where(whole, scores, -np.inf)) if whole.any() else math.nan,
        "false_alarms": _false_alarms(on, reached),
    }
    if steps_a_week is not None:
        quiet = int((whole & ~reached).sum())
        figures["false_alarms_a_week"] = figures["false_alarms"] * steps_a_week / quiet if quiet else math.nan
    return figures


def stretches(mask: Array) -> list[tuple[int, int]]:
    """Where a mask, bool (time,), is true: (first step, step behind the last) of each stretch."""
    edges = np.flatnonzero(np.diff(mask.astype(np.int8), prepend=0, append=0))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def _events(row: int, y: Array, classes: int, window: int) -> Iterator[Event]:
    """The events of one series, in order of time. y: (steps,)."""
    found = sorted((start, end, kind) for kind in range(1, classes) for start, end in stretches(y == kind))
    for (start, end, kind), (following, *_) in pairwise([*found, (len(y), 0, 0)]):
        yield Event(row, kind, start, end, min(end + window - 1, following))


def _event_figures(events: Sequence[Event], on: Array, labels: Sequence[str]) -> dict[str, float]:
    firsts = [np.flatnonzero(on[event.row, event.start : event.reach]) for event in events]
    found = np.array([first.size > 0 for first in firsts], bool)
    kinds = np.array([event.kind for event in events], np.int64)
    delays = [int(first[0]) for first in firsts if first.size]
    figures = {
        "events": float(len(events)),
        "events_found": float(found.sum()),
        "event_recall": _mean(found),
        "delay": _mean(delays),
    }
    if len(labels) > 2:
        of_kind = {name: _mean(found[kinds == kind]) for kind, name in enumerate(labels) if kind}
        figures |= {f"event_recall_{name.replace(' ', '_')}": share for name, share in of_kind.items()}
        figures["lowest_event_recall"] = min((s for s in of_kind.values() if not math.isnan(s)), default=math.nan)
    return figures


def _peak_distance(events: Sequence[Event], scores: Array) -> float:
    row, step = divmod(int(scores.argmax()), scores.shape[1])
    distances = [max(event.start - step, step - (event.end - 1), 0) for event in events if event.row == row]
    return float(min(distances, default=math.inf))


def _false_alarms(on: Array, reached: Array) -> float:
    return float(sum(not reached[row, start:end].any() for row in range(len(on)) for start, end in stretches(on[row])))


def _share(part: Array, whole: Array) -> float:
    return float(part.sum() / whole.sum()) if whole.any() else math.nan


def _mean(values: Sequence[float] | Array) -> float:
    return float(np.mean(values)) if len(values) else math.nan


def _check(scores: Array, alarms: Array, y: Array, labels: Sequence[str], window: int, lengths: Array) -> None:
    if y.ndim != 2 or not y.size:
        raise UsageError(f"y has shape {y.shape}, but a class for every step, (series, steps), is expected")
    for name, array in (("scores", scores), ("alarms", alarms)):
        if array.shape != y.shape:
            raise UsageError(f"y has shape {y.shape}, but {name} has shape {array.shape}; one shape is expected")
    if lengths.shape != y.shape[:1] or (lengths < 1).any() or (lengths > y.shape[1]).any():
        raise UsageError(f"lengths is {lengths.tolist()}, but {len(y)} numbers from 1 to {y.shape[1]} are expected")
    if window < 1:
        raise UsageError(f"the window is {window} steps, but at least 1 is expected")
    if y.min() < 0 or y.max() >= len(labels):
        raise UsageError(f"y has classes from {y.min()} to {y.max()}, but the labels name 0 to {len(labels) - 1}")
    if not np.isfinite(scores[np.arange(y.shape[1]) < lengths[:, None]]).all():
        raise UsageError("a score is not finite, so that there is no highest one; look for such values in the series")
