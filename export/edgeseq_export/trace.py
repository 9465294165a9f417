"""From torch to ONNX: trace a network once, with the axes its signature calls free left free."""

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import onnx_ir as ir
import torch
from edgeseq_runtime.draw import draw_inputs, draw_states
from edgeseq_runtime.errors import ExportError
from edgeseq_runtime.signature import Axis, Signature
from torch import Tensor, nn

OPSETS = range(18, 24)
"""The opsets that can be written; 18 opens on every onnxruntime since 1.15."""


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
    with _quiet():
        try:
            program = torch.onnx.export(
                _Positional(module, signature).eval(),
                _example(signature),
                dynamo=True,
                dynamic_shapes=(_dynamic_axes(signature),),
                input_names=list(signature.input_names),
                output_names=list(signature.output_names),
                opset_version=opset,
                external_data=False,
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise ExportError(f"the network cannot be traced: {_first_line(error)}") from error
    if program is None:
        raise ExportError("the tracer gave no program")
    model: ir.Model = program.model
    _check_axes(model, signature)
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
