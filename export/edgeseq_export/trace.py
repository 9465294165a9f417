"""From torch to ONNX: trace a network once, with the axes its signature calls free left free."""

import io
import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr

import onnx_ir as ir
import torch
from edgeseq_runtime.draw import draw_inputs, draw_states
from edgeseq_runtime.errors import ExportError
from edgeseq_runtime.signature import Axis, Limit, Signature
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

from edgeseq_export.ops.packed import padded
from edgeseq_export.ops.recurrence import Body

_ANY_SIZE = 2**31
"""A free axis may be so large at least; the tracer's own limits lie beyond."""

OPSETS = range(18, 24)
"""The opsets that can be written; 18 opens on every onnxruntime since 1.15."""


class _Variadic(nn.Module):
    """A step whose tensors come as one list, as the tracer wants free axes to be named."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        outputs: tuple[Tensor, ...] = self.network(*tensors)
        return outputs


class Positional(nn.Module):
    """A network called by position, as the tracer calls it."""

    def __init__(self, network: nn.Module, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        super().__init__()
        self.network = network
        self._inputs, self._outputs = inputs, outputs

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        outputs = self.network(**dict(zip(self._inputs, tensors, strict=True)))
        return tuple(outputs[name] for name in self._outputs)


def trace(
    module: nn.Module,
    signature: Signature,
    opset: int,
    values: Mapping[str, float | int] | None = None,
    fixed: Mapping[str, int] | None = None,
) -> ir.Model:
    """Trace `module` (recurrences already in their ONNX form) into an ONNX model in memory.

    Args:
        values: scalars the module takes too, with their defaults; they become the last inputs, float32 or int64.
        fixed: the sizes of named axes that are not to be free.

    Raises:
        ExportError: an opset that cannot be written, or a network that the tracer cannot follow.
    """
    if opset not in OPSETS:
        raise ExportError(f"opset {opset} cannot be written; choose one from {OPSETS[0]} to {OPSETS[-1]}")
    values, fixed = values or {}, fixed or {}
    names = ((*signature.input_names, *values), signature.output_names)
    scalars = tuple(
        torch.tensor(v, dtype=torch.int64 if isinstance(v, int) else torch.float32) for v in values.values()
    )
    axes = (*dynamic_axes(signature, fixed), *({} for _ in scalars))
    program = _traced(Positional(module, *names), (*example_inputs(signature, fixed), *scalars), axes, names, opset)
    _refuse_branches(program.exported_program, signature, axes)
    check_axes(program.model, signature, fixed)
    return program.model


def trace_step(body: Body, opset: int) -> ir.Graph:
    """Trace one step of a recurrence by itself: states and per-step inputs in, next states and outputs out.

    Raises:
        ExportError: the tracer cannot follow it; or it holds a tensor that it was given while the network was traced.
    """
    for name, tensor in (*body.step.named_parameters(), *body.step.named_buffers()):
        if isinstance(tensor, FakeTensor):
            raise ExportError(
                f"a step was built in forward around the tensor '{name.removeprefix('step.')}', which has no values "
                "while the network is traced. Build the step in __init__ (self.step = …), or hand it the module that "
                "holds the tensor"
            )
    example = body.example()
    inputs = tuple(f"in{i}" for i in range(len(example)))
    outputs = tuple(f"out{i}" for i in range(len(body.step(*example))))
    axes = tuple({i: name for i, name in enumerate(axes) if isinstance(name, str)} for axes in body.axes)
    return _traced(_Variadic(body.step), example, axes, (inputs, outputs), opset).model.graph


def _traced(
    module: nn.Module,
    example: tuple[Tensor, ...],
    axes: tuple[dict[int, str], ...],
    names: tuple[Sequence[str], Sequence[str]],
    opset: int,
) -> torch.onnx.ONNXProgram:
    with quiet(), padded(), _plain_attention():
        try:
            program = torch.onnx.export(
                module.eval(),
                example,
                dynamo=True,
                dynamic_shapes=(axes,),
                input_names=list(names[0]),
                output_names=list(names[1]),
                opset_version=opset,
                external_data=False,
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise ExportError(f"the network cannot be traced: {_first_line(error)}") from error
    if program is None:
        raise ExportError("the tracer gave no program")
    return program


def _refuse_branches(
    program: torch.export.ExportedProgram | None, signature: Signature, axes: Sequence[Mapping[int, str]]
) -> None:
    """Raise ExportError where the tracer followed one branch of an `if` on a size: it holds for some sizes alone.

    The tracer notes, and tells nobody, between which sizes what it has written is what the network computes.
    """
    if program is None:
        return
    given = {spec.arg.name for spec in program.graph_signature.input_specs if spec.kind.name == "USER_INPUT"}
    nodes = [node for node in program.graph.nodes if node.op == "placeholder" and node.name in given]
    for node, free in zip(nodes, axes, strict=True):
        for place, axis in free.items():
            symbol = getattr(getattr(node.meta["val"].shape[place], "node", None), "expr", None)
            held = program.range_constraints.get(symbol)
            limit = signature.limits.get(axis, Limit())
            if held is None:
                continue
            if held.lower > max(limit.min, 2):
                raise ExportError(_branch(axis, f"from {held.lower} on", f"below {held.lower}"))
            if held.upper < (limit.max if limit.max is not None else _ANY_SIZE):
                raise ExportError(_branch(axis, f"up to {held.upper}", f"beyond {held.upper}"))


def _branch(axis: str, held: str, other: str) -> str:
    return (
        f"the network takes another branch in Python where '{axis}' is {other}, and a tracer follows one alone: what "
        f"it would write holds {held}. Compute without an `if` on the size, such as x[:, -100:], which also takes what "
        "is shorter, or cut the input before the network"
    )


def example_inputs(signature: Signature, fixed: Mapping[str, int]) -> tuple[Tensor, ...]:
    # sizes that differ from each other and are never 1: a size of 1 freezes its axis in the tracer
    least = {name: limit.min for name, limit in signature.limits.items()}
    sizes = {name: 2 + least.get(name, 1) + 2 * position for position, name in enumerate(signature.symbols)}
    sizes.update(fixed)
    arrays = {**draw_inputs(signature, sizes, seed=0), **draw_states(signature, sizes, seed=0)}
    return tuple(torch.from_numpy(arrays[name]) for name in signature.input_names)


def dynamic_axes(signature: Signature, fixed: Mapping[str, int]) -> tuple[dict[int, str], ...]:
    axes = _input_axes(signature)
    return tuple({i: a for i, a in enumerate(each) if isinstance(a, str) and a not in fixed} for each in axes)


def free_outputs(signature: Signature) -> tuple[dict[int, str], ...]:
    """The free axes of each output, next states included, by place."""
    return tuple({i: a for i, a in enumerate(each) if isinstance(a, str)} for each in _output_axes(signature))


def _output_axes(signature: Signature) -> list[tuple[Axis, ...]]:
    return [*(t.axes for t in signature.outputs), *(s.axes for s in signature.states)]


def _input_axes(signature: Signature) -> list[tuple[Axis, ...]]:
    return [*(t.axes for t in signature.inputs), *(s.axes for s in signature.states)]


def check_axes(model: ir.Model, signature: Signature, fixed: Mapping[str, int]) -> None:
    """The tracer can freeze a free axis without a word: compare what it declares with what was asked."""
    settled = {*fixed, *(name for name, rule in signature.derived.items() if rule[0] in fixed)}
    given = [*zip(model.graph.inputs, _input_axes(signature), strict=False)]
    given += zip(model.graph.outputs, _output_axes(signature), strict=True)
    for value, axes in given:
        declared = value.shape.dims if value.shape is not None else ()
        for axis, size in zip(axes, declared, strict=False):
            if isinstance(axis, str) and axis not in settled and isinstance(size, int):
                raise ExportError(
                    f"the tracer froze axis '{axis}' of '{value.name}' at {size}: the network computes something from "
                    "that size in Python"
                )


def _first_line(error: Exception) -> str:
    """The first line of the tracer's many that says something, without its colours; and where in the network it is."""
    operator = re.search(r"No ONNX function found for <OpOverload\(op='([\w.]+)'", str(_root(error)))
    if operator is not None:
        return f"torch's operator {operator[1]} has no form in ONNX"
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error.__cause__ or error))
    told = next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
    if "data-dependent" in told:
        told = (
            "Python asks for the value of a tensor, which differs from call to call; torch.where chooses in the graph"
        )
    place = re.search(r'call raised this error:\s+File ".*?([^/\\"]+)", line (\d+), in (\w+)\s+(.+)', text)
    return f"{told} ({place[3]} in {place[1]}, line {place[2]}: `{place[4].strip()}`)" if place else told


def _root(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Without the fused operator that torch puts in the place of a transformer's layer, which ONNX has not."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextmanager
def quiet() -> Iterator[None]:
    """Without the exporter's remarks about itself (deprecations inside torch, absent torchvision)."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.fx.experimental.symbolic_shapes")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):  # it prints a graph that it could not finish
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
