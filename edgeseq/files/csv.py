"""Comma-separated values: one row a step, one column a feature; a header may choose the columns."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from edgeseq_runtime.errors import InputError, UsageError
from numpy.typing import NDArray

from edgeseq.files.lines import decode

Array = NDArray[Any]


SEQUENCE = "sequence"
"""The column that says which sequence a row is a step of, where a file has several; as in data to train on."""


class Columns:
    """Which cells of a line are wanted: all, or those whose names in the header are a model's features.

    A header that has every feature decides where each is, and other columns, such as a time stamp, are left aside.
    Under another header, or none, the cells are the features in their order.

    features: what the model calls them; None where it does not know.
    sequence: where the column SEQUENCE is, None where a header that was read has none beside the features.
    """

    def __init__(self, features: Sequence[str] | None = None) -> None:
        self._features = features
        self._header: list[str] | None = None
        self._picked: list[int] | None = None
        self.sequence: int | None = None

    def take_header(self, cells: Sequence[str]) -> bool:
        """Whether a first line names columns: not one of its cells is a number, and not all are empty."""
        if not any(cells) or any(_number(cell) is not None for cell in cells):
            return False
        self._header = list(cells)
        if self._features and set(self._features) <= set(cells):
            self._picked = [self._header.index(name) for name in self._features]
            if SEQUENCE in cells and SEQUENCE not in self._features:
                self.sequence = self._header.index(SEQUENCE)
        return True

    def refuse_sequences(self) -> None:
        """Raise UsageError where the header says that there are several sequences."""
        if self.sequence is not None:
            raise UsageError(
                f"the column '{SEQUENCE}' says that there are several, but one is read step by step; run the file "
                "whole (without --stream and --chunk), or leave the column out"
            )

    def numbers(self, cells: Sequence[str], width: int | None = None) -> list[float]:
        """The wanted cells of one line as numbers. width: how many there are to be, if not as many as in the header.

        Raises:
            InputError: naming the column that is wrong.
        """
        if self._header is not None and (width is None or self._picked is not None):
            width = len(self._header)
        if self._picked is not None:
            self._check_width(cells, width)
            return [self._value(position, cells[position]) for position in self._picked]
        values = [self._value(position, cell) for position, cell in enumerate(cells)]
        self._check_width(cells, width)
        return values

    def block(self, lines: Sequence[bytes], width: int) -> Array | None:
        """The wanted cells of many lines, float64 (lines, wanted), as `numbers` reads them one by one, but quickly.

        None where a line is not plain numbers with commas between them, as many as they must be. width: wanted cells.
        """
        there = len(self._header) if self._header is not None else width
        content = b"".join(lines)
        if b'"' in content or b"_" in content or any(line.count(b",") != there - 1 for line in lines):
            return None
        try:
            text = content.decode().splitlines()
            found = np.loadtxt(text, np.float64, comments=None, delimiter=",", usecols=self._picked, ndmin=2)
        except ValueError:
            return None
        return found if found.shape == (len(lines), width) else None

    def refuse_gap(self, values: Sequence[float]) -> None:
        """Raise InputError for a number that is not finite, naming its column. values: as `numbers` gave them."""
        for position, value in enumerate(values):
            if not isfinite(value):
                name = self._name(self._picked[position] if self._picked is not None else position)
                raise InputError(f"column {name} is {value}; repair the value, or fill it in")

    def _value(self, position: int, cell: str) -> float:
        value = _number(cell)
        if value is None:
            what = f"'{cell}' is not a number" if cell else "the value is missing"
            if ";" in cell or "\t" in cell:
                what += "; cells are parted by commas, and decimals by a point"
            raise InputError(f"column {self._name(position)}: {what}")
        return value

    def _check_width(self, cells: Sequence[str], width: int | None) -> None:
        if width is not None and len(cells) != width:
            problem = "is one too many" if len(cells) > width else "has no value"
            name = self._name(min(len(cells), width))
            raise InputError(f"column {name} {problem}; {width} columns are expected, {len(cells)} are there")

    def _name(self, position: int) -> str:
        named = self._header[position] if self._header is not None and position < len(self._header) else ""
        return f"{position + 1} ('{named}')" if named else str(position + 1)


def read(
    lines: Iterable[tuple[int, bytes]], where: str, *, features: Sequence[str] | None = None, gapless: bool = False
) -> dict[str | None, Array]:
    """All rows as float64 (rows, columns), by what the column SEQUENCE calls them; without it, all under None.

    Args:
        lines: numbered from 1; blank ones are skipped.
        where: what to call the file in messages.
        features: what the model calls its features, by which a header chooses the columns.
        gapless: refuse a blank line between rows, and a number that is not finite.

    Raises:
        InputError: a cell that is missing or not a number, naming file, line and column; the rows of a sequence are
            apart; no rows at all.
    """
    columns = Columns(features)
    begun = False
    rows: list[list[float]] = []
    sequences: dict[str | None, list[list[float]]] = {}
    blank: int | None = None
    for number, line in lines:
        try:
            cells = split(decode(line))
            if not cells:
                blank = number if rows and blank is None else blank
                continue
            first, begun = not begun, True
            if first and columns.take_header(cells):
                continue
            values = columns.numbers(cells, len(rows[0]) if rows else None)
            name = None if columns.sequence is None else cells[columns.sequence]
            if name in sequences and sequences[name] is not rows:
                raise InputError(f"sequence '{name}' goes on after another; sort the rows")
            rows = sequences.setdefault(name, [])
            rows.append(values)
            if gapless:
                columns.refuse_gap(values)
        except InputError as error:
            raise InputError(f"{where}, line {number}: {error}") from error
        if gapless and blank is not None:
            raise InputError(f"{where}, line {blank}: a row is missing; fill it in")
    if not rows:
        raise InputError(f"{where} has no rows; one row a step is expected")
    return {name: np.array(each, np.float64) for name, each in sequences.items()}


def split(text: str) -> list[str]:
    """The cells of one line, stripped; none for a blank line. Raises InputError where it is not csv."""
    try:
        return [cell.strip() for cell in next(csv.reader([text], strict=True), [])]
    except csv.Error as error:
        raise InputError(f"it is not csv: {error}") from error


def write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a header and rows."""
    with path.open("w", encoding="utf-8", newline="") as file:
        file.writelines(f"{line}\n" for line in format_rows(columns, rows))


def format_rows(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A header and rows as lines without their ends."""
    yield format_row(columns)
    yield from map(format_row, rows)


def format_row(cells: Sequence[str]) -> str:
    """One row as a line without its end; a cell is quoted where it must be."""
    return ",".join(_quoted(cell) for cell in cells)


def _quoted(cell: str) -> str:
    if any(character in cell for character in ',"\r\n'):
        return '"' + cell.replace('"', '""') + '"'
    return cell


def _number(cell: str) -> float | None:
    try:
        return None if "_" in cell else float(cell)  # Python reads 1_000 as a number, other programs do not
    except ValueError:
        return None
