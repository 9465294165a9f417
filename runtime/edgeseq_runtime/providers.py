"""Which execution provider runs a model, and why. A provider that is named is used or the load fails."""

from dataclasses import dataclass
from typing import Any, Literal

from edgeseq_runtime._ort.session import available_providers
from edgeseq_runtime.distributions import BOTH_INSTALLED, installed_onnxruntimes
from edgeseq_runtime.errors import ProviderError, UsageError

ProviderName = Literal["auto", "cpu", "cuda"]

_ONNXRUNTIME_NAMES = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_OPTIONS: dict[str, dict[str, Any]] = {
    "cpu": {},
    "cuda": {"use_tf32": 0},
}  # tf32 costs three digits of parity


@dataclass(frozen=True)
class Provider:
    """A choice: the provider's short name, and the reason it was taken."""

    name: str
    reason: str

    @property
    def onnxruntime_list(self) -> list[tuple[str, dict[str, Any]]]:
        """What onnxruntime is given: the provider with its options, then the CPU for what it cannot do."""
        names = [self.name] if self.name == "cpu" else [self.name, "cpu"]
        return [(_ONNXRUNTIME_NAMES[name], _OPTIONS[name]) for name in names]


def choose(asked: str) -> Provider:
    """The provider to load with.

    Args:
        asked: "cpu", "cuda" or "auto". `auto` is the CPU.

    Raises:
        UsageError: another name.
        ProviderError: the provider is not in this onnxruntime.
    """
    if asked == "auto":
        return Provider("cpu", "auto: the CPU, which is there on every device")
    if asked not in _ONNXRUNTIME_NAMES:
        raise UsageError(f"provider '{asked}' is not known; choose auto, {' or '.join(_ONNXRUNTIME_NAMES)}")
    if _ONNXRUNTIME_NAMES[asked] not in available_providers():
        raise ProviderError(_why_missing(asked))
    return Provider(asked, "asked for")


def present() -> tuple[str, ...]:
    """The short names of the providers in this onnxruntime."""
    return tuple(name for name, full in _ONNXRUNTIME_NAMES.items() if full in available_providers())


def _why_missing(asked: str) -> str:
    if len(installed_onnxruntimes()) > 1:
        return f"'{asked}' was asked for and is missing: {BOTH_INSTALLED}"
    return (
        f"'{asked}' was asked for, but onnxruntime here has only {', '.join(available_providers())}. "
        "Install edgeseq-runtime[gpu] in place of [cpu], or pass --provider cpu"
    )
