"""Lorenz: the chaotic flow x' = 10 (y − x), y' = x (28 − z) − y, z' = xy − 8/3 z, three values every 0.02 time units.

The next values are to be forecast. Every trajectory has a start of its own, WARMUP steps that let a network's state
settle and FREE steps that are scored, one step ahead or as a free run; those to learn from are cut into windows that
each begin with WARMUP steps and score SCORED, every step once. An error grows e-fold in
LYAPUNOV_STEPS steps: rounding is not visible in trajectories as short as these, but would make a long one another one
on every machine.
"""

from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

import numpy as np

from edgeseq.data.chaos import LICENCE, fingerprint, generate, windows
from edgeseq.data.dataset import About, Array, Dataset, Loaded

WARMUP = 100
FREE = 800
SCORED = 200

STEP = 0.02
"""Time units between two steps."""

LYAPUNOV_STEPS = 1 / (0.9056 * STEP)
"""The largest Lyapunov exponent is 0.9056 (D. Viswanath 1998; J. C. Sprott 2003)."""

_COUNTS = (8, 8, 20)
"""Trajectories of the training, validation and test part; those of the first are cut into windows."""

_DISCARDED = 250
"""The first steps of a trajectory, in which it comes to the attractor."""

_SEED = 1963
_CENTRE, _REACH = (0.0, 0.0, 25.0), 10.0
_SETTINGS: Mapping[str, Any] = {"sigma": 10.0, "rho": 28.0, "beta": 8 / 3}
_SOLVER: Mapping[str, Any] = {"method": "DOP853", "rtol": 1e-10, "atol": 1e-10}
_CITATION = (
    "E. N. Lorenz: Deterministic nonperiodic flow. Journal of the Atmospheric Sciences 20, 1963, pages 130-141; "
    "integrated with error bounds of 1e-10 a step"
)


def load() -> Loaded:
    """The next values at every step, y(t) = x(t+1). x and y: float32 (n, 900, 3), to learn from (n, 300, 3).

    Raises:
        MissingPackageError: reservoirpy is not installed.
    """
    starts = _starts()
    scored = (SCORED, FREE, FREE)
    train, validation, test = (
        _part([next(starts) for _ in range(count)], steps) for count, steps in zip(_COUNTS, scored, strict=True)
    )
    described = {**_SETTINGS, **_SOLVER, "counts": _COUNTS, "discarded": _DISCARDED, "warmup": WARMUP, "free": FREE}
    described |= {"scored": SCORED, "step": STEP, "seed": _SEED, "centre": _CENTRE, "reach": _REACH}
    return Loaded(train, About("lorenz", fingerprint(described), _CITATION, LICENCE), test, validation)


def trajectory(start: tuple[float, ...], steps: int) -> Array:
    """float64 (steps, 3), STEP apart, the first at `start`."""
    h = STEP * (steps - 1) / steps  # the generator divides the time of `steps` steps by one step less
    return generate("lorenz", n_timesteps=steps, x0=list(start), h=h, **_SETTINGS, **_SOLVER)


def _starts() -> Iterator[tuple[float, ...]]:
    """Points near the attractor. Of random.Random only `random()` is used: it never changes."""
    rng = Random(_SEED)
    while True:
        yield tuple(middle + _REACH * (2 * rng.random() - 1) for middle in _CENTRE)


def _part(starts: list[tuple[float, ...]], scored: int) -> Dataset:
    """Windows of a trajectory from each start, whose `scored` last steps are scored in no other."""
    series = [trajectory(start, _DISCARDED + WARMUP + FREE + 1)[_DISCARDED:] for start in starts]
    each = [windows(one, WARMUP + scored, scored, 1, LYAPUNOV_STEPS) for one in series]
    x, y, lengths = (np.concatenate([getattr(data, name) for data in each]) for name in ("x", "y", "lengths"))
    return Dataset(x, y, lengths, lyapunov_steps=LYAPUNOV_STEPS)
