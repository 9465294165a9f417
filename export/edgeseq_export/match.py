"""Which input and output of a file is which of a signature: by name, else by order where names differ."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from edgeseq_runtime import golden
from edgeseq_runtime.errors import UsageError
from edgeseq_runtime.model import Model
from edgeseq_runtime.signature import BATCH, Signature, Tensor
from numpy.typing import NDArray

from edgeseq_export.grid import Case
from edgeseq_export.worst_case import answer

Array = NDArray[Any]

LIFTED = "lifted"
"""In a contract's provenance: the states, by input, that a file has though its network keeps them to itself."""


@dataclass(frozen=True)
class Matching:
    """What the signature calls a tensor -> what the file calls it.

    notes: what was taken for what, and which axes of the file are fixed though the signature has them free.
    """

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Matched:
    """A model that is called by the names of a signature.

    initial: by state name, the learned initial value, for a file that does not fill in what is left out.
    turned: by name, where the batch axis stands in the file, if it is not the first as in the signature.
    """

    model: Model
    signature: Signature
    matching: Matching
    initial: Mapping[str, Array] = field(default_factory=dict)
    turned: Mapping[str, int] = field(default_factory=dict)

    def takes(self, case: Case) -> bool:
        """Whether the file has what a case needs: lengths, states, streaming."""
        names = self.matching.inputs
        return (
            (not case.ragged or all(t.name in names for t in self.signature.inputs if t.of))
            and (not case.random_states or all(s.input in names for s in self.signature.states))
            and (case.chunk is None or self.model.signature.streamable)
            and (case.random_states or not self._waits_for_states())
        )

    def _waits_for_states(self) -> bool:
        """Whether there is a state that the file must be given and whose initial value nobody knows."""
        return self.model.contract is None and any(
            s.initial == "learned" and s.input in self.matching.inputs and s.input not in self.initial
            for s in self.signature.states
        )

    def feeds(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The inputs under the file's names and in its types, with what a file without a contract does not fill in."""
        if self.model.contract is None:
            inputs = {**self._initial_states(inputs), **inputs}
        names, tensors = self.matching.inputs, {t.name: t for t in self.model.signature.inputs}
        named = {names[n]: np.moveaxis(a, 0, self.turned.get(n, 0)) for n, a in inputs.items() if n in names}
        if self.model.contract is not None:
            return named
        return {name: np.ascontiguousarray(array, tensors[name].dtype) for name, array in named.items()}

    def __call__(self, inputs: Mapping[str, Array], chunk: int | None = None) -> dict[str, Array]:
        """Outputs and next states by the signature's names, those that the file gives.

        Raises:
            InputError: the runtime refuses the inputs.
        """
        given = answer(self.model, self.feeds(inputs), chunk)
        names, turned = self.matching.outputs, self.turned
        return {n: np.moveaxis(given[each], turned[n], 0) if n in turned else given[each] for n, each in names.items()}

    def _initial_states(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        if not self.signature.states:
            return {}
        first = next(t for t in self.signature.inputs if BATCH in t.axes)
        batch = inputs[first.name].shape[first.axes.index(BATCH)]
        states = {s.input: np.zeros(s.shape({BATCH: batch}), s.dtype) for s in self.signature.states}
        axes = {s.input: s.batch_axis for s in self.signature.states}
        return {**states, **{name: np.repeat(value, batch, axes[name]) for name, value in self.initial.items()}}


def match(
    model: Model,
    signature: Signature,
    other: str,
    initial: Mapping[str, Array] | None = None,
    turned: Mapping[str, int] | None = None,
) -> Matched:
    """Find for every input and output of a file what the signature calls it.

    The next states as their states; the others by name where the names are the same; what is left in the order of the
    file, each with the first that its rank, type and fixed sizes fit. A file without a contract may lack lengths and
    states: then nothing is said of them.

    Args:
        other: what the signature is of, for messages. initial: the signature's learned initial states.
        turned: by name, where the network itself has the batch axis, and so a file that edgeseq did not write.

    Raises:
        UsageError: something has no counterpart, so these are different networks.
    """
    foreign = model.contract is None
    turned = {**turned} if turned and foreign else {}
    own = _without_lifted(model, signature)
    optional = {t.name for t in signature.inputs if t.of} | {s.input for s in signature.states}
    optional |= {s.output for s in signature.states}
    found: list[dict[str, str]] = []
    notes: list[str] = []
    absent: list[str] = []
    for what, given, wanted in (
        ("inputs", _inputs(own), _inputs(signature)),
        ("outputs", golden.comparable(own), golden.comparable(signature)),
    ):
        wanted = {name: _turned(tensor, turned.get(name, 0)) for name, tensor in wanted.items()}
        known = _carried_on(own, signature, found[0]) if found else {}
        names = _pairs(given, wanted, foreign, known)
        missing = [name for name in wanted if name not in names and not (foreign and name in optional)]
        if missing or len(names) < len(given):
            raise UsageError(
                f"{model.name} and {other} are different networks: the file's {what} are {_told(given)}, "
                f"the reference's are {_told(wanted)}"
            )
        notes += [
            f"'{file_name}' of {model.name} is taken for '{name}' of {other}, by order"
            for name, file_name in names.items()
            if name != file_name
        ]
        absent += [f"'{name}'" for name in wanted if name not in names]
        notes += _fixed(model.name, names, given, wanted)
        found.append(names)
    if absent:
        notes.append(f"{model.name} has no {', '.join(absent)}, so nothing is said of that")
    return Matched(model, signature, Matching(found[0], found[1], tuple(notes)), initial or {}, turned)


def _without_lifted(model: Model, signature: Signature) -> Signature:
    """A file's signature less the lifted states that the other has not: whole runs start from zeros there, too."""
    lifted = model.contract.provenance.get(LIFTED, ()) if model.contract is not None else ()
    known = {state.input for state in signature.states}
    states = (s for s in model.signature.states if s.input not in lifted or s.input in known)
    return replace(model.signature, states=tuple(states))


def _carried_on(own: Signature, signature: Signature, inputs: Mapping[str, str]) -> dict[str, str]:
    """The signature's names of the next values of states whose inputs are matched, and the file's."""
    after = {state.input: state.output for state in own.states}
    return {s.output: after[inputs[s.input]] for s in signature.states if inputs.get(s.input) in after}


def _pairs(
    given: Mapping[str, Tensor], wanted: Mapping[str, Tensor], foreign: bool, known: Mapping[str, str]
) -> dict[str, str]:
    """The signature's names of what the file has: what is known, then those of the same name, the others by order."""
    names = {name: file_name for name, file_name in known.items() if name in wanted and file_name in given}
    left = [name for name in given if name not in names.values()]
    names |= {n: n for n in wanted if n in left and n not in names and _fits(given[n], wanted[n], foreign)}
    for file_name in left:
        if file_name not in names.values():
            free = (n for n in wanted if n not in names and _fits(given[file_name], wanted[n], foreign))
            if (name := next(free, None)) is not None:
                names[name] = file_name
    return {name: names[name] for name in wanted if name in names}


def _fits(given: Tensor, wanted: Tensor, foreign: bool) -> bool:
    if not foreign:
        return given.axes == wanted.axes and given.dtype == wanted.dtype
    if _kind(given) != _kind(wanted):
        return False
    if not given.axes and wanted.kind is not None:  # an exporter may not know the shape of an output
        return True
    sizes = zip(given.axes, wanted.axes, strict=False)
    return len(given.axes) == len(wanted.axes) and all(
        isinstance(a, str) or isinstance(b, str) or a == b for a, b in sizes
    )


def _turned(tensor: Tensor, place: int) -> Tensor:
    """The tensor with its first axis at `place`."""
    if not place:
        return tensor
    first, *others = tensor.axes
    return replace(tensor, axes=(*others[:place], first, *others[place:]))


def _kind(tensor: Tensor) -> str:
    kind = np.dtype(tensor.dtype).kind
    return "i" if kind == "u" else kind


def _fixed(
    file: str, names: Mapping[str, str], given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]
) -> Iterator[str]:
    for name, file_name in names.items():
        for here, there in zip(given[file_name].axes, wanted[name].axes, strict=False):
            if isinstance(here, int) and isinstance(there, str):
                yield f"{file} fixes the axis '{there}' of '{file_name}' at {here}; in the reference it is free"


def _inputs(signature: Signature) -> dict[str, Tensor]:
    return {**{t.name: t for t in signature.inputs}, **{s.input: s.input_tensor for s in signature.states}}


def _told(tensors: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{name} ({', '.join(map(str, t.axes))})" for name, t in tensors.items()) or "none"
