"""What commands print: one JSON object or tables on stdout, progress on stderr, reports as files."""

import errno
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import typer
from edgeseq_runtime.atomic import check_writable, write_bytes
from edgeseq_runtime.errors import MissingPackageError, UsageError
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from edgeseq.json_text import to_text

VERSION = 1
"""Of the JSON that commands print; it grows when a key changes its meaning or goes."""

CLOSED_OUTPUT = 141
"""The exit code where the reader of standard output has gone: what a shell reports of a closed pipe."""

PIPED_WIDTH = 120
"""Columns of a table that does not go to a terminal."""

Told = Callable[[int, int | None, str], None]


class _Console(Console):
    """A console that lets a closed pipe be an error: rich would exit with 1, which means that a check failed."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def show(value: Mapping[str, Any], *parts: RenderableType, as_json: bool) -> None:
    """Print `value` as a versioned JSON object, or the parts for a reader."""
    if as_json:
        typer.echo(to_json(value))
        return
    console = _Console() if sys.stdout.isatty() else _Console(width=PIPED_WIDTH)
    for part in parts:
        console.print(part, highlight=False, markup=False)


def to_json(value: Mapping[str, Any], indent: int | None = None) -> str:
    """A versioned JSON object; numbers that are not finite, which JSON cannot hold, become null."""
    return to_text({"version": VERSION, **value}, indent)


def table(title: str | None, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table of text; a column whose cells are all numbers stands to the right."""
    result = Table(title=_text(title), title_justify="left")
    for position, column in enumerate(columns):
        numeric = bool(rows) and all(_is_number(row[position]) for row in rows)
        result.add_column(Text(column), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        result.add_row(*map(Text, row))
    return result


def pairs(title: str | None, values: Mapping[str, object]) -> Table:
    """A table of names and values; values that are None are left out."""
    result = Table(title=_text(title), title_justify="left", show_header=False)
    result.add_column()
    result.add_column(overflow="fold")
    for name, value in values.items():
        if value is not None:
            result.add_row(Text(name), Text(str(value)))
    return result


@contextmanager
def progress_bar() -> Iterator[Told]:
    """A callback that moves a bar on stderr, with the time left, where that is a terminal; else it does nothing."""
    if not sys.stderr.isatty():
        yield lambda done, total, label: None
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda done, total, label: progress.update(task, completed=done, total=total, description=label)


def check_report(path: Path | None) -> None:
    """Refuse a report that could not be written, before the work is done. Raises UsageError, FileError."""
    if path is None:
        return
    if path.suffix.lower() not in (".json", ".md"):
        raise UsageError(f"a report ends in .json or .md, but '{path}' was given")
    check_writable(path)


def write_report(path: Path | None, value: Mapping[str, Any], markdown: str) -> None:
    """Write a report as its suffix says: JSON or Markdown."""
    if path is not None:
        text = to_json(value, indent=2) if path.suffix.lower() == ".json" else markdown
        write_bytes(path, text.rstrip("\n").encode() + b"\n")


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


@contextmanager
def needing(extra: str) -> Iterator[None]:
    """Turn a package that is not installed into MissingPackageError, which names the extra that brings it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in ("edgeseq", "edgeseq_runtime"):
            raise  # a defect of this package and not of the machine
        raise MissingPackageError(
            f"this needs the package '{error.name}', which is not installed: pip install 'edgeseq[{extra}]'"
        ) from error


def warn(message: str) -> None:
    """Tell something on stderr."""
    typer.echo(f"edgeseq: {message}", err=True)


def size_text(size: int) -> str:
    """A number of bytes for a reader."""
    if size < 1000:
        return f"{size} B"
    return f"{size / 1000:.1f} kB" if size < 1_000_000 else f"{size / 1_000_000:.1f} MB"


def abandon_stdout() -> None:
    """Send what is still buffered nowhere: its reader has gone, and Python would complain when it ends."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _text(title: str | None) -> Text | None:
    """Text in which rich reads no markup."""
    return Text(title) if title is not None else None


def _is_number(text: str) -> bool:
    try:
        float(text.split(" ")[0].rstrip("×%"))
    except ValueError:
        return False
    return True
