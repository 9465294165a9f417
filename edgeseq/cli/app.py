"""The program `edgeseq`: its commands, its global options, and where errors become exit codes."""

import errno
import math
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from edgeseq_runtime import __version__
from edgeseq_runtime.errors import EdgeseqError, GuessWarning, LongInputWarning
from typer.core import TyperGroup

from edgeseq.cli import bench, doctor, export, inspect, threshold, train, verify
from edgeseq.cli import run as run_command
from edgeseq.cli.output import CLOSED_OUTPUT, abandon_stdout

INTERRUPTED = 130
PATIENCE_S = 2.0
"""How long after an interrupt another one is not heard."""
_TOLD = (GuessWarning, LongInputWarning)


class Program(TyperGroup):
    """The group of all commands: what a command raises ends here, as a message and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command. A mistake of the user shows no traceback, unless --debug asks for it."""
        try:
            with _telling():
                return super().invoke(ctx)
        except (EdgeseqError, OSError) as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                abandon_stdout()
                ctx.exit(CLOSED_OUTPUT)
            if ctx.params["debug"]:
                traceback.print_exception(error)
            typer.echo(f"edgeseq: {error}", err=True)
            ctx.exit(error.exit_code if isinstance(error, EdgeseqError) else EdgeseqError.exit_code)
        except MemoryError as error:
            if ctx.params["debug"]:
                traceback.print_exception(error)
            advice = "Take fewer rows or steps at a time; `edgeseq run --chunk N` takes a sequence of any length"
            typer.echo(f"edgeseq: out of memory: {error}. {advice}", err=True)
            ctx.exit(EdgeseqError.exit_code)
        except KeyboardInterrupt as error:
            typer.echo(f"edgeseq: {str(error) or 'interrupted'}", err=True)
            ctx.exit(INTERRUPTED)


@contextmanager
def _telling() -> Iterator[None]:
    """Let what edgeseq warns of be a line on stderr, without the place in the code."""
    with warnings.catch_warnings():
        for kind in _TOLD:
            warnings.simplefilter("always", kind)
        shown, told = warnings.showwarning, set[str]()

        def tell(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
            if not issubclass(category, _TOLD):
                shown(message, category, *rest, **more)
            elif str(message) not in told:
                told.add(str(message))
                typer.echo(f"edgeseq: {message}", err=True)

        warnings.showwarning = tell
        yield


def examples(*lines: str) -> str:
    """A command's examples, as its help shows them; the leading mark keeps the lines as they are."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


app = typer.Typer(
    name="edgeseq",
    cls=Program,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # plain help: the same on every terminal and in docs/cli.md
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=(
        "Exit codes: 0 done; 1 a check failed (parity, budget); 2 wrong usage or bad input; 3 something is "
        "missing on this machine (a package, an execution provider)."
    ),
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"edgeseq {__version__}")
        raise typer.Exit


@app.callback()
def _global_options(
    debug: Annotated[
        bool, typer.Option("--debug", envvar="EDGESEQ_DEBUG", help="Show the traceback of an error.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Sequence models: train in PyTorch, export to ONNX, prove them equal, run them without PyTorch."""


app.command("train", epilog=examples(*train.EXAMPLES))(train.train)
app.command("export", epilog=examples(*export.EXAMPLES))(export.export)
app.command("run", epilog=examples(*run_command.EXAMPLES))(run_command.run)
app.command("verify", epilog=examples(*verify.EXAMPLES))(verify.verify)
app.command("bench", epilog=examples(*bench.EXAMPLES))(bench.bench)
app.command("threshold", epilog=examples(*threshold.EXAMPLES))(threshold.threshold)
app.command("inspect", epilog=examples(*inspect.EXAMPLES))(inspect.inspect)
app.command("doctor", epilog=examples(*doctor.EXAMPLES))(doctor.doctor)


class _Interrupt:
    """Ends a command, once: a closing terminal sends several signals, and what was done so far is being saved."""

    def __init__(self) -> None:
        self._at = -math.inf

    def __call__(self, _number: int, _frame: object) -> None:
        if time.monotonic() - self._at < PATIENCE_S:
            return
        self._at = time.monotonic()
        raise KeyboardInterrupt


def _open_what_is_closed() -> None:
    """Give a process that was started without standard input, output or errors ones that hold nothing."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 it stays open


def run(arguments: Sequence[str] | None = None) -> None:
    """Run the program with the given arguments, or the process's own, and exit with its code."""
    _open_what_is_closed()
    interrupt = _Interrupt()
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # what a service manager sends ends a command as Ctrl-C does
        if hasattr(signal, name) and threading.current_thread() is threading.main_thread():
            signal.signal(getattr(signal, name), interrupt)
    app(args=list(arguments) if arguments is not None else None, prog_name="edgeseq")
