"""The `.ts` format of the time series archives: ragged, multivariate sequences, each with a class or a value.

Lines with `@` declare, lines with `#` comment; after `@data` each line is a sequence: channels parted by
`:`, values by `,`, the class or value last. Löning et al., "sktime", arXiv 1909.07872.
"""

from dataclasses import dataclass

import numpy as np
from edgeseq_runtime.errors import UsageError

from edgeseq.data.dataset import Array, Dataset, number, pad


@dataclass(frozen=True)
class _Header:
    classes: tuple[str, ...] | None
    first_row: int


def parse(text: str, name: str) -> Dataset:
    """Read a `.ts` file's text; name: what to call it in messages.

    Raises:
        UsageError: no @data, time stamps, neither classes nor targets, missing or malformed values, channels
            of unequal length; the message names the row (counted from 1, after @data) and the channel.
    """
    lines = text.splitlines()
    header = _header(lines, name)
    rows = [line for line in lines[header.first_row :] if line.strip()]
    if not rows:
        raise UsageError(f"{name} has no sequence after @data")
    sequences, answers = zip(*(_row(line, f"row {i} of {name}") for i, line in enumerate(rows, 1)), strict=True)
    channels = sequences[0].shape[1]
    for i, sequence in enumerate(sequences, 1):
        if sequence.shape[1] != channels:
            raise UsageError(f"row {i} of {name} has {sequence.shape[1]} channels, but the first row has {channels}")
    x, lengths = pad(sequences)
    if header.classes is not None:
        y, labels = number(answers, header.classes)
        return Dataset(x, y, lengths, labels)
    targets = [_values(answer, f"the target of row {i} of {name}") for i, answer in enumerate(answers, 1)]
    return Dataset(x, np.stack(targets).astype(np.float32), lengths)


def _header(lines: list[str], name: str) -> _Header:
    declared: dict[str, list[str]] = {}
    for number_, line in enumerate(lines):
        words = line.split()
        if not words or not words[0].startswith("@"):
            continue
        if words[0].lower() == "@data":
            return _Header(_classes(declared, name), number_ + 1)
        declared[words[0].lower()] = words[1:]
    raise UsageError(f"{name} has no line @data; it is no .ts file")


def _classes(declared: dict[str, list[str]], name: str) -> tuple[str, ...] | None:
    """The class names, or None where the rows end with a value. Raises UsageError for what cannot be read."""
    if declared.get("@timestamps", ["false"])[0].lower() == "true":
        raise UsageError(f"{name} has time stamps, which are not read; write evenly spaced values without them")
    classes = declared.get("@classlabel", ["false"])
    if classes and classes[0].lower() == "true":
        return tuple(classes[1:])
    if declared.get("@targetlabel", ["false"])[0].lower() == "true":
        return None
    raise UsageError(f"{name} declares neither @classLabel true nor @targetLabel true, so there is nothing to learn")


def _row(line: str, where: str) -> tuple[Array, str]:
    """One line as (values (steps, channels), the class or value behind them)."""
    *channels, answer = line.strip().split(":")
    if not channels:
        raise UsageError(f"{where} has no ':' before its class or value")
    columns = [_values(channel, f"channel {i} of {where}") for i, channel in enumerate(channels, 1)]
    if len({len(column) for column in columns}) > 1:
        sizes = ", ".join(str(len(column)) for column in columns)
        raise UsageError(f"the channels of {where} have unequal lengths: {sizes}")
    return np.stack(columns, axis=1), answer.strip()


def _values(text: str, where: str) -> Array:
    try:
        return np.array([float(value) for value in text.split(",")])
    except ValueError as error:
        wrong = next((v for v in text.split(",") if not _is_number(v)), text)
        hint = "a missing value; fill it or leave the sequence out" if wrong.strip() == "?" else "no number"
        raise UsageError(f"{where} has {wrong.strip()!r}: {hint}") from error


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
