"""The protocol every family implements, and the hints that a trained model carries for its contract."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from edgeseq_runtime.signature import Signature
from numpy.typing import NDArray
from torch import Tensor

Batch = Mapping[str, Tensor]


@dataclass(frozen=True)
class Hints:
    """What training learnt about the data and a device wants to know.

    labels: class names in the order of the logits. draw: by input name, how to make a realistic random input
    (see edgeseq_runtime.signature.Tensor). typical: by axis name, the size in ordinary use.
    """

    labels: tuple[str, ...] | None = None
    draw: Mapping[str, Any] = field(default_factory=dict)
    typical: Mapping[str, int] = field(default_factory=lambda: {"batch": 1, "time": 20})

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as a checkpoint stores them."""
        return {
            "labels": list(self.labels) if self.labels is not None else None,
            "draw": dict(self.draw),
            "typical": dict(self.typical),
        }

    @staticmethod
    def from_dict(value: Mapping[str, Any]) -> "Hints":
        """Read what `to_dict` wrote."""
        labels = value.get("labels")
        return Hints(
            tuple(str(label) for label in labels) if labels is not None else None,
            dict(value.get("draw", {})),
            {name: int(size) for name, size in value.get("typical", {}).items()},
        )


class Family(Protocol):
    """A trainable network that knows its own signature. All families are torch modules too.

    config: a frozen dataclass of plain values from which the network can be built again.
    """

    config: Any
    hints: Hints
    family: str
    task: str

    def forward(self, *args: Tensor | None, **kwargs: Tensor | None) -> dict[str, Tensor]:
        """Tensors by the signature's input names -> tensors by its output names, next states included."""
        ...

    def signature(self) -> Signature:
        """What goes in and out."""
        ...

    def sample(self, sizes: Mapping[str, int], seed: int) -> dict[str, Tensor]:
        """Valid random inputs at the given sizes of the named axes, states left out."""
        ...

    def initial_values(self) -> dict[str, NDArray[Any]]:
        """The learned initial states by input name; empty where a sequence starts from zeros."""
        ...

    def loss(self, batch: Batch) -> Tensor:
        """The training loss of a batch {x, y, lengths}, a scalar."""
        ...

    def metrics(self, batch: Batch) -> dict[str, Tensor]:
        """Figures of a batch by name, each the mean over its rows: `accuracy`, or `mae`."""
        ...
