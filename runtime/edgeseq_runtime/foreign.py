"""Files that carry no contract: which of their inputs are fixed, which are states, and how they are streamed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgeseq_runtime._ort.session import Session
from edgeseq_runtime.errors import InputError, UsageError
from edgeseq_runtime.infer import Pair, given_pairs, pair
from edgeseq_runtime.layout import Layout
from edgeseq_runtime.roles import Shapes, find_roles
from edgeseq_runtime.signature import Limit, Signature, Tensor

Array = NDArray[Any]


@dataclass(frozen=True)
class Understood:
    """What was found of a file without a contract.

    signature: batch first where there are states, otherwise as the session declares it.
    layout: how the graph has these axes; None where it has them so.
    pairs: the states, and why; fixed: the inputs that are set, by name, as the graph takes them.
    """

    signature: Signature
    layout: Layout | None = None
    pairs: tuple[Pair, ...] = ()
    fixed: Mapping[str, Array] = field(default_factory=dict)


def understand(
    session: Session,
    name: str,
    states: Mapping[str, str] | None,
    values: Mapping[str, ArrayLike],
) -> Understood:
    """Find the states of a file that does not say what they are.

    Args:
        states: outputs by the inputs they are the next values of; None: they are looked for. name: the file's.
        values: inputs that are the same in every call.

    Raises:
        UsageError: there is no such input or output, or it cannot be that.
    """
    declared = session.signature()
    fixed = {key: _fixed(name, declared.inputs, key, value) for key, value in values.items()}
    inputs = tuple(t for t in declared.inputs if t.name not in fixed)
    outputs = declared.outputs
    pairing = pair(inputs, outputs) if states is None else given_pairs(inputs, outputs, states)
    raw = _raw(Signature(inputs, declared.outputs), pairing.problem)
    if not pairing.pairs:
        return Understood(raw, fixed=fixed)

    def probe(feeds: Mapping[str, Array]) -> Shapes | None:
        names = [t.name for t in declared.outputs]
        try:
            return dict(
                zip(names, (array.shape for array in session.run_checked(names, {**feeds, **fixed})), strict=True)
            )
        except InputError:
            return None

    roles = find_roles(inputs, declared.outputs, pairing.pairs, probe)
    if roles.problem:
        return Understood(_raw(Signature(inputs, declared.outputs), roles.problem), fixed=fixed)
    return Understood(roles.signature, roles.layout, pairing.pairs, fixed)


def _raw(signature: Signature, reason: str | None) -> Signature:
    """A signature as the session declares it; an axis may be of any size, 0 too."""
    return replace(signature, limits={name: Limit(0) for name in signature.symbols}, reason=reason)


def _fixed(name: str, inputs: Sequence[Tensor], key: str, value: ArrayLike) -> Array:
    """A value as the graph takes it: its type, and its shape where one number is given for all entries."""
    tensor = next((t for t in inputs if t.name == key), None)
    if tensor is None:
        raise UsageError(f"{name} has no value '{key}'; its inputs are {', '.join(t.name for t in inputs)}")
    dtype = np.dtype(tensor.dtype)
    try:
        given = np.asarray(value)
        with np.errstate(all="ignore"):
            array = given.astype(dtype)
        kept = bool((np.isfinite(array) if dtype.kind == "f" else array == given).all())
    except (TypeError, ValueError, OverflowError):
        kept = False
    if not kept:
        raise UsageError(f"value '{key}' of {name} is {value!r}, but '{key}' is {tensor.dtype}")
    if array.ndim == 0:
        array = np.full([axis if isinstance(axis, int) else 1 for axis in tensor.axes], array, dtype)
    if array.ndim != len(tensor.axes) or any(
        isinstance(axis, int) and axis != size for axis, size in zip(tensor.axes, array.shape, strict=False)
    ):
        raise UsageError(f"value '{key}' of {name} has the shape {array.shape}, but its axes are {tensor.axes}")
    return array
