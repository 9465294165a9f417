"""export(): trace, rewrite, describe, prove, and only then put the file in its place."""

import os
from collections.abc import Mapping
from dataclasses import replace

import onnx_ir as ir
import torch
from edgeseq_runtime import golden, load
from edgeseq_runtime.atomic import check_writable, write_bytes
from edgeseq_runtime.compare import Comparison, ParityReport
from edgeseq_runtime.contract import Contract, check_vocabulary
from edgeseq_runtime.errors import ContractError, ExportError, ParityError
from edgeseq_runtime.signature import BATCH, TIME, Limit, check_signature

from edgeseq_export import manifest
from edgeseq_export.carried import why_not_carried, with_states
from edgeseq_export.grid import Case
from edgeseq_export.ops.recurrence import recording
from edgeseq_export.passes import Anonymous, LearnedStates, Lifted, Scan, Shared, Unroll, Values
from edgeseq_export.passes.placeholders import body_name, placeholders
from edgeseq_export.proof import verify as prove
from edgeseq_export.scripted_trace import trace_scripted
from edgeseq_export.source import Progress, Source, silent
from edgeseq_export.sources.loops import refuse_loops
from edgeseq_export.swap import exchanged
from edgeseq_export.torchscript import is_scripted
from edgeseq_export.trace import trace, trace_step

FORMS = ("native", "loop", "unroll")
"""The forms a recurrence can be written in: one operator a layer (where ONNX has one, else as loop), an ONNX Scan, or
N copies of the step."""

DEFAULT_OPSET = 18


def export(
    source: Source,
    path: str | os.PathLike[str],
    *,
    form: str | None = None,
    steps: int | None = None,
    opset: int = DEFAULT_OPSET,
    verify: bool = True,
    progress: Progress = silent,
) -> ParityReport | None:
    """Write `source` as one ONNX file, proven equal to PyTorch.

    Args:
        path: the file; it appears only when the proof passed, an older one stays until then.
        form: how recurrences are written, one of FORMS; the source's own where it is None.
        steps: of the unroll form: how many copies of the step; the source's, else the typical length where it is None.
        opset: the ONNX opset.
        verify: run the proof. Without it the file is only opened once by the runtime.
        progress: told after each step.

    Returns: the proof's report, or None without a proof.

    Raises:
        ParityError: the file is not equal to PyTorch; it carries the report, and nothing was written.
        ExportError: the network cannot be written.
        FileError: `path` cannot be written.
    """
    check_writable(path)
    progress(0, 1, "tracing")
    content = convert(source, form=form, steps=steps, opset=opset, proven=verify)
    report = None
    if verify:
        report = prove(content, source, progress=progress)
        if not report.passed:
            raise ParityError(_why(report), report)
    else:
        load(content, provider="cpu")
    write_bytes(path, content)
    return report


def convert(
    source: Source,
    *,
    form: str | None = None,
    steps: int | None = None,
    opset: int = DEFAULT_OPSET,
    proven: bool = False,
) -> bytes:
    """The finished file's bytes. proven: whether they will be, before anybody sees them. Raises ExportError."""
    form = source.form if form is None else form
    fixed = _fixed_axes(source, form, steps)
    check_source(source)
    refuse_loops(source)
    model = _model(source, form, fixed, opset)
    for rewrite in (Anonymous(), LearnedStates(source.initial, source.signature.inputs[0].name), Values(source.values)):
        model = rewrite(model).model
    contract = manifest.make_contract(source, form, fixed, opset, proven)
    vectors = manifest.make_golden(source, contract)
    if is_scripted(source.module) and not source.signature.streamable:
        content, reason = _with_states(model, source, contract, vectors)
        if content is not None:
            return content
        contract = replace(contract, signature=replace(contract.signature, reason=reason))
    return manifest.write(model, contract, vectors, source.initial)


def _with_states(model: ir.Model, source: Source, contract: Contract, vectors: str) -> tuple[bytes | None, str | None]:
    """The file with states that the network keeps to itself, where it streams then; otherwise the reason why not."""
    lifted, rewrite = model.clone(), Lifted()
    if not rewrite(lifted).modified:
        return None, contract.signature.reason
    content = manifest.write(lifted, with_states(contract, rewrite.pairs), vectors, source.initial)
    reason = why_not_carried(content, source)
    return (content, None) if reason is None else (None, reason)


