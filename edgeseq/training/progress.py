"""A progress bar over trainings, on standard error."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Told = Callable[[int, str], None]


@contextmanager
def bar(total: int, shown: bool) -> Iterator[Told]:
    """A callback that takes how many are done and what to write beside the bar; it does nothing unless `shown`."""
    if not shown:
        yield lambda done, label: None
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=total)
        yield lambda done, label: progress.update(task, completed=done, description=label)
