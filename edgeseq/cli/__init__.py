"""The command line. Importing it loads nothing heavy; a command imports what it needs."""

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program with the given arguments, or the process's own, and exit with its code."""
    try:
        from edgeseq.cli.app import run  # half a second; Ctrl-C may come meanwhile
    except KeyboardInterrupt:
        sys.exit(130)
    run(arguments)
