"""The one call of a proof that came nearest its bound, as an .npz: it can be sent on, and run again elsewhere."""

import io
import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from edgeseq_runtime.atomic import write_bytes
from edgeseq_runtime.compare import Comparison, ParityReport
from edgeseq_runtime.errors import ContractError, DamagedFileError, FileError, MissingFileError, UsageError
from edgeseq_runtime.golden import Expected, GoldenCase, check_case
from edgeseq_runtime.signature import TIME
from numpy.typing import NDArray

if TYPE_CHECKING:
    from edgeseq_runtime.model import Model

Array = NDArray[Any]

FORMAT = 1
"""Of the file; it grows when an entry changes its meaning or goes."""

_ABOUT = "about"


@dataclass(frozen=True)
class WorstCase:
    """One call: what went in, what came out and what should have.

    subject, reference: what was compared with what, for messages; case, output, provider: the comparison that was the
    worst of all.
    inputs: by the file's names, lengths and states that were given included.
    expected: by the file's names, next states included; a long one may be sampled.
    actual: what came out; empty where the runtime refused, and then `error` has its words.
    seed: what the inputs were drawn from. chunk: None for a whole run, else a stream fed that many steps at once.
    decisions: the outputs whose largest entry is what a user reads. values: the named scalars that were in effect.
    """

    subject: str
    reference: str
    case: str
    output: str
    provider: str
    inputs: Mapping[str, Array]
    expected: Mapping[str, Expected]
    actual: Mapping[str, Array]
    seed: int | None = None
    chunk: int | None = None
    error: str = ""
    decisions: tuple[str, ...] = ()
    values: Mapping[str, float | int] = field(default_factory=dict)


class Keeper:
    """Is shown every call of a proof, and keeps the worst in `worst`: the furthest beyond its bound, or nearest it."""

    def __init__(self) -> None:
        self.worst: WorstCase | None = None
        self._badness: tuple[int, float] | None = None

    def see(
        self,
        comparisons: Sequence[Comparison],
        model: "Model",
        case: GoldenCase,
        actual: Mapping[str, Array],
        *,
        reference: str,
        seed: int | None = None,
        chunk: int | None = None,
        decisions: tuple[str, ...] | None = None,
    ) -> None:
        """Look at one call. comparisons: all of it; decisions: None: as the model's contract says."""
        worst = max(comparisons, key=lambda c: c.badness, default=None)
        if worst is None or (self._badness is not None and worst.badness <= self._badness):
            return
        if decisions is None:
            decisions = tuple(t.name for t in model.signature.outputs if t.decision)
        self._badness = worst.badness
        self.worst = WorstCase(
            subject=model.name,
            reference=reference,
            case=case.name,
            output=worst.output,
            provider=worst.provider,
            inputs=case.inputs,
            expected=case.expected,
            actual=actual,
            seed=seed,
            chunk=chunk,
            error=worst.error,
            decisions=decisions,
            values=model.values,
        )


def answer(model: "Model", inputs: Mapping[str, Array], chunk: int | None = None) -> dict[str, Array]:
    """Outputs and next states of a whole run, or of a stream fed `chunk` steps at once, put together as if it were one.

    inputs: by the file's names, (batch, time, …) where they have steps. A stream starts from the initial states, and
    lengths are left aside.
    """
    if chunk is None:
        return model.run(inputs, states=True)
    signature = model.signature
    steps = {t.name: inputs[t.name] for t in signature.inputs if t.of is None and TIME in t.axes}
    first = next(iter(steps.values()))
    batch, time = first.shape[0], first.shape[1]
    stream = model.stream(batch)
    pieces: dict[str, list[Array]] = {t.name: [] for t in signature.outputs}
    for start in range(0, time, chunk):
        part = {name: array[:, start : start + chunk] for name, array in steps.items()}
        outputs = stream.step({name: a[:, 0] for name, a in part.items()}) if chunk == 1 else stream.run(part)
        for tensor in signature.outputs:
            value = outputs[tensor.name]
            pieces[tensor.name].append(value[:, None] if chunk == 1 and tensor.kind == "step" else value)
    whole = {
        t.name: np.concatenate(pieces[t.name], 1) if t.kind == "step" else pieces[t.name][-1] for t in signature.outputs
    }
    after = stream.state.arrays
    return {**whole, **{s.output: after[s.input] for s in signature.states}}


def replay(model: "Model", worst: WorstCase, keep: Keeper | None = None) -> ParityReport:
    """Run a model on a saved case, and compare with what the file says is expected.

    Raises:
        UsageError: the case is of a model with other inputs or outputs.
    """
    check_fits(model, worst)
    case = GoldenCase(worst.case, worst.inputs, worst.expected)
    actual: dict[str, Array] = {}

    def run() -> dict[str, Array]:
        actual.update(answer(model, worst.inputs, worst.chunk))
        return actual

    comparisons = check_case(model, case, run, worst.decisions)
    if keep is not None:
        keep.see(
            comparisons,
            model,
            case,
            actual,
            reference=worst.reference,
            seed=worst.seed,
            chunk=worst.chunk,
            decisions=worst.decisions,
        )
    return ParityReport(model.name, f"{worst.reference}, as saved", tuple(comparisons), notes=(told(worst),))


