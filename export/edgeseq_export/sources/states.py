"""The states of somebody's network: parameters of its forward that take what came out of the call before."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, permutations, product
from typing import Any

import torch
from edgeseq_runtime.errors import UsageError
from edgeseq_runtime.signature import BATCH, TIME
from torch import Tensor, nn

from edgeseq_export.sources.call import leaf, leaves
from edgeseq_export.sources.probe import Hidden, Probe
from edgeseq_export.sources.spec import Path, name_of, path_of

_ORDERS = 24
"""So many orders of the parts of an answer are tried as states."""

_COMBINATIONS = 64
"""So many choices of trained tensors are tried as learned initial states."""


@dataclass(frozen=True)
class Pair:
    """A state: where it goes in, and where the next one comes out. learned: its trained first value, if it has one.

    required: whether the network cannot be called without it.
    """

    input: Path
    output: Path
    learned: Tensor | None = None
    required: bool = False


def find_pairs(
    probe: Probe, sizes: Mapping[str, int], given: Mapping[str, str], names: Mapping[Path, str]
) -> list[Pair]:
    """The states, as the user said or else by trying: a parameter that takes a part of the answer is one.

    given: input to output, as said. names: of the answer's tensors. sizes: of the free axes, for the trials.

    Raises:
        UsageError: a state that is not there, or one that the network does not take back.
    """
    inputs = probe.draw(sizes)
    if given:
        return list(_said(probe, inputs, given, names))
    if not probe.others:
        return []
    return _tried(probe, sizes, inputs, probe.others)


def fillers(probe: Probe, batch: int, inputs: Mapping[Path, Tensor]) -> dict[Path, Tensor]:
    """Zeros for parameters that must be given and are no inputs, shaped as the recurrent layers' states are.

    Raises:
        UsageError: there is such a parameter, and nothing that is known fits.
    """
    names = [name for name in probe.others if probe.required(name)]
    if not names:
        return {}
    for guess in _state_shapes(probe.module, batch):
        parts = [guess] if len(names) == 1 else list(guess) if isinstance(guess, tuple) else []
        if len(parts) == len(names):
            trial = {
                (name, *path): value for name, part in zip(names, parts, strict=True) for path, value in leaves(part)
            }
            if _taken(probe, inputs, trial):
                return trial
    raise UsageError(
        f"the forward of {probe.name} takes {', '.join(names)} too, and it is not said what that is; give it by --input"
    )


def _said(
    probe: Probe, inputs: Mapping[Path, Tensor], given: Mapping[str, str], names: Mapping[Path, str]
) -> Iterator[Pair]:
    by_name = {name: path for path, name in names.items()}
    known = [p.name for p in probe.parameters]
    filled = fillers(probe, _batch(probe, inputs), inputs)
    answer = probe(inputs, filled)
    hidden = {}
    for start, end in given.items():
        path = path_of(start)
        if path[0] not in known:
            raise UsageError(f"the forward of {probe.name} has no '{start}'; it takes {', '.join(known)}")
        if end not in by_name:
            raise UsageError(f"{probe.name} gives no '{end}'; it gives {', '.join(by_name)}")
        hidden[path] = leaf(answer, by_name[end])
    if not _taken(probe, inputs, hidden):
        raise UsageError(f"{probe.name} does not take {', '.join(given.values())} back as {', '.join(given)}")
    for start, end in given.items():
        path = path_of(start)
        required = probe.required(str(path[0]))
        yield Pair(path, by_name[end], _learned(probe, inputs, answer, hidden, path), required)


def _tried(probe: Probe, sizes: Mapping[str, int], inputs: Mapping[Path, Tensor], names: Sequence[str]) -> list[Pair]:
    """The pairs of parameters that take parts of the answer back, or else those that do by themselves.

    In order, or in the first other order in which pieces make the whole.
    """
    filled = fillers(probe, _batch(probe, inputs), inputs)
    answer = probe(inputs, filled)
    parts = list(_parts(answer))
    for start in range(1, len(parts) - len(names) + 1):
        some: list[Pair] = []
        for ordered in islice(permutations(parts[start : start + len(names)]), _ORDERS):
            found = _paired(probe, sizes, inputs, answer, filled, list(zip(names, ordered, strict=True)))
            if found and _carries_on(probe, sizes, found):
                return _with_learned(probe, inputs, answer, found)
            some = some or [pair for pair in found if pair.required]
        if some:
            return some
    if len(names) < 2:
        return []
    return [pair for name in names for pair in _tried(probe, sizes, inputs, [name])]


def _paired(
    probe: Probe,
    sizes: Mapping[str, int],
    inputs: Mapping[Path, Tensor],
    answer: Any,
    filled: Hidden,
    given: Sequence[tuple[str, tuple[Path, Any]]],
) -> list[Pair]:
    """Pairs of parameters and parts of the answer: the network takes these, and its answer moves."""
    ends = {(name, *path): (*place, *path) for name, (place, part) in given for path, _ in leaves(part)}
    hidden = {path: leaf(answer, end) for path, end in ends.items()}
    if not hidden or not _taken(probe, inputs, {**filled, **hidden}, like=answer):
        return []
    if not _matters(probe, inputs, filled, hidden) or not _shaped(probe, sizes, hidden, ends):
        return []
    return [Pair(path, end, required=probe.required(str(path[0]))) for path, end in ends.items()]


def _with_learned(probe: Probe, inputs: Mapping[Path, Tensor], answer: Any, found: Sequence[Pair]) -> list[Pair]:
    """The pairs with their first values: only what carries on has some.

    Raises:
        UsageError: a state starts from neither zeros nor a tensor of the network's own.
    """
    hidden = {pair.input: leaf(answer, pair.output) for pair in found}
    return [
        pair if pair.required else replace(pair, learned=_learned(probe, inputs, answer, hidden, pair.input))
        for pair in found
    ]


def _parts(answer: Any) -> Iterator[tuple[Path, Any]]:
    """The entries of an answer that has several: the first is the answer proper."""
    if isinstance(answer, Mapping):
        yield from (((key,), value) for key, value in answer.items())
    elif isinstance(answer, list | tuple):
        yield from (((place,), value) for place, value in enumerate(answer))


def _taken(probe: Probe, inputs: Mapping[Path, Tensor], hidden: Hidden, like: Any = None) -> bool:
    """Whether the network takes these states; like: and gives an answer of the same shapes."""
    try:
        answer = probe(inputs, hidden)
    except Exception:  # noqa: BLE001  # whatever somebody's forward raises, it is not its state
        return False
    return like is None or _shapes(answer) == _shapes(like)


def _matters(probe: Probe, inputs: Mapping[Path, Tensor], filled: Hidden, hidden: Hidden) -> bool:
    """Whether an answer moves when the state does."""
    one, other = (probe(inputs, {**filled, **{p: t + shift for p, t in hidden.items()}}) for shift in (0, 1))
    return any(not torch.equal(a, b) for (_, a), (_, b) in zip(leaves(one), leaves(other), strict=True))


def _shaped(probe: Probe, sizes: Mapping[str, int], hidden: Hidden, ends: Mapping[Path, Path]) -> bool:
    """Whether one axis of each state moves with the batch, and none with another free axis, as attention's would."""
    for axis in probe.free:
        for size in (sizes[axis] + 1, sizes[axis] - 1):
            answer = _answer(probe, {**sizes, axis: size})
            if answer is not None:
                break
        else:
            continue  # it has one size
        shapes = _shapes(answer)
        for path, end in ends.items():
            before, after = hidden[path].shape, shapes.get(end, ())
            moved = sum(a != b for a, b in zip(before, after, strict=False))
            if len(before) != len(after) or moved != (axis == BATCH):
                return False
    return True


