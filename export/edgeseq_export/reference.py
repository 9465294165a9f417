"""PyTorch as the judge: the network in float64 is the truth, its float32 answer says how exact one can be."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from edgeseq_runtime.compare import bound
from numpy.typing import NDArray
from torch import Tensor, nn

Array = NDArray[Any]


@dataclass(frozen=True)
class Truth:
    """One output: `values` as float64 (integers stay integers), and how far another answer may be off."""

    values: Array
    bound: float


class Reference:
    """The untouched network, eager, in eval mode; asked for the truth at any input.

    Args:
        module: called with tensors by input name, returns tensors by output name.
        tolerance: the bound relative to an output's root mean square.
    """

    def __init__(self, module: nn.Module, tolerance: float) -> None:
        self._single = copy.deepcopy(module).eval()
        self._double = copy.deepcopy(module).eval().double()
        self._tolerance = tolerance

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Truth]:
        """The truth about every output and next state. inputs: arrays by input name, floats in float32."""
        singles = {name: torch.from_numpy(array) for name, array in inputs.items()}
        doubles = {name: t.double() if t.is_floating_point() else t for name, t in singles.items()}
        with torch.no_grad(), _one_thread():
            rough = {name: _array(t) for name, t in self._single(**singles).items()}
            exact = {name: _array(t) for name, t in self._double(**doubles).items()}
        return {name: Truth(values, bound(values, rough[name], self._tolerance)) for name, values in exact.items()}


@contextmanager
def _one_thread() -> Iterator[None]:
    """A proof is many small calls: more threads only wait for each other, for seconds on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _array(tensor: Tensor) -> Array:
    array: Array = tensor.numpy()
    return array.astype(np.float64) if np.issubdtype(array.dtype, np.floating) else array
