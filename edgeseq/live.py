"""The live filter: a line in is one step, a line out is its answer, and nothing waits for what comes after.

Of a model that answers once in a hop of several steps, the line that ends a hop has its answer, the others have none.

A line that cannot be used leaves the stream's state as it was, is told on the side, and is answered by an
error line, so that the lines that come out stay aligned with those that went in.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from edgeseq_runtime.errors import InputError, UsageError
from edgeseq_runtime.signature import Signature, Tensor
from numpy.typing import NDArray

from edgeseq.files import csv, jsonl
from edgeseq.files.answers import Answers
from edgeseq.files.hops import hop_of
from edgeseq.files.inputs import FORMATS, read_inputs, split_name, suffix_of
from edgeseq.files.lines import STANDARD, decode, numbered, opened
from edgeseq.files.numbers import as_dtype, from_nested
from edgeseq.files.wav import WAV, is_recording

if TYPE_CHECKING:
    from edgeseq_runtime import Model

Array = NDArray[Any]


@dataclass(frozen=True)
class Step:
    """One step. number: its line, from 1; frame: by input name, an array without batch and time axes.

    Of a hop of several lines: the number of the last, and an array (hop, …).
    """

    number: int
    frame: Mapping[str, Array]


@dataclass(frozen=True)
class BadStep:
    """A line that is no step, and why."""

    number: int
    reason: str


@dataclass(frozen=True)
class Tally:
    """How many steps were taken, how many lines could not be used, and whether the reader left.

    window: how many steps it takes until there is a score, where the stream ended before; else None.
    left_over: of the steps those at the end that are no whole hop.
    """

    steps: int
    bad: int
    closed: bool = False
    window: int | None = None
    left_over: int = 0


def open_steps(given: Sequence[str], signature: Signature, rate_hz: float | None = None) -> Iterator[Step | BadStep]:
    """The steps of what stands after `--input`: lines as they come, or the sequence of arrays or of a recording.

    rate_hz: the sample rate that a recording must have, where it is known.

    Raises:
        UsageError: text together with other inputs, or a format that is not known.
        InputError: a file with several sequences. FileError: a file that cannot be read.
    """
    paths = [split_name(item)[1] for item in given]
    text = [path for path in paths if path == STANDARD or suffix_of(path, (*FORMATS, WAV)) in (".csv", ".jsonl")]
    if not text:
        yield from split_steps(read_inputs(given, signature, finite=False, rate_hz=rate_hz).arrays, signature)
        return
    if len(paths) > 1:
        raise UsageError("a stream of lines is one input; for several inputs give a JSON object a line")
    with opened(text[0]) as stream:
        if text[0] == STANDARD and is_recording(stream):
            raise UsageError("a recording came through standard input, where lines are expected; give --input FILE.wav")
        yield from read_steps(stream, signature)


def read_steps(stream: BinaryIO, signature: Signature) -> Iterator[Step | BadStep]:
    """Each line as a step, as soon as it is there: csv cells, a JSON list, or a JSON object by input name.

    A first line without any number is a header: it chooses the columns where it has the names of all features.
    """
    tensors = [t for t in signature.inputs if t.of is None]
    columns = csv.Columns(tensors[0].features if len(tensors) == 1 else None)
    for number, line in numbered(stream):
        try:
            text = decode(line)
            if number == 1 and text[:1] not in ("[", "{") and columns.take_header(csv.split(text)):
                columns.refuse_sequences()
                continue
            yield Step(number, _frame(text, tensors, columns))
        except InputError as error:
            yield BadStep(number, str(error))


def split_steps(arrays: Mapping[str, Array], signature: Signature) -> Iterator[Step | BadStep]:
    """Each step of one sequence, up to its length. arrays: by input name, (1, time, …)."""
    tensors = [t for t in signature.inputs if t.of is None and t.name in arrays]
    counts = [len(arrays[t.name]) for t in tensors if arrays[t.name].ndim]
    if set(counts) != {1}:
        raise InputError(f"a stream takes one sequence, but {max(counts, default=0)} were given; run them whole")
    end = min((int(arrays[t.name][0]) for t in signature.inputs if t.of and t.name in arrays), default=None)
    rows = zip(*(arrays[t.name][0][:end] for t in tensors), strict=True)
    for number, values in enumerate(rows, 1):
        try:
            yield Step(number, {t.name: _values(value, t) for t, value in zip(tensors, values, strict=True)})
        except InputError as error:
            yield BadStep(number, str(error))


def follow(
    model: "Model",
    steps: Iterable[Step | BadStep],
    write: Callable[[str], None],
    warn: Callable[[str], None],
    *,
    chunk: int = 1,
    as_json: bool = False,
    context: int = 0,
) -> Tally:
    """Stream every step through the model and write each answer at once.

    Args:
        model: a streamable model.
        steps: from `read_steps` or `split_steps`.
        write: takes one line of output, without its end, and flushes it. When it raises BrokenPipeError, the
            reader has gone and the stream ends.
        warn: takes the message about a line that could not be used.
        chunk: lines, or hops, that are taken together; their answers come when the last of them is there. A model
            with one answer a sequence then gives one line a chunk.
        as_json: write JSON objects in place of csv.
        context: steps of the chunk before that the model takes before each chunk.

    Returns: the tally, also after an interrupt (Ctrl-C), which ends the stream.

    Raises:
        StreamError: the model cannot be streamed.
    """
    live = _Live(model, write, warn, chunk, as_json, context)
    hops = _Hops(steps, hop_of(model))
    try:
        for lines in _chunks(hops, chunk):
            live.take(lines)
    except (BrokenPipeError, KeyboardInterrupt) as end:
        return Tally(live.steps + hops.pending, live.bad, isinstance(end, BrokenPipeError), left_over=hops.pending)
    window = live.window if live.steps < (live.window or 0) else None
    return Tally(live.steps + hops.pending, live.bad, window=window, left_over=hops.pending)


def _chunks(lines: Iterable[Step | BadStep], size: int) -> Iterator[list[Step | BadStep]]:
    """So many lines at a time; an interrupt ends them when those that have come are answered."""
    begun: list[Step | BadStep] = []
    try:
        for line in lines:
            begun.append(line)
            if len(begun) == size:
                yield begun
                begun = []
    except KeyboardInterrupt:
        if begun:
            yield begun
        raise
    if begun:
        yield begun


class _Hops:
    """Steps in groups of `hop`, each as one Step; a line that is no step is handed on at once."""

    def __init__(self, steps: Iterable[Step | BadStep], hop: int) -> None:
        self._steps, self._hop = iter(steps), hop
        self._begun: list[Step] = []

    @property
    def pending(self) -> int:
        """How many steps there are of a hop that is not full."""
        return len(self._begun)

    def __iter__(self) -> Iterator[Step | BadStep]:
        return self

    def __next__(self) -> Step | BadStep:
        for step in self._steps:
            if isinstance(step, BadStep) or self._hop == 1:
                return step
            self._begun.append(step)
            if len(self._begun) == self._hop:
                begun, self._begun = self._begun, []
                return Step(step.number, {name: np.stack([s.frame[name] for s in begun]) for name in step.frame})
        raise StopIteration


class _Live:
    """A stream with what reads its answers and where they go."""

    def __init__(
        self,
        model: "Model",
        write: Callable[[str], None],
        warn: Callable[[str], None],
        chunk: int,
        as_json: bool,
        context: int,
    ) -> None:
        self._stream = model.stream(context=context)
        self._answers = Answers(model)
        self.window = self._answers.window
        self._chunk, self._as_json = chunk, as_json
        self._whole_chunks = model.layout is not None and not self._answers.stepwise
        self._write, self._warn = write, warn
        self._empty_cells = len(self._answers.columns(_width(model, self._answers.output))) - 1
        self.steps = 0
        self.bad = 0

    def take(self, lines: Sequence[Step | BadStep]) -> None:
        """Answer a chunk of lines, in their order; where only a whole chunk has an answer, one bad line spoils it."""
        if self._whole_chunks and len(lines) > 1 and (bad := [b for b in lines if isinstance(b, BadStep)]):
            self._refuse(BadStep(lines[-1].number, f"line {bad[0].number} of its chunk: {bad[0].reason}"))
            return
        steps = [line for line in lines if isinstance(line, Step)]
        try:
            answers = self._answer(steps) if steps else {}
        except InputError as error:  # what only the model itself can refuse, such as a token it does not know
            if self._whole_chunks:
                short = f"the last {len(lines)} lines are no whole chunk of {self._chunk}, and "
                self._refuse(BadStep(lines[-1].number, f"{short if len(lines) < self._chunk else ''}{error}"))
                return
            if len(lines) > 1:
                for line in lines:  # one of them is to blame, and the others are taken
                    self.take([line])
                return
            answers, lines = {}, [BadStep(lines[0].number, str(error))]
        for line in lines:
            if isinstance(line, BadStep):
                self._refuse(line)
            elif line.number in answers:
                self._write(self._format(line.number, answers[line.number]))
        self.steps += self._answers.hop * sum(isinstance(line, Step) for line in lines)

    def _answer(self, steps: Sequence[Step]) -> dict[int, Array]:
        """The answers by line number: one a step, or one after the last step of the chunk."""
        if self._chunk == 1:
            missing = (None, None) if self._answers.stepwise else (None,)  # the axes that a step comes without
            outputs = {name: array[missing] for name, array in self._stream.step(steps[0].frame).items()}
        else:
            together = {name: np.stack([step.frame[name] for step in steps])[None] for name in steps[0].frame}
            outputs = self._stream.run(together)
        found = self._answers.read(outputs, self.steps)[0]
        if self._answers.stepwise:
            return {step.number: answer.reshape(-1) for step, answer in zip(steps, found, strict=True)}
        return {steps[-1].number: found.reshape(-1)}

    def _refuse(self, line: BadStep) -> None:
        self.bad += 1
        if self._as_json:
            self._write(json.dumps({"version": 1, "line": line.number, "error": line.reason}))
        else:
            self._write("error" + "," * self._empty_cells)
        self._warn(f"line {line.number}: {line.reason}")

    def _format(self, number: int, answer: Array) -> str:
        if self._as_json:
            return json.dumps({"version": 1, "line": number, **self._answers.fields(answer)})
        return csv.format_row(self._answers.cells(answer))


def _frame(text: str, tensors: Sequence[Tensor], columns: csv.Columns) -> dict[str, Array]:
    """One line as a frame by input name. Raises InputError where it does not fit or is not finite."""
    if text[:1] in ("[", "{"):
        value = jsonl.parse(text)
    elif cells := csv.split(text):
        value = columns.numbers(cells, len(cells))
    else:
        raise InputError("it is empty, but one step is expected")
    given = jsonl.named(value, tensors)
    return {t.name: _values(from_nested(given[t.name], t.name), t) for t in tensors}


def _values(array: Array, tensor: Tensor) -> Array:
    expected = tensor.axes[2:]
    if not expected and array.shape == (1,):
        array = array[0]  # a line cannot tell one value from a list of one
    if array.shape != expected:
        given = f"{array.size} values" if array.ndim < 2 else f"the shape {array.shape}"
        wanted = ", ".join(map(str, expected)) or "one"
        advice = ""
        if len(expected) == 2 and array.shape == expected[1:]:
            advice = "; give so many rows as one JSON line, or export the file again with a free time axis"
        raise InputError(f"'{tensor.name}' has {given}, but a step takes {wanted}{advice}")
    array = as_dtype(np.asarray(array), tensor)
    if not np.isfinite(array).all():
        raise InputError(f"'{tensor.name}' has {array.flat[np.argmin(np.isfinite(array))]}; the state is as before")
    return array


def _width(model: "Model", output: str) -> int:
    """How many values one answer of an output has, as far as its axes say."""
    tensor = next(t for t in model.signature.outputs if t.name == output)
    return int(np.prod([axis for axis in tensor.axes if isinstance(axis, int)], dtype=int))
