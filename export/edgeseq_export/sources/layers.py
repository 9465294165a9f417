"""The layers in a state dict, read off names and shapes, and the orders in which their sizes fit."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from edgeseq_runtime.errors import UsageError
from torch import Tensor, nn

from edgeseq_export.sources.weights import misfits

RECURRENT: Mapping[int, type[nn.RNNBase]] = {1: nn.RNN, 3: nn.GRU, 4: nn.LSTM}
"""The recurrent layers by how many gates they have."""

MOST_ORDERS = 50
_MOST_STEPS = 20_000

_RECURRENT_WEIGHT = re.compile(r"(weight|bias)_(ih|hh|hr)_l(\d+)(_reverse)?")


@dataclass(frozen=True)
class Layer:
    """One layer. name: in the file. takes, gives: features of a step; of an embedding, `takes` counts its symbols.

    kind, settings: torch's layer, and what to make it with. weights: its state dict. words: what it is, in short.
    """

    name: str
    kind: type[nn.Module]
    takes: int
    gives: int
    words: str
    settings: Mapping[str, Any]
    weights: Mapping[str, Tensor] = field(repr=False)

    @property
    def recurrent(self) -> bool:
        """Whether it reads step by step."""
        return issubclass(self.kind, nn.RNNBase)

    @property
    def two_directions(self) -> bool:
        """Whether a recurrent layer has both."""
        return bool(self.settings.get("bidirectional"))

    def build(self, **more: Any) -> nn.Module:
        """The layer with its weights, as float32. more: settings that no weight tells."""
        with torch.random.fork_rng(devices=[]):  # the fresh weights are overwritten; the caller's seed stays
            layer = self.kind(**self.settings, **more)
        layer.load_state_dict(dict(self.weights))
        return layer


Options = tuple[Layer, ...]
"""What a group of weights may be: one layer, or several."""


def layers_of(state: Mapping[str, Tensor], name: str) -> tuple[Options, ...]:
    """Each group of weights as the layers that it may be, in the file's order. name: of the file, for messages.

    Raises:
        UsageError: weights that are of none of the layers that can be read off; they are named.
    """
    groups: dict[str, dict[str, Tensor]] = {}
    for key, tensor in state.items():
        prefix, _, weight = key.rpartition(".")
        groups.setdefault(prefix, {})[weight] = tensor
    found = {prefix: _options(prefix, weights) for prefix, weights in groups.items()}
    strange = [f"{p}.{key}".lstrip(".") for p, options in found.items() if not options for key in groups[p]]
    if strange:
        more = f" and {len(strange) - 8} more" if len(strange) > 8 else ""
        raise UsageError(
            f"{name} is a state dict with weights that are of no RNN, LSTM, GRU, linear, embedding, layer norm or "
            f"batch norm layer: {', '.join(strange[:8])}{more}. {WITH_FACTORY}"
        )
    return tuple(found.values())


WITH_FACTORY = "Give the network itself, package.module:factory, and this file with --weights"


def orders(groups: Sequence[Options]) -> list[tuple[Layer, ...]]:
    """All chains of all layers in which each takes what the one before it gives, the file's own order first.

    Layers that differ by a number alone (layers.0, layers.1) are in that number's order. At most MOST_ORDERS.
    """
    found: list[tuple[Layer, ...]] = []
    for steps, chain in enumerate(_chains((), tuple(groups))):
        if len(chain) == len(groups) and any(layer.recurrent for layer in chain):
            found.append(chain)
        if len(found) >= MOST_ORDERS or steps > _MOST_STEPS:
            break
    return found


def _chains(start: tuple[Layer, ...], rest: tuple[Options, ...]) -> Iterator[tuple[Layer, ...]]:
    yield start
    for place, options in enumerate(rest):
        others = (*rest[:place], *rest[place + 1 :])
        if any(_comes_before(other[0].name, options[0].name) for other in others):
            continue
        for layer in options:
            first = not start
            if (first or layer.takes == start[-1].gives) and (first or layer.kind is not nn.Embedding):
                yield from _chains((*start, layer), others)


def _comes_before(one: str, other: str) -> bool:
    """Whether the first thing in which two names differ is a number, and it is smaller in the first."""
    for a, b in zip(re.split(r"(\d+)", one), re.split(r"(\d+)", other), strict=False):
        if a != b:
            return a.isdigit() and b.isdigit() and int(a) < int(b)
    return False


def _options(prefix: str, weights: Mapping[str, Tensor]) -> Options:
    """The layers that weights of one prefix may be; none where they are of no layer that is known."""
    if all(_RECURRENT_WEIGHT.fullmatch(key) for key in weights):
        return _recurrent(prefix, weights)
    numbers = [t for t in weights.values() if t.is_floating_point()]
    if len(numbers) + ("num_batches_tracked" in weights) < len(weights):
        return ()
    shapes = {key: tuple(tensor.shape) for key, tensor in weights.items()}
    weight = shapes.get("weight", ())
    if set(shapes) == {"weight", "bias"} and len(weight) == 2 and shapes["bias"] == weight[:1]:
        return (_linear(prefix, weights),)
    if set(shapes) == {"weight"} and len(weight) == 2:
        count, size = weight
        made = {"num_embeddings": count, "embedding_dim": size}
        words = f"Embedding of {count} symbols in {size}"
        return Layer(prefix, nn.Embedding, count, size, words, made, weights), _linear(prefix, weights)
    if set(shapes) == {"weight", "bias"} and len(weight) == 1 and shapes["bias"] == weight:
        (size,) = weight
        return (Layer(prefix, nn.LayerNorm, size, size, f"LayerNorm {size}", {"normalized_shape": size}, weights),)
    return _batch_norm(prefix, weights, shapes)


def _batch_norm(prefix: str, weights: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> Options:
    vectors = {key: shape for key, shape in shapes.items() if key != "num_batches_tracked"}
    sizes = set(vectors.values())
    affine = "weight" in vectors
    expected = {"running_mean", "running_var", *(("weight", "bias") if affine else ())}
    if set(vectors) != expected or len(sizes) != 1 or len(size := sizes.pop()) != 1:
        return ()
    full = {"num_batches_tracked": torch.tensor(0), **weights}
    made = {"num_features": size[0], "affine": affine}
    return (Layer(prefix, nn.BatchNorm1d, size[0], size[0], f"BatchNorm1d {size[0]}", made, full),)


def _linear(prefix: str, weights: Mapping[str, Tensor]) -> Layer:
    gives, takes = weights["weight"].shape
    made = {"in_features": takes, "out_features": gives, "bias": "bias" in weights}
    return Layer(prefix, nn.Linear, takes, gives, f"Linear {takes} -> {gives}", made, weights)


def _recurrent(prefix: str, weights: Mapping[str, Tensor]) -> Options:
    """A recurrent layer whose weights are all there, and fit; else none."""
    first, carried, projected = (weights.get(f"weight_{part}_l0") for part in ("ih", "hh", "hr"))
    if any(t is None or t.dim() != 2 for t in (first, carried)) or (projected is not None and projected.dim() != 2):
        return ()
    assert first is not None  # for the reader of types: told above
    assert carried is not None
    hidden = carried.shape[1] if projected is None else projected.shape[1]
    gates, rest = divmod(first.shape[0], max(hidden, 1))
    if gates not in RECURRENT or rest or 0 in (*first.shape, hidden) or (projected is not None and gates != 4):
        return ()
    kind = RECURRENT[gates]
    count = 1 + max(int(found[3]) for key in weights if (found := _RECURRENT_WEIGHT.fullmatch(key)))
    if count > len(weights):
        return ()
    both = "weight_ih_l0_reverse" in weights
    settings: dict[str, Any] = {
        "input_size": first.shape[1],
        "hidden_size": hidden,
        "num_layers": count,
        "bias": "bias_ih_l0" in weights,
        "bidirectional": both,
        "batch_first": True,
        **({"proj_size": projected.shape[0]} if projected is not None else {}),
    }
    if projected is not None and projected.shape[0] >= hidden:  # torch makes no such layer
        return ()
    with torch.device("meta"):
        expected = kind(**settings).state_dict()
    if misfits({key: tensor.float() for key, tensor in weights.items()}, expected):
        return ()
    size = hidden if projected is None else projected.shape[0]
    gives = size * (1 + both)
    words = f"{kind.__name__} {first.shape[1]} -> {size}"
    words += f", {count} layers" if count > 1 else ""
    words += f" projected from {hidden}" if projected is not None else ""
    words += ", both directions" if both else ""
    words += "" if settings["bias"] else ", no bias"
    return (Layer(prefix or kind.__name__.lower(), kind, first.shape[1], gives, words, settings, weights),)
