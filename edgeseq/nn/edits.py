"""How far one transcript is from another."""

from collections.abc import Sequence


def edit_distance(one: Sequence[int], other: Sequence[int]) -> int:
    """How many insertions, deletions and substitutions lead from one transcript to the other (Levenshtein 1966)."""
    above = list(range(len(other) + 1))
    for count, symbol in enumerate(one, 1):
        row = [count]
        for position, wanted in enumerate(other):
            row.append(min(row[-1] + 1, above[position + 1] + 1, above[position] + (symbol != wanted)))
        above = row
    return above[-1]
