"""How many threads run one operator: as asked for, or as many as measure fastest here."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from edgeseq_runtime.errors import InputError, UsageError

if TYPE_CHECKING:
    from edgeseq_runtime.model import Model

ThreadCount = int | Literal["auto"]

SECONDS = 0.1
"""How long each candidate is timed; ten calls at least."""

GAIN = 0.95
"""More threads must take at most this part of the time: what they win by less is noise, and costs energy."""


_MOST = 64


@dataclass(frozen=True)
class Threads:
    """A choice: the number of threads inside one operator, why, and the medians in microseconds where it was measured.

    figures_us: by number of threads, each measured in turns with the best before it.
    """

    count: int
    reason: str
    figures_us: Mapping[int, float] = field(default_factory=dict)


def checked(threads: ThreadCount) -> int:
    """The number to start with: what was asked for, and 1 for "auto". Raises UsageError."""
    if threads == "auto":
        return 1
    if isinstance(threads, bool) or not isinstance(threads, int):
        raise UsageError(f"threads is {threads!r}, but a number or 'auto' is expected")
    if threads < 1:
        raise UsageError(f"threads is {threads}, but at least 1 is needed")
    if threads > (most := max(_MOST, 4 * usable_cores())):
        raise UsageError(f"threads is {threads}, but at most {most} make sense on {usable_cores()} cores")
    return threads


def fastest(one: "Model", opened: Callable[[int], "Model"], sizes: Mapping[str, int]) -> "Model":
    """Of the same file with 1, 2, 4, … threads, the one that is fastest; its `threads` says why.

    It ends at the first number that does not help, so that a small network costs one rival.

    Args:
        one: with one thread. opened: opens the file with so many. sizes: of the axes that are not to be typical.
    """
    best, figures, cores = one, dict[int, float](), usable_cores()
    known = one.sizes()
    sizes = one.signature.sized({**known, **{name: size for name, size in sizes.items() if name in known}})
    shape = " × ".join(f"{name} {size}" for name, size in sizes.items()) or "no free axes"
    for count in candidates(cores):
        rival = opened(count)
        try:
            before, after = _medians(best, rival, sizes)
        except InputError as error:  # a foreign file may want what nobody can guess
            why = f"auto: 1, since no input could be made up to measure with ({error})"
            return _chosen(one, 1, why, figures)
        figures |= {best.threads.count: before, count: after}
        if after > GAIN * before:
            break
        best = rival
    why = f"auto: fastest of {', '.join(map(str, figures))} at {shape}" if figures else "auto: there is one core"
    return _chosen(best, best.threads.count, why, figures)


def candidates(cores: int) -> list[int]:
    """2, 4, 8, … and the number of cores itself."""
    doubled = [2**power for power in range(1, cores.bit_length()) if 2**power < cores]
    return [*doubled, cores] if cores > 1 else []


def usable_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _medians(best: "Model", rival: "Model", sizes: Mapping[str, int]) -> tuple[float, float]:
    from edgeseq_runtime.measure import measure, model_call  # not needed to run

    latencies = measure({"best": model_call(best, sizes, False), "rival": model_call(rival, sizes, False)}, SECONDS)
    return latencies["best"].p50_us, latencies["rival"].p50_us


def _chosen(model: "Model", count: int, reason: str, figures: Mapping[int, float]) -> "Model":
    model.threads = replace(model.threads, count=count, reason=reason, figures_us=dict(figures))
    return model
