"""Connectionist temporal classification: loss, and greedy decoding in the graph.

Graves, Fernández, Gomez and Schmidhuber, "Connectionist Temporal Classification", 2006. The blank is the last class.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

PADDING = -1
"""Behind the last label of a row."""


def ctc_loss(logits: Tensor, lengths: Tensor, y: Tensor, y_lengths: Tensor) -> Tensor:
    """The mean over rows of −log p(labels) / their number; a row too short for its labels adds nothing to the mean.

    logits: (batch, frames, classes + 1). lengths, of frames, and y_lengths: int64 (batch,). y: int64 (batch, longest).
    """
    log_probabilities = logits.log_softmax(-1).transpose(0, 1)
    return F.ctc_loss(log_probabilities, y, lengths, y_lengths, blank=logits.shape[-1] - 1, zero_infinity=True)


def greedy(logits: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """The labels on the most probable path: repeats joined, blanks left out (section 3.2, "best path decoding").

    logits: (batch, frames, classes + 1). lengths: int64 (batch,), how many frames of each row count.

    Returns: labels int64 (batch, frames), packed to the left, PADDING behind; their number int64 (batch,).
    """
    frames, blank = logits.shape[1], logits.shape[2] - 1
    best = logits.argmax(-1)
    before = F.pad(best, (1, 0), value=blank)[:, :-1]
    frame = torch.arange(frames, device=logits.device)
    kept = (frame < lengths[:, None]) & (best != blank) & (best != before)
    # what is left out goes behind the frames, each to a place of its own: ONNX leaves open what two in one place do
    place = torch.where(kept, kept.long().cumsum(1) - 1, frames + frame)
    labels = torch.full_like(torch.cat([best, best], 1), PADDING).scatter(1, place, torch.where(kept, best, PADDING))
    return labels[:, :frames], kept.long().sum(1)
