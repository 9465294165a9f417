"""`edgeseq doctor`: what this machine has, and what a model would run on."""

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import edgeseq_runtime
import typer
from edgeseq_runtime.doctor import Machine, examine
from edgeseq_runtime.errors import MissingError
from rich.console import RenderableType

from edgeseq.cli.options import AsJson
from edgeseq.cli.output import pairs, show

EXAMPLES = ("edgeseq doctor", "edgeseq doctor lstm.onnx")

PACKAGES = ("edgeseq", "edgeseq-runtime", "torch", "onnx", "onnxscript", "pytorch-lightning")


def doctor(
    model: Annotated[
        Path | None, typer.Argument(metavar="MODEL", help="An ONNX file to load.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what this machine has, and what would run a model.

    Versions, execution providers and processors; with MODEL, what runs it and why.

    Exits with 3 where the installation is broken.
    """
    machine = examine()
    packages = {name: _version(name) for name in PACKAGES}
    loaded = None
    if model is not None and not machine.problems:
        opened = edgeseq_runtime.load(model)
        loaded = {"file": str(model), "provider": opened.provider.name, "reason": opened.provider.reason}
    value = {**machine.to_json(), "packages": packages, "model": loaded}
    show(value, *_tables(machine, packages, loaded), as_json=as_json)
    if machine.problems:
        raise MissingError("; ".join(machine.problems))


def _version(name: str) -> str | None:
    """The installed version, without importing the package."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _tables(
    machine: Machine, packages: Mapping[str, str | None], loaded: Mapping[str, Any] | None
) -> list[RenderableType]:
    about = {
        "platform": machine.platform,
        "processors": f"{machine.usable_cpus} of {machine.cpus} usable",
        "python": machine.python,
        "numpy": machine.numpy,
        "onnxruntime": machine.onnxruntime or "not usable",
        "installed as": ", ".join(f"{n} {v}" for n, v in machine.distributions.items()) or "nothing",
        "execution providers": ", ".join(machine.onnxruntime_providers),
        "usable as --provider": ", ".join(machine.providers),
    }
    parts: list[RenderableType] = [
        pairs("This machine", about),
        pairs("Packages", {name: version or "not installed" for name, version in packages.items()}),
    ]
    if loaded is not None:
        parts.append(pairs("Model", {"file": loaded["file"], "runs on": f"{loaded['provider']} ({loaded['reason']})"}))
    return parts
