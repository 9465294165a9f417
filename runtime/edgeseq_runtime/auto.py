"""provider="auto": of the execution providers that come up here, the one that runs a model fastest."""

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

from edgeseq_runtime import cache
from edgeseq_runtime._ort.probe import obstacle
from edgeseq_runtime._ort.session import onnxruntime_version
from edgeseq_runtime.errors import EdgeseqError, ProviderError, UnsupportedFileError
from edgeseq_runtime.processor import gpus, processor
from edgeseq_runtime.providers import ExecutionProvider, Provider
from edgeseq_runtime.signature import BATCH, TIME
from edgeseq_runtime.threads import usable_cores

if TYPE_CHECKING:
    from edgeseq_runtime.measure import Call
    from edgeseq_runtime.model import Model

KIND = "providers"
"""The folder of the cache in which choices are kept."""

VERSION = 1
"""Of what is kept; it grows when an older choice must not be taken any more."""

WARM_UP, WARM_UP_SECONDS, LEAST = 5, 0.1, 3
"""Calls before the first that is timed; fewer where they take long, but two, and on a device as many as it takes until
its libraries are there and a shape that comes back is captured."""

Opened = Callable[[ExecutionProvider], "Model"]
Figures = Mapping[str, float]


@dataclass(frozen=True)
class Contest:
    """What is timed: a file at sizes, on providers. stepped: a step of a stream, else a run; device: of the machine."""

    file: str
    threads: int
    sizes: Mapping[str, int]
    stepped: bool
    providers: Sequence[ExecutionProvider]
    device: Sequence[Any]
    onnxruntime: str

    @property
    def key(self) -> dict[str, Any]:
        """What a choice hangs on, as plain JSON values; sizes are rounded up to powers of two."""
        return {
            "version": VERSION,
            "file": self.file,
            "threads": self.threads,
            "sizes": {name: 1 << (size - 1).bit_length() for name, size in self.sizes.items()},
            "stepped": self.stepped,
            "providers": [[one.name, one.onnxruntime_name, repr(one.options), one.graphs] for one in self.providers],
            "device": list(self.device),
            "onnxruntime": self.onnxruntime,
        }

    def __str__(self) -> str:
        shape = " × ".join(f"{name} {size}" for name, size in self.sizes.items()) or "no free axes"
        return f"{shape}, a step of a stream" if self.stepped else shape


def fastest(several: Sequence[ExecutionProvider], opened: Opened, sizes: Mapping[str, int] | None = None) -> "Model":
    """The file on the provider that runs it fastest; its `provider` says why.

    Where one alone is there, nothing is measured and nothing is kept. One that does not come up, does not open the
    file or does not run is left out, and the reason told.

    Args:
        several: the preferred one first. opened: opens the file on one of them.
        sizes: of the axes that are not to be typical. With a time of 1 a step of a stream is timed, else a run.

    Raises:
        ProviderError: none of them can be used.
    """
    dropped = {one.name: str(why) for one in several if (why := obstacle(one.onnxruntime_name, one.options))}
    ready = [one for one in several if one.name not in dropped]
    while ready and (first := _attempt(ready[0], opened, dropped)) is None:
        ready = ready[1:]
    if not ready or first is None:
        raise ProviderError(f"no execution provider can be used here: {_told(dropped)}")
    if len(ready) == 1:
        return _chosen(first, f"auto: the only one {'that can be used ' if dropped else ''}here", dropped)
    contest = _contest(first, ready, sizes)
    if (known := _recalled(contest)) is not None:
        name, figures = known
        one = next(one for one in ready if one.name == name)
        model = first if one is ready[0] else _attempt(one, opened, dropped)
        if model is not None:
            return _chosen(model, f"{_why(contest, figures)}, as measured earlier", dropped, figures)
        ready.remove(one)  # what came up then does not now
    others = {one.name: model for one in ready[1:] if (model := _attempt(one, opened, dropped)) is not None}
    return _measured(contest, {ready[0].name: first, **others}, dropped)


def _measured(contest: Contest, models: Mapping[str, "Model"], dropped: dict[str, str]) -> "Model":
    """The fastest of the models, after a race of those that run."""
    from edgeseq_runtime.measure import race  # what measures is not needed to run

    failed: dict[str, str] = {}
    calls = {n: call for n, model in models.items() if (call := _first_calls(n, model, contest, failed)) is not None}
    if not calls:  # a foreign file may want what nobody can guess
        name, why = next(iter(failed.items()))
        return _chosen(models[name], f"auto: {name}, since nothing could be measured ({why})", dropped)
    dropped |= failed
    if len(calls) == 1:
        return _chosen(models[next(iter(calls))], "auto: the only one that can be used here", dropped)
    figures = race(calls)
    name = next(iter(figures))
    if len(figures) == len(contest.providers):  # what failed today may run tomorrow
        cache.remember(KIND, contest.key, {"name": name, "figures_us": figures})
    return _chosen(models[name], _why(contest, figures), dropped, figures)


def _attempt(one: ExecutionProvider, opened: Opened, dropped: dict[str, str]) -> "Model | None":
    """The file on a provider; None where that does not open it, with the reason put to the others."""
    try:
        return opened(one)
    except (ProviderError, UnsupportedFileError) as error:
        dropped[one.name] = str(error)
        return None


def _first_calls(name: str, model: "Model", contest: Contest, failed: dict[str, str]) -> "Call | None":
    """The call to time, made a few times already, since what is done once is slow; None where it fails."""
    from edgeseq_runtime.measure import model_call

    try:
        call = model_call(model, {BATCH: 1, TIME: 1, **contest.sizes}, contest.stepped)
        end = time.monotonic() + WARM_UP_SECONDS
        least = 1 if model.provider.on_cpu else LEAST
        for number in range(WARM_UP):
            call()
            if number >= least and time.monotonic() > end:
                break
    except (EdgeseqError, MemoryError, ValueError) as error:
        failed[name] = str(error)
        return None
    return call


def _contest(model: "Model", ready: Sequence[ExecutionProvider], sizes: Mapping[str, int] | None) -> Contest:
    given, signature = {**model.sizes(), **(sizes or {})}, model.signature
    whole = {name: size for name, size in signature.sized(given).items() if name in signature.symbols}
    stepped = signature.streamable and given.get(TIME) == 1
    device = (platform.machine(), processor().model, usable_cores(), *gpus())
    return Contest(model.identity, model.threads.count, whole, stepped, tuple(ready), device, onnxruntime_version())


def _recalled(contest: Contest) -> tuple[str, Figures] | None:
    """An earlier choice among the same providers, and its figures, where what was kept is whole."""
    value = cache.recall(KIND, contest.key)
    names = {one.name for one in contest.providers}
    if not isinstance(value, dict) or not isinstance(figures := value.get("figures_us"), dict):
        return None
    sound = names == figures.keys() and all(isinstance(us, float) and 0 < us < inf for us in figures.values())
    return next(((name, figures) for name in names if sound and name == value.get("name")), None)


def _why(contest: Contest, figures: Figures) -> str:
    return f"auto: fastest of {', '.join(figures)} at {contest}"


def _told(dropped: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {why}" for name, why in dropped.items())


def _chosen(model: "Model", reason: str, dropped: Mapping[str, str], figures: Figures | None = None) -> "Model":
    told = f"{reason}; left out is {_told(dropped)}" if dropped else reason
    model.provider = Provider(model.provider.chosen, told, dict(figures or {}), dict(dropped))
    return model
