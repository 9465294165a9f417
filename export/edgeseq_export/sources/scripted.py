"""A TorchScript archive as a source: opening one can run code, so it is for those who trust its maker."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from edgeseq_runtime.draw import draw_inputs
from edgeseq_runtime.errors import DamagedFileError, ExportError
from edgeseq_runtime.signature import BATCH, TIME
from torch import Tensor

from edgeseq_export.source import Source
from edgeseq_export.sources.call import parameters_of
from edgeseq_export.sources.module import from_module
from edgeseq_export.sources.probe import Probe
from edgeseq_export.sources.spec import Spec, parse_specs

_RECURRENT = ("aten::lstm", "aten::gru", "aten::rnn_tanh", "aten::rnn_relu")
_BATCHES = (2, 3, 4, 5, 6, 8, 10, 16, 32, 64, 1)
_TIMES = (*range(1, 33), 40, 48, 50, 64, 96, 100, 128, 200, 256, 500, 512, 1000, 1024)
"""Sizes at which a trace may have been frozen."""

_SCRIPT = "torch.jit.script keeps it free, and so does torch.jit.trace where nothing is computed from a size in Python"


def open_scripted(path: str | Path, *, inputs: Sequence[str] = (), states: Mapping[str, str] | None = None) -> Source:
    """Open what `torch.jit.save` wrote, scripted or traced, frozen or not. The caller trusts it.

    Args:
        inputs, states: as from_module's; the only input is guessed by the first layer where left out.

    Raises:
        DamagedFileError: torch cannot load it.
        ExportError: its batch or its time was frozen when it was traced.
        UsageError: as from_module.
    """
    path = Path(path)
    try:
        module = torch.jit.load(path, map_location="cpu").eval()  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError) as error:
        raise DamagedFileError(f"{path.name} cannot be loaded as TorchScript: {_last_line(error)}") from error
    graph = _flat_graph(module)
    _check_states(graph, path.name)
    said = tuple(_with_range(text, spec, graph) for text, spec in zip(inputs, parse_specs(inputs), strict=True))
    said = said or _guessed(module, graph)
    if said:
        _check_free(module, parse_specs(said), path.name)
    provenance = {"checkpoint_sha256": sha256(path.read_bytes()).hexdigest()}
    source = from_module(module, inputs=said, states=states, name=module.original_name, provenance=provenance)
    if _is_traced(graph):
        _check_all_read(source, path.name)
    return replace(source, name=path.name)


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _flat_graph(module: torch.jit.ScriptModule) -> Any:
    """One graph of all that an archive computes, its weights as constants."""
    weights = next(module.parameters(), None)
    return (module if weights is None else torch.jit.freeze(module, optimize_numerics=False)).graph


def _nodes(block: Any) -> Iterator[Any]:
    """The nodes of a graph in order, those inside of loops and branches too."""
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from _nodes(inner)


def _is_traced(graph: Any) -> bool:
    """Whether a graph was traced: its places in the source are calls, down from torch's tracer."""
    return any("torch/jit/_trace.py" in str(node.sourceRange()) for node in _nodes(graph))


def _constant(node: Any, place: int) -> Any:
    """What a node is given at a place; the first of a list; None where that is computed."""
    value = list(node.inputs())[place]
    known = value.toIValue()
    if known is None and value.node().kind() == "prim::ListConstruct":
        known = [each.toIValue() for each in value.node().inputs()]
    return known[0] if isinstance(known, list) and known else known


def _guessed(module: torch.jit.ScriptModule, graph: Any) -> tuple[str, ...]:
    """The only input, by the first layer that fits; nothing where there are several, or none fits."""
    required = [p.name for p in parameters_of(module) if p.required]
    if len(required) == 1:
        for text in _candidates(graph):
            said = f"{required[0]}:{text}"
            if next(_taken(module, parse_specs([said])), None) is not None:
                return (said,)
    return ()


def _candidates(graph: Any) -> Iterator[str]:
    for node in _nodes(graph):
        kind = node.kind()
        if kind in _RECURRENT:
            weight, batch_first = _constant(node, 2), list(node.inputs())[-1].toIValue()
            axes = "batch,time" if batch_first else "time,batch"
            if isinstance(weight, Tensor):
                yield f"float32[{axes},{weight.shape[1]}]"
                yield f"float32[batch,time,{weight.shape[1]}]"
        elif kind in ("aten::embedding", "aten::conv1d", "aten::linear", "aten::lstm_cell", "aten::gru_cell"):
            weight = _constant(node, {"aten::embedding": 0, "aten::conv1d": 1, "aten::linear": 1}.get(kind, 2))
            if not isinstance(weight, Tensor):
                continue
            if kind == "aten::embedding":
                yield f"int64[batch,time]=0..{len(weight) - 1}"
            elif kind == "aten::conv1d":
                yield f"float32[batch,{weight.shape[1]},time]"
                yield f"float32[batch,time,{weight.shape[1]}]"
            else:
                yield f"float32[batch,time,{weight.shape[1]}]"
                yield f"float32[batch,{weight.shape[1]}]"