def _carries_on(probe: Probe, sizes: Mapping[str, int], pairs: Sequence[Pair]) -> bool:
    """Whether two pieces, the states carried, give the answer to the whole; so does what cannot be cut in pieces."""
    cut = {spec.path: spec.axes.index(TIME) for spec in probe.specs if TIME in spec.axes}
    if not pairs or not cut or any(spec.tensor.of for spec in probe.specs):
        return True
    for half in (16 * sizes[TIME], sizes[TIME]):  # sixteenfold, as many a layer takes every second step
        inputs = probe.draw({**sizes, TIME: 2 * half})
        pieces = [
            {path: t.narrow(cut[path], start, half) if path in cut else t for path, t in inputs.items()}
            for start in (0, half)
        ]
        try:
            filled = fillers(probe, sizes[BATCH], inputs)
            whole, first = probe(inputs, filled), probe(pieces[0], filled)
            second = probe(pieces[1], {**filled, **{pair.input: leaf(first, pair.output) for pair in pairs}})
        except Exception:  # noqa: BLE001  # whatever somebody's forward raises at this length
            continue
        states = {pair.output for pair in pairs}
        parts = zip(leaves(whole), leaves(first), leaves(second), strict=True)
        return all(_continued(one, two, three, path in states) for (path, one), (_, two), (_, three) in parts)
    return True


