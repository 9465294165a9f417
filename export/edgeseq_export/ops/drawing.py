"""Drawing symbols from a distribution inside the graph, by noise that is an input."""

import torch
from torch import Tensor
from torch.nn import functional as F

from edgeseq_export.ops.largest import largest

_COLDEST = 1e-6


def draw(logits: Tensor, noise: Tensor, temperature: Tensor, top_k: Tensor) -> tuple[Tensor, Tensor]:
    """A symbol for each row by inverting the cumulative distribution, the likeliest first; and how clear that was.

    logits: (batch, symbols). noise: (batch, 1), uniform in [0, 1). temperature: (batch, 1), above 0, or 0 for the
    likeliest. top_k: int64 (batch, 1), among how many of the likeliest to draw (Fan et al. 2018); below 1: all.

    Returns: the symbol, int64 (batch, 1); its margin (batch, 1): how far the noise was from drawing another, or, where
        that is less, how far another was from being exactly as likely.
    """
    count = logits.shape[-1]
    ordered, symbols = largest(logits / temperature.clamp(min=_COLDEST), count)
    allowed = torch.where(top_k < 1, count, top_k.clamp(max=count))
    weights = torch.exp(ordered - ordered[:, :1]) * (torch.arange(count, device=logits.device) < allowed)
    reached = weights.cumsum(-1)
    place = (reached <= noise * reached[:, -1:]).sum(-1, keepdim=True)
    last = (reached < reached[:, -1:]).sum(-1, keepdim=True)
    place = torch.minimum(place, last)  # noise just below 1 can round to the very end
    gaps = F.pad(ordered[:, :-1] - ordered[:, 1:], (1, 1), value=torch.inf)
    alike = torch.minimum(gaps[:, :-1], gaps[:, 1:]).gather(-1, place)
    near = (noise - reached / reached[:, -1:]).abs().amin(-1, keepdim=True)
    return symbols.gather(-1, place), torch.minimum(alike, near)
