"""`edgeseq threshold`: choose anew above which score there is an alarm, on data in which nothing is wrong."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import edgeseq_runtime
import numpy as np
import typer
from edgeseq_runtime.atomic import check_writable, write_bytes
from edgeseq_runtime.errors import InputError, ParityError, UsageError
from edgeseq_runtime.feed import LARGEST_FLOAT32, Feed
from numpy.typing import NDArray

from edgeseq.cli.options import AsJson, ModelFile
from edgeseq.cli.output import needing, pairs, show
from edgeseq.cli.render import verdict
from edgeseq.files import read_inputs
from edgeseq.files.batches import cut
from edgeseq.files.hops import SCORE, by_samples, hop_of, in_hops, steps_until_score, told_left_over, window_of
from edgeseq.files.inputs import needed, split_name
from edgeseq.files.lines import STANDARD, title
from edgeseq.threshold import QUANTILE, threshold_of

if TYPE_CHECKING:
    from edgeseq_runtime import Model

EXAMPLES = (
    "edgeseq threshold alarm.onnx --on normal.csv",
    "edgeseq threshold alarm.onnx --on normal.csv --quantile 0.9999 -o strict.onnx",
    "edgeseq threshold alarm.onnx --on week.npz --deviations 4",
)

THRESHOLD = "threshold"

BATCH_SIZE = 64
CHUNK = 1024
"""Steps of a stream that are scored at once; each needs a window of memory."""

Array = NDArray[Any]


def threshold(
    model: ModelFile,
    on: Annotated[
        str,
        typer.Option(
            metavar="FILE|NAME=FILE|-",
            help="Normal data: .npy, .npz, .csv, .jsonl, or - for standard input.",
            show_default=False,
        ),
    ],
    quantile: Annotated[
        float | None,
        typer.Option(
            metavar="Q", help=f"The share of the scores that is below it; {QUANTILE} where nothing else is said."
        ),
    ] = None,
    deviations: Annotated[
        float | None,
        typer.Option(metavar="K", help="In place of a quantile: so many standard deviations above the mean score."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="OUT.onnx", help="The file to write; by default MODEL itself."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Choose anew above which score there is an alarm.

    The model scores data in which nothing is wrong, and the threshold chosen on these scores becomes the file's
    new default. PyTorch is not needed, but the package onnx is.

    The scores of a stream's first steps, before a window is full, do not count. The graph stays as it was, and
    so does its proof; the contract says what the threshold was chosen on. edgeseq run --set threshold=X sets
    another for one run alone.
    """
    _check_rule(quantile, deviations)
    if output is not None and output.suffix != ".onnx":
        raise UsageError(f"the output is an ONNX file and ends in .onnx, but '{output}' was given")
    target = check_writable(output if output is not None else model)
    loaded = edgeseq_runtime.load(model, provider="cpu")
    if THRESHOLD not in loaded.values:
        raise UsageError(f"{loaded.name} has no threshold; export an autoencoder with --part score")
    scores = _scores(loaded, on)
    rule = {"deviations": deviations} if deviations is not None else {"quantile": quantile or QUANTILE}
    chosen = _chosen(scores, on, **rule)
    with needing("export"):
        from edgeseq.revalue import with_values
    about = {"on": _file_name(on), "scores": len(scores), **rule}
    content = with_values(model.read_bytes(), {THRESHOLD: chosen}, {THRESHOLD: about}, loaded.name)
    report = edgeseq_runtime.load(content, provider="cpu").verify()
    if not report.passed:
        raise ParityError(f"nothing was written, as {verdict(report)}", report)
    write_bytes(target, content)
    _show(target, about, scores, loaded.values[THRESHOLD], chosen, as_json)


def _check_rule(quantile: float | None, deviations: float | None) -> None:
    if quantile is not None and deviations is not None:
        raise UsageError("--quantile and --deviations are two ways to choose; give one of them")
    if quantile is not None and not 0 < quantile < 1:
        raise UsageError(f"the quantile is {quantile}, but it lies between 0 and 1, such as {QUANTILE}")
    if deviations is not None and not 0 <= deviations < math.inf:
        raise UsageError(f"deviations is {deviations}, but a number from 0 is expected, such as 4")


