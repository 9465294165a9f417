"""`edgeseq run`: data or text in, answers out; whole sequences, or one step at a time as a live filter."""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from edgeseq_runtime.atomic import check_writable, write_bytes
from edgeseq_runtime.errors import InputError, UsageError
from edgeseq_runtime.signature import BATCH, TIME, Signature
from numpy.typing import NDArray
from rich.console import RenderableType

from edgeseq import live
from edgeseq.cli.foreign import new_samples, open_model
from edgeseq.cli.options import AsJson, Context, ModelFile, Provider, StatePairs, Threads, thread_count
from edgeseq.cli.output import CLOSED_OUTPUT, abandon_stdout, needing, progress_bar, show, table, warn
from edgeseq.cli.piecewise import run_piecewise
from edgeseq.cli.settings import with_chance
from edgeseq.files import Results, Sequences, read_inputs, write_results
from edgeseq.files.batches import cut, fillers, joined
from edgeseq.files.growing import growing_lines, partial_path
from edgeseq.files.hops import by_samples, hop_of, in_hops, told_left_over, told_too_short
from edgeseq.files.inputs import FORMATS, generates, known_rate, split_name, suffix_of
from edgeseq.files.lines import STANDARD, title
from edgeseq.files.png import PNG, check_pictures, drawn
from edgeseq.files.texts import known, read_lines, read_texts, text_path
from edgeseq.files.wav import WAV, is_recording
from edgeseq.files.written import Written, results_of

if TYPE_CHECKING:
    from edgeseq_runtime import Model

EXAMPLES = (
    "edgeseq run lstm.onnx --input sample.npz -o answers.csv",
    "edgeseq run lstm.onnx --input x=recording.npy --json",
    "edgeseq run lstm.onnx < sequences.jsonl",
    "sensor | edgeseq run lstm.onnx --input - --stream | actuator",
    'edgeseq run charlm.onnx --text "The for statement" --set length=200 --set temperature=0.5 --seed 7',
    'edgeseq run tagger.onnx --text "Bugün hava çok güzel ."',
    "edgeseq run g2p.onnx --input words.txt -o phonemes.jsonl",
    "echo hello world | edgeseq run g2p.onnx",
    "edgeseq run alarm.onnx --input sensor.csv --stream",
    "edgeseq run alarm.onnx --input a-year.csv --chunk 100000 -o answers.csv",
    "edgeseq run vad.onnx --input speech.npy --stream --chunk 512 --context 64 --set sr=16000",
    "edgeseq run vae.decoder.onnx --set samples=16 --seed 3 -o grid.png",
)

BATCH_SIZE = 64
"""Sequences run at once; more would need more memory and give no more speed."""

SHOWN_COLUMNS = 14
"""Of a table on a terminal; what is left out is in a file."""

Array = NDArray[Any]


