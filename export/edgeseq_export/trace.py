"""From torch to ONNX: trace a network once, with the axes its signature calls free left free."""

import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import onnx_ir as ir
import torch
from edgeseq_runtime.draw import draw_inputs, draw_states
from edgeseq_runtime.errors import ExportError
from edgeseq_runtime.signature import BATCH, Axis, Signature
from torch import Tensor, nn

from edgeseq_export.ops.recurrence import Body

OPSETS = range(18, 24)
"""The opsets that can be written; 18 opens on every onnxruntime since 1.15."""


_EXAMPLE_BATCH = 3  # never 1, which the tracer would freeze


class _Variadic(nn.Module):
    """A step whose tensors come as one list, as the tracer wants free axes to be named."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        outputs: tuple[Tensor, ...] = self.network(*tensors)
        return outputs


class _Positional(nn.Module):
    """A network called by position, as the tracer calls it."""

    def __init__(self, network: nn.Module, signature: Signature) -> None:
        super().__init__()
        self.network = network
        self._signature = signature

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        outputs = self.network(**dict(zip(self._signature.input_names, tensors, strict=True)))
        return tuple(outputs[name] for name in self._signature.output_names)


def trace(module: nn.Module, signature: Signature, opset: int) -> ir.Model:
    """Trace `module` (recurrences already in their ONNX form) into an ONNX model in memory.

    Raises:
        ExportError: an opset that cannot be written, or a network that the tracer cannot follow.
    """
    if opset not in OPSETS:
        raise ExportError(f"opset {opset} cannot be written; choose one from {OPSETS[0]} to {OPSETS[-1]}")
    names = (signature.input_names, signature.output_names)
    model = _traced(_Positional(module, signature), _example(signature), _dynamic_axes(signature), names, opset)
    _check_axes(model, signature)
    return model


def trace_step(body: Body, opset: int) -> ir.Graph:
    """Trace one step of a recurrence by itself: states and per-step inputs in, next states and outputs out.

    Raises:
        ExportError: the tracer cannot follow it.
    """
    example = body.example(_EXAMPLE_BATCH)
    inputs = tuple(f"in{i}" for i in range(len(example)))
    outputs = tuple(f"out{i}" for i in range(len(body.step(*example))))
    axes = tuple({0: BATCH} for _ in example)
    return _traced(_Variadic(body.step), example, axes, (inputs, outputs), opset).graph


def _traced(
    module: nn.Module,
    example: tuple[Tensor, ...],
    axes: tuple[dict[int, str], ...],
    names: tuple[Sequence[str], Sequence[str]],
    opset: int,
) -> ir.Model:
    with _quiet():
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
    model: ir.Model = program.model
    return model


def _example(signature: Signature) -> tuple[Tensor, ...]:
    # sizes that differ from each other and are never 1: a size of 1 freezes its axis in the tracer
    sizes = {name: 3 + 2 * position for position, name in enumerate(signature.symbols)}
    arrays = {**draw_inputs(signature, sizes, seed=0), **draw_states(signature, sizes, seed=0)}
    return tuple(torch.from_numpy(arrays[name]) for name in signature.input_names)


def _dynamic_axes(signature: Signature) -> tuple[dict[int, str], ...]:
    return tuple({i: a for i, a in enumerate(axes) if isinstance(a, str)} for axes in _input_axes(signature))


def _output_axes(signature: Signature) -> list[tuple[Axis, ...]]:
    return [*(t.axes for t in signature.outputs), *(s.axes for s in signature.states)]


def _input_axes(signature: Signature) -> list[tuple[Axis, ...]]:
    return [*(t.axes for t in signature.inputs), *(s.axes for s in signature.states)]


def _check_axes(model: ir.Model, signature: Signature) -> None:
    """The tracer can freeze a free axis without a word: compare what it declares with what was asked."""
    given = [*zip(model.graph.inputs, _input_axes(signature), strict=True)]
    given += zip(model.graph.outputs, _output_axes(signature), strict=True)
    for value, axes in given:
        declared = value.shape.dims if value.shape is not None else ()
        for axis, size in zip(axes, declared, strict=False):
            if isinstance(axis, str) and isinstance(size, int):
                raise ExportError(
                    f"the tracer froze axis '{axis}' of '{value.name}' at {size}: the network computes something from "
                    "that size in Python"
                )


def _first_line(error: Exception) -> str:
    """The first line of the tracer's many that says something, without its colours."""
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).strip() for line in str(error.__cause__ or error).splitlines()]
    return next((line for line in lines if line), type(error).__name__)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks about itself (deprecations inside torch, absent torchvision)."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
