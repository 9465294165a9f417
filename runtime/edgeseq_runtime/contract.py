"""The contract: a Signature plus what a device needs to know, as JSON in the ONNX file under `edgeseq.contract`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgeseq_runtime.errors import ContractError
from edgeseq_runtime.signature import BATCH, TIME, Axis, Signature, signature_from_json, signature_to_json

CONTRACT_VERSION = 1
CONTRACT_KEY = "edgeseq.contract"
GOLDEN_KEY = "edgeseq.golden"
INITIAL_KEY = "edgeseq.initial"
PRODUCER = "edgeseq"


@dataclass(frozen=True)
class Contract:
    """What an edgeseq file says of itself.

    family: the family's name ("lstm"); task: "classify", "forecast" or another that the family defines.
    recurrence: {"form": "native" | "loop" | "unroll", "steps": N where unrolled}.
    labels: the names of the classes, in the order of the last axis of the logits.
    values: named scalars that may be set at load, with their defaults; a float is float32 in the graph, an int int64.
    decoding: how a sequence is generated, where one is: the method, its settings, the length, and the numbers of the
        symbols for start, end and padding.
    settings: of the network, those that an export chooses, such as which part of an autoencoder the file holds.
    sample_rate_hz: of recordings that are its data, where that was said; a recording of another rate is refused.
    layout: of a file that edgeseq did not export, the axes by name as the graph has them, and whether a call takes one
        step; None where the graph has them as the signature.
    tolerance: {"relative": r}: the proof's bound, relative to the output's root mean square.
    provenance: checkpoint hash, versions, opset.
    """

    signature: Signature
    family: str
    task: str
    recurrence: Mapping[str, Any] = field(default_factory=dict)
    labels: tuple[str, ...] | None = None
    vocabulary: Any = None
    values: Mapping[str, float | int] = field(default_factory=dict)
    decoding: Mapping[str, Any] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    sample_rate_hz: float | None = None
    layout: Mapping[str, Any] | None = None
    tolerance: float = 1e-5
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def steps(self) -> int | None:
        """How long an unrolled file's time axis is; None where it is free."""
        steps: int | None = self.recurrence.get("steps")
        return steps

    @property
    def hop(self) -> int:
        """How many samples a step of the file has, x (batch, time, hop, features); 1: it is one, x without that axis.

        Of an anomaly score that looks at every so many samples alone.
        """
        hop: int = self.settings.get("hop", 1) if self.settings.get("part") == "score" else 1
        return hop

    def to_json(self) -> str:
        """The contract as one line of JSON."""
        return json.dumps(
            {
                "version": CONTRACT_VERSION,
                "family": self.family,
                "task": self.task,
                **signature_to_json(self.signature),
                "recurrence": dict(self.recurrence),
                "labels": list(self.labels) if self.labels is not None else None,
                "vocabulary": self.vocabulary,
                "values": dict(self.values),
                "decoding": dict(self.decoding) if self.decoding is not None else None,
                **({"settings": dict(self.settings)} if self.settings else {}),
                **({"sample_rate_hz": self.sample_rate_hz} if self.sample_rate_hz is not None else {}),
                **({"layout": dict(self.layout)} if self.layout is not None else {}),
                "tolerance": {"relative": self.tolerance},
                "provenance": dict(self.provenance),
            }
        )

    @staticmethod
    def from_json(text: str) -> "Contract":
        """Read a contract. Raises ContractError when it is malformed, contradicts itself or is too new."""
        try:
            value = json.loads(text)
            version = value["version"]
        except (ValueError, KeyError, TypeError) as error:
            raise ContractError(f"the contract is not readable: {error}") from error
        if type(version) is not int or version < 1:
            raise ContractError(f"the contract has version {version!r}, but versions are numbers from 1")
        if version > CONTRACT_VERSION:
            raise ContractError(
                f"the contract has version {version}, but this runtime reads up to {CONTRACT_VERSION}. "
                "Upgrade edgeseq-runtime, or export with an older edgeseq"
            )
        signature = signature_from_json(value)
        recurrence = value.get("recurrence", {})
        steps = recurrence.get("steps") if isinstance(recurrence, dict) else ""
        if steps is not None and (type(steps) is not int or steps < 1):
            raise ContractError(f"the contract's recurrence is {recurrence!r}, but steps are a number from 1")
        decoding = value.get("decoding")
        if decoding is not None and not isinstance(decoding, dict):
            raise ContractError(f"the contract's decoding is {decoding!r}, but an object with its settings is expected")
        rate = value.get("sample_rate_hz")
        if rate is not None and (type(rate) not in (int, float) or not 0 < rate < float("inf")):
            raise ContractError(f"the contract's sample rate is {rate!r}, but a number of Hz above 0 is expected")
        try:
            check_vocabulary(signature, value.get("vocabulary"))
        except ContractError as error:
            raise ContractError(f"the contract contradicts itself: {error}. Export the model again") from error
        try:
            labels = value.get("labels")
            contract = Contract(
                signature=signature,
                family=str(value["family"]),
                task=str(value["task"]),
                recurrence=dict(value.get("recurrence", {})),
                labels=tuple(str(label) for label in labels) if labels is not None else None,
                vocabulary=value.get("vocabulary"),
                values=dict(value.get("values", {})),
                decoding=decoding,
                settings=dict(value.get("settings", {})),
                sample_rate_hz=rate,
                layout=_layout(value.get("layout")),
                tolerance=float(value.get("tolerance", {}).get("relative", 1e-5)),
                provenance=dict(value.get("provenance", {})),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ContractError(f"the contract is malformed: {type(error).__name__}: {error}") from error
        _check_hop(contract)
        return contract


def _layout(value: Any) -> Mapping[str, Any] | None:
    """A layout's parts with their types. Raises TypeError, ValueError, AttributeError or KeyError."""
    if value is None:
        return None
    axes: dict[str, tuple[Axis, ...]] = {str(name): tuple(each) for name, each in value["axes"].items()}
    if any(type(axis) not in (int, str) for each in axes.values() for axis in each):
        raise ValueError(f"the layout's axes must be numbers and names, but are {axes!r}")
    return {"axes": axes, "one_step": bool(value["one_step"])}


def _check_hop(contract: Contract) -> None:
    """Raise ContractError where the hop is no number of samples, or not what the only input takes."""
    hop, inputs = contract.hop, contract.signature.inputs
    if type(hop) is not int or hop < 1:
        raise ContractError(f"the contract's hop is {hop!r}, but a number of samples from 1 is expected")
    if hop > 1 and (len(inputs) != 1 or len(inputs[0].axes) != 4 or inputs[0].axes[:3] != (BATCH, TIME, hop)):
        raise ContractError(
            f"the contract contradicts itself: the hop is {hop}, but there is not one input alone, of the axes batch, "
            f"time, {hop}, features. Export the model again"
        )


def check_vocabulary(signature: Signature, vocabulary: Any) -> None:
    """Raise ContractError where a vocabulary is of no input or output, or has other ids than the range of that.

    vocabulary: as a contract holds it. What else may be wrong with it is told where text is read (text.py).
    """
    if not isinstance(vocabulary, Mapping):
        return
    tensors = {tensor.name: tensor for tensor in (*signature.inputs, *signature.outputs)}
    for name, item in vocabulary.items():
        if name not in tensors:
            raise ContractError(
                f"there is a vocabulary of '{name}', but the inputs and outputs are {', '.join(tensors)}"
            )
        symbols = item.get("symbols") if isinstance(item, Mapping) else None
        limits = tensors[name].range
        if limits is not None and isinstance(symbols, list) and len(symbols) != limits[1]:
            raise ContractError(
                f"the vocabulary of '{name}' has {len(symbols)} symbols, but its ids go up to {limits[1] - 1}, so "
                f"{limits[1]} are expected"
            )
