"""`edgeseq inspect`: what is in a file."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from edgeseq_runtime.atomic import write_bytes
from edgeseq_runtime.contract import Contract
from edgeseq_runtime.errors import UsageError
from edgeseq_runtime.infer import Pair
from edgeseq_runtime.signature import Signature, Tensor, signature_to_json
from rich.console import RenderableType

from edgeseq.cli.foreign import open_model, parse_states
from edgeseq.cli.options import AsJson, Fixed, StatePairs
from edgeseq.cli.output import needing, pairs, show, size_text, table
from edgeseq.cli.settings import parse_settings
from edgeseq.text import vocabularies

EXAMPLES = (
    "edgeseq inspect lstm.onnx",
    "edgeseq inspect lstm.pt --json",
    "edgeseq inspect vad.onnx --set sr=16000 --write",
)

CHECKPOINTS = (".pt", ".pth", ".ckpt")


def inspect(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="An ONNX file or a checkpoint (.pt).", show_default=False)
    ],
    write: Annotated[
        bool,
        typer.Option("--write", help="Store what was found of a file that edgeseq did not export as its contract."),
    ] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="With --write: another file than the model's.")
    ] = None,
    settings: Fixed = None,
    states: StatePairs = None,
    as_json: AsJson = False,
) -> None:
    """Show what is in a file.

    Its inputs, outputs and states, whether it streams, its labels, what can be set, and where it comes from.

    Of a file that edgeseq did not export, which states were found, and why. --write follows its graph (an input that
    reaches a recurrent operator's initial state is what comes out of its last one), stores the result as a contract,
    with the inputs that are fixed (--set sr=16000), and shows it; the graph stays as it is.
    """
    checkpoint = file.suffix.lower() in CHECKPOINTS
    if output is not None and not write:
        raise UsageError("-o is for --write; without it nothing is written")
    if checkpoint and (write or settings or states):
        raise UsageError(f"'{file}' is a checkpoint; --write, --set and --state are for ONNX files")
    if write:
        file = _write(file, output or file, settings, states)
        settings = states = None
    value = _checkpoint(file) if checkpoint else _onnx(file, settings, states)
    show(_plain(value), *_tables(value), as_json=as_json)


def _write(file: Path, output: Path, settings: list[str] | None, states: list[str] | None) -> Path:
    """Write the file with its contract; returns where."""
    open_model(file, "cpu", 1, settings, states)  # what is wrong with the file is told without onnx
    with needing("export"):
        from edgeseq.adopt import whole, with_contract
    content = with_contract(whole(file), parse_states(states), parse_settings(settings or []), file.name)
    write_bytes(str(output), content)
    return output


def _onnx(file: Path, settings: list[str] | None, states: list[str] | None) -> dict[str, Any]:
    model, _ = open_model(file, "cpu", 1, settings, states)
    contract = model.contract
    return {
        "file": str(file),
        "bytes": file.stat().st_size,
        "sha256": model.sha256,
        "contract": contract is not None,
        "family": contract.family if contract else None,
        "task": contract.task if contract else None,
        "signature": model.signature,
        "pairs": model.pairs,
        "recurrence": _form(contract) if contract else None,
        "tolerance": contract.tolerance if contract else None,
        "labels": contract.labels if contract else None,
        "vocabulary": contract.vocabulary if contract else None,
        "values": model.values,
        "settings": contract.settings if contract else {},
        "sample_rate_hz": contract.sample_rate_hz if contract else None,
        "metrics": None,
        "provenance": contract.provenance if contract else {},
    }


def _form(contract: Contract) -> str:
    steps = f", {contract.steps} steps" if contract.steps is not None else ""
    return f"{contract.recurrence.get('form')}{steps}"


def _checkpoint(file: Path) -> dict[str, Any]:
    with needing("export"):
        from edgeseq import checkpoint
    loaded = checkpoint.load(file)
    return {
        "file": str(file),
        "bytes": file.stat().st_size,
        "sha256": loaded.sha256,
        "family": loaded.family,
        "task": loaded.module.task,
        "parameters": sum(p.numel() for p in loaded.module.parameters()),
        "signature": loaded.module.signature(),
        "labels": loaded.hints.labels,
        "vocabulary": loaded.module.vocabulary(),
        "values": loaded.module.values(),
        "settings": loaded.module.settings(),
        "metrics": loaded.metrics,
        "provenance": loaded.provenance,
    }


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON values: the signature's keys stand beside the others."""
    rest = {key: item for key, item in value.items() if key not in ("signature", "pairs")}
    pairs: Sequence[Pair] = value.get("pairs", ())
    return {**rest, "pairs": [asdict(p) for p in pairs], **signature_to_json(value["signature"])}


def _tables(value: Mapping[str, Any]) -> list[RenderableType]:
    signature: Signature = value["signature"]
    about = {
        "file": value["file"],
        "size": size_text(value["bytes"]),
        "sha256": value["sha256"] or "none: edgeseq did not write this file, and a change would go unnoticed",
        "family, task": f"{value['family']}, {value['task']}" if value["family"] else None,
        "parameters": value.get("parameters"),
        "recurrence": value.get("recurrence"),
        "streams": "yes" if signature.streamable else f"no: {signature.reason or 'no contract says how'}",
        "labels": _shortened(value["labels"]),
        "reads text": _vocabularies(value["vocabulary"]),
        **value["settings"],
        "sample rate": f"{value['sample_rate_hz']:g} Hz" if value.get("sample_rate_hz") else None,
        "values": ", ".join(f"{name} = {default}" for name, default in value["values"].items()) or None,
        "tolerance": value.get("tolerance"),
    }
    parts: list[RenderableType] = [
        pairs(None, about),
        table("Inputs", ("name", "type", "axes", "note"), [_row(t, _input_note(t)) for t in signature.inputs]),
        table("Outputs", ("name", "type", "axes", "kind"), [_row(t, t.kind or "") for t in signature.outputs]),
    ]
    if signature.states:
        rows = [(s.input, s.output, s.dtype, _axes(s.axes), s.initial) for s in signature.states]
        parts.append(table("States", ("input", "output", "type", "axes", "starts as"), rows))
    if value.get("pairs"):
        why = [(p.input, p.output, p.why + ("" if p.sure else ", which is a guess")) for p in value["pairs"]]
        parts.append(table("Found", ("input", "output", "by"), why))
    parts += [
        pairs(title.capitalize(), {name: _one_line(item) for name, item in _flat(value[title])})
        for title in ("metrics", "provenance")
        if value[title]
    ]
    return parts


def _row(tensor: Tensor, note: str) -> tuple[str, str, str, str]:
    return tensor.name, tensor.dtype, _axes(tensor.axes), note


def _axes(axes: Sequence[int | str]) -> str:
    return ", ".join(map(str, axes))


def _input_note(tensor: Tensor) -> str:
    return f"valid steps of {tensor.of}; all where left out" if tensor.of else ", ".join(tensor.features or ())


def _shortened(labels: Sequence[str] | None) -> str | None:
    if labels is None:
        return None
    shown = [label if label.isprintable() and label.strip() else repr(label) for label in labels[:20]]
    return ", ".join(shown) + (f" and {len(labels) - 20} more" if len(labels) > 20 else "")


def _vocabularies(value: Any) -> str | None:
    found = vocabularies(value)
    return ", ".join(f"{name}: {len(each)} symbols, each a {each.kind}" for name, each in found.items()) or None


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested names as one: {"test": {"loss": 1}} gives "test loss", 1."""
    for name, item in values.items():
        if isinstance(item, Mapping):
            yield from _flat(item, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", item


def _one_line(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 80 else text[:79] + "…"
