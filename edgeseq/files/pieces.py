"""One sequence read piece by piece, so that it may be longer than memory: npy, csv and wav."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import Any, BinaryIO, Protocol

import numpy as np
from edgeseq_runtime.errors import DamagedFileError, InputError, UsageError
from edgeseq_runtime.signature import Signature, Tensor
from numpy.typing import NDArray

from edgeseq.files import csv, npy
from edgeseq.files.inputs import check_rate, from_rows, needed, only, single, split_name, suffix_of
from edgeseq.files.lines import STANDARD, decode, numbered, opened, title
from edgeseq.files.wav import WAV, WavReader, as_input, is_recording

Array = NDArray[Any]

PIECEWISE = (".npy", ".csv", WAV)
"""What can be read piece by piece."""


class Pieces(Protocol):
    """A sequence in the order of its steps."""

    def read(self, count: int) -> Array:
        """The next steps as the input takes them, (1, steps, …): at most `count`, none at the end.

        Raises InputError, DamagedFileError at a step that cannot be used, once those before it have been read.
        """
        ...

    def total(self, read: int) -> int | None:
        """How many steps there are, perhaps estimated from those that were `read`; None: nobody knows."""
        ...


class Together:
    """The pieces of all inputs of a model, read side by side. Each is checked for numbers that are not finite."""

    def __init__(self, parts: Mapping[str, Pieces]) -> None:
        self._parts = parts
        self._error: InputError | KeyboardInterrupt | None = None
        self.steps = 0

    def read(self, count: int) -> dict[str, Array]:
        """The next steps by input name, at most `count`; arrays of no steps at the end. Raises as Pieces do."""
        if self._error is not None:
            raise self._error
        arrays = {name: part.read(count) for name, part in self._parts.items()}
        sizes = {name: array.shape[1] for name, array in arrays.items()}
        good = min(sizes.values())
        if good < max(sizes.values()):
            self._error = self._why_shorter(sizes)
        for name, array in arrays.items():
            wrong = _first_nonfinite(array[:, :good])
            if wrong is not None:
                good = wrong
                self._error = InputError(f"'{name}' has {_shown(array[0, wrong])} at step {self.steps + wrong}")
        self.steps += good
        if self._error is not None and not good:
            raise self._error
        return {name: array[:, :good] for name, array in arrays.items()}

    def _why_shorter(self, sizes: Mapping[str, int]) -> InputError | KeyboardInterrupt:
        """What is wrong where one input ends before another: its next step cannot be used, or there is none."""
        try:
            self._parts[min(sizes, key=sizes.__getitem__)].read(1)
        except (InputError, KeyboardInterrupt) as error:
            return error
        told = ", ".join(f"'{name}' {self.steps + size}" for name, size in sizes.items())
        return InputError(f"the inputs have different numbers of steps (so far {told}); as many are expected of each")

    def total(self) -> int | None:
        """How many steps there are, as far as that is known."""
        known = [total for part in self._parts.values() if (total := part.total(self.steps)) is not None]
        return min(known, default=None)


@contextmanager
def open_pieces(given: Sequence[str], signature: Signature, rate_hz: float | None = None) -> Iterator[Together]:
    """The sequence behind every `FILE`, `NAME=FILE` and `-`, which must be one alone.

    Args:
        given: as on the command line. signature: what the model takes. rate_hz: that a recording must have, if known.

    Raises:
        UsageError: a format that cannot be read piece by piece, an unknown input.
        InputError, FileError: a file that does not fit, or cannot be read.
    """
    if not given:
        raise UsageError("there is nothing to be read piece by piece; give --input FILE")
    with ExitStack() as stack:
        parts: dict[str, Pieces] = {}
        for item in given:
            name, path = split_name(item)
            tensor = single(needed(signature if name is None else only(signature, name)), title(path))
            if len(tensor.axes) < 2:
                raise UsageError(f"'{tensor.name}' has no steps that could be read piece by piece; leave it out")
            if any(tensor.name == state.input for state in signature.states):
                raise UsageError(f"the states are carried from piece to piece, so '{tensor.name}' cannot be given")
            if tensor.name in parts:
                raise UsageError(f"'{tensor.name}' is given twice")
            if path != STANDARD and suffix_of(path, (*PIECEWISE, ".npz", ".jsonl")) not in PIECEWISE:
                raise UsageError(
                    f"'{path}' is read whole; what is read piece by piece ends in {', '.join(PIECEWISE)}, or comes "
                    "through standard input, csv or a recording"
                )
            stream = stack.enter_context(opened(path))
            standard = WAV if path == STANDARD and is_recording(stream) else ".csv"
            suffix = standard if path == STANDARD else suffix_of(path, PIECEWISE)
            parts[tensor.name] = _pieces(stream, suffix, tensor, title(path), rate_hz)
        yield Together(parts)


def _pieces(stream: BinaryIO, suffix: str, tensor: Tensor, where: str, rate_hz: float | None) -> Pieces:
    if suffix == ".npy":
        return _NpyPieces(stream, tensor, where)
    if suffix == WAV:
        return _WavPieces(stream, tensor, where, rate_hz)
    return _CsvPieces(stream, tensor, where)


class _NpyPieces:
    """Of an array (time, …) or (1, time, …) in C order."""

    def __init__(self, stream: BinaryIO, tensor: Tensor, where: str) -> None:
        try:
            version = np.lib.format.read_magic(stream)
            head = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, fortran, self._dtype = head(stream)
        except npy.UNREADABLE as error:
            raise DamagedFileError(f"{where} is not a readable .npy file: {error}") from error
        self._stream, self._where = stream, where
        self._tail = self._checked(shape, tensor)
        if fortran and len(shape) > 1:
            raise InputError(
                f"{where} is stored column by column, so no piece of it is in one place; store it with "
                "np.save(path, np.ascontiguousarray(x))"
            )
        self._row = self._dtype.itemsize * int(np.prod(self._tail, dtype=int))
        self._left = self._steps = shape[0] if len(shape) <= len(self._tail) + 1 else shape[1]
        there = _bytes_left(stream)
        if there is not None and there < self._steps * self._row:
            raise DamagedFileError(
                f"{where} is cut off: {self._steps} steps of {self._row} bytes are expected, but only "
                f"{there // self._row} are there"
            )

    def read(self, count: int) -> Array:
        wanted = min(count, self._left)
        content = self._stream.read(wanted * self._row)
        if len(content) < wanted * self._row:
            raise DamagedFileError(f"{self._where} became shorter while it was read")
        self._left -= wanted
        return np.frombuffer(content, self._dtype).reshape(1, wanted, *self._tail)

    def total(self, read: int) -> int | None:
        return self._steps

    def _checked(self, shape: tuple[int, ...], tensor: Tensor) -> tuple[int, ...]:
        """The shape of one step. Raises InputError."""
        if self._dtype.kind not in "biuf":
            raise InputError(f"{self._where} holds {self._dtype}, but numbers are expected")
        rank = len(tensor.axes)
        shape = (*shape, 1) if len(shape) == 1 and tensor.axes[2:] == (1,) else shape
        rows = shape[0] if len(shape) == rank else 1
        tail = shape[len(shape) - rank + 2 :]
        if len(shape) not in (rank, rank - 1) or not all(
            axis == size for axis, size in zip(tensor.axes[2:], tail, strict=True) if isinstance(axis, int)
        ):
            raise InputError(
                f"{self._where} has the shape {shape}, but '{tensor.name}' takes (axes: "
                f"{', '.join(map(str, tensor.axes))})"
            )
        if rows != 1:
            raise InputError(
                f"{self._where} has {rows} sequences, but only one is read piece by piece; give one a file"
            )
        return tail


class _WavPieces:
    def __init__(self, stream: BinaryIO, tensor: Tensor, where: str, rate_hz: float | None) -> None:
        self._recording, self._tensor, self._where = WavReader(stream, where), tensor, where
        check_rate(where, self._recording.sample_rate_hz, rate_hz)
        as_input(np.zeros((0, self._recording.channels), np.float32), tensor, where)

    def read(self, count: int) -> Array:
        return as_input(self._recording.read(count), self._tensor, self._where)

    def total(self, read: int) -> int | None:
        return self._recording.frames


class _CsvPieces:
    """Of rows of numbers; blank lines are skipped, as where a file is read whole."""

    def __init__(self, stream: BinaryIO, tensor: Tensor, where: str) -> None:
        self._stream, self._tensor, self._where = stream, tensor, where
        self._lines = numbered(stream)
        self._columns = csv.Columns(tensor.features)
        self._width: int | None = None
        self._begun = False
        self._error: InputError | KeyboardInterrupt | None = None
        self._size = _bytes_left(stream)

    def read(self, count: int) -> Array:
        if self._error is not None:
            raise self._error
        rows: list[Array] = []
        missing = count
        while missing and self._error is None and (lines := self._next(missing)):
            rows.append(self._numbers(lines))
            missing -= len(rows[-1])
        found = np.concatenate([part for part in rows if len(part)] or [np.empty((0, self._width or 0))])
        if not len(found):
            if self._error is not None:
                raise self._error
            if self._width is None:
                raise InputError(f"{self._where} has no rows; one row a step is expected")
        return from_rows(found, self._tensor, self._where)

    def _next(self, count: int) -> list[tuple[int, bytes]]:
        """Lines as they come; an interrupt of the wait is raised once those that have come are answered."""
        lines: list[tuple[int, bytes]] = []
        try:
            for line in islice(self._lines, count):
                lines.append(line)  # noqa: PERF402 - what has come is kept when the next is interrupted
        except KeyboardInterrupt as interrupt:
            self._error = interrupt
        return lines

    def total(self, read: int) -> int | None:
        if not self._size or not read:
            return None
        return max(read, round(read * self._size / self._stream.tell()))

    def _numbers(self, lines: Sequence[tuple[int, bytes]]) -> Array:
        """The rows of some lines: quickly where nothing is wrong with them, else one by one."""
        if self._begun and self._width is not None:
            found = self._columns.block([line for _, line in lines], self._width)
            if found is not None and np.isfinite(found).all():
                return found
        rows: list[list[float]] = []
        for number, line in lines:
            try:
                text = decode(line)
                if text[:1] in ("[", "{"):
                    raise InputError("it is JSON, but piece by piece csv is read, one row of numbers a step")
                cells = csv.split(text)
                if not cells:
                    continue
                first, self._begun = not self._begun, True
                if first and self._columns.take_header(cells):
                    self._columns.refuse_sequences()
                    continue
                values = self._columns.numbers(cells, self._width)
                self._columns.refuse_gap(values)
            except InputError as error:
                self._error = InputError(f"{self._where}, line {number}: {error}")
                break
            rows.append(values)
            self._width = len(values)
        return np.array(rows, np.float64).reshape(len(rows), self._width or 0)


def _bytes_left(stream: BinaryIO) -> int | None:
    """How much of a file has not been read; None of a pipe."""
    if not stream.seekable():
        return None
    here = stream.tell()
    left = stream.seek(0, os.SEEK_END) - here
    stream.seek(here)
    return left


def _first_nonfinite(array: Array) -> int | None:
    """The first step (1, steps, …) that has a number that is not finite."""
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return None
    return int(np.argwhere(~np.isfinite(array))[:, 1].min())


def _shown(step: Array) -> str:
    return str(step[~np.isfinite(step)].flat[0])