def check_fits(model: "Model", worst: WorstCase) -> None:
    """Raise UsageError where a case feeds or expects what the model does not have, or streams one that cannot."""
    for what, given, known in (
        ("feeds", worst.inputs, model.signature.input_names),
        ("expects", worst.expected, model.signature.output_names),
    ):
        if unknown := [name for name in given if name not in known]:
            raise UsageError(
                f"the saved case is of another model ({worst.subject}): it {what} '{unknown[0]}', but {model.name} has "
                f"{', '.join(known)}"
            )
    if worst.chunk is not None and not model.signature.streamable:
        raise UsageError(
            f"the saved case is of another model ({worst.subject}): it is a stream, and {model.name} cannot be streamed"
        )


def told(worst: WorstCase) -> str:
    """Where a case comes from, in a sentence."""
    seed = f", drawn with seed {worst.seed}" if worst.seed is not None else ""
    return f"one saved case of {worst.subject}: {worst.case}{seed}, the worst in '{worst.output}' on {worst.provider}"


def save(path: str | os.PathLike[str], worst: WorstCase) -> None:
    """Write a case as an .npz, atomically. Raises FileError where it cannot be written."""
    about = {
        "format": FORMAT,
        **{name: getattr(worst, name) for name in ("subject", "reference", "case", "output", "provider")},
        **{name: getattr(worst, name) for name in ("seed", "chunk", "error")},
        "decisions": list(worst.decisions),
        "values": dict(worst.values),
        "expected": {n: {"bound": e.bound, "stride": e.stride, "shape": e.shape} for n, e in worst.expected.items()},
    }
    arrays = {_ABOUT: np.array(json.dumps(about))}
    arrays.update({f"input/{name}": array for name, array in worst.inputs.items()})
    arrays.update({f"expected/{name}": expected.values for name, expected in worst.expected.items()})
    arrays.update({f"actual/{name}": array for name, array in worst.actual.items()})
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]  # numpy's stub takes any keyword for allow_pickle
    write_bytes(path, buffer.getvalue())


def open_worst(path: str | os.PathLike[str]) -> WorstCase:
    """Read what `save` wrote. No code in it is run, and nothing is unpacked.

    Raises:
        MissingFileError, FileError, DamagedFileError: not there, not readable, or not such a file.
    """
    name = os.fspath(path)
    try:
        with open(name, "rb") as stream:
            _check_stored(stream, name)
            with np.load(stream, allow_pickle=False) as archive:
                arrays = {key: archive[key] for key in archive.files}
        return _from_arrays(arrays)
    except (FileError, ContractError):
        raise
    except FileNotFoundError as error:
        raise MissingFileError(f"'{name}' does not exist") from error
    except (zipfile.BadZipFile, ValueError, KeyError, TypeError, AttributeError, EOFError, MemoryError) as error:
        raise DamagedFileError(
            f"'{name}' is not a case that `edgeseq verify --save-worst` wrote, or it is damaged: "
            f"{type(error).__name__}: {error}"
        ) from error
    except OSError as error:
        raise FileError(f"cannot read '{name}': {error.strerror or error}") from error


def _check_stored(stream: Any, name: str) -> None:
    """Refuse compressed entries: `save` writes none, and a small file could unpack to any size."""
    with zipfile.ZipFile(stream) as archive:
        for entry in archive.infolist():
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
                raise DamagedFileError(
                    f"'{name}' is not a case that `edgeseq verify --save-worst` wrote: its entry '{entry.filename}' is "
                    "compressed"
                )
    stream.seek(0)


def _from_arrays(arrays: Mapping[str, Array]) -> WorstCase:
    about = json.loads(str(arrays[_ABOUT][()]))
    if about["format"] != FORMAT:
        raise ContractError(
            f"the saved case has the format {about['format']!r}, but this runtime reads {FORMAT}: use the edgeseq "
            "that wrote it"
        )
    parts: dict[str, dict[str, Array]] = {"input": {}, "expected": {}, "actual": {}}
    for key, array in arrays.items():
        if key != _ABOUT:
            part, name = key.split("/", 1)
            parts[part][name] = array
    expected = {name: _expected(array, about["expected"][name]) for name, array in parts["expected"].items()}
    if not parts["input"] or not expected:
        raise ValueError("it has no inputs, or nothing is expected")
    return WorstCase(
        **{name: str(about[name]) for name in ("subject", "reference", "case", "output", "provider", "error")},
        inputs=parts["input"],
        expected=expected,
        actual=parts["actual"],
        seed=_whole(about["seed"]),
        chunk=_whole(about["chunk"]),
        decisions=tuple(map(str, about["decisions"])),
        values=dict(about["values"]),
    )


def _expected(values: Array, about: Mapping[str, Any]) -> Expected:
    shape, stride = tuple(map(int, about["shape"])), int(about["stride"])
    size = int(np.prod(shape, dtype=np.int64))
    if stride < 1 or any(s < 0 for s in shape) or values.size != -(-size // stride):
        raise ValueError(f"{values.size} expected values do not fit the shape {shape}, every {stride}th")
    return Expected(values, shape, stride, float(about["bound"]))


def _whole(value: Any) -> int | None:
    if value is not None and (type(value) is not int or value < 0):
        raise ValueError(f"{value!r} is not a whole number")
    return value
