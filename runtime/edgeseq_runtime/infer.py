"""Which outputs of a foreign file are its states after a call: by names, shapes, types and order, and why.

What is only a guess is not taken: where more than one pairing fits, nothing is paired and the candidates are told.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgeseq_runtime.errors import UsageError
from edgeseq_runtime.signature import Tensor
from edgeseq_runtime.stems import alike, like_state

GIVEN = "as was asked for"


@dataclass(frozen=True)
class Pair:
    """An input that is a state, the output that is the same state after a call, and why.

    sure: whether more than the shape and the order says so.
    """

    input: str
    output: str
    why: str
    sure: bool = True


def guesses(pairs: Sequence[Pair], name: str) -> list[str]:
    """What to warn of: states that nothing but shape and order paired. name: the file's."""
    return [
        f"'{pair.output}' is taken as the next '{pair.input}' of {name} ({pair.why}). To say which it is: "
        f"--state {pair.input}={pair.output}, or load(states={{...}})"
        for pair in pairs
        if not pair.sure
    ]


@dataclass(frozen=True)
class Pairing:
    """The pairs of a file. problem: why there are none where there seem to be some, with the candidates."""

    pairs: tuple[Pair, ...] = ()
    problem: str | None = None


def fits(before: Tensor, after: Tensor) -> bool:
    """Whether an output may be an input's next value: of one type, and of one shape as far as both say theirs."""
    if before.dtype != after.dtype or not before.axes:
        return False
    if not after.axes:  # a file that declares no shape says it so
        return True
    return len(before.axes) == len(after.axes) and all(
        a == b or not (isinstance(a, int) and isinstance(b, int)) for a, b in zip(before.axes, after.axes, strict=True)
    )


def given_pairs(inputs: Sequence[Tensor], outputs: Sequence[Tensor], states: Mapping[str, str]) -> Pairing:
    """The pairs that a user has named. Raises UsageError where there are no such tensors, or they can be no state."""
    by_input, by_output = {t.name: t for t in inputs}, {t.name: t for t in outputs}
    for before, after in states.items():
        for name, what, known in ((before, "input", by_input), (after, "output", by_output)):
            if name not in known:
                raise UsageError(f"state {before}={after}: there is no {what} '{name}'; there is {', '.join(known)}")
        if not fits(by_input[before], by_output[after]):
            raise UsageError(
                f"state {before}={after}: {_told(by_input[before])} goes in and {_told(by_output[after])} comes out, "
                "but a state has one type and one shape"
            )
    if twice := [after for after in states.values() if list(states.values()).count(after) > 1]:
        raise UsageError(f"output '{twice[0]}' is given as the next value of two states")
    return Pairing(tuple(Pair(before, after, GIVEN) for before, after in states.items()))


def pair(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Pairing:
    """Find the states of a file that does not say what they are."""
    found: dict[str, Pair] = {}
    for loosely in (False, True):
        found.update(_by_name(inputs, outputs, found, loosely))
    taken = {p.output for p in found.values()}
    before = [t for t in inputs if t.name not in found]
    after = [t for t in outputs if t.name not in taken]
    if not before:
        return _unclear(inputs, outputs, "every input could be a state, and none would be left for the data")
    if found and not after:
        return _unclear(inputs, outputs, "every output could be a state, and none would be left for the answer")
    lost = [t for t in before if like_state(t.name) and t.axes and not any(fits(t, o) for o in after)]
    if lost and len(lost) < len(before):
        return _unclear(inputs, outputs, f"input '{lost[0].name}' is called like a state, but nothing comes out for it")
    rest, problem = _by_shape(before, after, bool(found))
    if problem:
        return _unclear(before, after, problem)
    found.update({p.input: p for p in rest})
    return Pairing(tuple(found[t.name] for t in inputs if t.name in found))


def _by_name(
    inputs: Sequence[Tensor], outputs: Sequence[Tensor], found: Mapping[str, Pair], loosely: bool
) -> dict[str, Pair]:
    """Inputs and outputs that have only each other by name."""
    taken = {p.output for p in found.values()}
    before = [t for t in inputs if t.name not in found]
    after = [t for t in outputs if t.name not in taken]
    matches = {i.name: [o for o in after if fits(i, o) and alike(i.name, o.name, loosely)] for i in before}
    owners: dict[str, list[str]] = {}
    for name, each in matches.items():
        for tensor in each:
            owners.setdefault(tensor.name, []).append(name)
    return {
        name: Pair(name, each[0].name, "their names and their shapes")
        for name, each in matches.items()
        if len(each) == 1 and owners[each[0].name] == [name]
    }


def _by_shape(before: Sequence[Tensor], after: Sequence[Tensor], some: bool) -> tuple[list[Pair], str | None]:
    """Pair what has one shape, in the order of the file; the second value says why not where it is unclear.

    some: whether there are states that were found by their names.
    """
    fitting = {i.name: [o.name for o in after if fits(i, o)] for i in before if not _runs_on(i)}
    states = {name: each for name, each in fitting.items() if each}
    if not states:
        return [], None
    if len(states) == len(before):
        if some and len(before) == 1:  # something must be the data
            return [], None
        if len(before) == 1 and not like_state(before[0].name):
            return [], None  # in and out are of one shape, as in any filter
        return [], "every input has an output of its shape, so that any could be the data"
    pairs: list[Pair] = []
    for group in _groups(states):
        ends = sorted({o for name in group for o in states[name]}, key=[o.name for o in after].index)
        if len(ends) != len(group) or any(len(states[name]) != len(ends) for name in group):
            return [], f"{_names(group)} may become {_names(ends)}"
        why = "the only output of its shape" if len(group) == 1 else f"the same order among {len(group)} of one shape"
        sure = len(group) == 1 and like_state(group[0])
        pairs += [Pair(i, o, why, sure) for i, o in zip(group, ends, strict=True)]
    if len(pairs) == len(after):
        return [], "every output could be a state, and none would be left for the answer"
    return pairs, None


def _groups(states: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Inputs that could have an output in common, in the order of the file."""
    groups: list[tuple[list[str], set[str]]] = []
    for name, ends in states.items():
        joined, others = ([name], set(ends)), []
        for group in groups:
            if group[1] & joined[1]:
                joined = ([*group[0], *joined[0]], group[1] | joined[1])
            else:
                others.append(group)
        groups = [*others, joined]
    return [names for names, _ in groups]


def _runs_on(tensor: Tensor) -> bool:
    """Whether more than one axis is free: a sequence, and no state of so many rows."""
    return sum(isinstance(axis, str) for axis in tensor.axes) > 1 and not like_state(tensor.name)


def _unclear(inputs: Sequence[Tensor], outputs: Sequence[Tensor], why: str) -> Pairing:
    candidates = [f"{i.name}={o.name}" for i in inputs for o in outputs if fits(i, o)]
    if not candidates:
        return Pairing(problem=f"{why}: {', '.join(_told(t) for t in inputs if like_state(t.name))}")
    return Pairing(
        problem=f"which outputs are states is unclear: {why}. Say it with --state IN=OUT, or load(states={{...}}); "
        f"what fits by type and shape: {', '.join(candidates)}"
    )


def _told(tensor: Tensor) -> str:
    return f"'{tensor.name}' ({tensor.dtype}, {', '.join(map(str, tensor.axes)) or 'a scalar'})"


def _names(names: Sequence[str]) -> str:
    return " and ".join(f"'{name}'" for name in names)