def _scores(model: "Model", on: str) -> Array:
    """The scores of normal data, float32 (scores,): of every sequence or array, or of every full window.

    Of a series with lengths beside it, windows that reach behind a row's end are left out.

    Raises:
        UsageError: as `read_inputs`. InputError: data that is missing, constant, or shorter than a window.
    """
    sequences = read_inputs([on], by_samples(model), gapless=True, model=model.name)
    for item in sequences.items or ():
        if item.error is not None:
            raise InputError(f"{item.place}: {item.error}")
    sequences, ends = in_hops(model, sequences)
    if sequences.left_over:
        typer.echo(f"edgeseq: {told_left_over(sequences.left_over, hop_of(model))}", err=True)
    arrays = Feed(model.name, needed(model.signature), {}, {}).complete(sequences.arrays)
    window, x = window_of(model), arrays[model.signature.inputs[0].name]
    if window is None:
        _check_varied(on, x)
        return np.concatenate([model.run(part)[SCORE].ravel() for part in cut(model.signature, arrays, BATCH_SIZE)])
    samples = x.reshape(len(x), -1, x.shape[-1])
    ends = np.full(len(x), samples.shape[1] + sequences.left_over) if ends is None else ends
    _check_varied(on, samples[np.arange(samples.shape[1]) < ends[:, None]])
    first = steps_until_score(window, hop_of(model))
    if ends.max() < first:
        told = "" if first == window else f", and the first score comes after {first} steps"
        raise InputError(
            f"{title(split_name(on)[1])} has {ends.max()} steps, but {model.name} scores windows of {window}{told}; "
            "give a longer series"
        )
    rows = range(0, len(x), BATCH_SIZE)
    return np.concatenate([_of_windows(model, x[i : i + BATCH_SIZE], ends[i : i + BATCH_SIZE], first) for i in rows])


def _of_windows(model: "Model", x: Array, ends: Array, first: int) -> Array:
    """The scores of all full windows of series x (batch, time, features), or in hops.

    ends: how many samples each has, int64 (batch,). first: how many there are when the first score comes.
    """
    stream = model.stream(len(x))
    pieces = [stream.run(x[:, start : start + CHUNK])[SCORE] for start in range(0, x.shape[1], CHUNK)]
    count = hop_of(model) * (1 + np.arange(x.shape[1]))
    scores: Array = np.concatenate(pieces, 1)[(count >= first) & (count <= ends[:, None])]
    return scores


def _check_varied(on: str, steps: Array) -> None:
    """Refuse data that is the same everywhere: rounding alone would tell its scores apart."""
    if len(steps) > 1 and (steps == steps[:1]).all():
        raise InputError(
            f"{title(split_name(on)[1])} is constant: all {len(steps)} rows are the same, so no threshold can be "
            "chosen on them"
        )


def _chosen(scores: Array, on: str, **rule: float) -> float:
    """The threshold as the graph takes it, a float32."""
    try:
        chosen = threshold_of(scores, **rule)
    except InputError as error:
        raise InputError(f"{title(split_name(on)[1])}: {error}") from error
    if abs(chosen) > LARGEST_FLOAT32:
        raise InputError(
            f"{title(split_name(on)[1])}: the threshold would be {chosen:g}, which is too large for float32; choose "
            "fewer deviations"
        )
    return float(np.float32(chosen))


def _file_name(on: str) -> str:
    """What the data is called in the contract: its name, and no path of this machine."""
    path = split_name(on)[1]
    return "standard input" if path == STANDARD else Path(path).name


def _show(target: Path, about: dict[str, Any], scores: Array, before: float, chosen: float, as_json: bool) -> None:
    above = {"old": int((scores > before).sum()), "new": int((scores > chosen).sum())}
    value = {"file": str(target), THRESHOLD: {"old": before, "new": chosen}, "above": above, "chosen": about}
    count = len(scores)
    told = {
        "file": target,
        "old threshold": f"{before:.6g}; {above['old']} of {count} scores are above it",
        "new threshold": f"{chosen:.6g}; {above['new']} of {count} scores are above it",
    }
    show(value, pairs(None, told), as_json=as_json)
