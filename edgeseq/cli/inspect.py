"""`edgeseq inspect`: what is in a file."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import edgeseq_runtime
import typer
from edgeseq_runtime.contract import Contract
from edgeseq_runtime.signature import Signature, Tensor, signature_to_json
from edgeseq_runtime.text import vocabularies
from rich.console import RenderableType

from edgeseq.cli.options import AsJson
from edgeseq.cli.output import needing, pairs, show, size_text, table

EXAMPLES = ("edgeseq inspect lstm.onnx", "edgeseq inspect lstm.pt --json")

CHECKPOINTS = (".pt", ".pth", ".ckpt")


def inspect(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="An ONNX file or a checkpoint (.pt).", show_default=False)
    ],
    as_json: AsJson = False,
) -> None:
    """Show what is in a file.

    Its inputs, outputs and states, whether it streams, its labels, what can be set, and where it comes from.
    """
    value = _checkpoint(file) if file.suffix.lower() in CHECKPOINTS else _onnx(file)
    show(_plain(value), *_tables(value), as_json=as_json)


def _onnx(file: Path) -> dict[str, Any]:
    model = edgeseq_runtime.load(file, provider="cpu")
    contract = model.contract
    return {
        "file": str(file),
        "bytes": file.stat().st_size,
        "sha256": model.sha256,
        "contract": contract is not None,
        "family": contract.family if contract else None,
        "task": contract.task if contract else None,
        "signature": model.signature,
        "recurrence": _form(contract) if contract else None,
        "tolerance": contract.tolerance if contract else None,
        "labels": contract.labels if contract else None,
        "vocabulary": contract.vocabulary if contract else None,
        "values": contract.values if contract else {},
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
    rest = {key: item for key, item in value.items() if key != "signature"}
    return {**rest, **signature_to_json(value["signature"])}


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
