"""From TorchScript to ONNX by the exporter made for it: control flow stays, recurrent layers become operators."""

import io
import linecache
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import onnx
import onnx_ir as ir
import torch
from edgeseq_runtime import golden, load
from edgeseq_runtime.draw import draw_states
from edgeseq_runtime.errors import EdgeseqError, ExportError
from edgeseq_runtime.signature import Signature
from onnx_ir.passes.common import LiftConstantsToInitializersPass
from torch import nn

from edgeseq_export.grid import cases
from edgeseq_export.sources.loops import is_theirs
from edgeseq_export.trace import OPSETS, Positional, check_axes, dynamic_axes, example_inputs, free_outputs, quiet

_SYMBOLIC = "_run_symbolic_function"
"""The exporter's function that translates one operator."""

_READS = "Converting a tensor to|Using len to get"
"""How the tracer's warnings start that are of a value which Python goes on with."""

_PACKS = "aten::_pack_padded_sequence"
_INSTEAD = "give the network itself, as package.module:factory with --weights"


def trace_scripted(module: nn.Module, signature: Signature, opset: int, name: str) -> ir.Model:
    """Write a network that holds TorchScript as an ONNX model in memory. name: for messages.

    Raises:
        ExportError: an opset that cannot be written, an operator that has no translation, or Python around the
            TorchScript that reads a tensor.
    """
    if opset not in OPSETS:
        raise ExportError(f"opset {opset} cannot be written; choose one from {OPSETS[0]} to {OPSETS[-1]}")
    names = signature.input_names, signature.output_names
    axes = (*dynamic_axes(signature, {}), *free_outputs(signature))
    example, buffer = example_inputs(signature, {}), io.BytesIO()
    with quiet(), _unlogged(), torch.no_grad():
        try:
            # the exporter traces a plain module, and then does not find TorchScript inside; torch.jit.trace does
            network = Positional(module, *names).eval()
            with _unfrozen(name):
                traced = torch.jit.trace(network, example, check_trace=False)  # type: ignore[no-untyped-call]
            torch.onnx.export(
                traced,
                example,
                buffer,  # type: ignore[arg-type]  # this exporter takes a file that is open, too
                dynamo=False,
                dynamic_axes=dict(zip((*names[0], *names[1]), axes, strict=True)),
                input_names=list(names[0]),
                output_names=list(names[1]),
                opset_version=opset,
            )
        except (RuntimeError, AssertionError, torch.jit.Error) as error:  # OnnxExporterError is a RuntimeError
            raise ExportError(_told(error, module, name)) from error
    model = ir.serde.deserialize_model(onnx.load_from_string(buffer.getvalue()))
    check_axes(model, signature, {})
    _check_sizes(buffer.getvalue(), signature)
    # weights of a frozen archive are constants; as initialisers they are seen by the proof of the proof
    return LiftConstantsToInitializersPass()(model).model


def _check_sizes(content: bytes, signature: Signature) -> None:
    """Run the file at other sizes than it was traced at: behind a branch this exporter does not know an output's."""
    case = max(cases(signature), key=lambda case: (case.batch, case.time))
    sizes = case.sizes(signature)
    inputs = {**case.inputs(signature, 0), **draw_states(signature, sizes, 0)}
    try:
        answer = load(content, provider="cpu", states={}).run(inputs, states=True)  # states are plain inputs here
    except EdgeseqError as error:
        raise ExportError(f"the tracer froze a size: at {case.name} the file fails: {error}") from error
    for name, tensor in golden.comparable(signature).items():
        if answer[name].shape != (expected := tensor.shape(sizes)):
            raise ExportError(
                f"the tracer froze a size: at {case.name} '{name}' has the shape {answer[name].shape}, but {expected} "
                "is expected"
            )


@contextmanager
def _unfrozen(name: str) -> Iterator[None]:
    """Refuse what a trace would freeze: numbers that somebody's Python reads from tensors, to choose its way by them.

    An assert is no way, and other remarks of the tracer are about constants, which the proof sees.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.filterwarnings("always", _READS, torch.jit.TracerWarning)  # type: ignore[attr-defined]
        yield
    for warning in caught:
        line = linecache.getline(warning.filename, warning.lineno).strip()
        if is_theirs(warning.filename) and not line.startswith("assert"):
            raise ExportError(
                f"{name} reads a tensor or its size in Python, in {Path(warning.filename).name}, line "
                f"{warning.lineno}: `{line}`. Python around TorchScript is traced, which would freeze the way that the "
                "example takes; write it with torch.where, or script the whole network: torch.jit.script, and --trust"
            )


@contextmanager
def _unlogged() -> Iterator[None]:
    """Without the whole graph on stdout where an operator fails: the exporter turns that on, and never off again."""
    log, enabled = torch._C._jit_onnx_log, torch._C._jit_is_onnx_log_enabled()
    torch._C._jit_onnx_log = lambda *_: None
    try:
        yield
    finally:
        torch._C._jit_onnx_log = log
        torch._C._jit_set_onnx_log_enabled(enabled)


def _told(error: Exception, module: nn.Module, name: str) -> str:
    """What could not be written, and where the archive has it."""
    node = _failing_node(error.__traceback__)
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    scripted: list[Any] = [part for part in module.modules() if isinstance(part, torch.jit.ScriptModule)]
    if any(_PACKS in str(part.inlined_graph) for part in scripted if hasattr(part, "forward")):
        return f"{name} packs rows of unequal length, which its exporter cannot write; {_INSTEAD}"
    if node is None:
        return f"{name} cannot be traced: {line}; {_INSTEAD}"
    place = _place(str(node.sourceRange()), node.scopeName())
    return f"operator '{node.kind()}'{place} of {name} cannot be written as ONNX: {line}; {_INSTEAD}"


def _failing_node(traceback: TracebackType | None) -> Any:
    """The operator of TorchScript that the exporter was at, from its frames; None where it was at none."""
    node = None
    while traceback is not None:
        if traceback.tb_frame.f_code.co_name == _SYMBOLIC:
            node = traceback.tb_frame.f_locals.get("node")
        traceback = traceback.tb_next
    return node


def _place(source: str, scope: str) -> str:
    """Where an operator stands, in words, as far as the archive says.

    Args:
        source: as TorchScript tells it: a file and a line, then the lines around with a mark below the one that is
            meant; or, of a trace, the calls, each `FILE(LINE): FUNCTION`.
        scope: the layers around it, the innermost last: `…/CLASS::NAME`.
    """
    layer = re.search(r"([^/:.]+)::(\w+)$", scope)
    named = f" in '{layer[2]}' ({layer[1]})" if layer else ""
    place = re.search(r'File "(?P<file>[^"]+)", line (?P<line>\d+)', source)
    place = place or re.search(r"^\s*(?P<file>\S+\.py)\((?P<line>\d+)\): ", source, re.MULTILINE)
    found = [f"{place['file'].rsplit('/', 1)[-1]}, line {place['line']}"] if place else []
    lines = source.splitlines()
    marked = next((number for number, line in enumerate(lines) if "<--- HERE" in line), 0)
    found += [f"`{lines[marked - 1].strip()}`"] if marked else []
    return f"{named} ({': '.join(found)})" if found else named
