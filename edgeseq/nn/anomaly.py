"""The anomaly score of a stream: of the window that ends with each step or hop, with a decision, all in the graph."""

import torch
from edgeseq_runtime.signature import BATCH, TIME, Limit, Signature, StatePair
from edgeseq_runtime.signature import Tensor as TensorSpec
from torch import Tensor

from edgeseq.nn.parts import Score, above

CLEAR = 1.0
"""How clear a decision is that is none, because no window is full yet."""


class WindowScore(Score):
    """x -> score and alarm of every step: of the window that ends with it.

    Inputs: `x` float32 (batch, time, features); `past` (batch, window − 1, features), the steps before; `seen` int64
    (batch, 1), how many steps there have been, at most the window's; where an alarm has to hold, `recent` int64
    (batch, n − 1), whether the windows before were above the threshold.
    Outputs: `score` float32 (batch, time), 0 until a window is full; `alarm` int64 (batch, time); the next states.

    With a hop of h > 1 a step is h samples: `x` (batch, time, h, features), and the window is scored that ends with
    them. `past` has the window − h samples before, and is no state where there are none; `seen` counts samples.
    """

    def forward(  # type: ignore[override]
        self,
        x: Tensor,
        past: Tensor | None = None,
        seen: Tensor | None = None,
        recent: Tensor | None = None,
        threshold: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """See above; a state that is not given starts from zeros."""
        size, hop, (needed, of) = self.config.window, self.config.hop, self.config.hold
        samples = x if hop == 1 else x.flatten(1, 2)
        if past is None:
            past = x.new_zeros(x.shape[0], size - hop, x.shape[-1])
        if seen is None:
            seen = torch.zeros_like(samples[:, :1, 0], dtype=torch.int64)
        step = torch.arange(x.shape[1], device=x.device)
        start = step if hop == 1 else step * hop
        extended = samples if hop == size else torch.cat([past, samples], 1)
        count = (seen + start + hop).clamp(max=size)
        score = torch.where(count == size, self._each(extended, start), 0.0)
        limit = self.network.threshold if threshold is None else threshold
        alarm = (above(score, limit) & (count == size)).long()
        margin = torch.where(count == size, (score - limit).abs(), CLEAR)
        after = {"past_next": extended[:, -(size - hop) :]} if hop < size else {}
        after["seen_next"] = count[:, -1:]
        if of > 1:
            recent = torch.zeros_like(seen).expand(-1, of - 1) if recent is None else recent
            known = torch.cat([recent, alarm], 1)
            alarm = (known[:, step[:, None] + torch.arange(of, device=x.device)].sum(-1) >= needed).long()
            after["recent_next"] = known[:, -(of - 1) :]
        return {"score": score, "alarm": alarm, "alarm_margin": margin, **after}

    def signature(self) -> Signature:
        """What goes in and out."""
        features, size, hop, of = self.config.shape[-1], self.config.window, self.config.hop, self.config.hold[1]
        states = [StatePair("past", "past_next", (BATCH, size - hop, features))] if hop < size else []
        states.append(StatePair("seen", "seen_next", (BATCH, 1), dtype="int64", range=(0, size + 1)))
        if of > 1:
            states.append(StatePair("recent", "recent_next", (BATCH, of - 1), dtype="int64", range=(0, 2)))
        axes = (BATCH, TIME, features) if hop == 1 else (BATCH, TIME, hop, features)
        x = TensorSpec("x", "float32", axes, draw=self.network.drawn("x"))
        return Signature(
            inputs=(self.realistic(x),),
            outputs=(
                TensorSpec("score", "float32", (BATCH, TIME), "step"),
                TensorSpec("alarm", "int64", (BATCH, TIME), "step"),
            ),
            states=tuple(states),
            limits={TIME: Limit(1, None), BATCH: Limit(1, None)},
            typical={BATCH: self.network.hints.typical.get(BATCH, 1), TIME: -(-2 * size // hop)},
            streamable=True,
        )

    def _each(self, extended: Tensor, start: Tensor) -> Tensor:
        """The scores (batch, windows) of the windows from each start on, int64 (windows,), of all samples."""
        places = start[:, None] + torch.arange(self.config.window, device=start.device)
        found = extended[:, places]
        return self.network.scores(found.flatten(0, 1)).reshape(found.shape[:2])