def _model(source: Source, form: str, fixed: Mapping[str, int], opset: int) -> ir.Model:
    """Trace with placeholders, trace each step by itself, and write loops, or copies in the unroll form."""
    if is_scripted(source.module):
        if form != "native":
            raise ExportError(f"{source.name} is TorchScript, which is written as it is: in the native form alone")
        return Shared()(trace_scripted(source.module, source.signature, opset, source.name)).model
    with recording() as bodies:
        model = trace(exchanged(source.module, form == "native"), source.signature, opset, source.values, fixed)
    names = dict.fromkeys(map(body_name, placeholders(model.graph)))
    graphs = {name: trace_step(bodies.by_name[name], opset) for name in names}
    rewrite = Unroll(graphs) if form == "unroll" else Scan(graphs)
    model = rewrite(model).model
    return Shared()(model).model


def _fixed_axes(source: Source, form: str, steps: int | None) -> Mapping[str, int]:
    """The axes that an unrolled file fixes, with their sizes: all but the batch's, time (or all of them) at `steps`.

    Raises:
        ExportError: an unknown form, steps for another form, or fewer than the network takes.
    """
    if form not in FORMS:
        raise ExportError(f"recurrence '{form}' cannot be written; choose {', '.join(FORMS)}")
    if form != "unroll" or not source.fixes_axes:
        if steps is not None:
            raise ExportError(_no_steps(source, form))
        return {}
    signature, steps = source.signature, source.steps if steps is None else steps
    axes = [name for name in signature.symbols if name != BATCH]
    fixed = {name: signature.typical.get(name, 20) for name in axes}
    if steps is not None:
        fixed.update(dict.fromkeys([TIME] if TIME in axes else axes, steps))
    for name, size in fixed.items():
        least = signature.limits.get(name, Limit()).min
        if size < least:
            raise ExportError(f"{size} steps were asked for, but {source.name} takes at least {least} along '{name}'")
    return fixed


def _no_steps(source: Source, form: str) -> str:
    """Why --steps means nothing."""
    if form != "unroll":
        return f"steps are of the unroll form; '{form}' takes sequences of any length"
    if source.decoding is not None:
        return (
            f"{source.name} takes sequences of any length in every form, so it has no steps; what it generates is as "
            "long as its max_length"
        )
    return f"{source.name} has no axis that the unroll form would fix, so it takes no steps; leave --steps out"


def check_source(source: Source) -> None:
    """Call the network once and compare with its signature, so that a wrong one is told in words.

    Raises:
        ExportError: the signature contradicts itself, a vocabulary does not fit it, or the network does not take or
            give what it says.
    """
    signature = source.signature
    try:
        check_signature(signature)
    except ContractError as error:
        raise ExportError(f"the signature of {source.name} cannot be used: {error}") from error
    try:
        check_vocabulary(signature, source.vocabulary)
    except ContractError as error:
        raise ExportError(f"the vocabulary of {source.name} does not fit its signature: {error}") from error
    if missing := [s.input for s in signature.states if s.initial == "learned" and s.input not in source.initial]:
        raise ExportError(f"state '{missing[0]}' of {source.name} is learned, but its initial value is not given")
    limit = signature.limits.get(TIME, Limit())
    case = Case(2, max(limit.min, 3 if limit.max is None else min(limit.max, 3)), random_states=True)
    inputs = {name: torch.from_numpy(array) for name, array in case.inputs(signature, 0).items()}
    try:
        with torch.no_grad():
            outputs = source.module(**inputs)
    except (RuntimeError, TypeError, ValueError, KeyError, IndexError, torch.jit.Error) as error:
        raise ExportError(f"{source.name} does not take what its signature says: {error}") from error
    for name, tensor in golden.comparable(signature).items():
        expected = (tensor.dtype, tensor.shape(case.sizes(signature)))
        value = outputs.get(name)
        given = None if value is None else (str(value.dtype).removeprefix("torch."), tuple(value.shape))
        if given != expected:
            raise ExportError(
                f"{source.name} gives {given or 'nothing'} as '{name}', but its signature says {expected}"
            )


def _why(report: ParityReport) -> str:
    """One sentence on the worst thing a failed report says."""
    if report.failures:
        return f"the file is not equal to {report.reference}: {describe(report.failures[0])}. Nothing was written"
    return f"the proof is not valid: {'; '.join(report.problems) or 'too many excused decisions'}. Nothing was written"


def describe(comparison: Comparison) -> str:
    """A failed comparison in words."""
    where = f"output '{comparison.output}', case {comparison.case}, on {comparison.provider}"
    if comparison.differing > comparison.excused:
        first = f", the first at {comparison.first}" if comparison.first else ""
        return f"{where}: {comparison.differing} of {comparison.decisions} decisions differ{first}"
    return f"{where}: off by {comparison.max_abs:.3g}, but at most {comparison.bound:.3g} is allowed"
