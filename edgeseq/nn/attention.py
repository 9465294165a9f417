"""Attention: what a decoder looks back at of the source, one weight for each of its steps.

Luong, Pham and Manning, "Effective Approaches to Attention-based Neural Machine Translation", 2015, section 3.1, for
`dot` and `general`; Bahdanau, Cho and Bengio, "Neural Machine Translation by Jointly Learning to Align and Translate",
2015, appendix A.1.2, for the scores of `additive`.
"""

from typing import Literal, cast

import torch
from torch import Tensor, nn

Kind = Literal["none", "dot", "general", "additive"]
KINDS: tuple[Kind, ...] = ("none", "dot", "general", "additive")


class Attention(nn.Module):
    """Weights over the steps of a memory, and its mean by them.

    dot: score = q · m. general: q · W m. additive: v · tanh(U q + W m).

    Args:
        size: of a query, and of an entry of the memory.
    """

    def __init__(self, kind: Kind, size: int) -> None:
        super().__init__()
        self._additive = kind == "additive"
        self.memory = nn.Linear(size, size, bias=False) if kind != "dot" else None
        self.query = nn.Linear(size, size, bias=False) if self._additive else None
        self.score = nn.Linear(size, 1, bias=False) if self._additive else None

    def keys(self, memory: Tensor) -> Tensor:
        """What queries are compared with, the same for all of them: W m. memory: (batch, time, size)."""
        return memory if self.memory is None else cast(Tensor, self.memory(memory))

    def forward(self, query: Tensor, keys: Tensor, memory: Tensor, bias: Tensor) -> Tensor:
        """The memory's mean (batch, steps, size) for each query.

        query: (batch, steps, size). keys, memory: (batch, time, size). bias: (batch, time), 0 for a step that counts,
        -∞ for one behind the end of its row.
        """
        scores = self._additive_scores(query, keys) if self._additive else query @ keys.transpose(1, 2)
        return torch.softmax(scores + bias[:, None], -1) @ memory

    def _additive_scores(self, query: Tensor, keys: Tensor) -> Tensor:
        assert self.query is not None
        assert self.score is not None
        return cast(Tensor, self.score(torch.tanh(self.query(query)[:, :, None] + keys[:, None])).squeeze(-1))
