"""What goes into a model and comes out of it: named tensors with named axes, and the states carried between calls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from edgeseq_runtime.errors import ContractError

Axis = int | str
Kind = Literal["step", "last", "sequence"]
Initial = Literal["zeros", "learned"]

DTYPES = (
    *("float32", "float64", "float16", "bool"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
)
"""The types a tensor may have, by numpy's names."""

BATCH = "batch"
TIME = "time"


@dataclass(frozen=True)
class Tensor:
    """One input or output.

    axes: a number where the size is fixed, a name where it is free; the same name is the same size everywhere.
    kind: of an output: one a step, one after the last valid step, or one that needs the whole sequence.
    of: of a lengths input: the input whose valid steps it counts.
    draw: how to make a realistic random input: {"normal": [mean, deviation]} (numbers, or one a feature),
        {"uniform": [low, high]} or {"integers": [low, high]} (high excluded), or {"examples": [[...], ...],
        "deviation": d}, a few real ones, flat, with noise of up to that deviation (a number, or one a feature) or
        without.
    decision: "argmax" where the largest entry of the last axis is what a user reads.
    range: of an integer input or output: the smallest value it may have, and the smallest it may no longer have.
    earlier: of an integer input (batch, time, children): each entry of step t is the index of an earlier step, or -1
        for none.
    features: what the entries of the last axis are called, such as the columns of a table that was learned from.
    """

    name: str
    dtype: str
    axes: tuple[Axis, ...]
    kind: Kind | None = None
    of: str | None = None
    draw: Mapping[str, Any] | None = None
    decision: Literal["argmax"] | None = None
    range: tuple[int, int] | None = None
    earlier: bool = False
    features: tuple[str, ...] | None = None

    def shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The shape at the given sizes of the named axes."""
        return tuple(sizes[axis] if isinstance(axis, str) else axis for axis in self.axes)


@dataclass(frozen=True)
class StatePair:
    """A state: fed to `input`, read from `output`, of the same axes. One pair a recurrent layer and quantity.

    initial: "zeros", or "learned" where the file holds trained initial values.
    range: of a whole number, such as a count of steps up to some number: as of a Tensor.
    """

    input: str
    output: str
    axes: tuple[Axis, ...]
    initial: Initial = "zeros"
    dtype: str = "float32"
    range: tuple[int, int] | None = None

    @property
    def input_tensor(self) -> Tensor:
        """The state as an input."""
        return Tensor(self.input, self.dtype, self.axes, range=self.range)

    @property
    def output_tensor(self) -> Tensor:
        """The state as an output."""
        return Tensor(self.output, self.dtype, self.axes)

    def shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The shape at the given sizes of the named axes."""
        return self.input_tensor.shape(sizes)

    @property
    def batch_axis(self) -> int:
        """The position of the batch axis."""
        return self.axes.index(BATCH)


@dataclass(frozen=True)
class Limit:
    """The sizes a named axis may take: at least `min`, at most `max` (None: no upper limit).

    trained: the largest that was trained on, where a larger one deserves a warning.
    """

    min: int = 1
    max: int | None = None
    trained: int | None = None


