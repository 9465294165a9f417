"""How far one transcript is from another, and what that says of many."""

from collections.abc import Sequence

import torch
from torch import Tensor


def edit_distance(one: Sequence[int], other: Sequence[int]) -> int:
    """How many insertions, deletions and substitutions lead from one transcript to the other (Levenshtein 1966)."""
    above = list(range(len(other) + 1))
    for count, symbol in enumerate(one, 1):
        row = [count]
        for position, wanted in enumerate(other):
            row.append(min(row[-1] + 1, above[position + 1] + 1, above[position] + (symbol != wanted)))
        above = row
    return above[-1]


def edit_figures(said: Sequence[Sequence[int]], right: Sequence[Sequence[Sequence[int]]]) -> dict[str, Tensor]:
    """Figures of transcripts, one a row, beside all that count as right for each row.

    `sequence_accuracy`, the share that is right as a whole; the means of `edits` to the nearest right one, and of its
    `symbols`: over all rows edits / symbols is the label error rate (Graves et al. 2006, equation 1).
    """
    nearest = [
        min((edit_distance(one, answer), len(answer)) for answer in answers)
        for one, answers in zip(said, right, strict=True)
    ]
    edits, symbols = torch.tensor(nearest, dtype=torch.float32).unbind(1)
    return {"sequence_accuracy": (edits == 0).float().mean(), "edits": edits.mean(), "symbols": symbols.mean()}
