"""From what stands after `--input` to arrays by input name, whatever the format."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from itertools import chain
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from edgeseq_runtime.errors import InputError, UsageError
from edgeseq_runtime.signature import TIME, Signature, Tensor
from numpy.typing import NDArray

from edgeseq.files import csv, npy, npz, wav
from edgeseq.files.lines import STANDARD, numbered, opened, title
from edgeseq.files.numbers import as_dtype, refuse_nonfinite, with_batch
from edgeseq.files.rows import Given, Item, Reader, Sequences

if TYPE_CHECKING:
    from edgeseq_runtime import Model

Array = NDArray[Any]

FORMATS = (".npy", ".npz", ".csv", ".jsonl")
"""What is read and written; what is read alone: wav."""

RATES = ("sr", "sample_rate", "sampling_rate", "sample_rate_hz")
"""What a model may call the number that it takes its data's sample rate from."""

NOISE = "noise"
"""The name of an input that is pure chance."""


def read_inputs(
    given: Sequence[str],
    signature: Signature,
    *,
    finite: bool = True,
    gapless: bool = False,
    model: str = "the model",
    rate_hz: float | None = None,
) -> Sequences:
    """Read every `FILE`, `NAME=FILE` and `-` into arrays by input name.

    A single sequence gets a batch axis. Extra keys of npz and jsonl, such as `y`, are left aside. Where all that is
    given are lines of JSON, one that cannot be used is an item with its error; beside other inputs it is refused.

    Args:
        given: as on the command line.
        signature: what the model takes.
        finite: refuse NaN and infinity, as is always done in JSON lines.
        gapless: of csv refuse these and blank lines between rows, by their line.
        model: its name, for messages.
        rate_hz: the sample rate that a recording must have, where it is known.

    Raises:
        UsageError: an unknown suffix or input name, standard input asked for twice.
        InputError: a file that does not fit, or a value that is not finite; a recording of another sample rate.
        FileError: a file that is missing or cannot be read.
    """
    if sum(split_name(item)[1] == STANDARD for item in given) > 1:
        raise UsageError("standard input can be read only once; give the other inputs as files")
    named = {split_name(item)[0] for item in given}
    arrays: dict[str, Array] = {}
    ids: Sequence[str | None] | None = None
    items: Sequence[Item] | None = None
    for item in given:
        name, path = split_name(item)
        part = _read_one(path, signature if name is None else only(signature, name), model, gapless, rate_hz)
        for key, array in part.arrays.items() if finite else ():
            refuse_nonfinite(array, f"{title(path)}: input '{key}'")
        arrays.update({key: array for key, array in part.arrays.items() if key == name or key not in named})
        ids, items = part.ids or ids, part.items
        if name is not None or len(given) > 1:  # its rows are to stand beside others
            _refuse_bad(part)
            items = None
    _check_lengths(arrays, signature)
    return Sequences(arrays, ids, items)


def split_name(item: str) -> tuple[str | None, str]:
    """`NAME=FILE` as (NAME, FILE), `FILE` as (None, FILE)."""
    name, equals, path = item.partition("=")
    return (name, path) if equals and name.isidentifier() else (None, item)


def suffix_of(path: str, formats: Sequence[str] = FORMATS) -> str:
    """The format of a path by its suffix. Raises UsageError for one that is not read or written here."""
    suffix = PurePath(path).suffix.lower()
    if suffix not in formats:
        raise UsageError(f"'{path}' has no known format; give a file that ends in {', '.join(formats)}")
    return suffix


def sniffed(stream: BinaryIO, otherwise: str) -> tuple[str, BinaryIO]:
    """The suffix that standard input would have, and its content.

    JSON lines where a bracket or a brace comes first, and a recording where its first bytes say so.
    """
    content = stream.read()
    if content[:4] == b"RIFF":
        return wav.WAV, BytesIO(content)
    return (".jsonl" if content.lstrip()[:1] in (b"[", b"{") else otherwise), BytesIO(content)


def chance_inputs(signature: Signature) -> tuple[Tensor, ...]:
    """The inputs that are pure chance, and are drawn where they are left out: those named `noise`.

    How they are drawn their `draw` says. That alone does not tell them from others, as it says for every input what a
    realistic one is: the code that a decoder reads may be like standard normal noise, and still be somebody's code.
    """
    return tuple(t for t in signature.inputs if t.name == NOISE and t.draw is not None)


def generates(signature: Signature) -> bool:
    """Whether a model needs no data: all that goes in is pure chance."""
    return bool(signature.inputs) and len(chance_inputs(signature)) == len(signature.inputs)


def needed(signature: Signature) -> Signature:
    """What must be given: no states, and no noise unless noise is all there is.

    How long the longest sequence of the training was is left out, since the run itself warns of longer ones.
    """
    chance = () if generates(signature) else chance_inputs(signature)
    limits = {axis: replace(limit, trained=None) for axis, limit in signature.limits.items()}
    return replace(signature, inputs=tuple(t for t in signature.inputs if t not in chance), states=(), limits=limits)


