"""What is written into the file beside the graph: the contract, the golden vectors, the learned states, the hash."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import torch
from edgeseq_runtime import __version__, golden
from edgeseq_runtime.contract import CONTRACT_KEY, GOLDEN_KEY, INITIAL_KEY, PRODUCER, Contract
from edgeseq_runtime.errors import ExportError
from edgeseq_runtime.seal import seal
from edgeseq_runtime.signature import TIME, Limit, Signature
from numpy.typing import NDArray

from edgeseq_export.grid import Case, longer
from edgeseq_export.reference import Reference
from edgeseq_export.source import Source

Array = NDArray[Any]

GOLDEN_BYTES = 64 * 1024
"""The test vectors take at most this much of the file."""


def make_contract(source: Source, form: str, fixed: Mapping[str, int], opset: int, proven: bool) -> Contract:
    """The contract of an export. fixed: the axes of an unrolled file; proven: whether it appears after its proof."""
    return Contract(
        signature=_narrowed(source.signature, fixed),
        family=source.family,
        task=source.task,
        recurrence={"form": form, "steps": fixed[TIME]} if TIME in fixed else {"form": form},
        labels=source.labels,
        vocabulary=source.vocabulary,
        values=source.values,
        decoding=source.decoding,
        settings=source.settings,
        sample_rate_hz=source.sample_rate_hz,
        provenance={
            **source.provenance,
            "edgeseq": __version__,
            "torch": torch.__version__,
            "opset": opset,
            "proven": proven,
        },
    )


def _narrowed(signature: Signature, fixed: Mapping[str, int]) -> Signature:
    """The signature of a file whose axes are fixed: what the runtime can still take by padding and by chunks."""
    if not fixed:
        return signature
    ragged = any(t.of for t in signature.inputs)
    limits, typical = dict(signature.limits), {**signature.typical}
    for name, size in fixed.items():
        given = limits.get(name, Limit())
        if name != TIME or not ragged:
            limits[name], typical[name] = Limit(size, size), size
        elif not signature.streamable:
            most = size if given.max is None else min(given.max, size)
            limits[name], typical[name] = Limit(given.min, most), min(typical.get(name, size), most)
    streamable = signature.streamable and ragged
    reason = signature.reason
    if signature.streamable and not ragged:
        reason = "it is unrolled and takes no lengths, so a chunk cannot be shorter than the file's steps"
    return replace(signature, limits=limits, typical=typical, streamable=streamable, reason=reason)


def make_golden(source: Source, contract: Contract) -> str:
    """Test vectors for the device: as many of three small cases as fit into GOLDEN_BYTES, always at least one.

    They are short, unless an output is one number for so long, such as a score before its window is full.

    Raises:
        ExportError: an output is one number also at the typical length, though not at a longer one: the vectors would
            prove nothing.
    """
    reference = Reference(source.module, contract.tolerance)
    signature = contract.signature
    for time in dict.fromkeys((_short_time(signature), _at_most(signature, signature.typical.get(TIME, 20)))):
        cases = _vectors(reference, signature, time)
        still = _still(signature, cases)
        if not still:
            break
    else:
        longest = Case(3, _at_most(signature, longer(signature.typical.get(TIME, 20))))
        truth = reference(longest.inputs(signature, 0))
        if moving := [name for name in still if np.ptp(truth[name].values.astype(np.float32)) > 0]:
            raise ExportError(
                f"output '{moving[0]}' of {source.name} is one number in all test vectors "
                f"({', '.join(case.name for case in cases)}: batch × {TIME}), but not in {longest.name}, so they would "
                f"prove nothing; say a larger typical '{TIME}' in its signature"
            )
    return golden.pack(cases)


def _short_time(signature: Signature) -> int:
    """The length of small test vectors, which a network that counts its steps up to some number may not answer yet."""
    typical = _at_most(signature, signature.typical.get(TIME, 20))
    if any(state.range is not None for state in signature.states):
        return typical
    step_bytes = sum(4 * math.prod(t.shape(Case(1, 1).sizes(signature))) for t in signature.inputs)
    short = min(typical, 24, GOLDEN_BYTES // 4 // step_bytes)  # a quarter for the inputs of the first case
    return max(signature.limits.get(TIME, Limit()).min, short)


def _at_most(signature: Signature, time: int) -> int:
    most = signature.limits.get(TIME, Limit()).max
    return time if most is None else min(time, most)


def _vectors(reference: Reference, signature: Signature, time: int) -> list[golden.GoldenCase]:
    """As many of three cases as fit into GOLDEN_BYTES, the first in any case."""
    least = signature.limits.get(TIME, Limit()).min
    wanted = [
        Case(1, time),
        Case(2, time, ragged=any(t.of for t in signature.inputs)),
        Case(1, max(least, _at_most(signature, 3)), random_states=bool(signature.states)),
    ]
    kept: list[golden.GoldenCase] = []
    for seed, case in enumerate(wanted):
        inputs, truth = reference.decided(partial(_inputs, case, signature, seed), thorough=True)
        expected = {name: golden.sample(truth[name].values, truth[name].bound) for name in golden.comparable(signature)}
        kept.append(golden.GoldenCase(case.name, inputs, expected))
        if len(kept) > 1 and len(golden.pack(kept)) > GOLDEN_BYTES:
            kept.pop()
    return kept


def _still(signature: Signature, cases: Sequence[golden.GoldenCase]) -> list[str]:
    """The outputs that are one number in all cases, wherever there are several numbers."""
    found = {t.name: np.concatenate([c.expected[t.name].values.ravel() for c in cases]) for t in signature.outputs}
    return [name for name, v in found.items() if v.dtype == np.float32 and v.size > 1 and (v == v[0]).all()]


def write(model: ir.Model, contract: Contract, golden_text: str, initial: Mapping[str, Array]) -> bytes:
    """The bytes of the finished file: one file, no external data, sealed."""
    opset = model.graph.opset_imports[""]
    model.ir_version = onnx.helper.find_min_ir_version_for([onnx.helper.make_opsetid("", opset)])
    model.producer_name = PRODUCER
    model.producer_version = __version__
    model.graph.name = contract.family
    model.metadata_props[CONTRACT_KEY] = contract.to_json()
    model.metadata_props[GOLDEN_KEY] = golden_text
    if initial:
        model.metadata_props[INITIAL_KEY] = golden.pack_arrays(initial)
    proto = ir.serde.serialize_model(model)
    onnx.checker.check_model(proto)
    return seal(proto.SerializeToString())


def _inputs(case: Case, signature: Signature, seed: int, attempt: int) -> dict[str, Array]:
    return case.inputs(signature, seed + 1000 * attempt)
