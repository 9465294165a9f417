"""What a network takes, where nobody says: read off its first layer; and of whole numbers, how large they may be."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from edgeseq_runtime.errors import UsageError
from edgeseq_runtime.signature import Tensor as Described
from torch import Tensor, nn

from edgeseq_export.sources.call import Parameter, parameters_of
from edgeseq_export.sources.probe import answered
from edgeseq_export.sources.spec import SYNTAX, Path, Spec, parse_specs

_BATCH, _TIME = 2, 40


def guessed(module: nn.Module, name: str) -> tuple[Spec, ...]:
    """The only input of a network, by what its layers take; the first that its forward accepts.

    Where time and batch could stand either way, recurrent layers tell.

    Raises:
        UsageError: it takes several, or none of the guesses.
    """
    required = [p for p in parameters_of(module) if p.required]
    takes = ", ".join(p.name for p in parameters_of(module)) or "nothing"
    fallback: Spec | None = None
    said = ""
    if len(required) == 1:
        for text in _candidates(module, required[0]):
            spec = parse_specs([text])[0]
            sizes = {"batch": _BATCH, "time": _TIME, **{axis: _TIME for axis in spec.axes if isinstance(axis, str)}}
            sizes["batch"] = _BATCH
            example = torch.zeros(
                [sizes[a] if isinstance(a, str) else a for a in spec.axes], dtype=getattr(torch, spec.tensor.dtype)
            )
            refusal = _refusal(module, {spec.path: example})
            if refusal is not None:
                lines = str(refusal).strip().splitlines()
                said = f", and {spec} it refuses: {type(refusal).__name__}{f': {lines[0]}' if lines else ''}"
            else:
                if _keeps_rows(module, {spec.path: example}):
                    return (spec,)
                fallback = fallback or spec
    if fallback is not None:
        return (fallback,)
    raise UsageError(
        f"what {name} takes cannot be told from its layers: its forward takes {takes}{said}. Say it: --input {SYNTAX}"
    )


def with_ranges(module: nn.Module, specs: Sequence[Spec], examples: Mapping[Path, Tensor]) -> tuple[Spec, ...]:
    """The same inputs; those of whole numbers without a range get that of the embedding which reads them.

    examples: an array of each, by path.

    Raises:
        UsageError: no embedding reads one of them, so its range is not known.
    """
    return tuple(_with_range(module, spec, examples) for spec in specs)


def _candidates(module: nn.Module, parameter: Parameter) -> Iterator[str]:
    for layer in module.modules():
        if isinstance(layer, nn.RNNBase):
            for axes in ("batch,time", "time,batch"):
                yield f"{parameter.name}:float32[{axes},{layer.input_size}]"
        elif isinstance(layer, nn.RNNCellBase):
            yield f"{parameter.name}:float32[batch,time,{layer.input_size}]"
        elif isinstance(layer, nn.Embedding):
            yield f"{parameter.name}:int64[batch,time]"
            yield f"{parameter.name}:int64[time,batch]"
        elif isinstance(layer, nn.Conv1d):
            yield f"{parameter.name}:float32[batch,{layer.in_channels},time]"
            yield f"{parameter.name}:float32[batch,time,{layer.in_channels}]"
        elif isinstance(layer, nn.Linear):
            yield f"{parameter.name}:float32[batch,time,{layer.in_features}]"
            yield f"{parameter.name}:float32[batch,{layer.in_features}]"


def _refusal(module: nn.Module, given: Mapping[Path, Tensor]) -> Exception | None:
    try:
        answered(module, given)
    except Exception as error:  # noqa: BLE001  # whatever somebody's forward raises, it is not this input
        return error
    return None


def _keeps_rows(module: nn.Module, given: Mapping[Path, Tensor]) -> bool:
    """Whether every recurrent layer that is called finds the rows of the batch where it takes them."""
    found: list[bool] = []

    def noted(layer: nn.Module, args: tuple[Any, ...]) -> None:
        if isinstance(layer, nn.RNNBase) and args and isinstance(args[0], Tensor) and args[0].dim() == 3:
            found.append(args[0].shape[0 if layer.batch_first else 1] == _BATCH)

    hooks = [layer.register_forward_pre_hook(noted) for layer in module.modules() if isinstance(layer, nn.RNNBase)]
    try:
        _refusal(module, given)
    finally:
        for hook in hooks:
            hook.remove()
    return all(found)


def _with_range(module: nn.Module, spec: Spec, examples: Mapping[Path, Tensor]) -> Spec:
    tensor = spec.tensor
    if "int" not in tensor.dtype or tensor.range is not None or tensor.of is not None:
        return spec
    found: list[int] = []
    counts = {path: e for path, e in examples.items() if str(path[-1]).endswith("lengths")}
    given = {path: torch.zeros_like(e) if "int" in str(e.dtype) else e for path, e in examples.items()} | counts

    def noted(layer: nn.Module, args: tuple[Tensor, ...]) -> None:
        if isinstance(layer, nn.Embedding) and args and args[0].numel() and bool((args[0] == 1).all()):
            found.append(layer.num_embeddings)

    hooks = [layer.register_forward_pre_hook(noted) for layer in module.modules() if isinstance(layer, nn.Embedding)]
    try:
        _refusal(module, {**given, spec.path: torch.ones_like(examples[spec.path])})
    finally:
        for hook in hooks:
            hook.remove()
    if not found:
        raise UsageError(
            f"'{tensor.name}' takes whole numbers, and no embedding says which. Say it: --input \"{spec}=0..99\""
        )
    bounds = (0, min(found))
    drawn = {"integers": list(bounds)}
    return Spec(spec.path, Described(tensor.name, tensor.dtype, tensor.axes, range=bounds, draw=drawn), spec.axes)
