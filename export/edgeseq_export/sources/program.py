"""A program of torch.export (.pt2) as a source: opening one can run code, so it is for those who trust its maker."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import torch
from edgeseq_runtime.errors import DamagedFileError, ExportError
from edgeseq_runtime.signature import BATCH, TIME, Limit
from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from edgeseq_export.source import Source
from edgeseq_export.sources.call import leaves
from edgeseq_export.sources.module import from_module
from edgeseq_export.sources.raised import attribute, raise_layers, reads_time_first
from edgeseq_export.sources.spec import Path as Place
from edgeseq_export.sources.spec import name_of, parse_specs, told

_CHECKS = ("_guards_fn", "_assert", "sym_constrain_range")
"""What a program checks of its sizes; whether the file holds at others, the proof sees."""

_NO_SIZES = ("dim", "start_dim", "end_dim", "normalized_shape", "dtype", "padding_idx", "groups")
"""Arguments of operators that are whole numbers, but no number of steps."""


def open_program(path: str | Path, *, inputs: Sequence[str] = (), states: Mapping[str, str] | None = None) -> Source:
    """Open what `torch.export.save` wrote. The caller trusts it.

    Args:
        inputs: as from_module's; read off the program's dynamic shapes where left out. An axis that is free here and
            fixed in the program is set free, where recurrent layers alone can have fixed it: torch.export repeats the
            step of nn.LSTM, nn.GRU and nn.RNN as often as its example is long, whatever dynamic_shapes says.
        states: as from_module's.

    Raises:
        DamagedFileError: torch cannot load it.
        ExportError: an axis of batch or time is fixed, with the line to change; or it was exported for training.
        UsageError: as from_module.
    """
    path = Path(path)
    try:
        program = torch.export.load(path)
    except Exception as error:  # a zip, JSON and pickles inside: whatever their readers raise
        line = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise DamagedFileError(f"{path.name} cannot be loaded as a torch.export program: {line}") from error
    module = _module(program)
    _refuse_training(module, path.name)
    layers = raise_layers(module)
    shapes = _shapes(program, module)
    order = (TIME, BATCH) if reads_time_first(module) else (BATCH, TIME)
    symbols = _symbols(shapes, order)
    if not inputs:
        _refuse_frozen(shapes, order, path.name, bool(layers))
        inputs = [f"{told(p)}:{_axes(p, v, symbols)}{_bounds(module, v)}" for p, v in shapes.items()]
    freed = tuple(_freed(inputs, shapes))
    for place, axis, size in freed:
        if axis == BATCH or not layers:
            raise ExportError(_frozen(path.name, place, axis, size, shapes, order, bool(layers)))
        _check_freed(module, size, axis, path.name)
    source = from_module(
        module,
        inputs=inputs,
        states=states,
        name=path.stem,
        provenance={"checkpoint_sha256": sha256(path.read_bytes()).hexdigest()},
    )
    notes = tuple(
        f"'{axis}' of '{told(place)}' is {size} in the program, where recurrent layers fixed it, and free in the file"
        for place, axis, size in freed
    )
    return replace(_limited(source, program, symbols), name=path.name, notes=(*source.notes, *notes))


def _module(program: ExportedProgram) -> fx.GraphModule:
    """The program as a module without the checks of its sizes."""
    module = program.module()
    for node in list(module.graph.nodes):
        if node.op.startswith("call") and not node.users and any(check in str(node.target) for check in _CHECKS):
            module.graph.erase_node(node)
    return fx.GraphModule(module, module.graph).eval()  # the class of program.module() refuses eval()


def _refuse_training(module: fx.GraphModule, name: str) -> None:
    """Raise ExportError where dropout draws, or batch norm learns: a program keeps the mode it was exported in."""
    for node in module.graph.nodes:
        operator = str(node.target)
        draws = operator.startswith("aten.dropout") and node.args[1] > 0 and node.args[2]
        learns = operator.startswith("aten.batch_norm") and node.args[5]
        if draws or learns:
            raise ExportError(f"{name} was exported in training mode ({operator}); call eval() before the export")


def _shapes(program: ExportedProgram, module: fx.GraphModule) -> dict[Place, Tensor]:
    """A tensor without values for each input, by its path; free sizes are symbols."""
    values = [node.meta["val"] for node in module.graph.nodes if node.op == "placeholder"]
    args, kwargs = pytree.tree_unflatten(values, program.call_spec.in_spec)
    given = {**dict(zip(inspect.signature(module.forward).parameters, args, strict=False)), **kwargs}
    return dict(leaves(given))


def _symbols(shapes: Mapping[Place, Tensor], order: tuple[str, str]) -> dict[str, str]:
    """A name for each free size: of the first two axes by their order, of others by input and place."""
    names: dict[str, str] = {}
    for place, tensor in shapes.items():
        for number, size in enumerate(tensor.shape):
            usual = order[number] if number < len(order) else ""
            if type(size) is not int and str(size) not in names:
                free = usual and usual not in names.values()
                names[str(size)] = usual if free else f"{name_of(place)}_{number}"
    return names


def _axes(place: Place, tensor: Tensor, symbols: Mapping[str, str]) -> str:
    """Type and axes of an input, as --input has them."""
    axes = ",".join(str(size) if type(size) is int else symbols[str(size)] for size in tensor.shape)
    return f"{str(tensor.dtype).removeprefix('torch.')}[{axes}]"


def _bounds(module: fx.GraphModule, tensor: Tensor) -> str:
    """The range of whole numbers, where an embedding reads them: `=0..99`."""
    nodes = [node for node in module.graph.nodes if str(node.target) == "aten.embedding.default"]
    read = [n for n in nodes if n.args[1].op == "placeholder" and n.args[1].meta["val"] is tensor] or nodes
    sizes = {len(attribute(module, node.args[0])) for node in read}
    whole = not tensor.is_floating_point() and tensor.dtype != torch.bool and tensor.dim() > 1
    return f"=0..{sizes.pop() - 1}" if whole and len(sizes) == 1 else ""


def _free_axes(tensor: Tensor, order: Sequence[str]) -> tuple[str, ...]:
    """What the first axes of an input are: rows, or rows and steps. order: which of the two comes first."""
    stepwise = tensor.dim() > 2 or (tensor.dim() == 2 and not tensor.is_floating_point())
    return tuple(order) if stepwise else (BATCH,)[: tensor.dim()]


def _refuse_frozen(shapes: Mapping[Place, Tensor], order: Sequence[str], name: str, layers: bool) -> None:
    """Raise ExportError where the batch or the time of an input is a number."""
    for place, tensor in shapes.items():
        for axis, size in zip(_free_axes(tensor, order), tensor.shape, strict=False):
            if type(size) is int and (tensor.dim() > 1 or len(shapes) == 1):  # a row of numbers may be no batch
                raise ExportError(_frozen(name, place, axis, size, shapes, order, layers))


def _frozen(
    name: str,
    place: Place,
    axis: str,
    size: int,
    shapes: Mapping[Place, Tensor],
    order: Sequence[str],
    layers: bool,
) -> str:
    """What to say of an axis that is fixed: the line to change, or the option where no line would do."""
    where = f"the axis '{axis}' of '{told(place)}' is fixed at {size} in {name}"
    if layers and axis == TIME:
        options = " ".join(f'--input "{told(p)}:{_freely(t, order)}"' for p, t in shapes.items())
        return f"{where}, as torch.export fixes it wherever nn.LSTM, nn.GRU or nn.RNN is. The file need not: {options}"
    dims = {BATCH: 'Dim("batch")', TIME: "Dim.AUTO" if layers else 'Dim("time")'}
    line = _nested(
        {
            path: "{" + ", ".join(f"{n}: {dims[axis]}" for n, axis in enumerate(_free_axes(tensor, order))) + "}"
            for path, tensor in shapes.items()
        }
    )
    return (
        f"{where}. Export the network again, by an example with a batch and a time of at least 2: "
        f"torch.export.export(model, example, dynamic_shapes={line})"
    )


def _nested(texts: Mapping[Place, str]) -> str:
    """Python's dicts, one inside the other, of texts by path."""
    parts = []
    for key in dict.fromkeys(path[0] for path in texts):
        inner = {path[1:]: text for path, text in texts.items() if path[0] == key}
        name = f'"{key}"' if isinstance(key, str) else key
        parts.append(f"{name}: {inner[()] if () in inner else _nested(inner)}")
    return f"{{{', '.join(parts)}}}"