def run(
    model: ModelFile,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            metavar="FILE|NAME=FILE|-",
            help="Data: .npy, .npz, .csv, .jsonl, .wav, .txt, or - for standard input (the default for a pipe).",
        ),
    ] = None,
    texts: Annotated[
        list[str] | None,
        typer.Option("--text", metavar="TEXT", help="Text for a model that reads text; once for each."),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "-o", "--output", metavar="FILE|-", help="Write .npy, .npz, .csv, .jsonl or .png; - is standard output."
        ),
    ] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Take one step a line and answer it at once.")] = False,
    chunk: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Take N steps at a time: of a stream, or of a sequence too long for memory."
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(min=1, metavar="HZ", help="The sample rate that a .wav must have, where the model does not say."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="A named scalar of the file, an input to fix, or how much to draw."
        ),
    ] = None,
    states: StatePairs = None,
    context: Context = 0,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of what is drawn at random.")] = 0,
    provider: Provider = "auto",
    threads: Threads = "1",
    as_json: AsJson = False,
) -> None:
    """Run a model on data, whole or as a live filter.

    PyTorch is not needed.

    In: a csv file is one sequence, one row a step. A header with the names of all features, as edgeseq inspect
    shows them, chooses their columns, and others, such as a time stamp, are left aside, but a column "sequence"
    says which one a row belongs to; any other header is skipped. A line of jsonl is one sequence, a list of
    steps or an object by input name with an optional "id"; ragged lines are padded and get their lengths. npz
    goes by input name (x, lengths). Standard input is jsonl if it starts with [ or {, else csv, or text for a
    model that reads text.

    Out: label and probability of a classifier, or the values of a forecast, for each sequence (and step): a
    table on a terminal, tab-separated in a pipe, one JSON object with --json. npz holds every output by name.
    An anomaly score stands beside its alarm, 1 or 0, and is empty until a first window is full. Pictures
    (batch, height, width) go to .png too, below those they were rebuilt from; windows of series as curves.

    A line of jsonl, or a text, that cannot be used is answered "error" and told on stderr, the others are
    answered, and the exit code is 2; a file beside other inputs is refused as a whole. Where not every line
    or text has one row of the outputs, npz says under "sequence" whose each row is; npy holds the rows alone.

    A model that reads text takes it from --text, or one text a line from .txt or standard input; a line of
    jsonl may also be a string, or an object with "text".

    A model that labels words takes them with spaces between them: marks are words, too. One that turns text
    into other text, such as words into phonemes, prints one line for each text: of a beam the best, and with
    two spaces between the answers to words that it reads one by one. --json has scores and all hypotheses.

    A model that goes on with a text prints it, and how it goes on. The noise that is drawn from is an input;
    where it is left out, it comes from --seed, as long as --set length=N says. --set also sets the file's
    named scalars, such as temperature=0.5; edgeseq inspect shows them. The decoder of a variational
    autoencoder needs no data: it draws as many as --set samples=N says.

    With --stream, each line in (csv cells, or a JSON list or object) is one step, and gets one line out at
    once, csv or with --json an object. A line that cannot be used is answered "error", told on stderr, and
    leaves the state as it was; the exit code is then 2. With --chunk N, a model with one answer a sequence
    gives one line a chunk. -o FILE (.csv, .jsonl) appears when the stream has ended; where an error, such
    as a full disk, ends it, the lines up to there are in FILE.partial.csv (or .jsonl).

    --chunk N without --stream is for one sequence that is too long for memory: .npy, .csv, .wav or standard
    input (csv, wav) is read, run and written N steps at a time, to .npy, .csv or standard output, as if the
    sequence had been run whole. Where it ends early, by Ctrl-C or at a step that cannot be used, the answers up to
    there are in FILE.partial.csv (or .npy), and an older FILE is as it was.

    A .wav has PCM samples of 16, 24 or 32 bits, or floats, which become numbers from -1 to 1, and as many channels
    as the model has features. Its sample rate must be the model's, or that of --rate HZ.

    Of a file that edgeseq did not export, an input can be fixed (--set sr=16000) and the states are looked for, or
    given (--state h=hn); edgeseq inspect shows them. With --stream --chunk N --context M, the model takes M samples
    of the chunk before with each N new ones.

    A model that was exported with --hop H takes H steps for one answer, which has the number of the last of
    them; with --stream there is one line out for so many lines in. What is no whole hop at the end is told
    on stderr and left out.
    """
    if context and not stream:
        raise UsageError("--context is for --stream: it is what a chunk has of the one before")
    if texts and (inputs or stream or chunk):
        raise UsageError("--text is for whole texts, so it stands without --input, --stream and --chunk")
    measured = {TIME: chunk or 1} if stream else None
    loaded, sizes = open_model(model, provider, thread_count(threads), settings, states, measured)
    given = inputs or ([] if texts or generates(loaded.signature) else [_standard_input()])
    rate_hz = _checked_rate(loaded, given, rate)
    if stream:
        _stream(loaded, given, output, chunk or 1, as_json, rate_hz, context)
        return
    to_file = _checked_file(loaded, output, given, sizes)
    if chunk:
        if to_file is not None:
            _check_partial(to_file, given)
        run_piecewise(loaded, given, to_file, chunk, as_json, rate_hz)
        return
    sequences, ends = in_hops(loaded, _read(loaded, given, texts, rate_hz))
    if sequences.arrays or not (given or texts):
        arrays = with_chance(loaded, sequences.arrays, sizes, seed)
        sequences = replace(sequences, arrays=arrays)
    _whole(loaded, sequences, ends, to_file, as_json)


