"""PyTorch as the judge: the network in float64 is the truth, its float32 answer says how exact one can be."""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from edgeseq_runtime.compare import bound
from numpy.typing import NDArray
from torch import Tensor, nn

from edgeseq_export.doubled import doubled
from edgeseq_export.torchscript import move_constants

Array = NDArray[Any]


MARGIN = "_margin"
"""Behind the name of an integer output: what a network may give beside it, how far each entry was from being another.
Where something is drawn or chosen step by step, one entry that falls otherwise changes all that follows."""

_TRIES = 20

JITTERED, THOROUGH = 3, 15
"""Copies that tell PyTorch's own float32 error, beside the network itself; and where that must be known well."""


@dataclass(frozen=True)
class Truth:
    """One output: `values` as float64 (integers stay integers), and how far another answer may be off."""

    values: Array
    bound: float


class Reference:
    """The untouched network, eager, in eval mode; asked for the truth at any input.

    How exact float32 can be at an input is not told by one float32 answer: where a network amplifies rounding,
    that answer is near or far by luck. So the network's own error is the largest of several: its own, and those of
    copies whose weights are moved by at most half a unit in the last place, which is what rounding a product does
    (backward error: Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1).

    Args:
        module: called with tensors by input name, returns tensors by output name.
        tolerance: the bound relative to an output's root mean square.
    """

    def __init__(self, module: nn.Module, tolerance: float) -> None:
        self._singles = [copy.deepcopy(module).eval().requires_grad_(False)]
        self._double = _double(self._singles[0])
        self._tolerance = tolerance

    def __call__(self, inputs: Mapping[str, Array], *, thorough: bool = False) -> dict[str, Truth]:
        """The truth about every output and next state.

        inputs: arrays by input name, floats in float32. thorough: ask more copies for the float32 error.
        """
        copies = THOROUGH if thorough else JITTERED
        self._singles += [_jittered(self._singles[0], seed) for seed in range(len(self._singles) - 1, copies)]
        singles = {name: torch.from_numpy(array) for name, array in inputs.items()}
        doubles = {name: t.double() if t.is_floating_point() else t.clone() for name, t in singles.items()}
        with torch.no_grad(), _one_thread():
            with _default_double(), doubled(self._double):
                exact = {name: _array(t) for name, t in self._double(**doubles).items()}
            errors = dict.fromkeys(exact, 0.0)
            for module in self._singles[: 1 + copies]:
                given = {name: t.clone() for name, t in singles.items()}  # a forward may write into what it is given
                for name, tensor in module(**given).items():
                    error = np.max(np.abs(_array(tensor) - exact[name]), initial=0.0)
                    errors[name] = float(np.maximum(errors[name], error))  # a NaN stays, and fails the comparison
        return {name: Truth(values, bound(values, errors[name], self._tolerance)) for name, values in exact.items()}

    def decided(
        self, inputs: Callable[[int], Mapping[str, Array]], *, thorough: bool = False
    ) -> tuple[Mapping[str, Array], dict[str, Truth]]:
        """Inputs at which no margin is below its own bound, and the truth at them.

        Where float32 cannot tell which of two entries comes out, another answer proves nothing. inputs: from a seed;
        0, 1, … are tried in turn, and where none will do the last is taken as it is.
        """
        for seed in range(_TRIES):
            given = inputs(seed)
            truth = self(given, thorough=thorough)
            if not any((t.values <= t.bound).any() for name, t in truth.items() if name.endswith(MARGIN)):
                break
        return given, truth


def _double(module: nn.Module) -> nn.Module:
    """A copy in float64, with the tensors that somebody keeps as plain attributes."""
    copied = copy.deepcopy(module).double()
    for part in copied.modules():
        for name, value in vars(part).items():
            if isinstance(value, Tensor) and value.is_floating_point():
                setattr(part, name, value.double())
    return copied


@contextmanager
def _default_double() -> Iterator[None]:
    """What somebody's forward makes anew, such as `torch.zeros(...)`, is float64, too."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _jittered(module: nn.Module, seed: int) -> nn.Module:
    """A copy whose weights and buffers are moved at random by at most half a unit in the last place."""
    copied = copy.deepcopy(module)
    generator = torch.Generator().manual_seed(seed)

    def moved(tensor: Tensor) -> Tensor:
        shift = torch.rand(tensor.shape, generator=generator, dtype=torch.float64) * 2 - 1
        return (tensor.double() * (1 + shift * torch.finfo(tensor.dtype).eps / 2)).to(tensor.dtype)

    for tensor in (*copied.parameters(), *copied.buffers()):
        if tensor.is_floating_point():
            tensor.copy_(moved(tensor))
    move_constants(copied, moved)
    return copied


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
