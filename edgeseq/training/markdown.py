"""Tables in Markdown."""

from collections.abc import Iterable, Sequence


def table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """A header, a rule and the rows."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def rounded(value: float) -> str:
    """A figure to four decimals, a small one to three digits."""
    return f"{value:.4f}" if abs(value) >= 0.001 or value == 0 else f"{value:.3g}"


def _cell(value: object) -> str:
    """A cell's text: bars and line breaks would end it."""
    return " ".join(str(value).replace("\\", "\\\\").replace("|", "\\|").splitlines())
