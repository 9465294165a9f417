"""Options that several commands have, written once."""

from pathlib import Path
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object in place of the table.")]

Provider = Annotated[
    str,
    typer.Option(
        metavar="auto|cpu|cuda",
        help="Execution provider. One that is named is used, or the command ends with 3; auto measures those here.",
    ),
]

Threads = Annotated[int, typer.Option(min=1, metavar="N", help="Threads inside one operator.")]

Report = Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the report to FILE.json or FILE.md.")]

ModelFile = Annotated[Path, typer.Argument(metavar="MODEL", help="An ONNX file.", show_default=False)]
