"""`edgeseq doctor`: what this machine has, and what a model would run on."""

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import edgeseq_runtime
import typer
from edgeseq_runtime.errors import MissingError
from rich.console import RenderableType

from edgeseq import placement
from edgeseq.cli.options import AsJson
from edgeseq.cli.output import pairs, show
from edgeseq.machine import Machine, ProviderFinding, examine

EXAMPLES = ("edgeseq doctor", "edgeseq doctor lstm.onnx")

PACKAGES = ("edgeseq", "edgeseq-runtime", "torch", "onnx", "onnxscript", "pytorch-lightning")


def doctor(
    model: Annotated[
        Path | None, typer.Argument(metavar="MODEL", help="An ONNX file to load.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what this machine has, and what would run a model.

    Versions, processors, and which execution providers come up, or what is missing and the command that mends
    it; with MODEL, what runs it and why, measured where there is a choice.

    Exits with 3 where the installation is broken.
    """
    machine = examine()
    packages = {name: _version(name) for name in PACKAGES}
    loaded = None
    if model is not None and not machine.problems:
        opened = edgeseq_runtime.load(model)
        choice = opened.provider
        loaded = {
            "file": str(model),
            "provider": choice.name,
            "reason": choice.reason,
            "options": dict(choice.chosen.options),
            "figures_us": dict(choice.figures_us),
            "dropped": dict(choice.dropped),
            "placement": placement.lines(opened),
        }
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
        "processor": f"{machine.processor}, {machine.usable_cpus} of {machine.cpus} cores usable",
        "its instructions": ", ".join(machine.cpu_features) or "not known here",
        "GPUs": ", ".join(machine.gpus) or None,
        "python": machine.python,
        "numpy": machine.numpy,
        "onnxruntime": machine.onnxruntime or "not usable",
        "its build": machine.onnxruntime_build,
        "installed as": ", ".join(f"{n} {v}" for n, v in machine.distributions.items()) or "nothing",
        "execution providers": ", ".join(machine.onnxruntime_providers),
        "cache": machine.cache or "none",
    }
    parts: list[RenderableType] = [
        pairs("This machine", about),
        pairs("Packages", {name: version or "not installed" for name, version in packages.items()}),
    ]
    if machine.findings:
        parts.insert(1, pairs("--provider", {one.name: _state(one) for one in machine.findings}))
    if loaded is not None:
        figures = {f"on {name}": f"{us:.1f} µs a call" for name, us in loaded["figures_us"].items()}
        runs_on = f"{loaded['provider']} ({loaded['reason']})"
        parts.append(pairs("Model", {"file": loaded["file"], "runs on": runs_on, **figures}))
        parts += loaded["placement"]
    return parts


def _state(one: ProviderFinding) -> str:
    return "usable" if one.usable else f"not usable: {one.problem}. {one.remedy}"
