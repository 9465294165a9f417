"""What a user reads of a model's outputs: label and probability, a transcript's labels, or else values."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

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
        the last), otherwise the first.
    stepwise: whether there is one answer a step.
    own_steps: whether these are steps of an answer of its own length, such as a forecast that follows the input.
    """

    def __init__(self, model: "Model") -> None:
        outputs = {t.name: t for t in model.signature.outputs}
        contract = model.contract
        self._classifies = contract is not None and contract.task == "classify" and PROBABILITIES in outputs
        self._transcribes = contract is not None and contract.task == "transcribe" and LABELS in outputs
        read = PROBABILITIES if self._classifies else LABELS if self._transcribes else model.signature.outputs[0].name
        tensor = outputs[read]
        self._labels = contract.labels if contract is not None else None
        self.output = tensor.name
        values = np.issubdtype(np.dtype(tensor.dtype), np.floating) and not (self._classifies or self._transcribes)
        self.own_steps = tensor.kind == "sequence" and len(tensor.axes) == 3 and values
        self.stepwise = tensor.kind == "step" or self.own_steps

    def columns(self, width: int) -> tuple[str, ...]:
        """The names of one answer's cells. width: values in one answer."""
        if self._classifies:
            return ("label", "probability")
        if self._transcribes:
            return (self.output,)
        return (self.output,) if width == 1 else tuple(f"{self.output}_{i}" for i in range(width))

    def cells(self, answer: Array) -> tuple[str, ...]:
        """One answer as text. answer: (classes,) or (values,)."""
        if self._classifies:
            best = int(answer.argmax())
            return self.label(best), shortest(answer[best])
        if self._transcribes:
            names = self._transcript(answer)
            return (("" if all(len(name) == 1 for name in names) else " ").join(names),)
        return tuple(shortest(value) for value in answer.flat)

    def fields(self, answer: Array) -> dict[str, Any]:
        """One answer as plain JSON values: label and probability, or labels or values under the output's name."""
        if self._classifies:
            best = int(answer.argmax())
            return {"label": self.label(best), "probability": plain(answer[best])}
        if self._transcribes:
            return {self.output: self._transcript(answer)}
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
