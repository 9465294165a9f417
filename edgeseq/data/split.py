"""Dividing a dataset: by group where there are groups, by class where there are classes, always seeded."""

from collections.abc import Sequence

import numpy as np
from edgeseq_runtime.errors import UsageError

from edgeseq.data.dataset import Array, Dataset, Loaded, Parts

TEST_SHARE = 0.2
"""Put aside for the test where a source has no test part of its own and the recipe says nothing."""

VALIDATION_SHARE = 0.2
"""Of the rest, what training decides on, likewise."""


def split(loaded: Loaded, test: float | None, validation: float | None, seed: int) -> Parts:
    """Train, validation and test part. test, validation: shares, the second of what the first leaves.

    Raises:
        UsageError: a share for a part that the source brings itself; too few examples.
    """
    for name, part, share in (("test", loaded.test, test), ("validation", loaded.validation, validation)):
        if part is not None and share is not None:
            raise UsageError(
                f"{loaded.about.name} comes with its own {name} part; leave '{name}' out of the table 'data'"
            )
    train, aside, decide = loaded.whole, loaded.test, loaded.validation
    if aside is None:
        train, aside = cut(train, TEST_SHARE if test is None else test, seed)
    if decide is None:
        train, decide = cut(train, VALIDATION_SHARE if validation is None else validation, seed + 1)
    return Parts(train, decide, aside, loaded.about)


def cut(data: Dataset, share: float, seed: int) -> tuple[Dataset, Dataset]:
    """Put a share of the examples aside: (the rest, the share), each in the order it had.

    Whole groups where the data has them; else the same share of every class, so that no class is missing;
    else any.
    """
    rng = np.random.default_rng(seed)
    if data.groups is not None:
        names = np.unique(data.groups)
        aside = np.isin(data.groups, _pick(names, share, rng))
    else:
        aside = np.zeros(len(data), bool)
        for members in _strata(data):
            aside[_pick(members, share, rng)] = True
    if aside.all() or not aside.any():
        what = f"{len(np.unique(data.groups))} groups" if data.groups is not None else f"{len(data)} examples"
        raise UsageError(f"a share of {share} cannot be put aside from {what}; more are needed")
    return data.rows(np.flatnonzero(~aside)), data.rows(np.flatnonzero(aside))


def folds(data: Dataset, count: int, seed: int) -> list[tuple[Dataset, Dataset]]:
    """Cut into parts of equal size and hold each out once: (the rest, what is held out), each in the order it had.

    Whole groups where the data has them; else each class in equal shares, one example alone always in the rest; else
    any.

    Raises:
        UsageError: fewer groups or examples than folds.
    """
    rng = np.random.default_rng(seed)
    if data.groups is not None:
        names, member = np.unique(data.groups, return_inverse=True)
        place = _deal([np.arange(len(names))], len(names), count, rng)[member]
    else:
        place = _deal([members for members in _strata(data) if len(members) > 1], len(data), count, rng)
    if missing := count - len(np.unique(place[place >= 0])):
        what = f"{len(np.unique(data.groups))} groups" if data.groups is not None else f"{len(data)} examples"
        most = max(count - missing, 1)
        raise UsageError(f"'folds' of the table 'tune' is {count}, but it must be from 1 to {most} with {what}")
    return [
        (data.rows(np.flatnonzero(place != fold)), data.rows(np.flatnonzero(place == fold))) for fold in range(count)
    ]


def _deal(strata: Sequence[Array], size: int, count: int, rng: np.random.Generator) -> Array:
    """Which fold each of `size` is in, int64: those of a stratum are dealt out in turn; -1 for what is in none."""
    place = np.full(size, -1)
    dealt = 0
    for members in strata:
        place[rng.permutation(members)] = (dealt + np.arange(len(members))) % count
        dealt += len(members)
    return place


def _strata(data: Dataset) -> list[Array]:
    if data.task == "classify" and not data.stepwise:
        return [np.flatnonzero(data.y == label) for label in np.unique(data.y)]
    return [np.arange(len(data))]


def _pick(members: Array, share: float, rng: np.random.Generator) -> Array:
    """A random share of the members, at least one and never all, none where there is only one."""
    count = min(max(round(share * len(members)), 1), len(members) - 1)
    return rng.permutation(members)[:count]
