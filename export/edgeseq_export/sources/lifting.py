"""States that a network keeps to itself, in layers of torch that start from zeros: found, to be states of the file."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from edgeseq_export.ops.torch_layers import is_torch_layer
from edgeseq_export.sources.call import Lifted
from edgeseq_export.sources.probe import Probe

_BATCHES = (2, 3)
"""Two sizes of the batch that are tried."""


@dataclass(frozen=True)
class Inner:
    """A state inside: what it is, its size a row, and its trained first value, (1, 1, size), where it has one."""

    lifted: Lifted
    size: int
    learned: Tensor | None


def find_inner(probe: Probe, sizes: Mapping[str, int]) -> list[Inner]:
    """The states of every recurrent layer of torch that is called once, forward, from zeros or from a trained value.

    A layer that starts from what was computed of the inputs (the state of a decoder) is left alone, and one whose rows
    are not those of the batch; so are all where one is called several times, as their states could not be told apart.
    """
    layers = {name: layer for name, layer in probe.module.named_modules() if is_torch_layer(layer)}
    if isinstance(probe.module, torch.jit.ScriptModule):
        return []
    runs = [_starts(probe, layers, {**sizes, "batch": batch}, seed) for seed, batch in enumerate(_BATCHES, 1)]
    found: list[Inner] = []
    for name, layer in layers.items():
        starts = [run.get(name, []) for run in runs]
        if any(len(each) != 1 for each in starts) or layer.bidirectional:
            if any(starts):
                return []
            continue  # it is not used
        if [each[0][1] for each in starts] != list(_BATCHES):
            continue
        first = _first_value(layer, [each[0][0] for each in starts])
        if first is None:
            return []
        width = 2 if isinstance(layer, nn.LSTM) else 1
        found += [
            Inner(
                Lifted(name, depth, quantity), first[quantity].shape[-1], _or_none(first[quantity][depth : depth + 1])
            )
            for depth in range(layer.num_layers)
            for quantity in range(width)
        ]
    return found


def _starts(probe: Probe, layers: Mapping[str, nn.Module], sizes: Mapping[str, int], seed: int) -> dict[str, list[Any]]:
    """What each layer was given as its first states, and how many rows, for each time it was called."""
    seen: dict[str, list[Any]] = {}
    removed = []
    for name, layer in layers.items():

        def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], name: str = name) -> None:
            hx = args[1] if len(args) > 1 else kwargs.get("hx")
            seen.setdefault(name, []).append((hx, _rows(layers[name], args[0] if args else kwargs["input"])))

        removed.append(layer.register_forward_pre_hook(before, with_kwargs=True))
    try:
        probe(probe.draw(sizes, seed))
    finally:
        for hook in removed:
            hook.remove()
    return seen


def _rows(layer: Any, given: Any) -> int:
    """How many rows a layer is given; 0 for one sequence without a batch axis."""
    if isinstance(given, nn.utils.rnn.PackedSequence):
        return int(given.batch_sizes[0])
    if given.dim() != 3:
        return 0
    return int(given.shape[0 if layer.batch_first else 1])


def _first_value(layer: Any, starts: list[Any]) -> tuple[Tensor, ...] | None:
    """The states that a layer starts from, each (depths, 1, size), where they are the same for every row and input."""
    widths = (layer.proj_size or layer.hidden_size, layer.hidden_size)[: 2 if isinstance(layer, nn.LSTM) else 1]
    if any(hx is None for hx in starts):
        return tuple(torch.zeros(layer.num_layers, 1, width) for width in widths)
    both = [hx if isinstance(hx, tuple | list) else (hx,) for hx in starts]
    if any(state.dim() != 3 for states in both for state in states):
        return None  # one sequence without a batch axis
    first = tuple(state[:, :1] for state in both[0])
    same = all(
        torch.equal(state, one.expand_as(state)) for states in both for state, one in zip(states, first, strict=True)
    )
    return first if same else None


def _or_none(value: Tensor) -> Tensor | None:
    return value if value.any() else None
