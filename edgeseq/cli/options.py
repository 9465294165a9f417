"""Options that several commands have, written once."""

from pathlib import Path
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object in place of the table.")]

Provider = Annotated[
    str,
    typer.Option(
        metavar="auto|cpu|cuda",
        help="Execution provider. One that is named is used, or the command ends with 3; auto is the CPU.",
    ),
]

Threads = Annotated[int, typer.Option(min=1, metavar="N", help="Threads inside one operator.")]

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
