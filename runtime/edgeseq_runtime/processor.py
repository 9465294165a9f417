"""Which processor and which GPUs are here, as Linux tells it; elsewhere little is known without loading anything."""

import platform
from dataclasses import dataclass
from pathlib import Path

FEATURES = (
    *("avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512_vnni", "avx_vnni", "avx512_bf16"),
    *("amx_int8", "amx_bf16", "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2"),
)
"""The instructions that matrix products are made of, by Linux's names: x86-64, then 64-bit Arm."""

CPUINFO = Path("/proc/cpuinfo")
GPUS = Path("/proc/driver/nvidia/gpus")


@dataclass(frozen=True)
class Processor:
    """model: as it calls itself, or as much as is known; features: those of FEATURES that it has."""

    model: str
    features: tuple[str, ...]


def processor(cpuinfo: Path = CPUINFO) -> Processor:
    """The processor of this machine."""
    lines: dict[str, str] = {}
    for line in _text(cpuinfo).splitlines():
        name, colon, value = (part.strip() for part in line.partition(":"))
        if colon:
            lines.setdefault(name, value)
    flags = (lines.get("flags") or lines.get("Features") or "").split()
    parts = (lines.get("CPU implementer"), lines.get("CPU part"))  # Arm gives numbers in place of a name
    model = lines.get("model name") or " ".join(part for part in parts if part)
    return Processor(model or platform.processor() or platform.machine(), tuple(f for f in FEATURES if f in flags))


def gpus(folder: Path = GPUS) -> tuple[str, ...]:
    """The names of the GPUs that NVIDIA's driver has; none where there is no driver, or the system does not tell."""
    found = []
    for file in sorted(folder.glob("*/information")):
        for line in _text(file).splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "Model":
                found.append(value.strip())
    return tuple(found)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
