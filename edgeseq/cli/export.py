"""`edgeseq export`: a network to a proven ONNX file."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer
from edgeseq_runtime.errors import ParityError, UsageError
from rich.text import Text

from edgeseq.cli.options import AsJson, Report
from edgeseq.cli.output import check_report, needing, pairs, progress_bar, show, size_text, write_report
from edgeseq.cli.render import report_markdown, report_tables

EXAMPLES = (
    "edgeseq export models/lstm-vowels/lstm.pt -o out/lstm.onnx",
    "edgeseq export lstm.pt --recurrence unroll --steps 32 -o lstm32.onnx",
    "edgeseq export models/esn-vowels/esn.pt --recurrence loop -o out/esn.onnx",
    "edgeseq export models/seq2seq-g2p/seq2seq.pt --decode beam --beam 4 -o out/g2p.onnx",
    "edgeseq export vae.pt --part decoder    # to vae.decoder.onnx",
    "edgeseq export alarm.pt --part score --hop 4",
    "edgeseq export lstm.pt --report proof.md",
    "edgeseq export their.package:make --weights theirs.safetensors    # somebody's own network, to make.onnx",
    'edgeseq export net:Tagger --input "tokens:int64[batch,time]=0..99" --state h0=hn',
    "edgeseq export state_dict.pt --set read=last --set activation=relu",
    "edgeseq export scripted.pt --trust      # TorchScript, .pt2, a pickled network: opening it may run its code",
)


def export(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A checkpoint (.pt); a state dict (.pt, .pth, .safetensors) of RNN, LSTM or GRU layers; or "
            "package.module:factory, your own network. With --trust also a TorchScript archive, a torch.export program "
            "(.pt2) or a pickled network.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="OUT.onnx",
            help="The file to write; by default beside SOURCE, with another --part than the recipe's in its name; of "
            "a factory, its name in the current folder.",
        ),
    ] = None,
    recurrence: Annotated[
        str | None,
        typer.Option(
            metavar="native|loop|unroll",
            help="How recurrences are written: one ONNX operator a layer, a Scan or Loop, or copies of the step; by "
            "default as the recipe or the family has it.",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="With unroll: how many copies; by default the recipe's, or the median length of the training data "
            "(its longest for a network that cannot stream).",
        ),
    ] = None,
    opset: Annotated[
        int | None,
        typer.Option(metavar="N", help="The ONNX opset; by default the recipe's, or 18, which old runtimes open."),
    ] = None,
    decode: Annotated[
        str | None,
        typer.Option(
            metavar="greedy|beam|sample",
            help="How a sequence is generated, in the graph; by default as the recipe has it.",
        ),
    ] = None,
    beam: Annotated[
        int | None, typer.Option(metavar="K", help="With --decode beam: how many hypotheses are kept.")
    ] = None,
    n_best: Annotated[
        int | None, typer.Option(metavar="N", help="With --decode beam: how many of them the file gives.")
    ] = None,
    max_length: Annotated[
        int | None,
        typer.Option(metavar="N", help="Steps that are generated at most; by default as many as in the training data."),
    ] = None,
    part: Annotated[
        str | None,
        typer.Option(
            metavar="full|encoder|decoder|score",
            help="Of an autoencoder: all of it, or the code, the generator, or the anomaly score alone; by default as "
            "the recipe has it.",
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(min=1, metavar="HZ", help="The sample rate of its data; edgeseq run refuses a .wav of another."),
    ] = None,
    hop: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Of the anomaly score of windows: score every N steps alone, which is N times less work.",
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Of a factory: its weights, a state dict (.pt, .pth, .bin) or .safetensors; all must fit.",
        ),
    ] = None,
    input_: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            metavar="SPEC",
            help="Of your own network, what its forward takes: NAME:TYPE[AXES], such as x:float32[batch,time,12] or "
            "tokens:int64[batch,time]=0..99; by default as its first layer or its edgeseq_signature() has it.",
        ),
    ] = None,
    state: Annotated[
        list[str] | None,
        typer.Option(
            metavar="IN=OUT",
            help="Of your own network: the input that carries on an output, such as h0=hn; found by trying where left "
            "out.",
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Of a state dict: what its weights do not tell, such as read=last; without it all readings are told.",
        ),
    ] = None,
    trust: Annotated[
        bool,
        typer.Option("--trust", help="Open SOURCE even where that can run code that is in it: you know who made it."),
    ] = False,
    no_verify: Annotated[bool, typer.Option("--no-verify", help="Do not prove the file.")] = False,
    report: Report = None,
    as_json: AsJson = False,
) -> None:
    """Write a network as one ONNX file, proven equal to PyTorch.

    The proof runs the file through the runtime at many batch sizes, lengths and chunk sizes, and compares it
    with the network in float64. The file appears only when the proof has passed.

    What was found out about a network that was not made with edgeseq is printed, and kept in the file. Without
    --trust no code of a file is run; of package.module:factory the module is, since you name it.
    """
    if no_verify and report is not None:
        raise UsageError("--report describes the proof, which --no-verify leaves out; drop one of the two")
    check_report(report)
    if output is not None and output.suffix != ".onnx" and not output.is_dir():
        raise UsageError(f"the output is an ONNX file and ends in .onnx, but '{output}' was given")
    start = perf_counter()
    with needing("export"):
        from edgeseq_export import DEFAULT_OPSET
        from edgeseq_export import export as export_file

        from edgeseq.opening import open_source
    chosen = {
        "decode": decode,
        "beam_width": beam,
        "n_best": n_best,
        "max_length": max_length,
        "part": part,
        "hop": hop,
    }
    settings = {key: value for key, value in chosen.items() if value is not None}
    settings.update(parse_pairs("--set", set_, "read=last"))
    open_it = partial(
        open_source,
        source,
        weights=weights,
        inputs=input_ or (),
        states=parse_pairs("--state", state, "h0=hn"),
        trust=trust,
    )
    opened = open_it(settings)
    asked = opened.provenance.get("export", {})
    recipe_part = asked.get("part")
    if part is None and recipe_part not in (None, opened.settings.get("part")):
        opened = open_it({**settings, "part": recipe_part})
    if (beam is not None or n_best is not None) and (opened.decoding or {}).get("decode") != "beam":
        raise UsageError("--beam and --n-best are of a beam search; add --decode beam")
    if hop is not None and opened.settings.get("part") != "score":
        raise UsageError("--hop is of the anomaly score of windows; add --part score")
    if rate is not None:
        opened = replace(opened, sample_rate_hz=rate)
    form = recurrence or asked.get("recurrence") or opened.form
    if steps is None and form == "unroll":
        steps = asked.get("steps")
    version = opset if opset is not None else asked.get("opset", DEFAULT_OPSET)
    target = output or default_target(source, None if part in (None, recipe_part or "full") else part)
    noted = [Text("\n".join(opened.notes))] if opened.notes else []
    try:
        with progress_bar() as told:
            proof = export_file(
                opened, target, form=form, steps=steps, opset=version, verify=not no_verify, progress=told
            )
    except ParityError as error:
        write_report(report, error.report.to_json(), report_markdown(error.report))
        failed = {**error.report.to_json(), "notes": list(opened.notes)}
        show(failed, *noted, *report_tables(error.report), as_json=as_json)
        raise
    if proof is not None:
        write_report(report, proof.to_json(), report_markdown(proof))
    size, seconds = target.stat().st_size, perf_counter() - start
    value = {
        "file": str(target),
        "bytes": size,
        "seconds": round(seconds, 2),
        "notes": list(opened.notes),
        "proof": proof.to_json() if proof is not None else None,
    }
    proven = f"{len(proof.comparisons)} comparisons passed" if proof is not None else "no (--no-verify)"
    summary = pairs(None, {"file": target, "size": size_text(size), "proven": proven, "took": f"{seconds:.1f} s"})
    show(value, *noted, *(report_tables(proof) if proof is not None else ()), summary, as_json=as_json)


def parse_pairs(option: str, given: Sequence[str] | None, example: str) -> dict[str, str]:
    """Each KEY=VALUE of an option that may be repeated. Raises UsageError."""
    pairs_given: dict[str, str] = {}
    for item in given or ():
        key, equals, value = (part.strip() for part in item.partition("="))
        if not (key and equals and value):
            raise UsageError(f"{option} {item!r} is not understood; write it as {option} {example}")
        if key in pairs_given:
            raise UsageError(f"{option} {key} is given twice")
        pairs_given[key] = value
    return pairs_given


def default_target(source: str, part: str | None) -> Path:
    """Where a file is written if nobody says: beside its source; here, where that is a factory."""
    from edgeseq_export.sources.factory import factory_name, is_spec

    beside = Path(f"{factory_name(source)}.pt") if is_spec(source) else Path(source)
    return beside.with_suffix(".onnx" if part is None else f".{part}.onnx")
