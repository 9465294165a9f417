"""The character language model: what comes next after each symbol of a text, and text drawn from that, in the graph."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from edgeseq_export import recur
from edgeseq_export.ops import Cell, Layer, RecurrentLayer
from edgeseq_export.ops.drawing import draw
from edgeseq_runtime.errors import UsageError
from edgeseq_runtime.signature import BATCH, TIME, Limit, Signature, StatePair
from edgeseq_runtime.signature import Tensor as TensorSpec
from torch import Tensor, nn
from torch.nn import functional as F

from edgeseq.data import Dataset
from edgeseq.data.text import START, UNKNOWN
from edgeseq.nn import initialise
from edgeseq.nn.cells import StackStep
from edgeseq.nn.family import Batch, Hints, Outputs
from edgeseq.nn.network import Network, check_choice, check_common, check_positive

LENGTH = "length"
"""The axis of what is generated."""

_CELLS: dict[str, Cell] = {"rnn": "rnn_tanh", "lstm": "lstm", "gru": "gru"}
_PROMPT = 20

States = tuple[Tensor, ...]


@dataclass(frozen=True)
class CharLMConfig:
    """How a character language model is built.

    cell: the recurrence. output_size: symbols. embedding_size, hidden_size, num_layers: widths and depth.
    dropout: of what goes into each layer after the first, and into the output layer; embedding_dropout: into the first.
    recurrent_init: of the recurrent matrices: PyTorch's uniform one, or orthogonal. forget_bias: of the LSTM's forget
        gates at the start; None for PyTorch's random one.
    typical_length: symbols that are generated where nobody says how many; what an unrolled file always generates.
    """

    output_size: int
    cell: Literal["lstm", "gru", "rnn"] = "lstm"
    embedding_size: int = 64
    hidden_size: int = 192
    num_layers: int = 2
    dropout: float = 0.0
    embedding_dropout: float = 0.0
    recurrent_init: Literal["default", "orthogonal"] = "default"
    forget_bias: float | None = None
    typical_length: int = 50
    task: Literal["classify"] = "classify"

    def __post_init__(self) -> None:
        check_common(self)
        check_choice("cell", self.cell, tuple(_CELLS))
        check_choice("task", self.task, ("classify",))
        check_choice("recurrent_init", self.recurrent_init, ("default", "orthogonal"))
        check_positive(self, "embedding_size", "hidden_size", "num_layers", "typical_length")
        if self.cell != "lstm" and self.forget_bias is not None:
            raise UsageError(f"forget_bias is of the lstm, but the cell is {self.cell}, which has no forget gate")
        if not 0 <= self.embedding_dropout < 1:
            raise UsageError(
                f"embedding_dropout is {self.embedding_dropout}, but it must be at least 0 and less than 1"
            )


class CharLM(Network):
    """An embedding, recurrent layers and a softmax over the next symbol (Mikolov et al. 2010; Graves 2013, section 2).

    Inputs: `tokens` int64 (batch, time), the prompt; `lengths` int64 (batch,); `noise` (batch, length), uniform in
    [0, 1), one number for each symbol to generate; one state a layer and quantity, (1, batch, hidden_size).
    Outputs: `logits` (batch, time, symbols), what comes next after each symbol of the prompt; `generated` int64
    (batch, length), drawn from the prompt's end on; and the next states, after the prompt and all that was generated
    but its last symbol: given with them as the next prompt, that symbol lets the text go on. In PyTorch also
    `generated_margin` (batch, length), by how much each draw was clear.
    """

    def __init__(self, config: CharLMConfig, hints: Hints | None = None) -> None:
        super().__init__(config, hints, "charlm")
        self.embedding = nn.Embedding(config.output_size, config.embedding_size)
        sizes = [config.embedding_size] + [config.hidden_size] * (config.num_layers - 1)
        self.layers = nn.ModuleList(self._layer(size) for size in sizes)
        self.embedding_dropout = nn.Dropout(config.embedding_dropout)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.hidden_size, config.output_size)
        self.generation = Generation(self.embedding, cast(Sequence[RecurrentLayer], self.layers), self.head)

    @classmethod
    def sizes(cls, data: Dataset) -> dict[str, Any]:
        """The number of symbols.

        Raises:
            UsageError: data that is no text: its steps are not answered with symbols of the vocabulary they are from.
        """
        if not data.stepwise or data.labels != (data.vocabulary or {}).get("tokens"):
            raise UsageError("the family 'charlm' learns from text: a .txt file, or the source python-docs")
        return super().sizes(data)

    def forward(
        self,
        tokens: Tensor,
        lengths: Tensor | None = None,
        noise: Tensor | None = None,
        temperature: Tensor | None = None,
        top_k: Tensor | None = None,
        **states: Tensor,
    ) -> dict[str, Tensor]:
        """Outputs and next states by the signature's names; without noise nothing is generated."""
        y = self.embedding_dropout(self.embedding(tokens.transpose(0, 1)))
        after: list[Tensor] = []
        for index, layer in enumerate(self.layers):
            names = self._names(index)
            zeros = y.new_zeros(1, y.shape[1], self.config.hidden_size)
            given = tuple(states.get(name, zeros) for name in names)
            y, last = layer(self.dropout(y) if index else y, given, lengths)
            after += last
        outputs = {"logits": self.head(self.dropout(y)).transpose(0, 1)}
        if noise is not None:
            values = self._values(noise, temperature, top_k)
            following = [state.squeeze(0) for state in after]
            logits = self.head(following[-len(self._names(0))])
            drawn, following = self.generation(noise, *values, tuple(following), logits)
            outputs.update(drawn)
            after = [state.unsqueeze(0) for state in following]
        return {**outputs, **{pair.output: state for pair, state in zip(self._state_pairs(), after, strict=True)}}

    def signature(self) -> Signature:
        """What goes in and out."""
        symbols = self.config.output_size
        return Signature(
            inputs=(
                TensorSpec("tokens", "int64", (BATCH, TIME), range=(0, symbols)),
                TensorSpec("lengths", "int64", (BATCH,), of="tokens"),
                TensorSpec("noise", "float32", (BATCH, LENGTH), draw={"uniform": [0.0, 1.0]}),
            ),
            outputs=(
                TensorSpec("generated", "int64", (BATCH, LENGTH), "sequence", range=(0, symbols)),
                TensorSpec("logits", "float32", (BATCH, TIME, symbols), "step", decision="argmax"),
            ),
            states=self._state_pairs(),
            limits={TIME: Limit(1, None), BATCH: Limit(1, None), LENGTH: Limit(1, None)},
            typical={**self.hints.typical, TIME: _PROMPT, LENGTH: self.config.typical_length},
            reason="it generates after each call's prompt; carry the states from call to call with run(states=True)",
        )

    def vocabulary(self) -> Mapping[str, Any] | None:
        """The symbols, character by character; a text begins with the one that stands between documents."""
        symbols = (self.hints.vocabulary or {}).get("tokens")
        if symbols is None:
            return None
        return {"tokens": {"symbols": list(symbols), "kind": "character", "unknown": UNKNOWN, "start": START}}

    def values(self) -> Mapping[str, float | int]:
        """`temperature` divides the logits: below 1 the likely becomes likelier, and 0 takes the likeliest.

        `top_k`: draw among so many of the likeliest symbols; 0: among all.
        """
        return {"temperature": 1.0, "top_k": 0}

    def metrics(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """`bits` a symbol, and `accuracy`."""
        return {"bits": self.loss(outputs, batch) / math.log(2), **super().metrics(outputs, batch)}

    def _layer(self, size: int) -> RecurrentLayer:
        """A layer that reads `size` features, with its first weights."""
        config = self.config
        layer = RecurrentLayer(_CELLS[config.cell], size, config.hidden_size)
        if config.recurrent_init == "orthogonal":
            initialise.orthogonal(layer)
        if config.forget_bias is not None:
            initialise.forget_bias(layer, config.forget_bias)
        return layer

    def _values(self, noise: Tensor, temperature: Tensor | None, top_k: Tensor | None) -> tuple[Tensor, Tensor]:
        defaults = self.values()
        return (
            noise.new_tensor(defaults["temperature"]) if temperature is None else temperature,
            torch.tensor(defaults["top_k"], device=noise.device) if top_k is None else top_k,
        )

    def _state_pairs(self) -> tuple[StatePair, ...]:
        axes = (1, BATCH, self.config.hidden_size)
        names = [name for index in range(self.config.num_layers) for name in self._names(index)]
        return tuple(StatePair(name, f"{name}_next", axes) for name in names)

    def _names(self, index: int) -> tuple[str, ...]:
        return tuple(f"{quantity}{index}" for quantity in ("hc" if self.config.cell == "lstm" else "h"))


class Generation(Layer):
    """Text drawn symbol by symbol. It has no weights of its own: what it repeats is made of the network's layers."""

    def __init__(self, embedding: nn.Embedding, layers: Sequence[RecurrentLayer], head: nn.Linear) -> None:
        super().__init__()
        self._parts = (embedding, tuple(layers), head)  # in a tuple, since a module has each weight under one name

    def forward(
        self, noise: Tensor, temperature: Tensor, top_k: Tensor, states: States, logits: Tensor
    ) -> tuple[dict[str, Tensor], States]:
        """As Generating; made anew at each call, of the weights of the moment."""
        drawn: tuple[dict[str, Tensor], States] = self._made(("generated", "generated_margin"))(
            noise, temperature, top_k, states, logits
        )
        return drawn

    def stepped(self) -> nn.Module:
        """As a step that is repeated."""
        return self._made(("generated",))

    def _made(self, gives: tuple[str, ...]) -> nn.Module:
        return Generating(DrawStep(*self._parts, len(gives)), gives)


class Generating(nn.Module):
    """The repeated step. gives: what it says of each symbol: which it is, and by how much."""

    def __init__(self, step: "DrawStep", gives: tuple[str, ...]) -> None:
        super().__init__()
        self.step = step
        self._gives = gives

    def forward(
        self, noise: Tensor, temperature: Tensor, top_k: Tensor, states: States, logits: Tensor
    ) -> tuple[dict[str, Tensor], States]:
        """What is drawn, each (batch, length), and the states before the last symbol that was.

        noise: (batch, length); temperature, top_k: (); states: (batch, hidden_size) each; logits: (batch, symbols).
        """
        count = len(states)
        each = noise.transpose(0, 1).unsqueeze(-1)
        read = (each, temperature.expand(each.shape), top_k.expand(each.shape))
        after, drawn = recur(self.step, (*states, *states, logits), read)
        given = {name: values.squeeze(-1).transpose(0, 1) for name, values in zip(self._gives, drawn, strict=True)}
        return given, after[count : 2 * count]


class DrawStep(nn.Module):
    """One symbol drawn, and read by the layers to know what may follow it.

    gives: 1 for the symbol alone, 2 with the margin of its draw.
    """

    def __init__(self, embedding: nn.Embedding, layers: Sequence[RecurrentLayer], head: nn.Linear, gives: int) -> None:
        super().__init__()
        self._gives = gives
        self.stack = StackStep(layers)
        self.register_buffer("embedding", embedding.weight.detach())
        self.register_buffer("w_head", head.weight.detach())
        self.register_buffer("b_head", head.bias.detach())

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The next states, those given, the next logits; the symbol int64 (batch, 1), and its margin where asked for.

        tensors: states, the states before those, the logits (batch, symbols); noise, temperature, top_k (batch, 1).
        """
        *both, logits, noise, temperature, top_k = tensors
        states = both[: len(both) // 2]
        drawn = draw(logits, noise, temperature, top_k)
        x = F.embedding(drawn[0].squeeze(-1), cast(Tensor, self.embedding))
        h, *following = self.stack(x, *states)
        logits = F.linear(h, cast(Tensor, self.w_head), cast(Tensor, self.b_head))
        return *following, *states, logits, *drawn[: self._gives]
