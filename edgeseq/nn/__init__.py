"""The families: which names there are, and how a network is built from a name and a config."""

from collections.abc import Mapping
from typing import Any

from edgeseq_runtime.errors import UsageError

from edgeseq import schema
from edgeseq.nn.family import Batch, Family, Hints
from edgeseq.nn.recurrent import Recurrent, RecurrentConfig

FAMILIES = ("rnn", "lstm", "gru")

__all__ = ["FAMILIES", "Batch", "Family", "Hints", "Recurrent", "RecurrentConfig", "build"]


def build(family: str, config: Mapping[str, Any], hints: Hints | None = None) -> Recurrent:
    """The network of a family, with fresh random weights.

    Args:
        family: one of FAMILIES. config: the fields of the family's config dataclass, as plain values.

    Raises:
        UsageError: an unknown family, an unknown or missing key, a value of another type or out of range.
    """
    if family not in FAMILIES:
        raise UsageError(f"family '{family}' is not known; choose one of {', '.join(FAMILIES)}")
    if config.get("cell", family) != family:
        raise UsageError(f"the family is '{family}', but its config says cell = {config['cell']!r}")
    values = {"cell": family, **config}
    return Recurrent(schema.build(RecurrentConfig, values, f"the config of the family '{family}'"), hints)
