"""Options that several commands have, written once."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from edgeseq_runtime.errors import UsageError

if TYPE_CHECKING:
    from edgeseq_runtime.threads import ThreadCount

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object in place of the table.")]

Provider = Annotated[
    str,
    typer.Option(
        metavar="auto|cpu|cuda",
        help="Execution provider. One that is named is used, or the command ends with 3; auto measures those here.",
    ),
]

Threads = Annotated[
    str,
    typer.Option(
        metavar="N|auto", help="Threads inside one operator; auto takes what runs the typical shape fastest here."
    ),
]


def thread_count(text: str) -> "ThreadCount":
    """What --threads says. Raises UsageError."""
    if text == "auto":
        return "auto"
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise UsageError(f"--threads {text} is not understood; give a number, at least 1, or auto")
    return int(text)


Report = Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the report to FILE.json or FILE.md.")]

StatePairs = Annotated[
    list[str] | None,
    typer.Option(
        "--state",
        metavar="IN=OUT",
        help="Of a file that edgeseq did not export: an input that is a state, and its next value.",
    ),
]

Context = Annotated[
    int,
    typer.Option(min=0, metavar="N", help="With --stream: samples of the chunk before that go before each chunk."),
]

Fixed = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A named scalar of the file, or an input to fix."),
]

ModelFile = Annotated[Path, typer.Argument(metavar="MODEL", help="An ONNX file.", show_default=False)]
