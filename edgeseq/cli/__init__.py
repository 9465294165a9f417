"""The command line. Importing it loads nothing heavy; a command imports what it needs."""

import sys
from collections.abc import Sequence

from edgeseq_runtime.errors import EdgeseqError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program with the given arguments, or the process's own, and exit with its code."""
    try:
        from edgeseq.cli.app import run
    except EdgeseqError as error:  # onnxruntime itself is missing
        print(f"edgeseq: {error}", file=sys.stderr)  # noqa: T201  what prints otherwise could not be imported
        sys.exit(error.exit_code)
    run(arguments)
