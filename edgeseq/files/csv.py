"""Comma-separated values: one row a step, one column a feature; a header is recognised and skipped."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from edgeseq_runtime.errors import InputError
from numpy.typing import NDArray

from edgeseq.files.lines import decode

Array = NDArray[Any]


def read(lines: Iterable[tuple[int, bytes]], where: str, *, gapless: bool = False) -> Array:
    """All rows as float64 (rows, columns).

    Args:
        lines: numbered from 1; blank ones are skipped.
        where: what to call the file in messages.
        gapless: refuse a blank line between rows, and a number that is not finite.

    Raises:
        InputError: a cell that is missing or not a number, naming file, line and column; no rows at all.
    """
    header: list[str] | None = None
    rows: list[list[float]] = []
    blank: int | None = None
    for number, line in lines:
        try:
            cells = split(decode(line))
            if not cells:
                blank = number if rows and blank is None else blank
                continue
            if header is None and not rows and is_header(cells):
                header = cells
                continue
            rows.append(numbers(cells, len(rows[0]) if rows else len(header or cells), header))
            if gapless:
                _refuse_gap(rows[-1], header)
        except InputError as error:
            raise InputError(f"{where}, line {number}: {error}") from error
        if gapless and blank is not None:
            raise InputError(f"{where}, line {blank}: a row is missing; fill it in")
    if not rows:
        raise InputError(f"{where} has no rows; one row a step is expected")
    return np.array(rows, np.float64)


def split(text: str) -> list[str]:
    """The cells of one line, stripped; none for a blank line."""
    return [cell.strip() for cell in next(csv.reader([text]), [])]


def is_header(cells: Sequence[str]) -> bool:
    """Whether a first line names columns: not one of its cells is a number, and not all are empty."""
    return any(cells) and not any(_number(cell) is not None for cell in cells)


def numbers(cells: Sequence[str], width: int, header: Sequence[str] | None = None) -> list[float]:
    """The cells of one line as numbers. Raises InputError naming the column that is wrong."""
    values: list[float] = []
    for position, cell in enumerate(cells):
        value = _number(cell)
        if value is None:
            what = f"'{cell}' is not a number" if cell else "the value is missing"
            raise InputError(f"column {_column(position, header)}: {what}")
        values.append(value)
    if len(cells) != width:
        problem = f"has no value; {width} columns are expected, {len(cells)} are there"
        if len(cells) > width:
            problem = f"is one too many; {width} columns are expected, {len(cells)} are there"
        raise InputError(f"column {_column(min(len(cells), width), header)} {problem}")
    return values


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


def _refuse_gap(values: Sequence[float], header: Sequence[str] | None) -> None:
    for position, value in enumerate(values):
        if not isfinite(value):
            raise InputError(f"column {_column(position, header)} is {value}; repair the value, or fill it in")


def _quoted(cell: str) -> str:
    if any(character in cell for character in ',"\r\n'):
        return '"' + cell.replace('"', '""') + '"'
    return cell


def _number(cell: str) -> float | None:
    try:
        return None if "_" in cell else float(cell)  # Python reads 1_000 as a number, other programs do not
    except ValueError:
        return None


def _column(position: int, header: Sequence[str] | None) -> str:
    named = header is not None and position < len(header) and header[position]
    return f"{position + 1} ('{header[position]}')" if header and named else str(position + 1)
