"""Sequences in a `.csv` file with a header: one row a step, the rows of a sequence together and in order.

Columns: `sequence` (which sequence the row is of), `label` (a class) or `target` (a number), optionally
`group`; all others are features, in the file's order. An answer that is the same on all rows of each
sequence is one a sequence; otherwise it is one a step.

    sequence,temperature,pressure,label
    a,21.5,1013,ok
    a,21.7,1012,ok
    b,35.0,1010,fault

Without a column `sequence` each row is an example by itself, for families that take no sequences.
"""

import csv
import io
from collections.abc import Sequence
from itertools import groupby

import numpy as np
from edgeseq_runtime.errors import UsageError

from edgeseq.data.dataset import Array, Dataset, number, pad

_ANSWERS = ("label", "target")
_RESERVED = ("sequence", "group", *_ANSWERS)


def parse(text: str, name: str) -> Dataset:
    """Read a `.csv` file's text; name: what to call it in messages.

    Raises:
        UsageError: a column is missing, a row has too many or too few cells, a cell is no number, the rows
            of a sequence are apart; the message names the line of the file and the column.
    """
    header, lines = _lines(text, name)
    answer = _answer_column(header, name)
    features = [column for column in header if column not in _RESERVED]
    if not features:
        raise UsageError(f"{name} has no feature column beside {', '.join(header)}")
    if "sequence" not in header:
        return _examples(lines, header, features, answer, name)
    sequences = _sequences(lines, header.index("sequence"), name)
    x, lengths = pad([_numbers(rows, header, features, name) for rows in sequences])
    groups = None
    if "group" in header:
        groups = np.array([rows[0][1][header.index("group")] for rows in sequences])
    if answer == "target":
        targets = [_numbers(rows, header, ["target"], name) for rows in sequences]
        return Dataset(x, _values(targets), lengths, None, groups, features=tuple(features))
    classes = [[row[header.index("label")].strip() for _, row in rows] for rows in sequences]
    y, labels = _classes(classes)
    return Dataset(x, y, lengths, labels, groups, features=tuple(features))


Line = tuple[int, list[str]]


def _examples(lines: "list[Line]", header: list[str], features: Sequence[str], answer: str, name: str) -> Dataset:
    """Without a column `sequence` each row is an example by itself."""
    x = _numbers(lines, header, features, name).astype(np.float32)
    groups = np.array([row[header.index("group")] for _, row in lines]) if "group" in header else None
    if answer == "target":
        y = _numbers(lines, header, ["target"], name).astype(np.float32)
        return Dataset(x, y, groups=groups, features=tuple(features))
    y, labels = number([row[header.index("label")].strip() for _, row in lines])
    return Dataset(x, y, labels=labels, groups=groups, features=tuple(features))


def _lines(text: str, name: str) -> tuple[list[str], list[Line]]:
    """The header and the rows, each with its line number in the file."""
    reader = csv.reader(io.StringIO(text))
    rows = [(reader.line_num, row) for row in reader if row]
    if len(rows) < 2:
        raise UsageError(f"{name} has no rows below its header")
    header = [column.strip() for column in rows[0][1]]
    if len(header) == 1 and (";" in header[0] or "\t" in header[0]):
        raise UsageError(
            f"the header of {name} is {header[0]!r}, without a comma; cells are parted by commas, decimals by a point"
        )
    if twice := [column for column in header if header.count(column) > 1]:
        raise UsageError(f"{name} has the column '{twice[0]}' twice")
    for line, row in rows[1:]:
        if len(row) != len(header):
            raise UsageError(f"line {line} of {name} has {len(row)} cells, but the header has {len(header)}")
    return header, rows[1:]


def _answer_column(header: list[str], name: str) -> str:
    present = [column for column in _ANSWERS if column in header]
    if len(present) != 1:
        raise UsageError(f"{name} has the columns {', '.join(header)}, but needs one of 'label', 'target'")
    return present[0]


def _sequences(lines: list[Line], column: int, name: str) -> list[list[Line]]:
    parted = [(key, list(rows)) for key, rows in groupby(lines, key=lambda line: line[1][column])]
    seen: set[str] = set()
    for key, rows in parted:
        if key in seen:
            raise UsageError(f"line {rows[0][0]} of {name} goes on with sequence '{key}' after another; sort the rows")
        seen.add(key)
    return [rows for _, rows in parted]


def _numbers(rows: list[Line], header: list[str], columns: Sequence[str], name: str) -> Array:
    """float64 (steps, columns)."""
    values = np.empty((len(rows), len(columns)))
    for i, (line, row) in enumerate(rows):
        for j, column in enumerate(columns):
            cell = row[header.index(column)]
            try:
                values[i, j] = float(cell)
            except ValueError as error:
                raise UsageError(f"line {line} of {name} has {cell!r} in column '{column}': no number") from error
    return values


def _values(targets: list[Array]) -> Array:
    """float32 (n, 1) where each sequence has one target, else (n, time, 1)."""
    if all((target == target[0]).all() for target in targets):
        return np.stack([target[0] for target in targets]).astype(np.float32)
    return pad(targets)[0]


def _classes(classes: list[list[str]]) -> tuple[Array, tuple[str, ...]]:
    """int64 (n,) where each sequence has one class, else (n, time); and the class names."""
    if all(len(set(names)) == 1 for names in classes):
        return number([names[0] for names in classes])
    flat, labels = number([name for names in classes for name in names])
    y = np.zeros((len(classes), max(map(len, classes))), np.int64)
    ends = np.cumsum([len(names) for names in classes])
    for row, numbers in enumerate(np.split(flat, ends[:-1])):
        y[row, : len(numbers)] = numbers
    return y, labels
