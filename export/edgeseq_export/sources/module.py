"""A network that was not made with edgeseq, as a source: what goes in and comes out is said, or found by calling it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from edgeseq_runtime.errors import ExportError, UsageError
from edgeseq_runtime.signature import BATCH, TIME, Axis, Initial, Kind, Limit, Signature, StatePair, Tensor
from torch import nn

from edgeseq_export.source import Source
from edgeseq_export.sources.axes import Axes, limits, output_axes, taken
from edgeseq_export.sources.call import Called, Plan, leaves
from edgeseq_export.sources.cut import check_cut
from edgeseq_export.sources.guess import guessed, with_ranges
from edgeseq_export.sources.lifting import Inner, find_inner
from edgeseq_export.sources.names import left_out, output_names
from edgeseq_export.sources.probe import Hidden, Probe, single
from edgeseq_export.sources.spec import Path, Spec, name_of, parse_specs
from edgeseq_export.sources.states import Pair, fillers, find_pairs
from edgeseq_export.sources.steady import check_steady
from edgeseq_export.sources.streams import why_not_streamed

TYPICAL = 20
"""Of a free axis that nobody says more of, such as time."""

TASK = "infer"


def from_module(
    module: nn.Module,
    *,
    inputs: Sequence[str] = (),
    states: Mapping[str, str] | None = None,
    name: str | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Source:
    """Make a source of somebody's network, which itself is not changed.

    Args:
        module: any network; a scripted one, too.
        inputs: what its forward takes, each NAME:TYPE[AXIS,...] (spec.SYNTAX); guessed by its first layer where left
            out. NAME is a parameter, or `parameter.key` of a dict, or `parameter.0` of a tuple. An axis is a word
            where it is free: `batch` and `time` are known. `lengths:int64[batch]` counts valid steps.
        states: by input, the output that is carried on to the next call; found by trying where left out.
        name: for messages and the contract; its class's.
        provenance: for the contract.

    Returns: the source. Floats of double precision are float32 in the file. Axes of the batch stand first. States
        that recurrent layers of torch keep to themselves become states of the file, where that lets it stream.

    Raises:
        UsageError: what is said does not fit, or cannot be guessed.
        ExportError: the network cannot be called, or its answer's axes follow no rule.
    """
    module = getattr(module, "_orig_mod", module)  # what torch.compile wraps
    name = name or type(module).__name__
    copied = single(module)
    if not inputs and hasattr(module, "edgeseq_signature"):
        return _declared(copied, module, name, provenance or {})
    specs = parse_specs(inputs) if inputs else guessed(copied, name)
    found = _explored(copied, specs, states or {}, name)
    source = found.source(())
    reason = why_not_streamed(source)
    if not found.pairs and (inner := find_inner(found.probe, found.sizes)):
        lifted = found.source(inner)
        reason = why_not_streamed(lifted)
        source = lifted if reason is None else source
    signature = replace(source.signature, streamable=reason is None, reason=reason)
    cuts = _cuts_rows(found)
    if cuts:
        check_cut(source)
    notes = (*_notes(signature, bool(inputs), cuts), *_changed(module, found.left))
    said = {"inputs": [str(spec) for spec in found.probe.specs], "states": dict(states or {}), "notes": list(notes)}
    return replace(
        source, signature=signature, notes=notes, cuts_rows=cuts, provenance={**(provenance or {}), "source": said}
    )


@dataclass(frozen=True)
class _Found:
    """What is known of a network.

    names: of its answer's tensors, by path. filled: zeros that it must be given. dtypes: of the answer, by name.
    left: what of the answer is no tensor, in words.
    """

    probe: Probe
    limits: Mapping[str, Limit]
    sizes: Mapping[str, int]
    names: Mapping[Path, str]
    axes: Axes
    dtypes: Mapping[str, str]
    pairs: Sequence[Pair]
    left: Sequence[str] = ()

    def source(self, inner: Sequence[Inner]) -> Source:
        """The network with these states of its layers made states of the file."""
        pairs = [self._pair(pair) for pair in self.pairs]
        lifted = [(_lifted_pair(each), each) for each in inner]
        states = (*(state for state, _ in pairs), *(state for state, _ in lifted))
        carried = {state.output for state in states}
        outputs = tuple(
            Tensor(name, self.dtypes[name], axes, _kind(axes))
            for name, axes in self.axes.outputs.items()
            if name not in carried
        )
        free = [axis for axis in self.probe.free if axis != BATCH]
        typical = {BATCH: 1, **{axis: _typical(self.limits.get(axis, Limit())) for axis in free}}
        signature = Signature(
            tuple(spec.tensor for spec in self.probe.specs),
            outputs,
            states,
            self.limits,
            typical,
            derived=self.axes.derived,
        )
        initial = {state.input: pair.learned.numpy() for state, pair in pairs if pair.learned is not None}
        initial |= {state.input: each.learned.numpy() for state, each in lifted if each.learned is not None}
        return Source(
            module=Called(self.probe.module, self._plan(pairs, lifted)),
            signature=signature,
            family=self.probe.name,
            task=TASK,
            name=self.probe.name,
            initial=initial,
        )

    def _pair(self, pair: Pair) -> tuple[StatePair, Pair]:
        output = self.names[pair.output]
        axes = self.axes.outputs[output]
        if [axis for axis in axes if isinstance(axis, str)] != [BATCH]:
            raise UsageError(
                f"'{output}' has the axes {', '.join(map(str, axes))}, but a state has '{BATCH}' once, and numbers"
            )
        initial: Initial = "zeros" if pair.learned is None else "learned"
        return StatePair(name_of(pair.input), output, axes, initial, self.dtypes[output]), pair

    def _plan(self, pairs: Sequence[tuple[StatePair, Pair]], lifted: Sequence[tuple[StatePair, Inner]]) -> Plan:
        specs = self.probe.specs
        batches = {spec.tensor.name: spec.axes.index(BATCH) for spec in specs if BATCH in spec.axes}
        states = {state.output for state, _ in pairs}
        batches |= {name: place for name, place in self.axes.batches.items() if name not in states}
        return Plan(
            inputs={**{spec.tensor.name: spec.path for spec in specs}, **{s.input: p.input for s, p in pairs}},
            outputs={name: path for path, name in self.names.items()},
            lifted={state.input: each.lifted for state, each in lifted},
            lifted_outputs={state.output: each.lifted for state, each in lifted},
            turned={name: place for name, place in batches.items() if place},
            zeros={state.input: state.axes for state, pair in pairs if pair.required},
        )


def _explored(module: nn.Module, specs: Sequence[Spec], states: Mapping[str, str], name: str) -> _Found:
    """Call a network at many sizes, and see."""
    probe = Probe(module, specs, name)
    if BATCH not in probe.free:
        raise UsageError(f"no input of {name} has the axis '{BATCH}'; name it where rows of a batch lie")

    def answer(sizes: Mapping[str, int], seed: int = 0) -> Any:
        drawn = probe.draw(sizes, seed)
        return probe(drawn, filled_for(sizes[BATCH], drawn))

    def filled_for(batch: int, drawn: Hidden) -> Hidden:
        return fillers(probe, batch, drawn)

    some = taken(probe.free, answer, name)
    check_steady(module, partial(answer, some), name)
    found_limits = limits(some, answer)
    sizes = _distinct(probe.free, found_limits)
    drawn = probe.draw(sizes)
    probe = Probe(module, with_ranges(module, specs, {**drawn, **filled_for(sizes[BATCH], drawn)}), name)

    def asked(sizes: Mapping[str, int]) -> Any:
        try:
            return answer(sizes)
        except Exception as error:
            at = ", ".join(f"{axis} {size}" for axis, size in sizes.items())
            told = f"{type(error).__name__}: {error}"
            raise ExportError(f"{name} cannot be called with {at}: {told}") from error

    first = asked(sizes)
    names = output_names(module, first, [spec.tensor.name for spec in specs], probe.others)
    if not names:
        raise ExportError(f"{name} gives no tensor")

    def shapes(at: Mapping[str, int]) -> dict[str, Sequence[int]]:
        return {names.get(path, name_of(path)): tensor.shape for path, tensor in leaves(asked(at))}

    pairs = find_pairs(probe, sizes, states, names)
    axes = output_axes(probe.free, sizes, found_limits, shapes, {names[pair.output] for pair in pairs})
    dtypes = {names[path]: str(tensor.dtype).removeprefix("torch.") for path, tensor in leaves(first)}
    return _Found(probe, found_limits, sizes, names, axes, dtypes, pairs, left_out(first))


def _signature(module: nn.Module, name: str) -> Signature:
    """What a network says of itself."""
    said: Any = module.edgeseq_signature
    try:
        signature = said()
    except (Exception, SystemExit) as error:
        raise UsageError(f"the edgeseq_signature() of {name} failed: {type(error).__name__}: {error}") from error
    if not isinstance(signature, Signature):
        raise UsageError(
            f"the edgeseq_signature() of {name} gave a {type(signature).__name__}, but a "
            "edgeseq_runtime.signature.Signature is expected"
        )
    return signature


def _declared(module: nn.Module, original: nn.Module, name: str, provenance: Mapping[str, Any]) -> Source:
    """A network that says what it takes and gives: by its signature's names, its answer in the signature's order.

    module: the copy to call. original: what it is of.
    """
    signature = _signature(original, name)
    probe = Probe(module, [Spec((t.name,), t, t.axes) for t in signature.inputs], name)
    sizes = _distinct(probe.free, signature.limits)
    if BATCH not in sizes:
        raise UsageError(f"the signature of {name} has no input with the axis '{BATCH}'")
    inputs = probe.draw(sizes)
    needed = [s for s in signature.states if s.input in probe.others and probe.required(s.input)]
    rows = sizes[BATCH]
    try:
        zeros: dict[Path, torch.Tensor] = {
            (s.input,): torch.zeros([rows if a == BATCH else int(a) for a in s.axes]) for s in needed
        }
        answer = probe(inputs, zeros)
    except Exception as error:
        told = f"{type(error).__name__}: {error}"
        raise ExportError(f"{name} cannot be called as its edgeseq_signature() says: {told}") from error
    paths = [path for path, _ in leaves(answer)]
    expected = signature.output_names
    if isinstance(answer, Mapping):
        outputs: dict[str, Path] = {each: (each,) for each in expected}
        missing = [each for each in expected if each not in answer]
    else:
        outputs = dict(zip(expected, paths, strict=False))
        missing = list(expected[len(paths) :])
    if missing:
        raise UsageError(f"the signature of {name} has an output '{missing[0]}', but its forward does not give it")
    plan = Plan(
        inputs={each: (each,) for each in signature.input_names},
        outputs=outputs,
        zeros={s.input: s.axes for s in needed},
    )
    notes = ("inputs, outputs and states as edgeseq_signature() says", *_changed(original, left_out(answer)))
    said = {"notes": list(notes)}
    return Source(
        module=Called(module, plan),
        signature=signature,
        family=name,
        task=TASK,
        name=name,
        notes=notes,
        provenance={**provenance, "source": said},
    )


def _distinct(names: Sequence[str], known: Mapping[str, Limit]) -> dict[str, int]:
    """A size for each free axis, all different where limits let them be."""
    sizes: dict[str, int] = {}
    for place, axis in enumerate(names):
        limit = known.get(axis, Limit())
        size = 3 if axis == BATCH else max(limit.min, 7) + 4 * place
        sizes[axis] = size if limit.max is None else min(size, limit.max)
    return sizes


def _lifted_pair(inner: Inner) -> StatePair:
    lifted = inner.lifted
    name = f"{lifted.layer.replace('.', '_') or 'state'}_{'hc'[lifted.quantity]}{lifted.depth}"
    initial: Initial = "zeros" if inner.learned is None else "learned"
    return StatePair(name, f"{name}_next", (1, BATCH, inner.size), initial)


def _kind(axes: Sequence[Axis]) -> Kind:
    if tuple(axes[:2]) == (BATCH, TIME):
        return "step"
    return "last" if [axis for axis in axes if isinstance(axis, str)] == [BATCH] else "sequence"


def _typical(limit: Limit) -> int:
    return max(limit.min, TYPICAL if limit.max is None else min(TYPICAL, limit.max))


def _cuts_rows(found: _Found) -> bool:
    """Whether the network cuts its answer to the longest row, as `pad_packed_sequence` does."""
    probe, sizes = found.probe, found.sizes
    lengths = [spec for spec in probe.specs if spec.tensor.of is not None]
    if not lengths or sizes[TIME] <= found.limits.get(TIME, Limit()).min:
        return False
    whole = probe.draw(sizes)
    shorter = {**whole, **{spec.path: whole[spec.path] - 1 for spec in lengths}}
    shapes = [[tensor.shape for _, tensor in leaves(probe(inputs))] for inputs in (whole, shorter)]
    return shapes[0] != shapes[1]


def _notes(signature: Signature, said: bool, cuts: bool) -> list[str]:
    """What was found out, a line each."""
    notes = [f"input {_line(t)}{'' if said else ', read off the layers'}" for t in signature.inputs]
    notes += [f"output {_line(t)}" for t in signature.outputs]
    notes += [
        f"state {s.input} -> {s.output}: {', '.join(map(str, s.axes))}, from {s.initial}" for s in signature.states
    ]
    for axis, limit in signature.limits.items():
        notes.append(f"'{axis}' is {_range(limit)}")
    for axis, (source, divisor, offset) in signature.derived.items():
        shift = f"({source} {'+' if offset > 0 else '-'} {abs(offset)})" if offset else source
        notes.append(f"'{axis}' is {shift}{f' / {divisor}, rounded up' if divisor > 1 else ''}")
    if cuts:
        notes.append("PyTorch cuts the answer to the longest row; the file answers all steps of the input")
    notes.append("it streams" if signature.streamable else f"it cannot be streamed: {signature.reason}")
    return notes


def _changed(module: nn.Module, left: Sequence[str]) -> list[str]:
    """What a file has otherwise than the network: the precision, and no answers that are no tensors."""
    dtypes = {weight.dtype for weight in module.parameters() if weight.is_floating_point()} - {torch.float32}
    told = ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in dtypes))
    notes = [f"its {told} weights are float32 in the file, which computes in that"] if dtypes else []
    return [*notes, f"left out of the answer, as no tensors: {', '.join(left)}"] if left else notes


def _line(tensor: Tensor) -> str:
    counted = f", valid steps of {tensor.of}" if tensor.of else ""
    bounds = f", {tensor.range[0]} to {tensor.range[1] - 1}" if tensor.range is not None else ""
    return f"{tensor.name}: {tensor.dtype} ({', '.join(map(str, tensor.axes))}){counted}{bounds}"


def _range(limit: Limit) -> str:
    return f"at least {limit.min}" if limit.max is None else f"from {limit.min} to {limit.max}"
