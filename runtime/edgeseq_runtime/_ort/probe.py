"""Does an execution provider come up here? If not: what is in its way, and what mends it."""

import ctypes
import io
import subprocess
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from edgeseq_runtime._ort import onnxruntime as ort
from edgeseq_runtime._ort.session import RUN_ERRORS, available_providers
from edgeseq_runtime.capture import CPU, CUDA

DRIVER = "libcuda.so.1"
CUDNN = "libcudnn.so.9"
"""What recurrent operators need. Newer builds open it only then, so that their library does not name it."""

# y = x + x, opset 13: the smallest file that really computes something
_DOUBLE = (
    b'\x08\x07:5\n\x0e\n\x01x\n\x01x\x12\x01y"\x03Add\x12\x01gZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01'
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\r"
)


@dataclass(frozen=True)
class Obstacle:
    """problem: what is wrong, in words that go on a sentence; remedy: what mends it."""

    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.problem}. {self.remedy}"


def obstacle(name: str, options: Mapping[str, Any]) -> Obstacle | None:
    """What is in the way of an execution provider, None where a small file runs on it.

    name: onnxruntime's. What comes up, or does not, is tried once in a process.
    """
    if name == CPU:
        return None
    if name not in available_providers():
        gpu = "Mend it: pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'onnxruntime-gpu[cuda,cudnn]'"
        remedy = gpu if name == CUDA else f"Install an onnxruntime that has {name}"
        return Obstacle(f"onnxruntime here has only {', '.join(available_providers())}", remedy)
    return _tried(name, tuple(sorted(options.items())))


@cache
def _tried(name: str, options: tuple[tuple[str, Any], ...]) -> Obstacle | None:
    if name == CUDA:
        _preload()
        if missing := missing_libraries(_library("libonnxruntime_providers_cuda.so")):
            return without(missing, _packaged())
    settings = ort.SessionOptions()
    settings.log_severity_level = 4
    try:
        session = ort.InferenceSession(
            _DOUBLE, settings, providers=[(name, dict(options)), (CPU, {})], enable_fallback=0
        )
        session.run(None, {"x": np.ones(1, np.float32)})
    except RUN_ERRORS as error:
        return Obstacle(f"it does not come up here: {_first_line(error)}", _GENERAL)
    if name not in session.get_providers():
        return Obstacle(f"it does not come up here, and onnxruntime falls back to {CPU}", _GENERAL)
    return None


_GENERAL = "Mend it: `nvidia-smi` must list the GPU; then pip install --force-reinstall onnxruntime-gpu"


def missing_libraries(library: Path) -> tuple[str, ...]:
    """Those of the libraries that a shared library of Linux needs which cannot be loaded; none where ldd is not.

    They are loaded one by one, as the library itself would: to load that outside onnxruntime would break it.
    """
    try:
        listed = subprocess.run(["ldd", library], capture_output=True, text=True, check=False, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    needed = dict(line.split(" => ", 1) for line in listed.splitlines() if " => " in line)
    missing = [name.strip() for name, place in needed.items() if place.startswith("not found")]
    if needed and not any("libcudnn" in name for name in needed):
        missing.append(CUDNN)
    return tuple(name for name in missing if not _loads(name))


def _loads(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def without(missing: tuple[str, ...], packaged: str | None) -> Obstacle:
    """What to do about libraries that are missing: one comes with the driver, the others with CUDA.

    packaged: the version of an onnxruntime-gpu that has them as extras, None where there is none.
    """
    others = ", ".join(name for name in missing if name != DRIVER)
    problems, remedies = [], []
    if others:
        problems.append(f"CUDA's {others} cannot be loaded here")
        if packaged is not None:
            remedies.append(f"pip install 'onnxruntime-gpu[cuda,cudnn]=={packaged}'")
        else:
            remedies.append("install the CUDA and cuDNN that have them, and put their folders on LD_LIBRARY_PATH")
    if DRIVER in missing:
        problems.append(f"there is no NVIDIA driver ({DRIVER})")
        remedies.append("install the driver (`nvidia-smi` must list the GPU)")
    return Obstacle(" and ".join(problems), f"Mend it: {', and '.join(remedies)}")


def _packaged() -> str | None:
    from importlib import metadata  # half of what importing this package would cost, and rarely needed

    try:
        found = metadata.metadata("onnxruntime-gpu")
    except metadata.PackageNotFoundError:
        return None
    return found["Version"] if "cudnn" in (found.get_all("Provides-Extra") or ()) else None


@cache
def _preload() -> None:
    """Have the CUDA libraries of installed packages loaded, where this onnxruntime can; what it prints is kept back."""
    if hasattr(ort, "preload_dlls"):  # since 1.21
        with redirect_stdout(io.StringIO()):
            ort.preload_dlls()


def _library(name: str) -> Path:
    return Path(ort.__file__).parent / "capi" / name


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
