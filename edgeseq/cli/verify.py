"""`edgeseq verify`: is this ONNX file equal to what was trained?"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import edgeseq_runtime
import typer
from edgeseq_runtime.compare import ParityReport
from edgeseq_runtime.errors import ParityError

from edgeseq.cli.options import AsJson, ModelFile, Provider, Report
from edgeseq.cli.output import check_report, needing, progress_bar, show, write_report
from edgeseq.cli.render import report_markdown, report_tables, verdict

EXAMPLES = (
    "edgeseq verify lstm.onnx              # on a device: the test vectors inside the file",
    "edgeseq verify lstm.onnx lstm.pt      # where PyTorch is: the whole proof",
    "edgeseq verify lstm.onnx lstm.pt --report proof.json",
)


def verify(
    model: ModelFile,
    reference: Annotated[
        Path | None,
        typer.Argument(
            metavar="REFERENCE", help="The checkpoint (.pt) the file was exported from.", show_default=False
        ),
    ] = None,
    provider: Provider = "auto",
    report: Report = None,
    as_json: AsJson = False,
) -> None:
    """Prove that an ONNX file equals what was trained.

    Exits with 1 where it differs.

    Without REFERENCE, the file is run on the test vectors that it carries, with PyTorch's answers: no PyTorch
    is needed. With REFERENCE, the whole proof is run again; --provider auto then means all that are here.
    """
    check_report(report)
    if reference is None:
        result = edgeseq_runtime.load(model, provider=provider).verify()
    else:
        result = _prove(model, reference, provider)
    write_report(report, result.to_json(), report_markdown(result))
    closing = [verdict(result)] if result.passed else []
    show(result.to_json(), *report_tables(result), *closing, as_json=as_json)
    if not result.passed:
        raise ParityError(verdict(result), result)


def _prove(model: Path, reference: Path, provider: str) -> ParityReport:
    with needing("export"):
        from edgeseq_export import verify as prove

        from edgeseq.opening import open_reference
        from edgeseq.revalue import with_values
    loaded = edgeseq_runtime.load(model, provider=provider)  # what is not there is told before PyTorch starts
    providers = None if provider == "auto" else [provider]
    source = open_reference(reference, loaded.contract)
    # a default that was chosen anew, such as a threshold, is no difference: both run with the reference's
    reset = {name: value for name, value in source.values.items() if loaded.values.get(name, value) != value}
    content = with_values(model.read_bytes(), reset) if reset else model
    with progress_bar() as told:
        report = prove(content, source, providers=providers, progress=told)
    return replace(report, subject=loaded.name)
