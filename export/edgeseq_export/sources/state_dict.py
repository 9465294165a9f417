"""A bare state dict: its network is read off names and shapes, and what they do not tell is asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgeseq_runtime.errors import UsageError
from torch import Tensor, nn

from edgeseq_export.sources.chain import READS, Chain, TokenChain
from edgeseq_export.sources.layers import MOST_ORDERS, WITH_FACTORY, Layer, Options, layers_of, orders

_SHOWN = 12


@dataclass(frozen=True)
class Question:
    """Something that weights do not tell. keys: of --set, the one for this layer alone first.

    what: in words. choices: by value, what it means.
    """

    keys: tuple[str, ...]
    what: str
    choices: Mapping[str, str]


def read(state: Mapping[str, Tensor], settings: Mapping[str, Any], name: str = "the file") -> tuple[Chain, list[str]]:
    """The network that a state dict is of, in eval mode with its weights as float32, and notes: what was read.

    Args:
        state: weights by name, of RNN, LSTM or GRU layers with linear, embedding and norm layers before and behind.
        settings: what weights do not tell: `order`, `read`, `activation`, `nonlinearity` (the last two also of one
            layer, `NAME.activation`), and by a layer's name whether it is an `embedding` or `linear`.

    Raises:
        UsageError: weights that no such layer has; sizes that fit in no order; or more than one reading, each with
            the setting that chooses it; or a setting that is not asked for.
    """
    groups = layers_of(state, name)
    chosen = {key: str(value).strip() for key, value in settings.items()}
    chains = orders(groups)
    if not chains:
        raise UsageError(_no_chain(groups, name))
    fitting = [chain for chain in chains if _is_chosen(chain, chosen)]
    chain = (fitting or chains)[0]
    questions = _asked(fitting or chains)
    _check_settings(chosen, questions, chains)
    if not fitting:
        raise UsageError(f"{name} cannot be read as --set says. {_orders(chains)}")
    open_ones = [question for question in questions if not _answer(question, chosen)]
    if len(fitting) > 1 or open_ones:
        raise UsageError(_ambiguous(fitting, open_ones, name))
    return _network(chain, chosen), _notes(chain, chosen)


def input_spec(network: Chain) -> str:
    """What the network takes, as `--input` says it."""
    first = network.first_layer
    if isinstance(first, nn.Embedding):
        return f"tokens:int64[batch,time]=0..{first.num_embeddings - 1}"
    size = next(
        getattr(first, key) for key in ("input_size", "in_features", "num_features", "normalized_shape")
        if hasattr(first, key)
    )  # fmt: skip
    return f"x:float32[batch,time,{size[0] if isinstance(size, tuple) else size}]"


def _is_chosen(chain: Sequence[Layer], chosen: Mapping[str, str]) -> bool:
    """Whether this is the order that was chosen, with the kinds of layers that were."""
    order = chosen.get("order")
    wanted = [each.strip() for each in order.split(",")] if order is not None else None
    return wanted in (None, [layer.name for layer in chain]) and all(
        chosen.get(layer.name, layer.kind.__name__.lower()) == layer.kind.__name__.lower() for layer in chain
    )


def _asked(chains: Sequence[Sequence[Layer]]) -> list[Question]:
    """What the weights of these chains do not tell, each thing once."""
    found: dict[tuple[str, ...], Question] = {}
    for question in (question for chain in chains for question in _questions(chain)):
        known = found.setdefault(question.keys, question)
        found[question.keys] = max(known, question, key=lambda each: len(each.choices))
    return list(found.values())


def _questions(chain: Sequence[Layer]) -> list[Question]:
    """What the weights of this chain do not tell."""
    asked = [
        Question(
            (f"{layer.name}.nonlinearity", "nonlinearity"),
            f"the nonlinearity of '{layer.name}'",
            {"tanh": "torch's default", "relu": "max(0, x)"},
        )
        for layer in chain
        if layer.kind is nn.RNN
    ]
    asked += [
        Question(
            (f"{layer.name}.activation", "activation"),
            f"the activation behind '{layer.name}'",
            {"none": "nothing", "relu": "max(0, x)", "tanh": "tanh"},
        )
        for layer in chain[:-1]
        if layer.kind is nn.Linear
    ]
    last = max(place for place, layer in enumerate(chain) if layer.recurrent)
    if last < len(chain) - 1:
        reads = {key: words for key, words in READS.items() if key != "final" or chain[last].two_directions}
        asked.append(Question(("read",), f"what '{chain[last + 1].name}' reads of '{chain[last].name}'", reads))
    return asked


def _answer(question: Question, chosen: Mapping[str, str]) -> str | None:
    return next((chosen[key] for key in question.keys if key in chosen), None)


def _check_settings(
    chosen: Mapping[str, str], questions: Sequence[Question], chains: Sequence[Sequence[Layer]]
) -> None:
    """Refuse a setting that nobody asked for, or a value that it does not take."""
    allowed: dict[str, tuple[str, ...]] = {key: tuple(q.choices) for q in questions for key in q.keys}
    allowed["order"] = ()
    for layer in (layer for chain in chains for layer in chain if layer.kind in (nn.Embedding, nn.Linear)):
        if not layer.settings.get("bias"):
            allowed[layer.name] = ("embedding", "linear")
    for key, value in chosen.items():
        if key not in allowed:
            raise UsageError(f"--set {key}={value}: there is no such choice here; there are {', '.join(allowed)}")
        if allowed[key] and value not in allowed[key]:
            raise UsageError(f"--set {key}={value} is not understood; choose {', '.join(allowed[key])}")


def _network(chain: Sequence[Layer], chosen: Mapping[str, str]) -> Chain:
    questions = {question.keys[0]: _answer(question, chosen) or "" for question in _questions(chain)}
    layers = {
        layer.name: layer.build(
            **({"nonlinearity": questions[f"{layer.name}.nonlinearity"]} if layer.kind is nn.RNN else {})
        )
        for layer in chain
    }
    activations = [questions.get(f"{layer.name}.activation", "none") for layer in chain]
    kind = TokenChain if chain[0].kind is nn.Embedding else Chain
    network = kind(layers, activations, questions.get("read", "steps"))
    network.eval()
    return network


def _notes(chain: Sequence[Layer], chosen: Mapping[str, str]) -> list[str]:
    notes = ["read off the weights, one behind the other:", *_lines(chain)]
    for question in _questions(chain):
        answer = _answer(question, chosen) or ""
        notes.append(f"{question.what}: {answer} ({question.choices[answer]})")
    types = sorted({str(t.dtype) for layer in chain for t in layer.weights.values() if t.is_floating_point()})
    notes += [f"weights of type {t.removeprefix('torch.')} are used as float32" for t in types if t != "torch.float32"]
    return [
        *notes,
        f"the answer is what '{chain[-1].name}' gives: a softmax behind it is in no weight, so not in the file",
    ]


def _lines(layers: Sequence[Layer]) -> list[str]:
    return [f"  {layer.name}: {layer.words}" for layer in layers]


def _no_chain(groups: Sequence[Options], name: str) -> str:
    if not any(layer.recurrent for options in groups for layer in options):
        reason = "has no RNN, LSTM or GRU layer"
    else:
        reason = "has layers whose sizes fit in no order, each behind another"
    listed = [f"  {options[0].name}: {' or '.join(layer.words for layer in options)}" for options in groups]
    return "\n".join([f"{name} is a state dict that {reason}:", *listed, WITH_FACTORY])


def _ambiguous(chains: Sequence[Sequence[Layer]], questions: Sequence[Question], name: str) -> str:
    lines = [f"{name} is a state dict, and there is more than one network that it may be of. Its layers are", ""]
    lines += [*_lines(chains[0]), "", "and what their names and shapes do not tell has to be said:"]
    if len(chains) > 1:
        lines.append(_orders(chains))
    shared: dict[str, list[Question]] = {}
    for question in questions:
        shared.setdefault(question.keys[-1], []).append(question)
    for key, each in shared.items():
        lines.append("; ".join(question.what for question in each))
        lines += [f"  --set {key}={choice}    {words}" for choice, words in each[0].choices.items()]
        if len(each) > 1:
            lines.append(f"  or one by one, such as --set {each[0].keys[0]}={next(iter(each[0].choices))}")
    return "\n".join((*lines, f"Or: {WITH_FACTORY[0].lower()}{WITH_FACTORY[1:]}"))


def _orders(chains: Sequence[Sequence[Layer]]) -> str:
    """The orders and kinds of layers that fit, each with what chooses it."""
    names = {tuple(layer.name for layer in chain) for chain in chains}
    kinds = {layer.name: {c.kind for chain in chains for c in chain if c.name == layer.name} for layer in chains[0]}
    unsure = {name for name, each in kinds.items() if len(each) > 1}
    lines = []
    for chain in chains[:_SHOWN]:
        choice = [f"--set order={','.join(layer.name for layer in chain)}"] if len(names) > 1 else []
        choice += [f"--set {c.name}={c.kind.__name__.lower()}" for c in chain if c.name in unsure]
        lines.append(f"  {' '.join(choice)}    {' -> '.join(f'{c.name} ({c.words})' for c in chain)}")
    if len(chains) > _SHOWN:
        lines.append(f"  and {'more' if len(chains) >= MOST_ORDERS else len(chains) - _SHOWN} other orders")
    return "\n".join(("the layers one behind the other", *lines))
