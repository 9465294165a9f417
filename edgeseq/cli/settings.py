"""`--set NAME=VALUE` and `--seed`: a file's named scalars, and how much of what is pure chance is drawn."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from edgeseq_runtime.draw import draw
from edgeseq_runtime.errors import InputError, UsageError
from edgeseq_runtime.signature import BATCH, Signature
from numpy.typing import NDArray

from edgeseq.files.inputs import chance_inputs, generates

if TYPE_CHECKING:
    from edgeseq_runtime import Model

Array = NDArray[Any]
Settings = Mapping[str, int | float]

SAMPLES = "samples"
"""What the batch of a model is called that needs no data."""

MOST_BYTES = 2**31
"""Of what is drawn and what comes of it; with more a machine is at work for minutes, and then out of memory."""


def parse_settings(given: Sequence[str]) -> Settings:
    """Each NAME=VALUE as a number by its name. Raises UsageError."""
    settings: dict[str, int | float] = {}
    for item in given:
        name, equals, text = (part.strip() for part in item.partition("="))
        if not (equals and name):
            raise UsageError(f"--set {item!r} is not understood; write NAME=VALUE, such as temperature=0.5")
        settings[name] = _number(item, text)
    return settings


def split_settings(model: "Model", settings: Settings) -> tuple[Settings, Mapping[str, int]]:
    """The scalars that are set, and the sizes of axes that only what is drawn has.

    Raises:
        UsageError: a name that the model has neither a scalar nor such an axis for; a size that is no whole number, or
            too large.
    """
    axes = _chance_axes(model.signature)
    for name, value in settings.items():
        if name == SAMPLES and name not in (*model.values, *axes):
            raise UsageError(_no_generator(model))
        if name not in model.values and name not in axes:
            known = ", ".join((*model.values, *axes))
            has = f"what can be set is {known}" if known else "there is nothing to set"
            raise UsageError(f"{model.name} has no '{name}'; {has}{_told_by_export(model, name)}")
        if name in axes and (not isinstance(value, int) or value < 1):
            raise UsageError(f"{name} is {value}, but a whole number from 1 is expected")
    values = {name: value for name, value in settings.items() if name in model.values}
    sizes = {axes[name]: int(value) for name, value in settings.items() if name in axes}
    if (needed := _bytes(model.signature, sizes)) > MOST_BYTES:
        told = ", ".join(f"{name} is {value}" for name, value in settings.items() if name in axes)
        raise UsageError(
            f"{told}, which would take {needed >> 20} MiB of memory, but at most {MOST_BYTES >> 20} are taken at once; "
            "set fewer"
        )
    return values, sizes


def _bytes(signature: Signature, sizes: Mapping[str, int]) -> int:
    """How much memory the inputs and outputs take that have axes of the given sizes."""
    tensors = [t for t in (*signature.inputs, *signature.outputs) if set(t.axes) & set(sizes)]
    known = {**signature.typical, **sizes}
    axes = [[known.get(axis, 1) if isinstance(axis, str) else axis for axis in t.axes] for t in tensors]
    return sum(np.dtype(t.dtype).itemsize * math.prod(each) for t, each in zip(tensors, axes, strict=True))


def with_chance(model: "Model", arrays: Mapping[str, Array], sizes: Mapping[str, int], seed: int) -> dict[str, Array]:
    """The arrays, and those inputs that are pure chance and were left out, drawn from the seed.

    sizes: of the axes that only these have; others are typical.

    Raises:
        UsageError: a size is set, but what has it was given. InputError: what was given is of another size.
    """
    signature = model.signature
    _check_chance(model, arrays)
    missing = [t for t in chance_inputs(signature) if t.name not in arrays]
    drawn = {axis for t in missing for axis in t.axes}
    if given := [name for name in sizes if name not in drawn]:
        name = SAMPLES if given[0] == BATCH else given[0]
        raise UsageError(f"'{name}' is set, but the input that has this axis was given; leave one of them out")
    if not missing:
        return dict(arrays)
    measured = {
        axis: size
        for t in signature.inputs
        if t.name in arrays
        for axis, size in zip(t.axes, arrays[t.name].shape, strict=False)
        if isinstance(axis, str)
    }
    every = {**dict.fromkeys(signature.symbols, 1), **signature.typical, **measured, **sizes}
    rng = np.random.default_rng(seed)
    return {**arrays, **{t.name: draw(t, every, rng) for t in missing}}


def _told_by_export(model: "Model", name: str) -> str:
    """Where a length is set that the file has fixed: what has fixed it."""
    length = _max_length(model)
    if name not in ("length", "max_length") or length is None:
        return ""
    return f". Its answers have at most {length} steps, which only edgeseq export --max-length changes"


def _check_chance(model: "Model", arrays: Mapping[str, Array]) -> None:
    """Refuse what is pure chance in another number than the file has fixed; of other axes the model tells."""
    for tensor in chance_inputs(model.signature):
        shape = arrays[tensor.name].shape if tensor.name in arrays else ()
        for axis, size in zip(tensor.axes, shape, strict=False):
            if isinstance(axis, int) and size != axis and len(shape) == len(tensor.axes):
                why = ", one for each step that its answer may have" if axis == _max_length(model) else ""
                raise InputError(
                    f"input '{tensor.name}' has {size} numbers a row, but {model.name} takes {axis}{why}. Give so "
                    f"many, or leave '{tensor.name}' out to have it drawn"
                )


def _max_length(model: "Model") -> int | None:
    """How many steps an answer has at most, where the file has fixed it."""
    decoding = model.contract.decoding if model.contract is not None else None
    return decoding.get("max_length") if decoding else None


def _no_generator(model: "Model") -> str:
    """Why a model draws no samples."""
    chance = chance_inputs(model.signature)
    data = ", ".join(f"'{t.name}'" for t in model.signature.inputs if t not in chance and t.of is None)
    return (
        f"samples cannot be set, as {model.name} is no generator: it answers what is given as {data}, one answer each. "
        "What generates is the decoder of a variational autoencoder (edgeseq export --part decoder)"
    )


def _chance_axes(signature: Signature) -> dict[str, str]:
    """The axes that only what is drawn has, by what they are set by."""
    chance = chance_inputs(signature)
    others = {axis for t in signature.inputs if t not in chance for axis in t.axes}
    axes = (axis for t in chance for axis in t.axes if isinstance(axis, str))
    samples = {SAMPLES: BATCH} if generates(signature) else {}
    return {**samples, **{axis: axis for axis in axes if axis != BATCH and axis not in others}}


def _number(item: str, text: str) -> int | float:
    for kind in (int, float):
        try:
            value = kind(text)
            if math.isfinite(value):
                return value
        except (ValueError, OverflowError):
            continue
    raise UsageError(f"--set {item!r}: {text!r} is no finite number")
