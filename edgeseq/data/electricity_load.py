"""Electricity load: 4,032 half-hourly loads of England and Wales, 12 weeks from Monday, 5 June 2000, in MW.

At every half-hour the next 48 are to be forecast. The weekly seasonal naive forecast, the load one week before, is
given as a baseline. What a step reads besides, a device knows: how far the load is above that of a week before, and the
time of the day. The load itself and the day of the week are left out, because the baseline holds both. Eight weeks are
to learn from, the next two to decide on, and the last two to test on. The numbers are read out of the text of a module
of pmdarima, which is not imported.
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


def load() -> Loaded:
    """Windows of the first eight weeks, of the next two, and the last two as one sequence.

    Raises:
        MissingPackageError: pmdarima is not installed.
        DamagedFileError: its file does not hold the loads.
    """
    content = package_file("pmdarima", _VERSION, "pmdarima/datasets/taylor.py").read_bytes()
    loads = parse(content)
    train = windows(loads, WEEK, _VALIDATION, _WINDOW, _STRIDE)
    validation = windows(loads, _VALIDATION - 1, _TEST, _WINDOW, _STRIDE)
    test = windows(loads, _TEST - 1, COUNT, COUNT - HORIZON - _TEST + 1, 1)
    about = About("electricity-load", sha256(content).hexdigest(), _CITATION, _LICENCE)
    return Loaded(train, about, test, validation)


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


def features(loads: Array) -> Array:
    """What each step from the second week on reads, float32 (steps − 336, 3).

    In columns: the change of the load against a week before, in MW; sine and cosine of the time of the day.
    """
    phase = 2 * np.pi * np.arange(WEEK, len(loads)) / DAY
    return np.stack([loads[WEEK:] - loads[:-WEEK], np.sin(phase), np.cos(phase)], 1).astype(np.float32)
