"""`edgeseq bench`: how long a call takes, and whether that is within a budget."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from edgeseq_runtime.errors import BudgetError, UsageError
from edgeseq_runtime.measure import Latency, measure, model_call
from edgeseq_runtime.signature import BATCH, TIME
from rich.console import RenderableType

from edgeseq.cli.foreign import open_model
from edgeseq.cli.options import AsJson, Context, Fixed, ModelFile, Provider, Report, StatePairs, Threads
from edgeseq.cli.output import check_report, markdown_table, show, table, write_report
from edgeseq.cli.timed import reference_call

EXAMPLES = (
    "edgeseq bench lstm.onnx --batch 1 --time 100",
    "edgeseq bench lstm.onnx --stream --budget p99=5ms --budget mean=800us",
    "edgeseq bench lstm.onnx --against lstm.pt --report bench.md",
)

SECONDS = 1.0
FIGURES = ("p50", "p90", "p99", "max", "mean")
COLUMNS = ("", "calls", *(f"{figure} [µs]" for figure in FIGURES))

_UNITS_US = {"us": 1.0, "µs": 1.0, "μs": 1.0, "ms": 1e3, "s": 1e6}


@dataclass(frozen=True)
class Budget:
    """What one figure of the latency may be at most."""

    figure: str
    limit_us: float
    measured_us: float

    @property
    def passed(self) -> bool:
        """At most the limit."""
        return self.measured_us <= self.limit_us


def bench(
    model: ModelFile,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="REFERENCE",
            help="Also time a checkpoint (.pt) in PyTorch, eager, or another .onnx, in turns.",
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Sequences at once; by default as the contract says."),
    ] = None,
    time: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Steps of a call; by default as the contract says, with --stream 1."),
    ] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Time a stream with its states carried.")] = False,
    budget: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIGURE=TIME",
            help="Exit with 1 where p50, p90, p99, max or mean takes longer, e.g. p99=5ms.",
        ),
    ] = None,
    settings: Fixed = None,
    states: StatePairs = None,
    context: Context = 0,
    threads: Threads = 1,
    provider: Provider = "auto",
    report: Report = None,
    as_json: AsJson = False,
) -> None:
    """Time a model, and hold it to a budget.

    Single calls are timed on random inputs at the data's scale.

    Times are given in us, ms or s. The ratio of --against is that of the medians.
    """
    limits = [parse_budget(text) for text in budget or ()]
    check_report(report)
    if context and not stream:
        raise UsageError("--context is for --stream: it is what a chunk has of the one before")
    loaded, _ = open_model(model, provider, threads, settings, states)
    sizes = loaded.sizes(batch, time if time is not None or not stream else 1)
    calls = {loaded.name: model_call(loaded, sizes, stream, context)}
    if against is not None:
        name = against.name if against.name != loaded.name else str(against)
        calls[name] = reference_call(against, loaded, sizes, stream, provider, threads)
    latencies = measure(calls, SECONDS)
    budgets = [Budget(f, limit, _figure(latencies[loaded.name], f)) for f, limit in limits]
    value = {
        "model": str(model),
        "mode": "stream" if stream else "run",
        "provider": loaded.provider.name,
        "threads": threads,
        "sizes": sizes,
        "latency": latencies[loaded.name].to_json(),
        "against": _against(latencies),
        "budgets": [{**asdict(b), "passed": b.passed} for b in budgets],
    }
    shape = f"batch {sizes.get(BATCH, 1)} × {sizes.get(TIME, 1)} steps"
    title = f"{'Stream' if stream else 'Run'}, {shape}, {loaded.provider.name}, threads: {threads}"
    write_report(report, value, _markdown(title, latencies, budgets))
    show(value, *_tables(title, latencies, budgets), as_json=as_json)
    _enforce(budgets)


def parse_budget(text: str) -> tuple[str, float]:
    """`p99=5ms` as ("p99", 5000.0), in microseconds. Raises UsageError."""
    match = re.fullmatch(r"(\w+)=(\d+(?:\.\d*)?|\.\d+) *(us|µs|μs|ms|s)", text.strip())
    if match is None or match[1] not in FIGURES:
        raise UsageError(
            f"the budget '{text}' is not understood; give one of {', '.join(FIGURES)} and a time in us, ms "
            "or s, such as p99=5ms"
        )
    return match[1], float(match[2]) * _UNITS_US[match[3]]


def _figure(latency: Latency, figure: str) -> float:
    return float(getattr(latency, f"{figure}_us"))


def _against(latencies: Mapping[str, Latency]) -> dict[str, Any] | None:
    """The reference's latency, and how many times longer its median call takes."""
    if len(latencies) < 2:
        return None
    own, (name, other) = next(iter(latencies.values())), list(latencies.items())[1]
    return {"name": name, "latency": other.to_json(), "ratio": other.p50_us / own.p50_us}


def _enforce(budgets: Sequence[Budget]) -> None:
    over = [b for b in budgets if not b.passed]
    if over:
        told = (f"{b.figure} is {_time(b.measured_us)}, but at most {_time(b.limit_us)} is allowed" for b in over)
        raise BudgetError(f"over budget: {'; '.join(told)}")


def _rows(latencies: Mapping[str, Latency]) -> list[tuple[str, ...]]:
    return [(n, str(v.calls), *(f"{_figure(v, f):.1f}" for f in FIGURES)) for n, v in latencies.items()]


def _closing(latencies: Mapping[str, Latency], budgets: Sequence[Budget]) -> list[str]:
    lines = [
        f"{b.figure} {_time(b.measured_us)}, budget {_time(b.limit_us)}: {'kept' if b.passed else 'OVER'}"
        for b in budgets
    ]
    if (other := _against(latencies)) is not None:
        lines.append(f"the median call of {other['name']} takes {other['ratio']:.2f} times as long")
    return lines


def _time(us: float) -> str:
    """A time in the unit in which it reads best."""
    unit = next((unit for unit in ("s", "ms") if us >= _UNITS_US[unit]), "µs")
    return f"{us / _UNITS_US[unit]:.4g} {unit}"


def _tables(title: str, latencies: Mapping[str, Latency], budgets: Sequence[Budget]) -> list[RenderableType]:
    return [table(title, COLUMNS, _rows(latencies)), *_closing(latencies, budgets)]


def _markdown(title: str, latencies: Mapping[str, Latency], budgets: Sequence[Budget]) -> str:
    lines = [f"- {line}" for line in _closing(latencies, budgets)]
    return "\n\n".join([f"# {title}", markdown_table(COLUMNS, _rows(latencies)), "\n".join(lines)])
