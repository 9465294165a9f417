"""A copy of an ONNX file with one weight tensor slightly wrong, to see whether a proof notices."""

from dataclasses import dataclass

import numpy as np
import onnx
from edgeseq_runtime.seal import is_sealed, seal
from onnx import numpy_helper

FACTOR = 1.01


@dataclass(frozen=True)
class Mutant:
    """The changed file, with its hash renewed, and the name of the weight that was multiplied."""

    content: bytes
    weight: str


def mutant(content: bytes, factor: float = FACTOR) -> Mutant | None:
    """Multiply the largest floating-point weight of a file by `factor`; None where the file has no weight."""
    model = onnx.load_from_string(content)
    weights = [t for t in model.graph.initializer if np.issubdtype(_dtype(t), np.floating) and len(t.dims) > 1]
    if not weights:
        return None
    largest = max(weights, key=lambda t: int(np.prod(t.dims)))
    array = numpy_helper.to_array(largest)
    largest.CopyFrom(numpy_helper.from_array((array * factor).astype(array.dtype), largest.name))
    changed = model.SerializeToString()
    return Mutant(seal(changed) if is_sealed(content) else changed, largest.name)


def _dtype(tensor: onnx.TensorProto) -> np.dtype[np.generic]:
    return onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
