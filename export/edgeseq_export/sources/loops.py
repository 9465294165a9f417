"""Python loops over time in somebody's network: a tracer freezes them, so they are found by running, and named."""

import linecache
import os
import sys
import sysconfig
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import torch
from edgeseq_runtime.errors import ExportError
from edgeseq_runtime.signature import TIME, Limit

from edgeseq_export.grid import Case
from edgeseq_export.ops.recurrence import recur
from edgeseq_export.source import Source
from edgeseq_export.sources.call import Called

Place = tuple[CodeType, int]


def refuse_loops(source: Source) -> None:
    """Raise ExportError where somebody's network goes over an axis of its inputs in Python. It shows the rewrite."""
    if not isinstance(source.module, Called):
        return
    limit = source.signature.limits.get(TIME, Limit())
    short, long = max(limit.min, 3), max(limit.min, 3) + 4
    if TIME not in source.signature.symbols or (limit.max is not None and limit.max < long):
        return

    def run(steps: int) -> None:
        inputs = Case(2, steps).inputs(source.signature, 0)
        with torch.no_grad():
            source.module(**{name: torch.from_numpy(array) for name, array in inputs.items()})

    place = loop_over_time(run, short, long)
    if place is not None:
        raise ExportError(
            f"{source.name} loops over time in Python, in {place}. A tracer would freeze that loop at the length of "
            f"its example, without an error. {REWRITE}"
        )


def loop_over_time(run: Callable[[int], Any], short: int, long: int) -> str | None:
    """Where a network repeats lines of its own more often for a longer sequence, in words; None where nowhere.

    run: calls the network, once, with sequences of so many steps. What `recur` repeats does not count.
    """
    few, many = _counted(lambda: run(short)), _counted(lambda: run(long))
    growing = [place for place, count in many.items() if count > few.get(place, 0) > 1]
    if not growing:
        return None
    code, line = min(growing, key=lambda place: (place[0].co_filename, place[1]))
    text = linecache.getline(code.co_filename, line).strip()
    return f"{code.co_qualname} ({Path(code.co_filename).name}, line {line}: `{text}`)"


def _counted(run: Callable[[], Any]) -> Counter[Place]:
    """How often each line of code that is not torch's, Python's or this package's is run."""
    counts: Counter[Place] = Counter()

    def line(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            counts[frame.f_code, frame.f_lineno] += 1
        return line

    def called(frame: FrameType, _: str, __: Any) -> Any:
        return line if is_theirs(frame.f_code.co_filename) and not _inside_recur(frame) else None

    before = sys.gettrace()
    sys.settrace(called)
    try:
        run()
    finally:
        sys.settrace(before)
    return counts


def is_theirs(file: str) -> bool:
    """Whether a file of Python code is neither torch's nor Python's nor this package's."""
    others = (f"{Path(torch.__file__).parent}{os.sep}", f"{Path(__file__).parents[1]}{os.sep}", "<")
    return not file.startswith(others) and (
        not file.startswith(sysconfig.get_path("stdlib")) or "site-packages" in file
    )


def _inside_recur(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code is recur.__code__:
            return True
        frame = frame.f_back
    return False


REWRITE = """Write one step of it as a module, and let edgeseq repeat it, in training and in the file:

    class Step(nn.Module):
        def __init__(self, cell):
            super().__init__()
            self.cell = cell

        def forward(self, h, x):  # the states, then what one step reads, each (batch, ...)
            h = self.cell(x, h)
            return h, h  # the next states, then the step's outputs

    (h,), (y,) = edgeseq_export.recur(self.step, (h,), (x.transpose(0, 1),))  # y: (time, batch, ...)"""
