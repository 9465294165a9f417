"""What the families share whose input is one array of a fixed shape: an image, a window, or a row of features."""

from typing import Any, ClassVar

from edgeseq_runtime.errors import UsageError
from edgeseq_runtime.signature import BATCH, Limit, Signature
from edgeseq_runtime.signature import Tensor as TensorSpec

from edgeseq.data import Dataset
from edgeseq.nn.dense import check_sizes
from edgeseq.nn.network import Network, check_choice, check_common, one_answer


class ArrayNetwork(Network):
    """Base of the families with one input `x`, float32 (batch, *input_shape), and one answer an example."""

    timeless: ClassVar[bool] = True

    @classmethod
    def sizes(cls, data: Dataset) -> dict[str, Any]:
        """The shape of an example, and classes or values. Raises UsageError for tokens, and for an answer a step."""
        if data.tokens:
            raise UsageError(
                "this family takes numbers, but x holds token ids; whole numbers (n, features) are read as token ids: "
                "save x as float32"
            )
        one_answer(data)
        return {"input_shape": list(data.x.shape[1:]), **super().sizes(data)}

    def signature(self) -> Signature:
        """What goes in and out, with the hints of the training data."""
        return Signature(
            inputs=(TensorSpec("x", "float32", (BATCH, *self.config.input_shape), draw=self.drawn("x")),),
            outputs=self.answers("sequence"),
            limits={BATCH: Limit(1, None)},
            typical={BATCH: self.hints.typical.get(BATCH, 1)},
            reason="it takes one array at a time; there are no steps to stream",
        )


def statistics_shape(input_shape: list[int]) -> tuple[int, ...]:
    """Of what one mean and deviation is kept: of each entry of a row of features, else of all entries together.

    The entries of an image are one quantity, and one at its edge that hardly ever varies must not be blown up.
    """
    return tuple(input_shape) if len(input_shape) == 1 else ()


def check_array(config: Any) -> None:
    """Raise UsageError where the keys that these families share are out of range."""
    check_common(config)
    check_choice("task", config.task, ("classify", "forecast"))
    check_choice("activation", config.activation, ("sigmoid", "tanh", "relu", "gelu"))
    check_sizes("input_shape", config.input_shape)
    if not config.input_shape:
        raise UsageError("input_shape is empty, but an example has at least one axis")