def _continued(whole: Tensor, first: Tensor, second: Tensor, state: bool) -> bool:
    """Whether two pieces of an output make the whole one. Other outputs than states that have no time are not asked."""
    if whole.dim() != first.dim() or first.shape != second.shape:
        return False
    moved = [place for place, (a, b) in enumerate(zip(whole.shape, first.shape, strict=True)) if a != b]
    if not moved:
        return not state or torch.allclose(whole, second, rtol=1e-3, atol=1e-4)
    both = torch.cat([first, second], moved[0])
    return both.shape == whole.shape and torch.allclose(whole, both, rtol=1e-3, atol=1e-4)


def _answer(probe: Probe, sizes: Mapping[str, int]) -> Any:
    """To inputs of these sizes; None where it takes them not."""
    try:
        inputs = probe.draw(sizes)
        return probe(inputs, fillers(probe, sizes[BATCH], inputs))
    except Exception:  # noqa: BLE001  # whatever somebody's forward raises
        return None


def _learned(probe: Probe, inputs: Mapping[Path, Tensor], answer: Any, hidden: Hidden, path: Path) -> Tensor | None:
    """The trained first value of a state; None where it is zeros.

    Raises:
        UsageError: it is neither zeros nor a tensor of the network's own.
    """
    zeros = {each: torch.zeros_like(value) for each, value in hidden.items()}
    if _same(probe(inputs, zeros), answer):
        return None
    batch = _batch(probe, inputs)
    choices = [list(_trained(probe.module, value, batch)) for value in hidden.values()]
    for combination in list(product(*choices))[:_COMBINATIONS]:
        first = dict(zip(hidden, combination, strict=True))
        expanded = {each: first[each].expand_as(value) for each, value in hidden.items()}
        if _same(probe(inputs, expanded), answer):
            return first[path]
    raise UsageError(
        f"{probe.name} starts '{name_of(path)}' neither at zeros nor at a tensor of its own; let it start at zeros, or "
        "at a parameter"
    )


def _trained(module: nn.Module, value: Tensor, batch: int) -> Iterator[Tensor]:
    """Zeros and every tensor of the network that has the size of one row of a state, with a batch axis of one."""
    axis = next(place for place, size in enumerate(value.shape) if size == batch)
    one = value.narrow(axis, 0, 1)
    yield torch.zeros_like(one)
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.numel() == one.numel():
            yield tensor.detach().reshape(one.shape)


def _same(one: Any, other: Any) -> bool:
    return all(torch.allclose(a, b, atol=1e-6) for (_, a), (_, b) in zip(leaves(one), leaves(other), strict=True))


def _shapes(answer: Any) -> dict[Path, torch.Size]:
    return {path: tensor.shape for path, tensor in leaves(answer)}


def _batch(probe: Probe, inputs: Mapping[Path, Tensor]) -> int:
    spec = next(spec for spec in probe.specs if "batch" in spec.axes)
    return inputs[spec.path].shape[spec.axes.index("batch")]


def _state_shapes(module: nn.Module, batch: int) -> Iterator[Any]:
    for layer in module.modules():
        if isinstance(layer, nn.RNNBase):
            depth = layer.num_layers * (2 if layer.bidirectional else 1)
            h = torch.zeros(depth, batch, layer.proj_size or layer.hidden_size)
            yield (h, torch.zeros(depth, batch, layer.hidden_size)) if isinstance(layer, nn.LSTM) else h
            yield h
        elif isinstance(layer, nn.RNNCellBase):
            h = torch.zeros(batch, layer.hidden_size)
            yield (h, h.clone()) if isinstance(layer, nn.LSTMCell) else h
            yield h
