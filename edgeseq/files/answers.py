"""What a user reads of a model's outputs: label and probability, a transcript's labels, an alarm, or else values."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from edgeseq_runtime.signature import TIME
from numpy.typing import NDArray

from edgeseq.files.hops import ALARM, SCORE, hop_of, window_of

if TYPE_CHECKING:
    from edgeseq_runtime import Model

Array = NDArray[Any]

PROBABILITIES = "probabilities"
LABELS = "labels"
ANSWER_LENGTH = "answer_length"
"""The output that says how many steps an answer of its own length has, where a model has learned when to stop."""


class Answers:
    """How one model's answer is read.

    output: the output that is read: `probabilities` of a classifier, `labels` of a transcript (class numbers, -1 behind
        the last), `score` of an alarm, which stands beside it, otherwise the first.
    stepwise: whether there is one answer a step.
    own_steps: whether these are steps of an answer of its own length, such as a forecast that follows the input.
    window: how many samples it takes until there is a score; None: there is one from the first on, or never.
    hop: samples a step of the outputs.
    """

    def __init__(self, model: "Model") -> None:
        outputs = {t.name: t for t in model.signature.outputs}
        contract = model.contract
        task = contract.task if contract is not None else ""
        self._classifies = task in ("classify", "rebuild") and PROBABILITIES in outputs
        self._transcribes = task == "transcribe" and LABELS in outputs
        self._alarms = task == "rebuild" and SCORE in outputs and ALARM in outputs
        read = PROBABILITIES if self._classifies else LABELS if self._transcribes else model.signature.outputs[0].name
        tensor = outputs[SCORE if self._alarms else read]
        self.window = window_of(model) if self._alarms else None
        self.hop = hop_of(model)
        self._labels = contract.labels if contract is not None else None
        self.output = tensor.name
        values = np.issubdtype(np.dtype(tensor.dtype), np.floating) and not (self._classifies or self._transcribes)
        steps = tensor.kind == "sequence" and len(tensor.axes) == 3 and values
        self.own_steps = steps and tensor.axes[1] != TIME
        self.stepwise = tensor.kind == "step" or steps

    def read(self, outputs: Mapping[str, Array], seen: Array | int = 0) -> Array:
        """The output that is read, (batch, …) or (batch, time, …); of an alarm (…, 3): score, alarm, and 1 where there
        is a score, else 0: while no window is full.

        seen: the samples that each row has had before, int64 (batch, 1).
        """
        array = outputs[self.output]
        if not self._alarms:
            return array
        there = np.ones_like(array)
        if self.window is not None:
            count = np.asarray(seen).reshape(-1, 1) + self.hop * (1 + np.arange(array.shape[1]))
            there[:] = count >= self.window
        return np.stack([array, outputs[ALARM].astype(array.dtype), there], -1)

    def columns(self, width: int) -> tuple[str, ...]:
        """The names of one answer's cells. width: values in one answer."""
        if self._classifies:
            return ("label", "probability")
        if self._transcribes:
            return (self.output,)
        if self._alarms:
            return (SCORE, ALARM)
        return (self.output,) if width == 1 else tuple(f"{self.output}_{i}" for i in range(width))

    def cells(self, answer: Array) -> tuple[str, ...]:
        """One answer as text; a score that is not there yet is empty. answer: (classes,) or (values,)."""
        if self._classifies:
            best = int(answer.argmax())
            return self.label(best), shortest(answer[best])
        if self._transcribes:
            names = self._transcript(answer)
            return (("" if all(len(name) == 1 for name in names) else " ").join(names),)
        if self._alarms:
            return (shortest(answer[0]) if answer[2] else ""), str(int(answer[1]))
        return tuple(shortest(value) for value in answer.flat)

    def fields(self, answer: Array) -> dict[str, Any]:
        """One answer as plain JSON values: label and probability, score and alarm, or values under the output's name.

        A score that is not there yet is None, and so is one that is not finite, which JSON cannot say.
        """
        if self._classifies:
            best = int(answer.argmax())
            return {"label": self.label(best), "probability": plain(answer[best])}
        if self._transcribes:
            return {self.output: self._transcript(answer)}
        if self._alarms:
            return {SCORE: plain(answer[0]) if answer[2] else None, ALARM: int(answer[1])}
        return {self.output: [plain(value) for value in answer.flat]}

    def _transcript(self, answer: Array) -> list[str]:
        return [self.label(int(number)) for number in answer if number >= 0]

    def label(self, index: int) -> str:
        """The name of a class, or its number where the contract names none."""
        return self._labels[index] if self._labels is not None else str(index)


def shortest(value: np.generic) -> str:
    """A number in the fewest digits that read back as the same number."""
    return str(value.item()) if value.dtype.kind in "iub" else str(value)


def plain(value: np.generic) -> float | int | None:
    """A number as JSON holds it: 0.1 and not 0.10000000149; None where it is not finite."""
    if value.dtype.kind in "iub":
        return int(value.item())
    return float(str(value)) if np.isfinite(value) else None