def known_rate(model: "Model") -> float | None:
    """The sample rate in Hz that a model's data has, as its contract or one of its values says; None: neither does."""
    said = (float(model.values[name]) for name in RATES if name in model.values)
    return next(said, model.contract.sample_rate_hz if model.contract is not None else None)


def check_rate(where: str, given_hz: float, rate_hz: float | None) -> None:
    """Raise InputError where a recording has another sample rate than it must. rate_hz: None where any will do."""
    if rate_hz is not None and given_hz != rate_hz:
        raise InputError(f"{where} has {given_hz:g} Hz, but {rate_hz:g} Hz are expected; resample it first")


def _read_one(path: str, signature: Signature, model: str, gapless: bool, rate_hz: float | None) -> Sequences:
    where = title(path)
    suffix = None if path == STANDARD else suffix_of(path, (*FORMATS, wav.WAV))
    with opened(path) as stream:
        if suffix is None:
            suffix, stream = sniffed(stream, ".csv")
        if suffix == ".jsonl":
            return Reader(model, needed(signature)).read_json(stream, where)
        if suffix == ".npz":
            found = npz.read(stream, where, signature.input_names)
            tensors = {t.name: t for t in signature.inputs}
            return Sequences({k: with_batch(a, tensors[k]) if k in tensors else a for k, a in found.items()})
        tensor = single(needed(signature), where)
        if suffix == ".npy":
            return Sequences({tensor.name: with_batch(npy.read(stream, where), tensor)})
        if suffix == wav.WAV:
            recording = wav.WavReader(stream, where)
            check_rate(where, recording.sample_rate_hz, rate_hz)
            return Sequences({tensor.name: wav.as_input(recording.read(), tensor, where)})
        found_rows = csv.read(numbered(stream), where, features=tensor.features, gapless=gapless)
        if None in found_rows:
            return Sequences({tensor.name: from_rows(found_rows[None], tensor, where)})
        return Reader(model, needed(signature)).sequences(
            Given(f"{where}, sequence '{id_}'", id_, arrays={tensor.name: from_rows(rows, tensor, where)})
            for id_, rows in found_rows.items()
        )


def _refuse_bad(part: Sequences) -> None:
    for item in part.items or ():
        if item.error is not None:
            raise InputError(f"{item.place}: {item.error}")


def from_rows(rows: Array, tensor: Tensor, where: str) -> Array:
    """Rows (rows, columns) as an input: the steps of one sequence, or one array; where it has one axis, one a row."""
    steps = TIME in tensor.axes or len(tensor.axes) == 3
    tail = tensor.axes[2:] if steps else tensor.axes[1:]
    columns = tail[0] if len(tail) == 1 else 1
    if len(tail) > 1 or (isinstance(columns, int) and rows.shape[1] != columns):
        named = f"; a header with {', '.join(tensor.features)} would choose the columns" if tensor.features else ""
        raise InputError(
            f"{where} has {rows.shape[1]} columns, but '{tensor.name}' takes "
            f"{columns if len(tail) < 2 else 'more axes'} (axes: {', '.join(map(str, tensor.axes))}){named}"
        )
    try:
        values = as_dtype(rows if tail else rows[:, 0], tensor)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    return values[None] if steps else values


def single(signature: Signature, where: str) -> Tensor:
    """The input that a file without a name must hold. Raises UsageError where there are several."""
    required = [t for t in signature.inputs if t.of is None] or list(signature.inputs)
    if len(required) != 1:
        names = ", ".join(t.name for t in required)
        raise UsageError(f"{where} holds one array, but the model takes {names}; say which: --input NAME=FILE")
    return required[0]


def only(signature: Signature, name: str) -> Signature:
    """The signature with one input alone, as a file given with a name can hold nothing else."""
    states = (Tensor(s.input, s.dtype, s.axes) for s in signature.states)
    for tensor in chain(signature.inputs, states):
        if tensor.name == name:
            lengths = tuple(t for t in signature.inputs if t.of == name)
            return Signature(inputs=(replace(tensor, of=None), *lengths), outputs=(), limits=signature.limits)
    raise UsageError(f"the model has no input '{name}'; it takes {', '.join(signature.input_names)}")


def _check_lengths(arrays: Mapping[str, Array], signature: Signature) -> None:
    """Refuse a wrong length by its row; the model sees batches and would count from the start of one."""
    for tensor in signature.inputs:
        lengths, rows = arrays.get(tensor.name), arrays.get(tensor.of or "")
        if tensor.of is None or lengths is None or rows is None or lengths.ndim != 1 or rows.ndim < 2:
            continue
        wrong = np.flatnonzero((lengths < 1) | (lengths > rows.shape[1]))
        if wrong.size:
            raise InputError(
                f"'{tensor.name}' has {lengths[wrong[0]]} in row {wrong[0]}, but a length is at least 1 and "
                f"at most the {rows.shape[1]} steps of '{tensor.of}'"
            )