def _read(model: "Model", given: Sequence[str], texts: Sequence[str] | None, rate_hz: float | None) -> Sequences:
    if texts:
        return read_texts(model, texts)
    if not given:
        return Sequences({})
    path = text_path(model, given)
    if path is not None:
        return read_lines(model, path)
    return read_inputs(given, by_samples(model), model=model.name, rate_hz=rate_hz)


def _checked_rate(model: "Model", given: Sequence[str], rate: float | None) -> float | None:
    """The sample rate that recordings must have; where nobody says it, that is told. Raises UsageError."""
    known = known_rate(model)
    if rate is not None and known is not None and rate != known:
        raise UsageError(f"--rate is {rate:g} Hz, but {model.name} says {known:g} Hz; leave --rate out")
    recordings = [path for item in given if _is_recording(path := split_name(item)[1])]
    if recordings and rate is None and known is None:
        warn(
            f"{model.name} does not say which sample rate it takes, so that of {title(recordings[0])} is not checked; "
            "give --rate HZ"
        )
    return rate if known is None else known


def _is_recording(path: str) -> bool:
    if path == STANDARD:
        return is_recording(sys.stdin.buffer)
    return PurePath(path).suffix.lower() == WAV


def _standard_input() -> str:
    if sys.stdin.isatty():
        raise UsageError("there is no data: give --input FILE, or send some through a pipe")
    return STANDARD


def _checked_file(model: "Model", output: str | None, given: Sequence[str], sizes: Mapping[str, int]) -> str | None:
    """The file the answers go to, None for standard output; what is wrong with it is told before the work."""
    if output in (None, STANDARD):
        return None
    path = str(output)
    if suffix_of(path, (*FORMATS, PNG)) == PNG:
        check_pictures(model, path, sizes.get(BATCH, 1))
    refuse_own_input(path, given)
    check_writable(path)
    return path


