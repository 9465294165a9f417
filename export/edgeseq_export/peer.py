"""Another ONNX file as the reference: no float64 truth, so its own float32 error is told by copies of it."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from edgeseq_runtime import load
from edgeseq_runtime.compare import bound
from edgeseq_runtime.contract import Contract
from edgeseq_runtime.model import Model
from edgeseq_runtime.seal import is_sealed, seal
from edgeseq_runtime.signature import BATCH, TIME, Axis, Signature
from edgeseq_runtime.wire import external_files
from numpy.typing import NDArray
from onnx import numpy_helper

from edgeseq_export.grid import Case
from edgeseq_export.match import Matched
from edgeseq_export.reference import JITTERED, THOROUGH, Truth

Array = NDArray[Any]

APART = 2.0
"""Two files may be off the truth that they share by a bound each, so they may be twice that apart."""


class Peer:
    """An ONNX file, run by the runtime on the CPU, asked for its answer at any input.

    There is no truth in float64 here. An output may be off by twice what a proof against PyTorch allows:

        max |file − peer| ≤ 2 · max(tolerance · rms(peer), 4 · max |peer' − peer|)

    where peer' are copies whose weights are moved by at most half a unit in the last place (reference.py).

    Args:
        content: the file's bytes.
        matched: the file loaded, called by the names of the compared signature.
        tolerance: relative to an output's root mean square.
    """

    def __init__(self, content: bytes, matched: Matched, tolerance: float) -> None:
        self._content = content
        self._matched = matched
        self._tolerance = tolerance
        self._copies: list[Matched] = []

    @property
    def contract(self) -> Contract | None:
        """The file's contract."""
        return self._matched.model.contract

    def takes(self, case: Case) -> bool:
        """Whether the file has what a case needs."""
        return self._matched.takes(case)

    def __call__(self, inputs: Mapping[str, Array], *, thorough: bool = False) -> dict[str, Truth]:
        """The peer's answer for every output and next state that it has. Raises InputError where it refuses."""
        wanted = THOROUGH if thorough else JITTERED
        for seed in range(len(self._copies), wanted):
            copied = opened(jittered(self._content, seed), provider="cpu", values=self._matched.model.values)
            self._copies.append(replace(self._matched, model=copied))
        answers = self._matched(inputs)
        spread = dict.fromkeys(answers, 0.0)
        for copy in self._copies[:wanted]:
            for name, values in copy(inputs).items():
                off = np.max(np.abs(values.astype(np.float64) - answers[name]), initial=0.0)
                spread[name] = float(np.maximum(spread[name], off))  # a NaN stays, and fails the comparison
        exact = {name: _double(values) for name, values in answers.items()}
        return {
            name: Truth(values, APART * bound(values, spread[name], self._tolerance)) for name, values in exact.items()
        }

    def decided(
        self, inputs: Callable[[int], Mapping[str, Array]], *, thorough: bool = False
    ) -> tuple[Mapping[str, Array], dict[str, Truth]]:
        """The first inputs, and the answer at them: a file gives no margins by which others would be chosen."""
        given = inputs(0)
        return given, self(given, thorough=thorough)


def opened(
    file: str | os.PathLike[str] | bytes, provider: str, values: Mapping[str, float | int] | None = None
) -> Model:
    """A file as it is compared: one without a contract as its session declares it, its states among the inputs."""
    model = load(file, provider=provider, values=values)
    return model if model.contract is not None else load(file, provider=provider, values=values, states={})


def jittered(content: bytes, seed: int) -> bytes:
    """A copy of a file whose floating-point weights are moved at random by at most half a unit in the last place."""
    model, rng = onnx.load_from_string(content), np.random.default_rng(seed)
    for tensor in model.graph.initializer:
        if tensor.data_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE):
            array = numpy_helper.to_array(tensor)
            shift = rng.uniform(-0.5, 0.5, array.shape) * np.finfo(array.dtype).eps
            tensor.CopyFrom(numpy_helper.from_array((array * (1 + shift)).astype(array.dtype), tensor.name))
    changed = model.SerializeToString()
    return seal(changed) if is_sealed(content) else changed


def declared(model: Model) -> Signature:
    """The signature of a file: its contract's, else what its session declares, with the batch and time axes named.

    Without a contract, the first axis of the first input is the batch wherever its name stands, or wherever an unnamed
    first axis stands; the next free axis of that input is time.
    """
    signature = model.signature
    if model.contract is not None or not signature.inputs:
        return signature
    first = signature.inputs[0]
    free = [axis for axis in first.axes if isinstance(axis, str)]
    names: dict[str, str] = {}
    if free and first.axes[0] == free[0]:
        names = {f"{t.name}.0": BATCH for t in signature.inputs} | {free.pop(0): BATCH}
    if free and TIME not in (axis for t in signature.inputs for axis in t.axes):
        names[free[0]] = TIME
    return replace(
        signature,
        inputs=tuple(replace(t, axes=tuple(_renamed(t.axes, names))) for t in signature.inputs),
        outputs=tuple(replace(t, axes=tuple(_renamed(t.axes, names))) for t in signature.outputs),
    )


def _renamed(axes: tuple[Axis, ...], names: Mapping[str, str]) -> Iterator[Axis]:
    return (names.get(axis, axis) if isinstance(axis, str) else axis for axis in axes)


def read(file: str | os.PathLike[str] | bytes) -> bytes:
    """A file's bytes, with the weights in them that another exporter put into files beside it."""
    if isinstance(file, bytes):
        return file
    content = Path(file).read_bytes()
    if not external_files(content, os.path.basename(os.fspath(file))):
        return content
    embedded: bytes = onnx.load(os.fspath(file)).SerializeToString()
    return embedded


def _double(values: Array) -> Array:
    return values.astype(np.float64) if np.issubdtype(values.dtype, np.floating) else values
