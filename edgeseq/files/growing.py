"""Files of answers that grow piece by piece: each piece leaves them whole, an interrupt leaves the pieces before."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from edgeseq_runtime.atomic import replacing
from edgeseq_runtime.errors import EdgeseqError, FileError
from numpy.typing import NDArray

from edgeseq.files import csv
from edgeseq.files.answers import Answers

Array = NDArray[Any]

GROWING = (".npy", ".csv")
"""What can be written piece by piece."""

_HEAD = 192
"""Bytes of the head of a .npy file here: enough for any shape, so that it can be written anew in its place."""


class Growing(Protocol):
    """Where the answers of one sequence go, piece by piece."""

    steps: int
    """How many samples are answered in what has been written."""

    def add(self, outputs: Mapping[str, Array], count: int) -> None:
        """Write a piece's answers. outputs: by name, batch 1; count: samples that they answer."""
        ...

    def finish(self) -> None:
        """Write what is written once at the end, such as an answer to the whole sequence."""
        ...


class Lines:
    """Rows of text: sequence, step and the answer's cells, as where a sequence is run whole."""

    def __init__(self, answers: Answers, write: Callable[[list[tuple[str, ...]]], None]) -> None:
        self._answers, self._write = answers, write
        self._last: Array | None = None
        self._headed = False
        self.steps = 0

    def add(self, outputs: Mapping[str, Array], count: int) -> None:
        found = self._answers.read(outputs, self.steps)
        if self._answers.stepwise:
            answers = found.reshape(found.shape[1], -1)
            hop = self._answers.hop
            ends = range(self.steps + hop - 1, self.steps + hop * len(answers), hop)  # of a hop its last step
            rows = [("0", str(end), *self._answers.cells(row)) for end, row in zip(ends, answers, strict=True)]
            self._put(rows, "step", width=answers.shape[1])
        else:
            self._last = found
        self.steps += count

    def finish(self) -> None:
        if self._last is not None:
            answer = self._last.reshape(-1)
            self._put([("0", *self._answers.cells(answer))], width=answer.size)

    def _put(self, rows: list[tuple[str, ...]], *leading: str, width: int) -> None:
        head = [] if self._headed else [("sequence", *leading, *self._answers.columns(width))]
        self._write([*head, *rows])
        self._headed = True


class Npy:
    """The output that is read, as one array (1, steps, …); or (1, …) of a model with one answer a sequence."""

    def __init__(self, answers: Answers, file: "_Committed") -> None:
        self._answers, self._file = answers, file
        self._last: Array | None = None
        self._entries = 0
        self.steps = 0

    def add(self, outputs: Mapping[str, Array], count: int) -> None:
        array = np.ascontiguousarray(outputs[self._answers.output])
        if self._answers.stepwise:
            self._entries += array.shape[1]
            head = _head(array.dtype, (1, self._entries, *array.shape[2:]))
            self._file.append((b"" if self.steps else head) + array.tobytes(), head)
        else:
            self._last = array
        self.steps += count

    def finish(self) -> None:
        if self._last is not None:
            self._file.append(_head(self._last.dtype, self._last.shape) + self._last.tobytes())


class _Committed:
    """A file that is cut back to the last piece that was written whole."""

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self._whole = (0, b"")  # size and head, in one place, so that an interrupt does not part them

    def append(self, content: bytes, head: bytes = b"") -> None:
        """Write behind all else; head: what stands at the file's start from now on."""
        _write_all(self._file, content)
        self._whole = (self._whole[0] + len(content), head)

    @property
    def size(self) -> int:
        """Bytes of what was written whole."""
        return self._whole[0]

    def drop(self) -> None:
        """Nothing that was written counts."""
        self._whole = (0, b"")

    def close(self) -> None:
        """Cut, and write the head."""
        size, head = self._whole
        self._file.truncate(size)
        self._file.seek(0)
        _write_all(self._file, head)
        os.fsync(self._file.fileno())


@contextmanager
def growing(path: str, answers: Answers) -> Iterator[Growing]:
    """A file that stands at `path` when the block has ended without an error; until then the old one does.

    Where the block is left early, by an error or an interrupt, what was written until then is at `partial_path(path)`.

    Raises:
        FileError: it cannot be written.
    """
    with _keeping(path) as committed:
        sink: Growing
        if Path(path).suffix.lower() == ".npy":
            sink = Npy(answers, committed)
        else:
            sink = Lines(
                answers, lambda rows: committed.append("".join(f"{csv.format_row(r)}\n" for r in rows).encode())
            )
        try:
            yield sink
            sink.finish()
        except BaseException:
            if not sink.steps:
                committed.drop()
            elif not answers.stepwise:
                sink.finish()
            raise


@contextmanager
def growing_lines(path: str) -> Iterator[Callable[[str], None]]:
    """Takes one line after the other, without its end, into a file like that of `growing`; errors tell what is kept."""
    with _keeping(path) as committed:
        try:
            yield lambda line: committed.append(f"{line}\n".encode())
        except (EdgeseqError, OSError) as error:
            if not committed.size:
                raise
            kind = type(error) if isinstance(error, EdgeseqError) else FileError
            why = getattr(error, "strerror", None) or error
            raise kind(f"cannot go on: {why}. The answers so far are in '{partial_path(path)}'") from error


@contextmanager
def _keeping(path: str) -> Iterator[_Committed]:
    with replacing(path) as temporary, temporary.open("wb", buffering=0) as file:
        committed = _Committed(file)
        try:
            yield committed
        except BaseException:
            if committed.size:
                committed.close()
                file.close()
                temporary.replace(partial_path(path))
            raise
        committed.close()


def partial_path(path: str) -> Path:
    """Where the answers go of a run that did not come to its end: `answers.partial.csv`."""
    target = Path(path)
    return target.with_name(f"{target.stem}.partial{target.suffix}")


def _head(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """The head of a .npy file, version 1.0, of always the same length."""
    told = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    text = repr(told).encode("latin1")
    length = _HEAD - 10
    return np.lib.format.magic(1, 0) + length.to_bytes(2, "little") + text.ljust(length - 1) + b"\n"


def _write_all(file: FileIO, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[file.write(view) :]
