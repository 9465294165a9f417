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

from edgeseq.cadence import Cadence, keep_pace
from edgeseq.cli.foreign import open_model
from edgeseq.cli.options import AsJson, Context, Fixed, ModelFile, Provider, Report, StatePairs, Threads, thread_count
from edgeseq.cli.output import check_report, markdown_table, show, size_text, table, write_report
from edgeseq.cli.timed import reference_call

EXAMPLES = (
    "edgeseq bench lstm.onnx --batch 1 --time 100",
    "edgeseq bench lstm.onnx --stream --budget p99=5ms --budget mean=800us",
    "edgeseq bench lstm.onnx --stream --rate 100 --seconds 60 --budget p99.9=5ms",
    "edgeseq bench lstm.onnx --against lstm.pt --report bench.md",
)

SECONDS, PACED_SECONDS = 1.0, 10.0
FIGURES = ("p50", "p90", "p99", "p99.9", "max", "mean")
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
    rate: Annotated[
        float | None,
        typer.Option(min=1e-3, max=1e6, metavar="HZ", help="With --stream: so many steps a second, as a device gets."),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            max=86400,
            metavar="S",
            help=f"How long is measured; by default {SECONDS:g}, with --rate {PACED_SECONDS:g}.",
        ),
    ] = None,
    budget: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIGURE=TIME",
            help="Exit with 1 where p50, p90, p99, p99.9, max or mean takes longer, e.g. p99=5ms.",
        ),
    ] = None,
    settings: Fixed = None,
    states: StatePairs = None,
    context: Context = 0,
    threads: Threads = "1",
    provider: Provider = "auto",
    report: Report = None,
    as_json: AsJson = False,
) -> None:
    """Time a model, and hold it to a budget.

    Single calls are timed on random inputs at the data's scale.

    Times are given in us, ms or s. The ratio of --against is that of the medians.

    With --rate HZ a call is made whenever its data would come, and the process sleeps between. An answer's time
    counts from when its data was due, waking up included; budgets are held against it. A deadline is missed where
    the answer was not there before the next data was due. The real-time factor is the share of the time that the
    calls take; idle CPU is that of a loaded model with nothing to do.
    """
    limits = [parse_budget(text) for text in budget or ()]
    if rate is not None and not (stream and against is None):
        raise UsageError("--rate times one stream: give --stream, and leave --against out")
    check_report(report)
    if context and not stream:
        raise UsageError("--context is for --stream: it is what a chunk has of the one before")
    time = time if time is not None or not stream else 1
    given = {axis: size for axis, size in ((BATCH, batch), (TIME, time)) if size is not None}
    loaded, _ = open_model(model, provider, thread_count(threads), settings, states, given)
    count = loaded.threads.count
    sizes = loaded.sizes(batch, time)
    calls = {loaded.name: model_call(loaded, sizes, stream, context)}
    paced = keep_pace(calls[loaded.name], rate, seconds or PACED_SECONDS, sizes[TIME]) if rate is not None else None
    if paced is not None:
        latencies, held = {"answer": paced.answer, "call": paced.call}, paced.answer
    else:
        if against is not None:
            name = against.name if against.name != loaded.name else str(against)
            calls[name] = reference_call(against, loaded, sizes, stream, provider, count)
        latencies = measure(calls, seconds or SECONDS)
        held = latencies[loaded.name]
    budgets = [Budget(f, limit, figure_of(held, f)) for f, limit in limits]
    compared = _against(latencies) if paced is None else None
    value = {
        "model": str(model),
        "mode": "stream" if stream else "run",
        "provider": loaded.provider.name,
        "threads": {"count": count, "reason": loaded.threads.reason},
        "sizes": sizes,
        "latency": held.to_json(),
        "against": compared,
        **({"cadence": paced.to_json()} if paced is not None else {}),
        "budgets": [{**asdict(b), "passed": b.passed} for b in budgets],
    }
    shape = f"batch {sizes.get(BATCH, 1)} × {sizes.get(TIME, 1)} steps"
    pace = f", {rate:g} steps a second" if rate is not None else ""
    title = f"{'Stream' if stream else 'Run'}, {shape}{pace}, {loaded.provider.name}, threads: {count}"
    closing = [*_kept(budgets), *(_ratio(compared) if paced is None else _pace(paced))]
    write_report(report, value, _markdown(title, latencies, closing))
    show(value, table(title, COLUMNS, _rows(latencies)), *closing, as_json=as_json)
    _enforce(budgets)


def parse_budget(text: str) -> tuple[str, float]:
    """`p99=5ms` as ("p99", 5000.0), in microseconds. Raises UsageError."""
    match = re.fullmatch(r"([\w.]+)=(\d+(?:\.\d*)?|\.\d+) *(us|µs|μs|ms|s)", text.strip())
    if match is None or match[1] not in FIGURES:
        raise UsageError(
            f"the budget '{text}' is not understood; give one of {', '.join(FIGURES)} and a time in us, ms "
            "or s, such as p99=5ms"
        )
    return match[1], float(match[2]) * _UNITS_US[match[3]]


def figure_of(latency: Latency, figure: str) -> float:
    """One of FIGURES, in microseconds."""
    return float(getattr(latency, f"{figure.replace('.', '')}_us"))


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
    return [(n, str(v.calls), *(f"{figure_of(v, f):.1f}" for f in FIGURES)) for n, v in latencies.items()]


def _kept(budgets: Sequence[Budget]) -> list[str]:
    return [
        f"{b.figure} {_time(b.measured_us)}, budget {_time(b.limit_us)}: {'kept' if b.passed else 'OVER'}"
        for b in budgets
    ]


def _ratio(compared: Mapping[str, Any] | None) -> list[str]:
    if compared is None:
        return []
    return [f"the median call of {compared['name']} takes {compared['ratio']:.2f} times as long"]


def _pace(paced: Cadence) -> list[str]:
    behind = f"; {paced.due - paced.calls} were not made at all" if paced.calls < paced.due else ""
    memory = size_text(paced.resident_bytes) if paced.resident_bytes is not None else "not known here"
    return [
        f"deadlines missed: {paced.missed} of {paced.due}{behind}",
        f"real-time factor: {paced.real_time_factor:.3g}",
        f"resident memory: {memory}",
        f"CPU: {paced.cpu_percent:.1f} % of a core at this pace, {paced.idle_cpu_percent:.1f} % idle",
    ]


def _time(us: float) -> str:
    """A time in the unit in which it reads best."""
    unit = next((unit for unit in ("s", "ms") if us >= _UNITS_US[unit]), "µs")
    return f"{us / _UNITS_US[unit]:.4g} {unit}"


def _markdown(title: str, latencies: Mapping[str, Latency], closing: Sequence[str]) -> str:
    lines = [f"- {line}" for line in closing]
    return "\n\n".join([f"# {title}", markdown_table(COLUMNS, _rows(latencies)), "\n".join(lines)])
