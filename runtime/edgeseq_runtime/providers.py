"""Which execution provider runs a model, and why. A provider that is named is used or the load fails."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

from edgeseq_runtime import capture
from edgeseq_runtime._ort.session import available_providers
from edgeseq_runtime.errors import ProviderError, UsageError


@dataclass(frozen=True)
class ExecutionProvider:
    """What a model may run on: a short name, onnxruntime's name, and its options, also by onnxruntime's names.

    graphs: capture CUDA graphs where nothing would freeze, see `cuda`.
    """

    name: str
    onnxruntime_name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    graphs: bool = False

    def __post_init__(self) -> None:
        if capture.OPTION in self.options:
            raise UsageError(f"{capture.OPTION} among the options would freeze inputs; use cuda(graphs=True)")

    @property
    def onnxruntime_list(self) -> list[tuple[str, dict[str, Any]]]:
        """What onnxruntime is given: the provider with its options, then the CPU for what it cannot do."""
        own = (self.onnxruntime_name, dict(self.options))
        return [own] if self.onnxruntime_name == capture.CPU else [own, (capture.CPU, {})]


Asked = str | ExecutionProvider | Sequence[ExecutionProvider]
"""What `load` takes: a name, a provider with options of its own, or several of which the fastest is taken."""


@dataclass(frozen=True)
class Provider:
    """A choice: the execution provider, the reason it was taken, and what was measured.

    figures_us: the median call of each that was timed, in microseconds, by name; dropped: why others cannot be used.
    """

    chosen: ExecutionProvider
    reason: str
    figures_us: Mapping[str, float] = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The provider's short name."""
        return self.chosen.name

    @property
    def on_cpu(self) -> bool:
        """Whether the model runs in the processor's memory, on its cores."""
        return self.chosen.onnxruntime_name == capture.CPU


def is_whole(value: object) -> bool:
    """Whether a value is a whole number, Python's or numpy's."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def cuda(
    *, tf32: bool = False, memory_limit: int | None = None, device: int = 0, graphs: bool = False
) -> ExecutionProvider:
    """An NVIDIA GPU, for `load(..., provider=cuda(memory_limit=2**30))`.

    Args:
        tf32: let matrix products round their inputs to 10 bits; faster, and it costs three digits of parity.
        memory_limit: of the GPU's memory that an onnxruntime session takes, in bytes; None: no limit.
        device: which GPU, from 0.
        graphs: replay the steps of streams, and runs of shapes that come back, as captured CUDA graphs where nothing
            would freeze. Each captured stream is a session of its own. While one is captured (a stream is opened, a
            shape comes for the third time), no other thread of the process may use CUDA.

    Raises:
        UsageError: a limit or a device that is none.
    """
    if memory_limit is not None and (not is_whole(memory_limit) or memory_limit < 1):
        raise UsageError(f"memory_limit is {memory_limit!r}, but a number of bytes from 1 is expected, or None")
    if not is_whole(device) or device < 0:
        raise UsageError(f"device is {device!r}, but the number of a GPU from 0 is expected")
    options: dict[str, Any] = {"device_id": int(device), "use_tf32": int(tf32)}
    if memory_limit is not None:
        options["gpu_mem_limit"] = int(memory_limit)
    return ExecutionProvider("cuda", capture.CUDA, options, graphs)


CPU = ExecutionProvider("cpu", capture.CPU)

KNOWN: tuple[ExecutionProvider, ...] = (CPU, cuda())
"""Those that have a name on the command line, and of which `auto` takes the fastest. The first is there everywhere."""


def candidates(asked: Asked) -> tuple[ExecutionProvider, ...]:
    """Of which the fastest is to be taken; one where there is nothing to choose.

    Raises:
        UsageError: a name that is not known, an empty list, or a name twice.
    """
    if isinstance(asked, ExecutionProvider):
        return (asked,)
    if isinstance(asked, str):
        return tuple(p for p in KNOWN if p.name in present()) if asked == "auto" else (_named(asked),)
    several = tuple(asked)
    names = [p.name for p in several]
    if not several or len(set(names)) < len(names):
        raise UsageError(f"provider is a list of {names}, but at least one is expected, and each name once")
    return several


def choose(asked: Asked) -> Provider:
    """The provider to load with, where nothing is measured: the one that was asked for, or the first of several.

    Raises:
        UsageError: another name.
        ProviderError: the provider is not in this onnxruntime, or does not come up here.
    """
    if isinstance(asked, str) and asked == "auto":
        return Provider(CPU, "auto: the CPU, which is there on every device")
    chosen = candidates(asked)[0]
    if chosen.onnxruntime_name == capture.CPU:
        return Provider(chosen, "asked for")
    from edgeseq_runtime._ort.probe import obstacle  # on most devices there is nothing to try

    if (found := obstacle(chosen.onnxruntime_name, chosen.options)) is not None:
        raise ProviderError(f"'{chosen.name}' was asked for, but {found}, or pass --provider cpu")
    return Provider(chosen, "asked for")


def present() -> tuple[str, ...]:
    """The short names of the providers in this onnxruntime, whether they come up or not."""
    return tuple(p.name for p in KNOWN if p.onnxruntime_name in available_providers())


def _named(name: str) -> ExecutionProvider:
    found = next((p for p in KNOWN if p.name == name), None)
    if found is None:
        raise UsageError(f"provider '{name}' is not known; choose auto, {' or '.join(p.name for p in KNOWN)}")
    return found
