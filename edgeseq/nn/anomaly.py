"""The anomaly score of a stream: of the window that ends with each step, with a decision, all in the graph."""

import torch
from edgeseq_runtime.signature import BATCH, TIME, Limit, Signature, StatePair
from edgeseq_runtime.signature import Tensor as TensorSpec
from torch import Tensor

from edgeseq.nn.parts import Score

CLEAR = 1.0
"""How clear a decision is that is none, because no window is full yet."""


class WindowScore(Score):
    """x -> score and alarm of every step: of the window that ends with it.

    Inputs: `x` float32 (batch, time, features); `past` (batch, window − 1, features), the steps before; `seen` int64
    (batch, 1), how many steps there have been, at most the window's; where an alarm has to hold, `recent` int64
    (batch, n − 1), whether the windows before were above the threshold.
    Outputs: `score` float32 (batch, time), 0 until a window is full; `alarm` int64 (batch, time); the next states.
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
        size, (needed, of) = self.config.window, self.config.hold
        if past is None:
            past = x.new_zeros(x.shape[0], size - 1, x.shape[2])
        if seen is None:
            seen = torch.zeros_like(x[:, :1, 0], dtype=torch.int64)
        step = torch.arange(x.shape[1], device=x.device)
        extended = torch.cat([past, x], 1)
        count = (seen + step + 1).clamp(max=size)
        score = torch.where(count == size, self._each(extended, step), 0.0)
        above = score - (self.network.threshold if threshold is None else threshold)
        alarm = ((above > 0) & (count == size)).long()
        margin = torch.where(count == size, above.abs(), CLEAR)
        after = {"past_next": extended[:, -(size - 1) :], "seen_next": count[:, -1:]}
        if of > 1:
            recent = torch.zeros_like(seen).expand(-1, of - 1) if recent is None else recent
            known = torch.cat([recent, alarm], 1)
            alarm = (known[:, step[:, None] + torch.arange(of, device=x.device)].sum(-1) >= needed).long()
            after["recent_next"] = known[:, -(of - 1) :]
        return {"score": score, "alarm": alarm, "alarm_margin": margin, **after}

    def signature(self) -> Signature:
        """What goes in and out."""
        features, size, of = self.config.shape[-1], self.config.window, self.config.hold[1]
        states = [
            StatePair("past", "past_next", (BATCH, size - 1, features)),
            StatePair("seen", "seen_next", (BATCH, 1), dtype="int64"),
        ]
        if of > 1:
            states.append(StatePair("recent", "recent_next", (BATCH, of - 1), dtype="int64"))
        x = TensorSpec("x", "float32", (BATCH, TIME, features), draw=self.network.drawn("x"))
        return Signature(
            inputs=(self.realistic(x),),
            outputs=(
                TensorSpec("score", "float32", (BATCH, TIME), "step"),
                TensorSpec("alarm", "int64", (BATCH, TIME), "step"),
            ),
            states=tuple(states),
            limits={TIME: Limit(1, None), BATCH: Limit(1, None)},
            typical={BATCH: self.network.hints.typical.get(BATCH, 1), TIME: size},
            streamable=True,
        )

    def _each(self, extended: Tensor, step: Tensor) -> Tensor:
        """The scores (batch, time) of the windows that end with each step. extended: with the steps before."""
        places = step[:, None] + torch.arange(self.config.window, device=step.device)
        found = extended[:, places]
        return self.network.scores(found.flatten(0, 1)).reshape(found.shape[:2])
