"""What is exported: a network, its signature, and what its contract should say."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from edgeseq_runtime.signature import Signature
from numpy.typing import NDArray
from torch import nn

Progress = Callable[[int, int, str], None]
"""progress(done, total, label): told by long work, never printed here."""


def silent(done: int, total: int, label: str) -> None:
    """A Progress that tells nobody."""


@dataclass(frozen=True)
class Source:
    """A network that can be exported, and the judge of its own export.

    module: in eval mode; called with tensors by the signature's input names, it returns tensors by output name,
        next states included. A state that is left out starts at its initial value.
    initial: by state input name, the learned initial value (directions, 1, hidden), where the signature has one.
    values: named scalars the module also takes, as tensors without axes, with their defaults; they can be set when the
        file is loaded.
    name: what to call it in messages. labels, vocabulary, family, task, provenance, decoding, settings: for the
        contract.
    sample_rate_hz: of the recordings that are its data, where that is known.
    form, steps: how its recurrences are written where nobody says; of the unroll form, how many copies.
    cuts_rows: whether it cuts its answer to the longest row, where the file answers all steps.
    notes: what was found out about a network that was not made with edgeseq, for people.
    fixes_axes: whether the unroll form fixes the axes of the inputs; not where what it repeats has its own length.
    """

    module: nn.Module
    signature: Signature
    family: str
    task: str
    name: str
    labels: tuple[str, ...] | None = None
    vocabulary: Any = None
    initial: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    values: Mapping[str, float | int] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    decoding: Mapping[str, Any] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    sample_rate_hz: float | None = None
    form: str = "native"
    steps: int | None = None
    fixes_axes: bool = True
    notes: tuple[str, ...] = ()
    cuts_rows: bool = False
