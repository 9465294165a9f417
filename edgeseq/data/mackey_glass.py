"""Mackey-Glass: a chaotic series of one value, x' = 0.2 x(t−17) / (1 + x(t−17)^10) − 0.1 x, with 17 steps of delay.

The next value is to be forecast, or the tenth next. The sequences are windows of one clean series; every window starts
with WARMUP steps that let a network's state settle and need not be scored, and those after them are scored in no other
window. The parts follow each other in time, and no value of one lies in another, as input or as target.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from edgeseq.data.chaos import LICENCE, fingerprint, generate, windows
from edgeseq.data.dataset import About, Array, Loaded

WARMUP = 100
SCORED = 200

LYAPUNOV_STEPS = 1 / 0.00496
"""The largest Lyapunov exponent of the generated series, found by its linearised steps: 0.00496 a step.

That of the equation is 0.0056. The generator's step is a little shorter than a time unit and not quite Runge-Kutta's.
"""

_FURTHEST = 10
_DISCARDED = 300
_COUNTS = (10, 5, 5)
"""Windows of the training, validation and test part."""

_SETTINGS: Mapping[str, Any] = {"tau": 17, "a": 0.2, "b": 0.1, "n": 10, "x0": 1.2, "h": 1.0, "seed": 0}
_CITATION = (
    "M. C. Mackey and L. Glass: Oscillation and chaos in physiological control systems. Science 197, 1977, "
    "pages 287-289; with a delay of 17 steps"
)


def load() -> Loaded:
    """The next value at every step, y(t) = x(t+1). x and y: float32 (n, 300, 1)."""
    return _load("mackey-glass", 1)


def load_ten_ahead() -> Loaded:
    """The same windows with y(t) = x(t+10)."""
    return _load("mackey-glass-10", 10)


def bounds() -> Array:
    """Where the parts start, and where the last one ends, in steps of the series: int64 (4,)."""
    sizes = [WARMUP + count * SCORED + _FURTHEST for count in _COUNTS]
    return np.cumsum([_DISCARDED, *sizes])


def generate_series() -> Array:
    """The whole series, float64 (steps, 1). Raises MissingPackageError where reservoirpy is not installed."""
    return generate("mackey_glass", n_timesteps=int(bounds()[-1]), **_SETTINGS)


def _load(name: str, ahead: int) -> Loaded:
    series = generate_series()
    pieces = [series[start : end - _FURTHEST + ahead] for start, end in pairwise(bounds())]
    train, validation, test = (windows(piece, WARMUP + SCORED, SCORED, ahead, LYAPUNOV_STEPS) for piece in pieces)
    described = {**_SETTINGS, "bounds": bounds().tolist(), "warmup": WARMUP, "scored": SCORED, "ahead": ahead}
    return Loaded(train, About(name, fingerprint(described), _CITATION, LICENCE), test, validation)
