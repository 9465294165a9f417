"""The decoder of a sequence-to-sequence network: all steps at once beside a known target, or one step after another."""

from collections.abc import Sequence
from typing import cast

import torch
from edgeseq_export.ops import RecurrentLayer
from torch import Tensor, nn
from torch.nn import functional as F

from edgeseq.nn.attention import Attention
from edgeseq.nn.cells import StackStep

States = tuple[Tensor, ...]


class Output(nn.Module):
    """From the last layer's state, and what attention brings of the source, to scores or values.

    Luong et al. 2015, equations 5 and 6: o = W tanh(W_c [c; h]); without attention o = W h.
    """

    def __init__(self, attention: Attention | None, hidden_size: int, output_size: int, dropout: float) -> None:
        super().__init__()
        self.attention = attention
        self.combine = nn.Linear(2 * hidden_size, hidden_size) if attention is not None else None
        self.head = nn.Linear(hidden_size, output_size)
        self.dropout = nn.Dropout(dropout)

    def keys(self, memory: Tensor) -> States:
        """What every step reads of the source, beside the memory. memory: (batch, time, hidden_size)."""
        return (self.attention.keys(memory), memory) if self.attention is not None else ()

    def forward(self, h: Tensor, *fixed: Tensor) -> Tensor:
        """h: (batch, steps, hidden_size), or as many rows. fixed: keys, memory and bias, where there is attention."""
        if self.attention is not None and self.combine is not None:
            query = h.reshape(fixed[0].shape[0], -1, h.shape[-1])
            context = self.attention(query, *fixed).reshape(h.shape)
            h = torch.tanh(self.combine(torch.cat([context, h], -1)))
        return cast(Tensor, self.head(self.dropout(h)))


class DecoderStep(nn.Module):
    """One step of the decoder: step(last, *states, *fixed) -> scores or values (rows, …), and the next states.

    last: a symbol int64 (rows,), where there is an embedding, or values (rows, outputs).
    """

    def __init__(self, embedding: nn.Embedding | None, layers: Sequence[RecurrentLayer], output: Output) -> None:
        super().__init__()
        self.stack = StackStep(layers)
        self.register_buffer("embedding", None if embedding is None else embedding.weight.detach())
        self.output = output

    def forward(self, last: Tensor, *tensors: Tensor) -> States:
        """See above."""
        x = last if self.embedding is None else F.embedding(last, cast(Tensor, self.embedding))
        h, *following = self.stack(x, *tensors[: self.stack.states])
        return self.output(h, *tensors[self.stack.states :]), *following