def _whole(model: "Model", sequences: Sequences, ends: Array | None, to_file: str | None, as_json: bool) -> None:
    outputs = _run_in_batches(model, sequences.arrays) if sequences.arrays else _nothing(model.signature)
    results = results_of(model, sequences, outputs)
    if ends is not None:
        results = replace(results, lengths=ends // hop_of(model))
    for item in results.refused:
        warn(f"{item.place}: {item.error}")
    _check_window(model, results, ends, sequences.left_over)
    if to_file is None:
        _print(model, results, as_json)
    else:
        _write(model, sequences, results, to_file)
        value = {"model": model.name, "output": to_file, "sequences": results.count}
        show(value, f"answers of {results.count} sequences written to {to_file}", as_json=as_json)
    if sequences.left_over:
        warn(told_left_over(sequences.left_over, hop_of(model)))
    if results.refused:
        raise InputError(f"{len(results.refused)} of {results.count} sequences could not be used")


def _check_window(model: "Model", results: Results, ends: Array | None, left_over: int) -> None:
    """Raise InputError where no window is full, so that there is no score. ends: the samples of each row, if known."""
    window = results.answers.window
    if window is None or not len(results.main):
        return
    there = results.main[..., 2] > 0
    if results.lengths is not None:
        there &= np.arange(there.shape[1]) < results.lengths[:, None]
    if not there.any():
        steps = there.shape[1] * hop_of(model) + left_over if ends is None else int(ends.max())
        raise InputError(told_too_short(model, steps, window))


def _write(model: "Model", sequences: Sequences, results: Results, path: str) -> None:
    if suffix_of(path, (*FORMATS, PNG)) == PNG:
        with needing("pictures"):
            write_bytes(path, drawn(model, sequences.arrays, results.outputs))
    else:
        write_results(path, results)


def refuse_own_input(output: str, given: Sequence[str]) -> None:
    """Raise UsageError where the answers would take the place of the data."""
    target = Path(output).resolve()
    for item in given:
        if Path(split_name(item)[1]).resolve() == target:
            raise UsageError(f"'{output}' is the input; give another file for the answers")


def _check_partial(output: str, given: Sequence[str]) -> None:
    """Raise UsageError, FileError where the answers of a run that ends early could not be kept."""
    refuse_own_input(str(partial_path(output)), given)
    check_writable(partial_path(output))


def _run_in_batches(model: "Model", arrays: Mapping[str, Array]) -> dict[str, Array]:
    parts = list(cut(model.signature, arrays, BATCH_SIZE))
    if len(parts) == 1:
        return _run(model, parts[0])
    outputs: list[dict[str, Array]] = []
    with progress_bar() as told:
        for number, part in enumerate(parts, 1):
            outputs.append(_run(model, part))
            told(number, len(parts), "running")
    return joined(outputs, fillers(model.signature, known(model)))


def _run(model: "Model", part: Mapping[str, Array]) -> dict[str, Array]:
    try:
        return model.run(part)
    except InputError as error:
        if model.layout is None or error.__cause__ is None:
            raise
        raise InputError(
            f"{model.name} does not take this size. A file of another make may take nothing but chunks of one size: "
            f"--stream --chunk N, and --context M where it needs what was before. {error}"
        ) from error


def _nothing(signature: Signature) -> dict[str, Array]:
    """The outputs of no rows."""
    sizes = {axis: 1 for t in signature.outputs for axis in t.axes if isinstance(axis, str)} | {BATCH: 0}
    return {t.name: np.zeros(t.shape(sizes), t.dtype) for t in signature.outputs}


def _print(model: "Model", results: Results, as_json: bool) -> None:
    if as_json:
        show({"model": model.name, "results": list(results.records())}, as_json=True)
    elif isinstance(results, Written):
        for line in results.lines():
            typer.echo(line)
    elif sys.stdout.isatty():
        show({}, *_tables(results.columns, list(results.rows())), as_json=False)
    else:
        for row in (results.columns, *results.rows()):
            typer.echo("\t".join(" ".join(cell.split()) for cell in row))


def _tables(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[RenderableType]:
    """The table of a terminal: of many columns the first, and how to see the others."""
    if len(columns) <= SHOWN_COLUMNS:
        return [table(None, columns, rows)]
    shown = table(None, [*columns[:SHOWN_COLUMNS], "…"], [[*row[:SHOWN_COLUMNS], "…"] for row in rows])
    return [shown, f"{SHOWN_COLUMNS} of {len(columns)} columns are shown; -o FILE.csv or FILE.npz holds all"]


def _stream(
    model: "Model",
    given: Sequence[str],
    output: str | None,
    chunk: int,
    as_json: bool,
    rate_hz: float | None,
    context: int,
) -> None:
    with ExitStack() as stack:
        write: Callable[[str], None] = _print_line
        if output is not None and output != STANDARD:
            as_json = _stream_format(output) or as_json
            refuse_own_input(output, given)
            _check_partial(output, given)
            write = stack.enter_context(growing_lines(output))
        steps = live.open_steps(given, new_samples(model, by_samples(model), context), rate_hz)
        tally = live.follow(model, steps, write, warn, chunk=chunk, as_json=as_json, context=context)
    if tally.closed:
        abandon_stdout()
        raise typer.Exit(CLOSED_OUTPUT)
    if tally.left_over:
        warn(told_left_over(tally.left_over, hop_of(model)))
    if tally.bad:
        raise InputError(f"{tally.bad} of {tally.bad + tally.steps} lines could not be used")
    if tally.window is not None:
        raise InputError(told_too_short(model, tally.steps, tally.window))


def _stream_format(path: str) -> bool:
    """Whether a stream's file holds JSON lines."""
    suffix = suffix_of(path)
    if suffix not in (".csv", ".jsonl"):
        raise UsageError(f"a stream is written line by line, as .csv or .jsonl; '{path}' was given")
    return suffix == ".jsonl"


def _print_line(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