@dataclass(frozen=True)
class Signature:
    """Everything a caller must know to feed a model and read its answer.

    typical: the size of each named axis in ordinary use; benchmarks and proofs start from it.
    streamable: whether a sequence may be given in chunks with the states carried; if not, `reason` says why.
    lookahead: how many future steps an output waits for.
    derived: axes of outputs that follow from an input's: by name, that axis, a divisor and an offset; the size is
        (size + offset) / divisor, rounded up.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    states: tuple[StatePair, ...] = ()
    limits: Mapping[str, Limit] = field(default_factory=dict)
    typical: Mapping[str, int] = field(default_factory=dict)
    streamable: bool = False
    lookahead: int = 0
    reason: str | None = None
    derived: Mapping[str, tuple[str, int, int]] = field(default_factory=dict)

    def sized(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """Sizes of the inputs' named axes, completed by those of the derived axes."""
        return {**sizes, **{name: followed(sizes[rule[0]], rule) for name, rule in self.derived.items()}}

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of inputs and then of states, in the order of the file."""
        return tuple(t.name for t in self.inputs) + tuple(s.input for s in self.states)

    @property
    def output_names(self) -> tuple[str, ...]:
        """The names of outputs and then of next states, in the order of the file."""
        return tuple(t.name for t in self.outputs) + tuple(s.output for s in self.states)

    @property
    def symbols(self) -> tuple[str, ...]:
        """The named axes of the inputs, each once, in order of appearance."""
        names = [axis for t in self.inputs for axis in t.axes if isinstance(axis, str)]
        names += [axis for s in self.states for axis in s.axes if isinstance(axis, str)]
        return tuple(dict.fromkeys(names))


def followed(size: int, rule: tuple[str, int, int]) -> int:
    """The size of a derived axis, from that of the axis it follows."""
    _, divisor, offset = rule
    return -(-(size + offset) // divisor)


def check_signature(signature: Signature) -> None:
    """Raise ContractError where a signature contradicts itself: names twice, unknown types, states without a batch."""
    for names in (signature.input_names, signature.output_names):
        if twice := [name for name in names if names.count(name) > 1]:
            raise ContractError(f"the name '{twice[0]}' stands twice in the signature")
    for tensor in (*signature.inputs, *signature.outputs, *(s.input_tensor for s in signature.states)):
        if tensor.dtype not in DTYPES:
            raise ContractError(f"'{tensor.name}' has the type '{tensor.dtype}'; known are {', '.join(DTYPES)}")
    measured = {t.name for t in signature.inputs if TIME in t.axes}
    for tensor in signature.inputs:
        if tensor.earlier and (len(tensor.axes) != 3 or tensor.axes[:2] != (BATCH, TIME)):
            raise ContractError(f"'{tensor.name}' is a table of children, so its axes must be batch, time, children")
        if tensor.features is not None and tensor.axes[-1:] != (len(tensor.features),):
            raise ContractError(
                f"'{tensor.name}' has names for {len(tensor.features)} features, but the axes {tensor.axes}"
            )
        if tensor.of is not None and (tensor.axes != (BATCH,) or tensor.of not in measured):
            raise ContractError(f"'{tensor.name}' must be the lengths, one a row, of an input with a '{TIME}' axis")
    for state in signature.states:
        if [axis for axis in state.axes if isinstance(axis, str)] != [BATCH]:
            raise ContractError(
                f"state '{state.input}' has the axes {state.axes}: '{BATCH}' once, and numbers are needed"
            )
    for name, (axis, divisor, offset) in signature.derived.items():
        if axis not in signature.symbols or type(divisor) is not int or divisor < 1 or type(offset) is not int:
            raise ContractError(
                f"axis '{name}' follows from '{axis}', plus {offset!r}, divided by {divisor!r}: no axis, or no numbers"
            )
    if signature.states and not any(BATCH in t.axes for t in signature.inputs):
        raise ContractError(f"there are states, but no input has a '{BATCH}' axis")


def signature_to_json(signature: Signature) -> dict[str, Any]:
    """The signature's part of a contract, as plain JSON values."""
    return {
        "inputs": [_tensor_to_json(t) for t in signature.inputs],
        "outputs": [_tensor_to_json(t) for t in signature.outputs],
        "states": [
            {
                "input": s.input,
                "output": s.output,
                "dtype": s.dtype,
                "axes": list(s.axes),
                "initial": s.initial,
                **({"range": list(s.range)} if s.range is not None else {}),
            }
            for s in signature.states
        ],
        "limits": {name: _limit_to_json(limit) for name, limit in signature.limits.items()},
        "typical": dict(signature.typical),
        "streamable": signature.streamable,
        "lookahead": signature.lookahead,
        **({"reason": signature.reason} if signature.reason else {}),
        **({"derived": {n: list(rule) for n, rule in signature.derived.items()}} if signature.derived else {}),
    }


def signature_from_json(value: Mapping[str, Any]) -> Signature:
    """Read what `signature_to_json` wrote. Raises ContractError naming the field that is missing or malformed."""
    try:
        signature = Signature(
            inputs=tuple(_tensor_from_json(t) for t in value["inputs"]),
            outputs=tuple(_tensor_from_json(t) for t in value["outputs"]),
            states=tuple(
                StatePair(
                    s["input"],
                    s["output"],
                    _axes(s["axes"]),
                    s.get("initial", "zeros"),
                    s.get("dtype", "float32"),
                    _range(s.get("range")),
                )
                for s in value.get("states", ())
            ),
            limits={
                name: Limit(int(limit.get("min", 1)), *(_optional_int(limit.get(key)) for key in ("max", "trained")))
                for name, limit in value.get("limits", {}).items()
            },
            typical={name: int(size) for name, size in value.get("typical", {}).items()},
            streamable=bool(value.get("streamable", False)),
            lookahead=int(value.get("lookahead", 0)),
            reason=value.get("reason"),
            derived={name: _rule(*rule) for name, rule in value.get("derived", {}).items()},
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ContractError(f"the contract's signature is malformed: {type(error).__name__}: {error}") from error
    check_signature(signature)
    return signature


def _tensor_to_json(tensor: Tensor) -> dict[str, Any]:
    value: dict[str, Any] = {"name": tensor.name, "dtype": tensor.dtype, "axes": list(tensor.axes)}
    for key in ("kind", "of", "draw", "decision"):
        if (item := getattr(tensor, key)) is not None:
            value[key] = item
    if tensor.range is not None:
        value["range"] = list(tensor.range)
    if tensor.earlier:
        value["earlier"] = True
    if tensor.features is not None:
        value["features"] = list(tensor.features)
    return value


def _tensor_from_json(value: Mapping[str, Any]) -> Tensor:
    features = value.get("features")
    return Tensor(
        value["name"],
        value["dtype"],
        _axes(value["axes"]),
        value.get("kind"),
        value.get("of"),
        value.get("draw"),
        value.get("decision"),
        _range(value.get("range")),
        bool(value.get("earlier", False)),
        tuple(map(str, features)) if features is not None else None,
    )


def _rule(axis: str, divisor: int, offset: int = 0) -> tuple[str, int, int]:
    """A derived axis; the first files of version 1 have no offset."""
    return axis, divisor, offset


def _limit_to_json(limit: Limit) -> dict[str, int | None]:
    trained = {} if limit.trained is None else {"trained": limit.trained}
    return {"min": limit.min, "max": limit.max, **trained}


def _range(value: Any) -> tuple[int, int] | None:
    return None if value is None else (int(value[0]), int(value[1]))


def _optional_int(value: Any) -> int | None:
    return None if value is None else int(value)


def _axes(value: Sequence[Any]) -> tuple[Axis, ...]:
    if not all(type(axis) in (int, str) for axis in value):
        raise ContractError(f"axes must be numbers and names, but are {value!r}")
    return tuple(value)
