"""The test a file carries in itself: a few inputs with PyTorch's answers, so that it can be proven on the device."""

import base64
import binascii
import io
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgeseq_runtime.compare import Comparison, ParityReport, compare, refused
from edgeseq_runtime.errors import DamagedFileError, InputError
from edgeseq_runtime.signature import Signature, Tensor

if TYPE_CHECKING:
    from edgeseq_runtime.model import Model

Array = NDArray[Any]

REFERENCE = "PyTorch's answers in its golden vectors"
"""What a file is compared with by itself."""

MAX_VALUES = 4096
"""Longer outputs are sampled by stride, so that the whole stays small."""

_EVERY = "every/scalar"
"""Before the name of a scalar that holds for every case; a runtime that knows none passes over it."""


class Keep(Protocol):
    """Is shown every call of a proof, as the one that keeps the worst."""

    def see(
        self,
        comparisons: Sequence[Comparison],
        model: "Model",
        case: "GoldenCase",
        actual: Mapping[str, Array],
        *,
        reference: str,
    ) -> None:
        """Look at one call, with all its comparisons and what came out."""


@dataclass(frozen=True)
class Expected:
    """An output as PyTorch gave it: `values` (every `stride`-th of the flattened output) and the bound it keeps."""

    values: Array
    shape: tuple[int, ...]
    stride: int
    bound: float


@dataclass(frozen=True)
class GoldenCase:
    """One call: the inputs by name (states included) and what must come out."""

    name: str
    inputs: Mapping[str, Array]
    expected: Mapping[str, Expected]


def sample(values: Array, bound: float) -> Expected:
    """Keep an output whole, or every n-th value where it is long; float64 as float32, far inside any bound."""
    stride = max(1, -(-values.size // MAX_VALUES))
    kept = np.ascontiguousarray(values.ravel()[::stride])
    return Expected(kept.astype(np.float32) if kept.dtype == np.float64 else kept, values.shape, stride, bound)


def pack(cases: Sequence[GoldenCase], values: Mapping[str, float | int] | None = None) -> str:
    """The cases as base64 of an npz archive.

    values: the named scalars they were made with; those left out had the contract's defaults.
    """
    arrays: dict[str, Array] = {f"{_EVERY}/{name}": np.array(value) for name, value in (values or {}).items()}
    for case in cases:
        for name, array in case.inputs.items():
            arrays[f"{case.name}/input/{name}"] = array
        for name, expected in case.expected.items():
            arrays[f"{case.name}/values/{name}"] = expected.values
            arrays[f"{case.name}/about/{name}"] = np.array(
                [expected.bound, expected.stride, *expected.shape], np.float64
            )
    return pack_arrays(arrays)


def unpack(text: str) -> tuple[list[GoldenCase], dict[str, float | int]]:
    """Read what `pack` wrote: the cases, and the scalars they were made with. Raises DamagedFileError."""
    values: dict[str, float | int] = {}
    inputs: dict[str, dict[str, Array]] = {}
    expected: dict[str, dict[str, Expected]] = {}
    arrays = unpack_arrays(text)
    for key, array in arrays.items():
        case, part, name = key.split("/", 2)
        if f"{case}/{part}" == _EVERY:
            values[name] = array.item()
        elif part == "input":
            inputs.setdefault(case, {})[name] = array
        elif part == "values":
            about = arrays[f"{case}/about/{name}"]
            shape = tuple(int(size) for size in about[2:])
            expected.setdefault(case, {})[name] = Expected(array, shape, int(about[1]), float(about[0]))
    return [GoldenCase(case, inputs[case], expected.get(case, {})) for case in inputs], values


def pack_arrays(arrays: Mapping[str, Array]) -> str:
    """Arrays by name as base64 of an npz archive."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # numpy's stub takes any keyword for allow_pickle
    return base64.b64encode(buffer.getvalue()).decode()


def unpack_arrays(text: str) -> dict[str, Array]:
    """Read what `pack_arrays` wrote; nothing in it can run code. Raises DamagedFileError."""
    from zipfile import BadZipFile  # numpy imports it when it first reads an archive, and not before

    try:
        with np.load(io.BytesIO(base64.b64decode(text, validate=True)), allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except (ValueError, OSError, KeyError, EOFError, BadZipFile, binascii.Error) as error:
        raise DamagedFileError(f"the arrays stored in the file's metadata are not readable: {error}") from error


def check(model: "Model", cases: Sequence[GoldenCase], keep: "Keep | None" = None) -> ParityReport:
    """Run every case on the model and compare with what PyTorch gave. keep: is shown every case."""
    comparisons: list[Comparison] = []
    for case in cases:
        comparisons += check_case(model, case, partial(model.run, case.inputs, states=True), keep=keep)
    return ParityReport(model.name, REFERENCE, tuple(comparisons))


def check_case(
    model: "Model",
    case: GoldenCase,
    run: Callable[[], Mapping[str, Array]],
    decisions: Collection[str] = (),
    keep: "Keep | None" = None,
) -> list[Comparison]:
    """Compare what `run` gives with what is expected, output by output; where the runtime refuses, with its words.

    decisions: outputs whose largest entry is what a user reads, beside those that the model's signature says.
    """
    tensors, provider = comparable(model.signature), model.provider.name
    try:
        actual, error = run(), ""
    except InputError as refusal:
        actual, error = {}, " ".join(str(refusal).split())
    comparisons: list[Comparison] = []
    for name, expected in case.expected.items():
        tensor, truth = tensors[name], expected.values
        if name in decisions:
            tensor = replace(tensor, decision="argmax")
        if error:
            found = refused(case.name, tensor, provider, truth, expected.bound, error)
        elif actual[name].shape != expected.shape:
            wrong = f"its shape is {actual[name].shape}, but {expected.shape} is expected"
            found = refused(case.name, tensor, provider, truth, expected.bound, wrong)
        elif expected.stride == 1:
            found = compare(case.name, tensor, provider, actual[name], truth.reshape(expected.shape), expected.bound)
        else:
            values = actual[name].ravel()[:: expected.stride]
            tensor = replace(tensor, decision=None)  # a sampled row decides nothing
            found = compare(case.name, tensor, provider, values, truth, expected.bound)
        comparisons.append(replace(found, shape=expected.shape))
    if keep is not None:
        keep.see(comparisons, model, case, actual, reference=REFERENCE)
    return comparisons


def comparable(signature: Signature) -> dict[str, Tensor]:
    """Everything that comes out of a model, by name: its outputs, and its next states as tensors."""
    tensors = {t.name: t for t in signature.outputs}
    tensors.update({s.output: s.output_tensor for s in signature.states})
    return tensors
