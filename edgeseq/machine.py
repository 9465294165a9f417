"""What this machine has: versions, execution providers, processors, and what is wrong with it."""

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np
from edgeseq_runtime.cache import folder
from edgeseq_runtime.errors import MissingPackageError
from edgeseq_runtime.processor import gpus, processor
from edgeseq_runtime.threads import usable_cores

if TYPE_CHECKING:
    from edgeseq_runtime.providers import ExecutionProvider

_BOTH_INSTALLED = (
    "onnxruntime and onnxruntime-gpu are both installed; they overwrite each other's files, and one provider is lost. "
    "Uninstall both, then install one: pip uninstall -y onnxruntime onnxruntime-gpu && "
    "pip install 'edgeseq-runtime[gpu]'"
)


@dataclass(frozen=True)
class ProviderFinding:
    """Whether an execution provider of `load(provider=...)` comes up here.

    name: its short name; onnxruntime_name: its name there; in_build: whether this onnxruntime was built with it;
    problem: why it does not come up, None where a small file runs on it; remedy: what mends that.
    """

    name: str
    onnxruntime_name: str
    in_build: bool
    problem: str | None
    remedy: str | None

    @property
    def usable(self) -> bool:
        """A small file ran on it."""
        return self.problem is None


@dataclass(frozen=True)
class Machine:
    """What `examine` found.

    processor, cpu_features: its name, and those of its instructions that matrix products are made of, as far as they
    are known; gpus: the names that NVIDIA's driver has for them.
    distributions: the installed distributions that bring onnxruntime, with their versions; onnxruntime_build: what
    that says of how it was built.
    onnxruntime_providers: as onnxruntime names them; providers: those that `load(provider=...)` takes and that this
    onnxruntime was built with; findings: whether they come up.
    cpus: logical processors; usable_cpus: those this process may use.
    cache: the folder in which choices of `auto` are kept; None where nothing is.
    problems: what must be mended before anything can be relied on.
    """

    platform: str
    processor: str
    cpu_features: tuple[str, ...]
    gpus: tuple[str, ...]
    python: str
    numpy: str
    onnxruntime: str | None
    onnxruntime_build: str | None
    distributions: Mapping[str, str]
    onnxruntime_providers: tuple[str, ...]
    providers: tuple[str, ...]
    findings: tuple[ProviderFinding, ...]
    cpus: int
    usable_cpus: int
    cache: str | None
    problems: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The findings as plain JSON values."""
        return asdict(self)


def examine() -> Machine:
    """Look at this machine and this process. Nothing is changed; an onnxruntime that is missing is a problem."""
    distributions = _installed_onnxruntimes()
    problems = [_BOTH_INSTALLED] if len(distributions) > 1 else []
    version: str | None = None
    build: str | None = None
    available: tuple[str, ...] = ()
    usable: tuple[str, ...] = ()
    findings: tuple[ProviderFinding, ...] = ()
    try:
        from edgeseq_runtime import providers
        from edgeseq_runtime._ort import session
    except MissingPackageError as error:
        problems.append(str(error))
    else:
        version, build = session.onnxruntime_version(), session.onnxruntime_build()
        available, usable = session.available_providers(), providers.present()
        findings = tuple(_finding(one, usable) for one in providers.KNOWN)
    here, kept = processor(), folder()
    return Machine(
        platform=f"{platform.system()} {platform.machine()}",
        processor=here.model,
        cpu_features=here.features,
        gpus=gpus(),
        python=platform.python_version(),
        numpy=np.__version__,
        onnxruntime=version,
        onnxruntime_build=build,
        distributions=distributions,
        onnxruntime_providers=available,
        providers=usable,
        findings=findings,
        cpus=os.cpu_count() or 1,
        usable_cpus=usable_cores(),
        cache=str(kept) if kept is not None else None,
        problems=tuple(problems),
    )


def _installed_onnxruntimes() -> dict[str, str]:
    """The installed distributions that bring the import package onnxruntime, with their versions."""
    found = {}
    for name in ("onnxruntime", "onnxruntime-gpu"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _finding(one: "ExecutionProvider", built: tuple[str, ...]) -> ProviderFinding:
    from edgeseq_runtime._ort.probe import obstacle

    found = obstacle(one.onnxruntime_name, one.options)
    problem, remedy = (found.problem, found.remedy) if found is not None else (None, None)
    return ProviderFinding(one.name, one.onnxruntime_name, one.name in built, problem, remedy)