def _freely(tensor: Tensor, order: Sequence[str]) -> str:
    """Type and axes of an input, batch and time free where it has them."""
    first = _free_axes(tensor, order)
    return f"{str(tensor.dtype).removeprefix('torch.')}[{','.join([*first, *map(str, tensor.shape[len(first) :])])}]"


def _freed(inputs: Sequence[str], shapes: Mapping[Place, Tensor]) -> Iterator[tuple[Place, str, int]]:
    """The axes that are said to be free and are numbers in the program."""
    for spec in parse_specs(inputs):
        tensor = shapes.get(spec.path)
        for axis, size in zip(spec.axes, tensor.shape if tensor is not None else (), strict=False):
            if isinstance(axis, str) and type(size) is int:
                yield spec.path, axis, size


def _check_freed(module: fx.GraphModule, size: int, axis: str, name: str) -> None:
    """Raise ExportError where an operator is given a number that may be the fixed size."""
    for node in module.graph.nodes:
        if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
            continue
        arguments = [a.name for a in node.target._schema.arguments]
        given = {**dict(zip(arguments, node.args, strict=False)), **node.kwargs}
        numbers = [n for key, value in given.items() if key not in _NO_SIZES for n in pytree.tree_leaves(value)]
        if any(type(n) in (int, float) and n in (size, 1 / size) for n in numbers):
            line = (node.meta.get("stack_trace") or "").strip().splitlines()[-1:]
            raise ExportError(
                f"{name} gives {node.target} the number {size}{f' (`{line[0].strip()}`)' if line else ''}, which may "
                f"be its '{axis}'. Export the network again, by an example of a size that is nowhere else in it"
            )


def _limited(source: Source, program: ExportedProgram, symbols: Mapping[str, str]) -> Source:
    """The source with the sizes that the program allows: Dim("time", min=4, max=100). A least of 2 is torch's own."""
    limits = dict(source.signature.limits)
    for symbol, allowed in program.range_constraints.items():
        axis = symbols.get(str(symbol))
        if axis is None or axis not in source.signature.symbols:
            continue
        found = limits.get(axis, Limit())
        least, most = str(allowed.lower), str(allowed.upper)
        low = max(found.min, int(least)) if least.isdigit() and int(least) > 2 else found.min
        sizes = [size for size in (found.max, int(most) if most.isdigit() else None) if size is not None]
        if (low, sizes) != (1, []):
            limits[axis] = Limit(low, min(sizes, default=None))
    typical = {
        axis: min(max(size, limits[axis].min), limits[axis].max or size) if axis in limits else size
        for axis, size in source.signature.typical.items()
    }
    return replace(source, signature=replace(source.signature, limits=limits, typical=typical))
