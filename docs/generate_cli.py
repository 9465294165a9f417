"""Write docs/cli.md from the program's own help; with --check, exit with 1 and a diff where it is old."""

import difflib
import os
import sys
from pathlib import Path

from typer.testing import CliRunner

PAGE = Path(__file__).with_name("cli.md")
WIDTH = 100

INTRODUCTION = """\
# The command line

This page is written by `docs/generate_cli.py` from `edgeseq --help`; do not edit it by hand.
"""


def page() -> str:
    """The whole page."""
    from edgeseq.cli.app import app

    commands = [command.name for command in app.registered_commands if command.name is not None]
    parts = [INTRODUCTION, _section("edgeseq", help_of([]))]
    parts += [_section(f"edgeseq {name}", help_of([name])) for name in commands]
    return "\n".join(parts)


def help_of(command: list[str]) -> str:
    """What `edgeseq COMMAND --help` prints at a fixed width, whatever the terminal."""
    from edgeseq.cli.app import app

    result = CliRunner().invoke(app, [*command, "--help"], prog_name="edgeseq", terminal_width=WIDTH)
    if result.exit_code != 0:
        raise SystemExit(f"edgeseq {' '.join(command)} --help failed: {result.output}")
    return "\n".join(line.rstrip() for line in result.stdout.splitlines()).strip()


def _section(title: str, text: str) -> str:
    return f"## {title}\n\n```text\n{text}\n```\n"


def main() -> int:
    """Write the page, or check it."""
    os.environ["NO_COLOR"] = "1"
    fresh = page()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(fresh, encoding="utf-8")
        return 0
    old = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    if old == fresh:
        return 0
    lines = difflib.unified_diff(old.splitlines(), fresh.splitlines(), "docs/cli.md", "edgeseq --help", lineterm="")
    print("\n".join(lines))
    print("docs/cli.md is old; write it again: python docs/generate_cli.py")
    return 1


if __name__ == "__main__":
    sys.exit(main())
