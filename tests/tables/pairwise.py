"""Tables of factors: all combinations, and the subset of them that the quick tests run."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, product
from typing import Any

import numpy as np
import pytest

Case = dict[str, Any]


def crossed(factors: Mapping[str, Sequence[Any]], names: Sequence[str], seed: int = 0) -> list[Case]:
    """Every combination of the named factors, each with values of the others drawn, so that their pairs occur too."""
    rng = np.random.default_rng(seed)
    others = [name for name in factors if name not in names]
    return [
        dict(zip(names, values, strict=True))
        | {name: factors[name][rng.integers(len(factors[name]))] for name in others}
        for values in product(*(factors[name] for name in names))
    ]


def pairs(case: Case) -> set[frozenset[Any]]:
    """All pairs of factors in a case, with their values."""
    return {frozenset(pair) for pair in combinations(sorted((k, str(v)) for k, v in case.items()), 2)}


def pairwise(grid: Sequence[Case]) -> list[int]:
    """The numbers of cases in which every pair that the grid has occurs, chosen greedily."""
    each = [pairs(case) for case in grid]
    missing: set[frozenset[Any]] = set().union(*each)
    chosen: list[int] = []
    while missing:
        best = max(range(len(grid)), key=lambda i: len(each[i] & missing))
        chosen.append(best)
        missing -= each[best]
    return chosen


def parametrised(grid: Sequence[Case]) -> Iterator[Any]:
    """Every case as a pytest parameter; those beyond the pairwise subset are marked `full`."""
    subset = set(pairwise(grid))
    for index, case in enumerate(grid):
        marks = [] if index in subset else [pytest.mark.full]
        yield pytest.param(case, id="-".join(str(value) for value in case.values()), marks=marks)
