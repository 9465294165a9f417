"""What a user says of an input: `x:float32[batch,time,12]`, or `tokens:int64[batch,time]=0..99`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from edgeseq_runtime.errors import UsageError
from edgeseq_runtime.signature import BATCH, DTYPES, TIME, Axis, Tensor

Path = tuple[str | int, ...]
"""Where a tensor is: a parameter's name, and then keys of dicts and places in tuples."""

SYNTAX = "NAME:TYPE[AXIS,...], such as x:float32[batch,time,12] or tokens:int64[batch,time]=0..99"

_SPEC = re.compile(r"(?P<name>[\w.]+):(?P<dtype>\w+)\[(?P<axes>[\w, ]*)\](=(?P<low>-?[\d.]+?)\.\.(?P<high>-?[\d.]+))?")


@dataclass(frozen=True)
class Spec:
    """One input of somebody's network.

    path: where it goes. tensor: as it goes into the file, batch first. axes: as the network takes it.
    """

    path: Path
    tensor: Tensor
    axes: tuple[Axis, ...]

    def __str__(self) -> str:
        bounds = self.tensor.range
        drawn = f"={bounds[0]}..{bounds[1] - 1}" if bounds is not None else ""
        if self.tensor.draw is not None and "uniform" in self.tensor.draw:
            drawn = "={}..{}".format(*self.tensor.draw["uniform"])
        return f"{told(self.path)}:{self.tensor.dtype}[{','.join(map(str, self.axes))}]{drawn}"


def parse_specs(texts: Sequence[str]) -> tuple[Spec, ...]:
    """Read `--input` of an export. Raises UsageError for what is no spec, and for what does not go together."""
    specs = tuple(map(_parse, texts))
    names = [spec.tensor.name for spec in specs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"the input '{twice[0]}' is given twice")
    steps = [spec.tensor.name for spec in specs if TIME in spec.axes]
    return tuple(_with_lengths(spec, steps, names) for spec in specs)


def told(path: Path) -> str:
    """A path as a user writes it."""
    return ".".join(map(str, path))


def name_of(path: Path) -> str:
    """The name in the file of what lies at a path."""
    return "_".join(map(str, path))


def path_of(text: str) -> Path:
    """A path as a user writes it, `hx.0` or `batch.lengths`."""
    first, *others = text.split(".")
    return first, *(int(part) if part.isdigit() else part for part in others)


def batch_first(axes: Sequence[Axis]) -> tuple[Axis, ...]:
    """The same axes with that of the batch before all others."""
    return tuple(axes) if BATCH not in axes else (BATCH, *(axis for axis in axes if axis != BATCH))


def _parse(text: str) -> Spec:
    found = _SPEC.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"'{text}' does not say what an input is; expected is {SYNTAX}")
    dtype = found["dtype"]
    if dtype not in DTYPES:
        raise UsageError(f"'{text}' has the type '{dtype}'; known are {', '.join(DTYPES)}")
    words = [word.strip() for word in found["axes"].split(",") if word.strip()]
    axes: tuple[Axis, ...] = tuple(int(word) if word.isdigit() else word for word in words)
    if wrong := [word for word in words if not (word.isdigit() or word.isidentifier())]:
        raise UsageError(f"'{text}' has the axis '{wrong[0]}'; an axis is a word where its size is free, or a number")
    if len(set(names := [axis for axis in axes if isinstance(axis, str)])) < len(names):
        raise UsageError(f"'{text}' has an axis twice; give each its own name")
    path = path_of(found["name"])
    tensor = Tensor(name_of(path), dtype, batch_first(axes))
    if found["low"] is not None:
        tensor = _drawn(text, tensor, found["low"], found["high"])
    return Spec(path, tensor, axes)


def _drawn(text: str, tensor: Tensor, low: str, high: str) -> Tensor:
    try:
        whole = "float" not in tensor.dtype
        first, last = (int(low), int(high)) if whole else (float(low), float(high))
    except ValueError as error:
        raise UsageError(f"'{text}' goes from '{low}' to '{high}', but two numbers are expected") from error
    if first > last:
        raise UsageError(f"'{text}' goes from {low} to {high}; the smaller one comes first")
    if whole:
        bounds = (int(first), int(last) + 1)
        return Tensor(tensor.name, tensor.dtype, tensor.axes, range=bounds, draw={"integers": list(bounds)})
    return Tensor(tensor.name, tensor.dtype, tensor.axes, draw={"uniform": [first, last]})


def _with_lengths(spec: Spec, steps: Sequence[str], names: Sequence[str]) -> Spec:
    """`lengths`, or NAME_lengths, whole numbers (batch,), count the steps of what has the axis `time`.

    Raises:
        UsageError: NAME has no such axis, but others have.
    """
    tensor = spec.tensor
    if not tensor.name.endswith("lengths") or tensor.axes != (BATCH,) or not steps or "int" not in tensor.dtype:
        return spec
    named = tensor.name.removesuffix("_lengths")
    if named != tensor.name and named in names and named not in steps:
        raise UsageError(
            f"'{tensor.name}' counts the steps of '{named}', which has no axis '{TIME}'. What has lengths has the axis "
            f"'{TIME}'; where several have, pad them to one length"
        )
    of = named if named in steps else steps[0]
    return Spec(spec.path, Tensor(tensor.name, tensor.dtype, tensor.axes, of=of), spec.axes)
