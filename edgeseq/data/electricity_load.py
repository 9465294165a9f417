"""Electricity load: 4,032 half-hourly loads of England and Wales, 12 weeks from Monday, 5 June 2000, in MW.

At every half-hour the next 48 are to be forecast. The weekly seasonal naive forecast, the load one week before, is
given as a baseline. What a step reads besides, a device knows: how far the load is above that of a week before, and the
time of the day. The load itself and the day of the week are left out, because the baseline holds both. Eight weeks are
to learn from, the next two to decide on, and the last two to test on. The numbers are read out of the text of a module
of pmdarima, which is not imported.

The same loads are there as pairs of sequences: a week of what a step reads, and the two days behind it. What is to be
answered is how far each of these loads is above a first forecast: the load one week before, and what the last day was
above its own week before, on average, of which each day ahead leaves a share (PERSISTENCE). A device knows both and
adds them, so that errors are those of the load, and the naive forecast is the same as above, also for the second day.
No bank holiday lies in these twelve weeks.
"""

import ast
from hashlib import sha256

import numpy as np
from edgeseq_runtime.errors import DamagedFileError

from edgeseq.data.dataset import About, Array, Dataset, Loaded
from edgeseq.data.packages import package_file

DAY, WEEK = 48, 7 * 48
"""Half-hours."""

HORIZON = DAY
AHEAD = 2 * DAY
"""How far one sequence of answers reaches, where a week is read and two days are forecast."""

PERSISTENCE = 0.85
"""How much of the last day's level is still there a day later. Of the values from 0.5 to 1 in steps of 0.05 it has the
smallest error on the validation part."""

COUNT = 12 * WEEK

_VERSION = "2.1.1"
_CITATION = (
    "J. W. Taylor: Short-Term Electricity Demand Forecasting Using Double Seasonal Exponential Smoothing. "
    "Journal of the Operational Research Society 54, 2003, pages 799-805"
)
_LICENCE = f"provided by J. W. Taylor for the R package forecast; read from the file packaged in pmdarima {_VERSION}"

_VALIDATION, _TEST = 8 * WEEK, 10 * WEEK
"""Where these parts start: no earlier load is a target of theirs, and no later one of the part before."""

_WINDOW, _STRIDE = 4 * DAY, DAY // 2
"""Sequences to learn from are so long, and start so far apart; the test part is one sequence."""

_APART = DAY // 12
"""Pairs of sequences to learn from and to decide on start so far apart; those of the test part at every half-hour."""


def load() -> Loaded:
    """Windows of the first eight weeks, of the next two, and the last two as one sequence.

    Raises:
        MissingPackageError: pmdarima is not installed.
        DamagedFileError: its file does not hold the loads.
    """
    loads, about = _read("electricity-load")
    train = windows(loads, WEEK, _VALIDATION, _WINDOW, _STRIDE)
    validation = windows(loads, _VALIDATION - 1, _TEST, _WINDOW, _STRIDE)
    test = windows(loads, _TEST - 1, COUNT, COUNT - HORIZON - _TEST + 1, 1)
    return Loaded(train, about, test, validation)


def load_weeks() -> Loaded:
    """A week and the two days behind it: targets of the first eight weeks, of the next two, and of the last two.

    What is read may be older than its part, as on a device; no target is one in two parts. Raises as load().
    """
    loads, about = _read("electricity-load-week")
    train = pairs(loads, 2 * WEEK - 1, _VALIDATION, _APART)
    validation = pairs(loads, _VALIDATION - 1, _TEST, _APART)
    return Loaded(train, about, pairs(loads, _TEST - 1, COUNT, 1), validation)


def _read(name: str) -> tuple[Array, About]:
    """The loads, and where they come from."""
    content = package_file("pmdarima", _VERSION, "pmdarima/datasets/taylor.py").read_bytes()
    return parse(content), About(name, sha256(content).hexdigest(), _CITATION, _LICENCE)


def parse(content: bytes) -> Array:
    """The loads, float64 (4032,), in MW: the one long list in the module's text. Raises DamagedFileError."""
    try:
        lists = [node for node in ast.walk(ast.parse(content)) if isinstance(node, ast.List)]
        loads = np.array(max((ast.literal_eval(node) for node in lists), key=len), np.float64)
    except (SyntaxError, ValueError, TypeError) as error:
        raise DamagedFileError(f"taylor.py of pmdarima does not hold a list of loads: {error}") from error
    if loads.shape != (COUNT,):
        raise DamagedFileError(f"taylor.py of pmdarima holds {loads.size} loads, but {COUNT} are expected")
    return loads


def windows(loads: Array, start: int, end: int, length: int, stride: int) -> Dataset:
    """Sequences of `length` steps, the first from step `start`, `stride` apart; all targets lie before step `end`.

    loads: (steps,); at least a week before `start`. x: (n, length, 3); y, naive and baseline: (n, length, 48).
    """
    starts = np.arange(start, end - HORIZON - length + 1, stride)
    steps = starts[:, None] + np.arange(length)
    ahead = steps[:, :, None] + np.arange(1, HORIZON + 1)
    y, naive = (loads[index].astype(np.float32) for index in (ahead, ahead - WEEK))
    x = features(loads)[steps - WEEK]
    return Dataset(x, y, np.full(len(x), length, np.int64), naive=naive, more={"baseline": naive})


def pairs(loads: Array, start: int, end: int, stride: int) -> Dataset:
    """A week and the two days behind it, the first week up to and with step `start`, `stride` apart.

    All targets lie before step `end`. loads: (steps,); at least two weeks up to and with `start`. x: (n, 336, 3), as
    features(). y: (n, 96, 1), the loads less the first forecast, in MW. naive: (n, 96, 1), the load of a week before
    less the first forecast.
    """
    last = np.arange(start, end - AHEAD, stride)[:, None]
    changes = features(loads)
    x = changes[last + np.arange(1 - WEEK, 1) - WEEK]
    fading = PERSISTENCE ** (np.arange(1, AHEAD + 1, dtype=np.float32) / DAY)
    level = x[:, -DAY:, :1].mean(1, keepdims=True) * fading[:, None]
    y = changes[last + np.arange(1, AHEAD + 1) - WEEK][:, :, :1] - level
    lengths, y_lengths = (np.full(len(x), steps, np.int64) for steps in (WEEK, AHEAD))
    return Dataset(x, y, lengths, y_lengths=y_lengths, naive=-level)


def features(loads: Array) -> Array:
    """What each step from the second week on reads, float32 (steps − 336, 3).

    In columns: the change of the load against a week before, in MW; sine and cosine of the time of the day.
    """
    phase = 2 * np.pi * np.arange(WEEK, len(loads)) / DAY
    return np.stack([loads[WEEK:] - loads[:-WEEK], np.sin(phase), np.cos(phase)], 1).astype(np.float32)
