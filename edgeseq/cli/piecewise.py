"""`edgeseq run --chunk N`: one sequence that is too long for memory, and how far it came where it ended early."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edgeseq_runtime.errors import EdgeseqError, FileError, InputError, UsageError

from edgeseq.cli.output import progress_bar, show, warn
from edgeseq.files import Answers
from edgeseq.files.growing import GROWING, Growing, Lines, growing, partial_path
from edgeseq.files.hops import by_samples, hop_of, told_left_over, told_too_short
from edgeseq.files.inputs import FORMATS, suffix_of
from edgeseq.files.pieces import Together, open_pieces
from edgeseq.piecewise import run_pieces

if TYPE_CHECKING:
    from edgeseq_runtime import Model


def run_piecewise(
    model: "Model", given: Sequence[str], to_file: str | None, chunk: int, as_json: bool, rate_hz: float | None
) -> None:
    """Read, run and write `chunk` steps at a time. rate_hz: the sample rate that a recording must have, if known.

    Raises:
        UsageError: a format that cannot be read or written piece by piece.
        StreamError: the model cannot be streamed.
        InputError: a step that cannot be used; KeyboardInterrupt: Ctrl-C. The answers up to there are kept.
    """
    answers = Answers(model)
    _check_target(to_file, answers.stepwise and as_json)
    _check_joinable(model, answers)
    model.stream()  # what cannot be streamed is refused before anything is opened
    with open_pieces(given, by_samples(model), rate_hz) as pieces, _sink(to_file, answers) as sink:
        left_over = _told_how_far(model, pieces, sink, chunk, to_file)
        if answers.window is not None and sink.steps < answers.window:
            steps, sink.steps = sink.steps + left_over, 0  # without a score there is nothing to keep
            raise InputError(told_too_short(model, steps, answers.window))
    value = {"model": model.name, "output": to_file, "sequences": 1, "steps": sink.steps}
    if to_file is not None:
        show(value, f"answers of {sink.steps} steps written to {to_file}", as_json=as_json)
    if left_over:
        warn(told_left_over(left_over, hop_of(model)))


def _check_target(to_file: str | None, as_json: bool) -> None:
    if to_file is not None and suffix_of(to_file, (*FORMATS, ".png")) not in GROWING:
        raise UsageError(f"'{to_file}' is written whole; what is written piece by piece ends in {', '.join(GROWING)}")
    if to_file is None and as_json:
        raise UsageError("one JSON object is written whole; with --chunk, give -o FILE.npy or FILE.csv")


def _check_joinable(model: "Model", answers: Answers) -> None:
    """Raise UsageError where answers of pieces are not those of the whole: neither one a step nor one a sequence."""
    axes = next(t.axes for t in model.signature.outputs if t.name == answers.output)
    if not answers.stepwise and sum(isinstance(axis, str) for axis in axes) > 1:
        raise UsageError(
            f"'{answers.output}' of {model.name} has neither one answer a step nor one a sequence (axes: "
            f"{', '.join(map(str, axes))}), so its pieces cannot be joined; run it whole"
        )


@contextmanager
def _sink(to_file: str | None, answers: Answers) -> Iterator[Growing]:
    if to_file is not None:
        with growing(to_file, answers) as sink:
            yield sink
        return
    lines = Lines(answers, _print)
    yield lines
    lines.finish()


def _print(rows: list[tuple[str, ...]]) -> None:
    sys.stdout.write("".join("\t".join(row) + "\n" for row in rows))
    sys.stdout.flush()


def _told_how_far(model: "Model", pieces: Together, sink: Growing, chunk: int, to_file: str | None) -> int:
    """Run to the end; an error on the way says where it came."""
    try:
        with progress_bar() as told:
            return run_pieces(model, pieces, sink, chunk=chunk, told=told)
    except KeyboardInterrupt:
        total = pieces.total()
        of = "" if total is None else f" of {total}"
        raise KeyboardInterrupt(f"interrupted after {sink.steps}{of} steps{_kept(sink, to_file)}") from None
    except EdgeseqError as error:
        raise type(error)(f"{error}{_how_far(sink, to_file)}") from error
    except OSError as error:
        if to_file is None:  # a closed pipe is told where all commands end
            raise
        raise FileError(f"cannot go on: {error.strerror or error}{_how_far(sink, to_file)}") from error


def _how_far(sink: Growing, to_file: str | None) -> str:
    return f" ({sink.steps} steps were answered{_kept(sink, to_file)})" if sink.steps else ""


def _kept(sink: Growing, to_file: str | None) -> str:
    return f"; their answers are in '{partial_path(to_file)}'" if sink.steps and to_file is not None else ""
