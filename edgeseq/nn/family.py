"""The protocol every family implements, and the hints that a trained model carries for its contract."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, runtime_checkable

from edgeseq_runtime.signature import Signature
from numpy.typing import NDArray
from torch import Tensor

from edgeseq.data import Dataset

Batch = Mapping[str, Tensor]
"""Tensors by the names of a Dataset's arrays: x, y, lengths, y_lengths, accepted, and further inputs."""

Outputs = Mapping[str, Tensor]
"""What a network's forward gives, by the signature's output names."""


@dataclass(frozen=True)
class Hints:
    """What training learnt about the data and a device wants to know.

    labels: class names in the order of the logits. draw: by input name, how to make a realistic random input
    (see edgeseq_runtime.signature.Tensor). typical: by axis name, the size in ordinary use. vocabulary: by input
    name, what the token ids stand for. longest: steps of the longest sequence; None where that is not known.
    features: by input name, what the entries of its last axis are called.
    """

    labels: tuple[str, ...] | None = None
    draw: Mapping[str, Any] = field(default_factory=dict)
    typical: Mapping[str, int] = field(default_factory=lambda: {"batch": 1, "time": 20})
    vocabulary: Mapping[str, tuple[str, ...]] | None = None
    longest: int | None = None
    features: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as a checkpoint stores them."""
        vocabulary = self.vocabulary
        return {
            "labels": list(self.labels) if self.labels is not None else None,
            "draw": dict(self.draw),
            "typical": dict(self.typical),
            "vocabulary": None if vocabulary is None else {name: list(symbols) for name, symbols in vocabulary.items()},
            "longest": self.longest,
            "features": {name: list(names) for name, names in self.features.items()},
        }

    @staticmethod
    def from_dict(value: Mapping[str, Any]) -> "Hints":
        """Read what `to_dict` wrote."""
        labels, vocabulary, longest = value.get("labels"), value.get("vocabulary"), value.get("longest")
        return Hints(
            tuple(str(label) for label in labels) if labels is not None else None,
            dict(value.get("draw", {})),
            {name: int(size) for name, size in value.get("typical", {}).items()},
            None if vocabulary is None else {name: tuple(map(str, symbols)) for name, symbols in vocabulary.items()},
            None if longest is None else int(longest),
            {name: tuple(map(str, names)) for name, names in value.get("features", {}).items()},
        )


class Family(Protocol):
    """A trainable network that knows its own signature. All families are torch modules too (nn.network.Network).

    config: a frozen dataclass of plain values from which the network can be built again.
    timeless: whether an input is one array and not a sequence, so that lengths mean nothing; None: the config says it.
    recurrence: the form in which it is exported where nobody says which. fixes_axes: see edgeseq_export.Source.
    own_lengths: whether its answers are sequences of their own length, whatever that of the input is.
    export_settings: keys of the config that may be set anew for an export: no weight hangs on them.
    """

    config: Any
    hints: Hints
    family: str
    task: str
    timeless: ClassVar[bool | None]
    recurrence: ClassVar[str]
    fixes_axes: ClassVar[bool]
    export_settings: ClassVar[tuple[str, ...]]
    own_lengths: ClassVar[bool]

    @classmethod
    def sizes(cls, data: Dataset) -> dict[str, Any]:
        """The keys of the config that the data decides; a recipe leaves them out."""
        ...

    def initialise(self) -> None:
        """Draw what takes long to draw and is stored: called once for a fresh network, never for one that is loaded."""
        ...

    def forward(self, *args: Tensor | None, **kwargs: Tensor | None) -> dict[str, Tensor]:
        """Tensors by the signature's input names -> tensors by its output names, next states included."""
        ...

    def signature(self) -> Signature:
        """What goes in and out."""
        ...

    def vocabulary(self) -> Mapping[str, Any] | None:
        """How text becomes token ids, by input name, as the contract tells it; None where no input is text."""
        ...

    def decoding(self) -> Mapping[str, Any] | None:
        """How a sequence is generated, as the contract tells it, `export_settings` included; None where none is."""
        ...

    def settings(self) -> Mapping[str, Any]:
        """The `export_settings` in effect, as the contract tells them, where `decoding` does not."""
        ...

    def values(self) -> Mapping[str, float | int]:
        """Named scalars that may be set at load, with their defaults; `forward` takes them as tensors of no axes."""
        ...

    def initial_values(self) -> dict[str, NDArray[Any]]:
        """The learned initial states by input name; empty where a sequence starts from zeros."""
        ...

    def standardise(self, data: Dataset) -> None:
        """Put the statistics of the training data into the network."""
        ...

    def examples(self, data: Dataset) -> Dataset:
        """What is learnt from and scored one by one, such as the windows of a sequence."""
        ...

    def finish(self, train: Dataset, held_out: Dataset | None) -> None:
        """Set what follows from the trained weights and the data, such as a threshold; the data as `examples` gives it.

        held_out: what was not trained on; None where nothing is left.
        """
        ...

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        """What `forward` takes of a batch."""
        ...

    def loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        """The training loss, a scalar."""
        ...

    def scored(self, outputs: Outputs, batch: Batch) -> int:
        """How many answers of the batch are scored: the weight of its figures beside other batches'."""
        ...

    def metrics(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Figures by name (see edgeseq.training.evaluate), each the mean over the scored answers."""
        ...

    def decisions(self, outputs: Outputs, batch: Batch) -> tuple[Tensor, Tensor] | None:
        """Predicted and true classes, int64 (answers,) each; None where there are none to tell apart."""
        ...


@runtime_checkable
class ClosedForm(Protocol):
    """A family whose readout is solved for, not trained by gradient."""

    def solve(self, data: Dataset) -> Mapping[str, Any]:
        """Find the readout's weights; returns what was chosen on the way, such as the penalty, as plain values."""
        ...
