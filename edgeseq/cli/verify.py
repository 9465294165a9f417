"""`edgeseq verify`: is this ONNX file equal to what was trained?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import edgeseq_runtime
import typer
from edgeseq_runtime.atomic import check_writable
from edgeseq_runtime.compare import ParityReport
from edgeseq_runtime.errors import ParityError, ProviderError, UsageError

from edgeseq.cli.export import parse_pairs
from edgeseq.cli.options import AsJson, ModelFile, Provider, Report
from edgeseq.cli.output import check_report, needing, progress_bar, show, write_report
from edgeseq.cli.render import report_markdown, report_tables, verdict

if TYPE_CHECKING:
    from edgeseq_export.worst_case import Keeper, WorstCase

EXAMPLES = (
    "edgeseq verify lstm.onnx              # on a device: the test vectors inside the file",
    "edgeseq verify lstm.onnx lstm.pt      # where PyTorch is: the whole proof",
    "edgeseq verify theirs.onnx net:Net --weights net.pt --input 'x:float32[batch,time,12]'",
    "edgeseq verify lstm.onnx older.onnx   # two files with each other",
    "edgeseq verify lstm.onnx lstm.pt --report proof.md --save-worst worst.npz",
    "edgeseq verify lstm.onnx --replay worst.npz",
)


@dataclass(frozen=True)
class Opening:
    """How a REFERENCE is opened: the options that `edgeseq export` has, too."""

    weights: Path | None
    inputs: Sequence[str]
    states: Mapping[str, str]
    settings: Mapping[str, str]
    trust: bool

    def given(self) -> list[str]:
        """The flags that were given."""
        flags = {
            "--weights": self.weights,
            "--input": self.inputs,
            "--state": self.states,
            "--set": self.settings,
            "--trust": self.trust,
        }
        return [flag for flag, value in flags.items() if value]


def verify(
    model: ModelFile,
    reference: Annotated[
        str | None,
        typer.Argument(
            metavar="REFERENCE",
            help="What the file was exported from, as `edgeseq export` takes it: a checkpoint, a state dict, "
            "package.module:factory …; or another ONNX file.",
            show_default=False,
        ),
    ] = None,
    provider: Provider = "auto",
    weights: Annotated[
        Path | None, typer.Option("--weights", metavar="FILE", help="Weights for package.module:factory.")
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            metavar="SPEC",
            help="An input of REFERENCE, as NAME:TYPE[AXIS,...]; by default as the file's contract says. Repeatable.",
        ),
    ] = None,
    states: Annotated[
        list[str] | None,
        typer.Option("--state", metavar="IN=OUT", help="A state of REFERENCE: its input and its output. Repeatable."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Of a state dict: what its weights do not tell, such as read=last."
        ),
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Open a REFERENCE that can run code: you know who made it.")
    ] = False,
    tolerance: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Of the bound, relative to an output's root mean square; by default the contract's, else 1e-5.",
        ),
    ] = None,
    save_worst: Annotated[
        Path | None,
        typer.Option(metavar="FILE.npz", help="Save the case that is furthest off, or nearest its bound."),
    ] = None,
    replay: Annotated[
        Path | None,
        typer.Option(metavar="FILE.npz", help="Run a saved case alone; without REFERENCE, against what is saved."),
    ] = None,
    report: Report = None,
    as_json: AsJson = False,
) -> None:
    """Prove that an ONNX file equals what was trained.

    Exits with 1 where it differs.

    Without REFERENCE, the file is run on the test vectors that it carries, with PyTorch's answers: no PyTorch
    is needed. With REFERENCE, the whole proof is run again; --provider auto then means all that are here. A
    file of another exporter is judged in the same way: its inputs and outputs are matched by name, else by
    order. Of two ONNX files, both of which are float32, the bound is twice as wide.
    """
    from edgeseq_export.worst_case import Keeper, open_worst, save  # the other commands need no export

    check_report(report)
    _check_worst(save_worst)
    carried, chosen = parse_pairs("--state", states, "h0=hn"), parse_pairs("--set", settings, "read=last")
    opening = Opening(weights, inputs or (), carried, chosen, trust)
    keep = Keeper() if save_worst is not None else None
    case = open_worst(replay) if replay is not None else None
    if reference is not None:
        result = _prove(model, reference, provider, opening, tolerance, keep, case)
    else:
        if needless := [*opening.given(), *(["--tolerance"] if tolerance is not None else [])]:
            raise UsageError(f"{needless[0]} is of a comparison with a REFERENCE, but none was given")
        result = _alone(model, provider, keep, case)
    if save_worst is not None and keep is not None:
        if keep.worst is not None:
            save(save_worst, replace(keep.worst, subject=result.subject))
        else:
            result = replace(result, notes=(*result.notes, f"'{save_worst}' was not written: no case could be judged"))
    write_report(report, result.to_json(), report_markdown(result))
    closing = [verdict(result)] if result.passed else []
    show(result.to_json(), *report_tables(result), *closing, as_json=as_json)
    if not result.passed:
        raise ParityError(verdict(result), result)


def _alone(model: Path, provider: str, keep: "Keeper | None", case: "WorstCase | None") -> ParityReport:
    """The file by itself: its test vectors, or a saved case with the saved answers."""
    if case is None:
        loaded = edgeseq_runtime.load(model, provider=provider)
        return loaded.verify(keep=keep) if keep is not None else loaded.verify()
    from edgeseq_export.worst_case import replay as replay_alone

    where = _provider_of(case, provider)
    known = edgeseq_runtime.load(model, provider=where).values
    values = {name: value for name, value in case.values.items() if name in known}
    result = replay_alone(edgeseq_runtime.load(model, provider=where, values=values), case, keep)
    return replace(result, notes=(*result.notes, *_elsewhere(case, where)))


def _prove(
    model: Path,
    reference: str,
    provider: str,
    opening: Opening,
    tolerance: float | None,
    keep: "Keeper | None",
    case: "WorstCase | None",
) -> ParityReport:
    if reference.lower().endswith(".onnx") and opening.given():
        raise UsageError(f"{opening.given()[0]} says how a network is opened, but '{reference}' is an ONNX file")
    with needing("export"):
        import edgeseq_export
        from edgeseq_export.worst import replay as replay_against

        from edgeseq.opening import open_reference
        from edgeseq.revalue import with_values
    shown = "cpu" if provider == "auto" else provider  # all that are here are proven, so there is nothing to choose
    loaded = edgeseq_runtime.load(model, provider=shown)  # what is not there is told before PyTorch starts
    content: Path | bytes = model
    judge: Any = Path(reference)
    if not reference.lower().endswith(".onnx"):
        judge = open_reference(
            reference,
            loaded.contract,
            settings=opening.settings,
            weights=opening.weights,
            inputs=opening.inputs,
            states=opening.states,
            trust=opening.trust,
        )
        # a default that was chosen anew, such as a threshold, is no difference: both run with the reference's
        reset = {name: value for name, value in judge.values.items() if loaded.values.get(name, value) != value}
        content = with_values(model.read_bytes(), reset) if reset else model
    options: dict[str, Any] = {"tolerance": tolerance, "keep": keep}
    if case is not None:
        where = _provider_of(case, provider)
        result = replay_against(content, judge, case, providers=[where], **options)
        return replace(result, subject=loaded.name, notes=(*result.notes, *_elsewhere(case, where)))
    providers = None if provider == "auto" else [provider]
    with progress_bar() as told:
        result = edgeseq_export.verify(content, judge, providers=providers, progress=told, **options)
    return replace(result, subject=loaded.name)


def _provider_of(case: "WorstCase", provider: str) -> str:
    """Where a case is run again: as is said, else where it was run, else on the CPU."""
    if provider != "auto":
        return provider
    from edgeseq_runtime.providers import choose

    try:
        choose(case.provider)
    except (ProviderError, UsageError):
        return "cpu"
    return case.provider


def _elsewhere(case: "WorstCase", provider: str) -> tuple[str, ...]:
    if case.provider == provider:
        return ()
    return (f"it was saved on {case.provider}, and run again on {provider}",)


def _check_worst(path: Path | None) -> None:
    """Refuse a file that could not be written, before the work is done."""
    if path is None:
        return
    if path.suffix.lower() != ".npz":
        raise UsageError(f"a saved case ends in .npz, but '{path}' was given")
    check_writable(path)