def _with_range(text: str, spec: Spec, graph: Any) -> str:
    """What is said of whole numbers without a range, with that of the only embedding."""
    if "int" not in spec.tensor.dtype or spec.tensor.range is not None or spec.tensor.of is not None:
        return text
    sizes = {len(_constant(node, 0)) for node in _nodes(graph) if node.kind() == "aten::embedding"}
    return f"{text}=0..{sizes.pop() - 1}" if len(sizes) == 1 else text


def _taken(module: torch.jit.ScriptModule, specs: Sequence[Spec]) -> Iterator[tuple[int, int]]:
    """The sizes of batch and time that are taken, at the first batch at which any time is; other axes at seven."""
    probe = Probe(module, specs, module.original_name)
    for batch in _BATCHES:
        found = False
        for time in _TIMES if TIME in probe.free else _TIMES[:1]:
            if _takes(probe, batch, time):
                found = True
                yield batch, time
        if found:
            return


def _takes(probe: Probe, batch: int, time: int) -> bool:
    sizes = {**dict.fromkeys(probe.free, 7), BATCH: batch, TIME: time}
    try:
        probe(probe.draw(sizes))
    except (RuntimeError, torch.jit.Error):
        return False
    return True


def _check_free(module: torch.jit.ScriptModule, specs: Sequence[Spec], name: str) -> None:
    """Raise ExportError where an archive takes one batch or one time alone."""
    probe = Probe(module, specs, name)
    taken = list(islice(_taken(module, specs), 2))  # two times are enough, and long ones take long
    if not taken or BATCH not in probe.free:
        return  # what is wrong with it is told where it is called for its signature
    batch, time = taken[-1]
    if not any(_takes(probe, other, time) for other in _BATCHES[:-1] if other != batch):  # 1 would spread
        raise ExportError(_frozen(name, BATCH, batch, specs))
    if TIME in probe.free and len(taken) == 1:
        raise ExportError(_frozen(name, TIME, time, specs))


def _check_states(graph: Any, name: str) -> None:
    """Raise ExportError where a layer's first states have a batch of their own.

    TorchScript does not check them: at another batch torch reads and writes beside them, and the process may die.
    """
    for node in _nodes(graph):
        if node.kind() in _RECURRENT and (batch := _fixed_batch(list(node.inputs())[1])) is not None:
            raise ExportError(
                f"{name} starts a layer from states of batch {batch}, whatever the batch of its input is. Make the "
                f"archive again, with states of as many rows as the input has: {_SCRIPT}"
            )


def _fixed_batch(states: Any) -> int | None:
    """The batch of first states (layers, batch, hidden), or of a list of them, where it is a number in the graph."""
    known, made = states.toIValue(), states.node()
    if known is not None:
        first = known[0] if isinstance(known, list) else known
        return first.shape[1] if isinstance(first, Tensor) else None
    if made.kind() in ("prim::ListConstruct", "aten::to", "aten::contiguous", "aten::detach"):
        return _fixed_batch(next(made.inputs()))
    if made.kind() not in ("aten::zeros", "aten::ones", "aten::full", "aten::randn"):
        return None
    size = next(made.inputs()).node()
    listed = size.kind() == "prim::ListConstruct"
    sizes = [each.toIValue() for each in size.inputs()] if listed else size.output().toIValue()
    return sizes[1] if sizes is not None and len(sizes) == 3 else None


def _frozen(name: str, axis: str, size: int, specs: Sequence[Spec]) -> str:
    of = next(spec for spec in specs if axis in spec.axes)
    return (
        f"{name} takes '{of.tensor.name}' at {axis} {size} alone: that axis was frozen when it was traced, at the size "
        f"of the example. Make the archive again: {_SCRIPT}"
    )


def _check_all_read(source: Source, name: str) -> None:
    """Raise ExportError where a trace reads the first steps alone: a loop over time was frozen at the example's length.

    Whether a step is read is told by changing it.
    """
    signature = source.signature
    timed = [t for t in signature.inputs if t.of is None and TIME in t.axes]
    if not timed:
        return
    limit = signature.limits.get(TIME)
    time = 64 if limit is None or limit.max is None else limit.max
    for number, tensor in enumerate(timed):
        changes = _changes(source, number, time)
        if changes(time - 1):
            continue
        read = [step for step in range(time) if changes(step)]
        if read:
            raise ExportError(
                f"{name} reads the first {read[-1] + 1} steps of '{tensor.name}' and nothing behind them: its loop "
                f"over time was frozen when it was traced, at the example's length. Make the archive again: {_SCRIPT}"
            )


def _changes(source: Source, number: int, time: int) -> Callable[[int], bool]:
    """Whether the answer changes with one step of an input alone. number: which input."""
    signature = source.signature
    sizes = {**{name: signature.typical.get(name, 2) for name in signature.symbols}, BATCH: 2, TIME: time}
    one, other = ({n: torch.from_numpy(a) for n, a in draw_inputs(signature, sizes, seed).items()} for seed in (0, 1))
    tensor = [t for t in signature.inputs if t.of is None and TIME in t.axes][number]
    axis = tensor.axes.index(TIME)

    def answer(inputs: Mapping[str, Tensor]) -> list[Tensor]:
        with torch.no_grad():
            return list(source.module(**inputs).values())

    before = answer(one)

    def changed(step: int) -> bool:
        moved = one[tensor.name].clone()
        moved.select(axis, step).copy_(other[tensor.name].select(axis, step))
        after = answer({**one, tensor.name: moved})
        return any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))

    return changed
