"""A ParityReport for a reader: one line for each output and provider, then what failed."""

from dataclasses import dataclass

from edgeseq_runtime.compare import Comparison, ParityReport
from rich.console import RenderableType

from edgeseq.cli.output import markdown_table, table

SHOWN_FAILURES = 20

COLUMNS = ("output", "provider", "cases", "difference", "allowed", "share", "verdict")
FAILURE_COLUMNS = ("case", "output", "provider", "difference", "allowed", "decisions that differ")


@dataclass(frozen=True)
class Summary:
    """All cases of one output on one provider, and of them the one that came closest to what is allowed.

    max_abs, bound: its difference and what was allowed; ratio: the one as a share of the other.
    """

    output: str
    provider: str
    cases: int
    max_abs: float
    bound: float
    ratio: float
    passed: bool

    def cells(self) -> tuple[str, ...]:
        """As text, in the order of COLUMNS."""
        numbers = (f"{self.max_abs:.2e}", f"{self.bound:.2e}", f"{100 * self.ratio:.0f} %")
        return (self.output, self.provider, str(self.cases), *numbers, "equal" if self.passed else "DIFFERS")


def summarise(report: ParityReport) -> list[Summary]:
    """One summary for each output and provider, in the order in which they were compared."""
    groups: dict[tuple[str, str], list[Comparison]] = {}
    for comparison in report.comparisons:
        groups.setdefault((comparison.output, comparison.provider), []).append(comparison)
    return [_summary(output, provider, group) for (output, provider), group in groups.items()]


def verdict(report: ParityReport) -> str:
    """One sentence: equal, or what is wrong."""
    total, failed = len(report.comparisons), len(report.failures)
    excused = sum(c.excused for c in report.comparisons)
    if report.passed:
        note = f", {excused} undecided decisions excused" if excused else ""
        return f"{report.subject} equals {report.reference}: {total} comparisons passed{note}"
    if failed:
        return f"{report.subject} differs from {report.reference}: {failed} of {total} comparisons failed"
    if report.problems:
        return f"the proof of {report.subject} is not valid: {'; '.join(report.problems)}"
    if not total:
        return f"nothing was compared, so nothing is proven of {report.subject}"
    return f"{report.subject} has too many undecided decisions that differ: {excused}"


def report_tables(report: ParityReport) -> list[RenderableType]:
    """Tables for a terminal."""
    parts: list[RenderableType] = [table(None, COLUMNS, [s.cells() for s in summarise(report)])]
    if report.failures:
        parts.append(table(f"Failures{_more(report)}", FAILURE_COLUMNS, _failures(report)))
    return [*parts, *(f"not valid: {problem}" for problem in report.problems)]


def report_markdown(report: ParityReport) -> str:
    """The report as a Markdown page."""
    parts = [
        f"# {report.subject} against {report.reference}",
        f"{verdict(report)}.",
        markdown_table(COLUMNS, [s.cells() for s in summarise(report)]),
    ]
    if report.failures:
        parts += [f"## Failures{_more(report)}", markdown_table(FAILURE_COLUMNS, _failures(report))]
    if report.problems:
        parts += ["## Why the proof is not valid", "\n".join(f"- {problem}" for problem in report.problems)]
    return "\n\n".join(parts)


def _summary(output: str, provider: str, group: list[Comparison]) -> Summary:
    worst = max(group, key=_ratio)
    passed = all(c.passed for c in group)
    return Summary(output, provider, len(group), worst.max_abs, worst.bound, _ratio(worst), passed)


def _ratio(comparison: Comparison) -> float:
    if comparison.max_abs == 0:
        return 0.0
    return comparison.max_abs / comparison.bound if comparison.bound > 0 else float("inf")


def _failures(report: ParityReport) -> list[tuple[str, ...]]:
    return [
        (c.case, c.output, c.provider, f"{c.max_abs:.2e}", f"{c.bound:.2e}", _decisions(c))
        for c in report.failures[:SHOWN_FAILURES]
    ]


def _decisions(comparison: Comparison) -> str:
    wrong = comparison.differing - comparison.excused
    if not comparison.decisions:
        return "-"
    return f"{wrong} of {comparison.decisions}" + (f"; {comparison.first}" if comparison.first else "")


def _more(report: ParityReport) -> str:
    count = len(report.failures)
    return f" (the worst {SHOWN_FAILURES} of {count})" if count > SHOWN_FAILURES else ""
