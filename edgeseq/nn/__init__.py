"""The families: which names there are, and how a network is built from a name and a config."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from edgeseq_runtime.errors import UsageError

from edgeseq.nn.family import Batch, Family, Hints
from edgeseq.nn.recurrent import Recurrent, RecurrentConfig

FAMILIES = ("rnn", "lstm", "gru")

__all__ = ["FAMILIES", "Batch", "Family", "Hints", "Recurrent", "RecurrentConfig", "build"]


def build(family: str, config: Mapping[str, Any], hints: Hints | None = None) -> Recurrent:
    """The network of a family, with fresh random weights.

    Args:
        family: one of FAMILIES. config: the fields of the family's config dataclass, as plain values.

    Raises:
        UsageError: an unknown family, an unknown or missing key, a value out of range.
    """
    if family not in FAMILIES:
        raise UsageError(f"family '{family}' is not known; choose one of {', '.join(FAMILIES)}")
    values = {"cell": family, **config}
    known = {f.name for f in fields(RecurrentConfig)}
    if unknown := sorted(set(values) - known):
        raise UsageError(f"'{unknown[0]}' is no setting of the family '{family}'; it has {', '.join(sorted(known))}")
    try:
        return Recurrent(RecurrentConfig(**values), hints)
    except TypeError as error:
        raise UsageError(f"the config of the family '{family}' does not fit: {error}") from error
