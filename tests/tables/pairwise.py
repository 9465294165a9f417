"""Tables of factors: all combinations, and the subset of them that the quick tests run."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import pytest

Case = dict[str, Any]


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
