"""A ParityReport for a reader: one line for each output and provider, then what failed."""

import math
from dataclasses import dataclass

from edgeseq_runtime.compare import Comparison, ParityReport
from rich.console import RenderableType

from edgeseq.cli.output import markdown_table, table

SHOWN_FAILURES = 20
SHOWN_REASONS = 5

COLUMNS = ("output", "provider", "cases", "difference", "allowed", "share", "verdict")
FIGURE_COLUMNS = ("output", "provider", "max rel", "RMS ratio", "SNR", "equal")
CASE_COLUMNS = ("case", "shape", "provider", "max abs", "allowed", *FIGURE_COLUMNS[2:], "verdict")
FAILURE_COLUMNS = ("case", "output", "provider", "difference", "allowed", "decisions that differ")

REFUSED = "no answer"
"""In place of a figure where there is nothing to compare."""


@dataclass(frozen=True)
class Summary:
    """All cases of one output on one provider, and of them the one that came closest to what is allowed.

    max_abs, bound: its difference and what was allowed; ratio: the one as a share of the other.
    max_rel, rms_ratio, equal: the worst of all cases: relative difference, RMS ratio, and the share of classes or
    integers that are equal; None where there is none.
    """

    output: str
    provider: str
    cases: int
    max_abs: float
    bound: float
    ratio: float
    passed: bool
    max_rel: float | None = None
    rms_ratio: float | None = None
    snr_db: float | None = None
    equal: float | None = None

    def cells(self) -> tuple[str, ...]:
        """As text, in the order of COLUMNS."""
        numbers = (f"{self.max_abs:.2e}", f"{self.bound:.2e}", f"{100 * self.ratio:.0f} %")
        return (self.output, self.provider, str(self.cases), *numbers, _verdict(self.passed))

    def figures(self) -> tuple[str, ...]:
        """As text, in the order of FIGURE_COLUMNS."""
        return (self.output, self.provider, *_figures(self.max_rel, self.rms_ratio, self.snr_db, self.equal))


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
    summaries = summarise(report)
    parts: list[RenderableType] = [*report.notes, table(None, COLUMNS, [s.cells() for s in summaries])]
    parts.append(table(None, FIGURE_COLUMNS, [s.figures() for s in summaries]))
    if report.failures:
        parts.append(table(f"Failures{_more(report)}", FAILURE_COLUMNS, _failures(report)))
    return [*parts, *_reasons(report), *(f"not valid: {problem}" for problem in report.problems)]


def report_markdown(report: ParityReport) -> str:
    """The report as a Markdown page: the verdict, and for each output a table of all cases."""
    parts = [
        f"# {report.subject} against {report.reference}",
        f"{verdict(report)}.",
        *(["\n".join(f"- {note}" for note in report.notes)] if report.notes else []),
        markdown_table(COLUMNS, [s.cells() for s in summarise(report)]),
    ]
    if report.failures:
        parts += [f"## Failures{_more(report)}", markdown_table(FAILURE_COLUMNS, _failures(report))]
    if reasons := _reasons(report):
        parts.append("\n".join(f"- {reason}" for reason in reasons))
    if report.problems:
        parts += ["## Why the proof is not valid", "\n".join(f"- {problem}" for problem in report.problems)]
    for output in dict.fromkeys(c.output for c in report.comparisons):
        rows = [_case(c) for c in report.comparisons if c.output == output]
        parts += [f"## Output `{output}`", markdown_table(CASE_COLUMNS, rows)]
    return "\n\n".join(parts)


def _summary(output: str, provider: str, group: list[Comparison]) -> Summary:
    worst = max(group, key=_ratio)
    answered = [c for c in group if not c.error]
    decided = sum(c.decisions for c in answered)
    ratios = [c for c in answered if c.rms_ratio is not None]
    noisiest = max(ratios, key=lambda c: c.rms_ratio or 0.0, default=None)
    return Summary(
        output,
        provider,
        len(group),
        worst.max_abs,
        worst.bound,
        _ratio(worst),
        all(c.passed for c in group),
        max_rel=max((c.max_rel for c in answered if c.max_rel is not None), default=None),
        rms_ratio=noisiest.rms_ratio if noisiest else None,
        snr_db=noisiest.snr_db if noisiest else None,
        equal=1 - sum(c.differing for c in answered) / decided if decided else None,
    )


def _case(c: Comparison) -> tuple[str, ...]:
    shape = "×".join(map(str, c.shape))
    figures = [REFUSED, *["-"] * 3] if c.error else _figures(c.max_rel, c.rms_ratio, c.snr_db, c.equal_share)
    return (c.case, shape, c.provider, f"{c.max_abs:.2e}", f"{c.bound:.2e}", *figures, _verdict(c.passed))


def _figures(
    max_rel: float | None, rms_ratio: float | None, snr_db: float | None, equal: float | None
) -> tuple[str, ...]:
    """Figures as text, the same everywhere: relative, RMS ratio, SNR and the share of equal classes."""
    numbers = ("-" if value is None else f"{value:.2e}" for value in (max_rel, rms_ratio))
    snr = "-" if snr_db is None else f"{snr_db:.0f} dB"
    share = "-" if equal is None else f"{_rounded_down(100 * equal)} %"
    return (*numbers, snr, share)


def _rounded_down(percent: float) -> str:
    """A share in percent with two places, never 100 where it is less."""
    return "100" if percent == 100 else f"{math.floor(percent * 100) / 100:.2f}"


def _verdict(passed: bool) -> str:
    return "equal" if passed else "DIFFERS"


def _reasons(report: ParityReport) -> list[str]:
    """Why there was no answer, each reason once, with the cases it concerns."""
    cases: dict[str, list[str]] = {}
    for c in report.comparisons:
        if c.error and c.case not in cases.setdefault(c.error, []):
            cases[c.error].append(c.case)
    lines = [
        f"{REFUSED} at {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}: {error}"
        for error, names in cases.items()
    ]
    more = len(lines) - SHOWN_REASONS
    return [*lines[:SHOWN_REASONS], *([f"and {more} more reasons"] if more > 0 else [])]


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
    if comparison.error:
        return REFUSED
    if not comparison.decisions:
        return "-"
    return f"{wrong} of {comparison.decisions}" + (f"; {comparison.first}" if comparison.first else "")


def _more(report: ParityReport) -> str:
    count = len(report.failures)
    return f" (the worst {SHOWN_FAILURES} of {count})" if count > SHOWN_FAILURES else ""
