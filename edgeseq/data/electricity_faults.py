"""Electricity load with faults: the loads of `electricity-load`, and meters that spike, stick, drift or fall silent.

Every half-hour a device reads four numbers: the load in MW; its change against the load of a week before, in MW; sine
and cosine of the time of the day, by its clock. The week before comes out of the records, in which faults have been put
right by then: a fault has no echo a week later. The day of the week is left out, because the
change holds it.

The second to eighth week are to learn from (the first is only their week before) and the ninth to decide on, as they
were measured. The test part is the tenth to twelfth week, COPIES times, each time with one fault of every kind, in an
order, at times and of sizes drawn from a fixed seed. Between two faults of a copy lie at least two days, and before its
first one day, so that no window of a day sees two.

- spike: one or two readings are too high or too low by SIZES.
- flat line: the reading before is repeated for six to twelve hours.
- drift: the error grows step by step for one or two days, up to SIZES; then the meter is set right.
- missing hours: for two to six hours nothing is recorded. These steps are not there: the next one is that of the first
  reading after them, where load and clock have jumped, and it alone is labelled, because nothing can be known earlier.

Sizes are multiples of the deviation of the loads to learn from, about 5,600 MW, whose half-hourly steps reach 3,600 MW;
they were set once and are not fitted to a detector. The normal steps of all copies are the same three weeks: false
alarms are counted wherever faults leave a place free in one copy or another, but these are not so many independent
weeks.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from random import Random

import numpy as np

from edgeseq.data import electricity_load
from edgeseq.data.dataset import Array, Dataset, Loaded, pad
from edgeseq.data.electricity_load import COUNT, DAY, WEEK, features

SPIKE, FLAT_LINE, DRIFT, MISSING = 1, 2, 3, 4
LABELS = ("normal", "spike", "flat line", "drift", "missing hours")
FEATURES = ("load", "change", "sine", "cosine")

LENGTHS = {SPIKE: (1, 2), FLAT_LINE: (DAY // 4, DAY // 2), DRIFT: (DAY, 2 * DAY), MISSING: (DAY // 12, DAY // 4)}
"""The shortest and the longest fault, in half-hours."""

SIZES = (0.5, 1.0)
"""The smallest and the largest error of a spike, and of a drift at its end, in deviations of the loads."""

COPIES = 8

_TRAIN, _VALIDATION, _TEST = WEEK, 8 * WEEK, 9 * WEEK
"""Where these parts start."""

_SEED = 2000
_MADE = "faults injected into: "


@dataclass(frozen=True)
class Fault:
    """What goes wrong with the readings from step `start` on, `length` steps long.

    kind: SPIKE, FLAT_LINE, DRIFT or MISSING. size: in MW, the error of a spike, and of a drift at its end; else unused.
    """

    kind: int
    start: int
    length: int
    size: float


def load() -> Loaded:
    """One sequence to learn from, one to decide on, COPIES to test on, in columns as columns(); y: int64 (n, time).

    Raises:
        MissingPackageError: pmdarima is not installed.
        DamagedFileError: its file does not hold the loads.
    """
    loads, about = electricity_load._read("electricity-load-faults")
    rng, deviation = Random(_SEED), float(loads[_TRAIN:_VALIDATION].std())
    copies = [tuple(draw(rng, COUNT - _TEST, deviation)) for _ in range(COPIES)]
    train, validation = (part(loads, start, end, [()]) for start, end in ((_TRAIN, _VALIDATION), (_VALIDATION, _TEST)))
    test = part(loads, _TEST, COUNT, copies)
    content = sha256(about.sha256.encode())
    for array in (test.x[..., 0], test.y):  # neither sine nor cosine, whose last digit is the machine's own
        content.update(array.tobytes())
    about = replace(about, sha256=content.hexdigest(), citation=_MADE + about.citation)
    return Loaded(train, about, test, validation)


def draw(rng: Random, steps: int, deviation: float) -> Iterator[Fault]:
    """One fault of each kind, in any order, each in its own quarter of the steps and a day from that quarter's ends.

    Of random.Random only `random()` is used: it never changes.
    """
    quarter = steps // len(LENGTHS)
    for place, kind in enumerate(sorted(LENGTHS, key=lambda _: rng.random())):
        shortest, longest = LENGTHS[kind]
        length = shortest + _below(rng, longest - shortest + 1)
        start = place * quarter + DAY + _below(rng, quarter - 2 * DAY - length + 1)
        size = SIZES[0] + (SIZES[1] - SIZES[0]) * rng.random()
        yield Fault(kind, start, length, deviation * size * (1 if rng.random() < 0.5 else -1))


def part(loads: Array, start: int, end: int, copies: list[tuple[Fault, ...]]) -> Dataset:
    """The steps from `start` to before `end`, once for each entry of `copies`, with its faults, counted from `start`.

    loads: (steps,), at least a week before `start`. Copies with missing hours are so many steps shorter.
    """
    sequences, truths = zip(*(_copy(loads, start, end, faults) for faults in copies), strict=True)
    x, lengths = pad(sequences)
    y = np.zeros(x.shape[:2], np.int64)
    for row, truth in enumerate(truths):
        y[row, : len(truth)] = truth
    return Dataset(x, y, lengths, LABELS, steps_a_week=WEEK, features=FEATURES)


def inject(readings: Array, fault: Fault) -> Array:
    """The readings (steps,) with the fault in them; steps of missing hours as they were."""
    found, wrong = readings.copy(), slice(fault.start, fault.start + fault.length)
    if fault.kind == SPIKE:
        found[wrong] += fault.size
    elif fault.kind == FLAT_LINE:
        found[wrong] = readings[fault.start - 1]
    elif fault.kind == DRIFT:
        found[wrong] += fault.size * np.arange(1, fault.length + 1) / fault.length
    return found


def columns(readings: Array, loads: Array, start: int) -> Array:
    """What a device reads at each step, float32 (steps, 4): load, change against a week before, sine, cosine.

    readings: (steps,), what the meter says from step `start` of the loads on; loads: what there was to be measured.
    """
    before = loads[start - WEEK : start - WEEK + len(readings)]
    clock = features(loads)[start - WEEK : start - WEEK + len(readings), 1:]
    return np.concatenate([np.stack([readings, readings - before], 1), clock], 1).astype(np.float32)


def _copy(loads: Array, start: int, end: int, faults: tuple[Fault, ...]) -> tuple[Array, Array]:
    """What was recorded: x (steps, 4) and y (steps,)."""
    readings, y = loads[start:end], np.zeros(end - start, np.int64)
    recorded = np.ones(end - start, bool)
    for fault in faults:
        readings, behind = inject(readings, fault), fault.start + fault.length
        if fault.kind == MISSING:
            recorded[fault.start : behind] = False
            y[behind] = MISSING
        else:
            y[fault.start : behind] = fault.kind
    return columns(readings, loads, start)[recorded], y[recorded]


def _below(rng: Random, end: int) -> int:
    return int(rng.random() * end)
