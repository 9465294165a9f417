"""What this machine has: versions, execution providers, processors, and what is wrong with it."""

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edgeseq_runtime.distributions import BOTH_INSTALLED, installed_onnxruntimes
from edgeseq_runtime.errors import MissingPackageError


@dataclass(frozen=True)
class Machine:
    """What `examine` found.

    distributions: the installed distributions that bring onnxruntime, with their versions.
    onnxruntime_providers: as onnxruntime names them; providers: those that `load(provider=...)` takes.
    cpus: logical processors; usable_cpus: those this process may use.
    problems: what must be mended before anything can be relied on.
    """

    platform: str
    python: str
    numpy: str
    onnxruntime: str | None
    distributions: Mapping[str, str]
    onnxruntime_providers: tuple[str, ...]
    providers: tuple[str, ...]
    cpus: int
    usable_cpus: int
    problems: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The findings as plain JSON values."""
        return asdict(self)


def examine() -> Machine:
    """Look at this machine and this process. Nothing is changed; an onnxruntime that is missing is a problem."""
    distributions = installed_onnxruntimes()
    problems = [BOTH_INSTALLED] if len(distributions) > 1 else []
    version: str | None = None
    available: tuple[str, ...] = ()
    usable: tuple[str, ...] = ()
    try:
        from edgeseq_runtime import providers
        from edgeseq_runtime._ort import session
    except MissingPackageError as error:
        problems.append(str(error))
    else:
        version, available, usable = session.onnxruntime_version(), session.available_providers(), providers.present()
    cpus = os.cpu_count() or 1
    return Machine(
        platform=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        numpy=np.__version__,
        onnxruntime=version,
        distributions=distributions,
        onnxruntime_providers=available,
        providers=usable,
        cpus=cpus,
        usable_cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cpus,
        problems=tuple(problems),
    )
