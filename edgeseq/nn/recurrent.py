"""The recurrent family: RNN, LSTM and GRU stacks with a head, for classes or for values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from edgeseq_export.ops import Cell, RecurrentLayer
from edgeseq_runtime.draw import draw_inputs
from edgeseq_runtime.errors import UsageError
from edgeseq_runtime.signature import BATCH, TIME, Axis, Kind, Limit, Signature, StatePair
from edgeseq_runtime.signature import Tensor as TensorSpec
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from edgeseq.nn.family import Batch, Hints


@dataclass(frozen=True)
class RecurrentConfig:
    """How a recurrent network is built.

    cell, nonlinearity: the recurrence; the nonlinearity is of the plain RNN alone.
    input_size: features a step. output_size: classes, or values to forecast.
    head: one answer a step, one after the last valid step (for two directions: each direction's last), or one from
        the mean over the valid steps.
    task: "classify" gives logits and probabilities; "forecast" gives values in the data's own units.
    ragged: whether the network takes lengths. standardise: whether inputs (and forecast values) are standardised
        in the network, by the training data's mean and deviation.
    vocabulary_size, embedding_size: where the input is token ids, embedded before the first layer.
    """

    cell: Literal["rnn", "lstm", "gru"]
    input_size: int
    output_size: int
    hidden_size: int = 64
    num_layers: int = 1
    nonlinearity: Literal["tanh", "relu", "sigmoid"] = "tanh"
    bidirectional: bool = False
    dropout: float = 0.0
    head: Literal["step", "last", "mean"] = "last"
    task: Literal["classify", "forecast"] = "classify"
    ragged: bool = True
    standardise: bool = True
    initial_state: Literal["zeros", "learned"] = "zeros"
    vocabulary_size: int | None = None
    embedding_size: int = 32

    def __post_init__(self) -> None:
        _one_of("cell", self.cell, ("rnn", "lstm", "gru"))
        _one_of("nonlinearity", self.nonlinearity, ("tanh", "relu", "sigmoid"))
        _one_of("head", self.head, ("step", "last", "mean"))
        _one_of("task", self.task, ("classify", "forecast"))
        _one_of("initial_state", self.initial_state, ("zeros", "learned"))
        for name in ("input_size", "output_size", "hidden_size", "num_layers", "embedding_size"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}, but at least 1 is needed")
        if self.task == "classify" and self.output_size < 2:
            raise UsageError(f"output_size is {self.output_size}, but there are at least 2 classes to choose from")
        if self.vocabulary_size is not None and self.vocabulary_size < 2:
            raise UsageError(f"vocabulary_size is {self.vocabulary_size}, but at least 2 tokens are needed")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"dropout is {self.dropout}, but it must be at least 0 and less than 1")


class Recurrent(nn.Module):
    """A stack of recurrent layers between input standardisation (or a token embedding) and a head.

    Inputs: `x` float32 (batch, time, input_size), or `tokens` int64 (batch, time); `lengths` int64 (batch,) where
    the network is ragged; one state a layer and quantity, h0, c0, h1, … (directions, batch, hidden_size).
    """

    x_mean: Tensor
    x_deviation: Tensor
    y_mean: Tensor
    y_deviation: Tensor

    def __init__(self, config: RecurrentConfig, hints: Hints | None = None) -> None:
        super().__init__()
        self.config = config
        self.hints = hints or Hints()
        labels = self.hints.labels
        if labels is not None and config.task == "classify" and len(labels) != config.output_size:
            raise UsageError(f"there are {len(labels)} labels, but output_size is {config.output_size}")
        self.family: str = config.cell
        self.task: str = config.task
        self.directions = 2 if config.bidirectional else 1
        self.register_buffer("x_mean", torch.zeros(config.input_size))
        self.register_buffer("x_deviation", torch.ones(config.input_size))
        self.register_buffer("y_mean", torch.zeros(config.output_size))
        self.register_buffer("y_deviation", torch.ones(config.output_size))
        self.embedding = nn.Embedding(config.vocabulary_size, config.embedding_size) if config.vocabulary_size else None
        width = config.embedding_size if self.embedding else config.input_size
        sizes = [width] + [config.hidden_size * self.directions] * (config.num_layers - 1)
        self.layers = nn.ModuleList(
            RecurrentLayer(self._cell(), size, config.hidden_size, config.bidirectional) for size in sizes
        )
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.hidden_size * self.directions, config.output_size)
        self.initial = nn.ParameterDict()
        if config.initial_state == "learned":
            shape = (self.directions, 1, config.hidden_size)
            self.initial.update({name: nn.Parameter(torch.zeros(shape)) for name in self._layer_states()})

    def standardise(self, x_mean: Tensor, x_deviation: Tensor, y_mean: Tensor, y_deviation: Tensor) -> None:
        """Set the data's mean and deviation: inputs (input_size,), forecast values (output_size,)."""
        for name, value in (
            ("x_mean", x_mean),
            ("x_deviation", x_deviation),
            ("y_mean", y_mean),
            ("y_deviation", y_deviation),
        ):
            getattr(self, name).copy_(value)

    def forward(
        self,
        x: Tensor | None = None,
        lengths: Tensor | None = None,
        tokens: Tensor | None = None,
        **states: Tensor,
    ) -> dict[str, Tensor]:
        """Outputs and next states by the signature's names; a state that is not given starts at its initial value."""
        if unknown := states.keys() - {pair.input for pair in self._state_pairs()}:
            raise UsageError(f"there is no state '{min(unknown)}'; this network has {', '.join(self._layer_states())}")
        values = self._embed(x, tokens)
        y, batch = values.transpose(0, 1), values.shape[0]
        following: dict[str, Tensor] = {}
        last = y
        for index, layer in enumerate(self.layers):
            names = self._layer_states(index)
            given = tuple(states[n] if n in states else self._initial(n, batch, y) for n in names)
            y, after = layer(self.dropout(y) if index else y, given, lengths)
            following.update({f"{name}_next": state for name, state in zip(names, after, strict=True)})
            last = after[0]
        return {**self._answer(y, last, lengths, states, following), **following}

    def signature(self) -> Signature:
        """What goes in and out, with the hints of the training data."""
        config = self.config
        kind: Kind = "step" if config.head == "step" else "last"
        axes: tuple[Axis, ...] = (BATCH, TIME) if kind == "step" else (BATCH,)
        value = (*axes, config.output_size)
        if config.task == "classify":
            outputs: tuple[TensorSpec, ...] = (
                TensorSpec("logits", "float32", value, kind, decision="argmax"),
                TensorSpec("probabilities", "float32", value, kind, decision="argmax"),
            )
        else:
            outputs = (TensorSpec("values", "float32", value, kind),)
        return Signature(
            inputs=self._inputs(),
            outputs=outputs,
            states=self._state_pairs(),
            limits={TIME: Limit(1, None), BATCH: Limit(1, None)},
            typical=dict(self.hints.typical),
            streamable=not config.bidirectional,
            reason="it reads the sequence in both directions, so it needs the whole" if config.bidirectional else None,
        )

    def sample(self, sizes: Mapping[str, int], seed: int) -> dict[str, Tensor]:
        """Valid random inputs by the signature's `draw` hints, ragged where the network is."""
        arrays = draw_inputs(self.signature(), sizes, seed, ragged=self.config.ragged)
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

    def initial_values(self) -> dict[str, NDArray[Any]]:
        """The learned initial states by input name, (directions, 1, hidden_size); empty where they are zeros."""
        return {name: value.detach().numpy() for name, value in self.initial.items()}

    def loss(self, batch: Batch) -> Tensor:
        """Cross entropy, or the mean squared error of standardised values; over valid steps for a step head."""
        outputs, y = self._predict(batch)
        if self.config.task == "classify":
            return F.cross_entropy(outputs, y)
        return F.mse_loss((outputs - self.y_mean) / self.y_deviation, (y - self.y_mean) / self.y_deviation)

    def metrics(self, batch: Batch) -> dict[str, Tensor]:
        """`accuracy`, or `mae`, the mean absolute error in the data's own units."""
        outputs, y = self._predict(batch)
        if self.config.task == "classify":
            return {"accuracy": (outputs.argmax(-1) == y).float().mean()}
        return {"mae": (outputs - y).abs().mean()}

    def _predict(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits or values beside their targets, rows flattened over valid steps for a step head."""
        name = "tokens" if self.embedding else "x"
        lengths = batch.get("lengths") if self.config.ragged else None
        outputs = self(**{name: batch["x"]}, lengths=lengths)
        predicted = outputs["logits" if self.config.task == "classify" else "values"]
        y = batch["y"]
        if self.config.head == "step":
            valid = torch.ones(predicted.shape[:2], dtype=torch.bool, device=predicted.device)
            if lengths is not None:
                valid = torch.arange(predicted.shape[1], device=lengths.device) < lengths[:, None]
            predicted, y = predicted[valid], y[valid]
        return predicted, y

    def _embed(self, x: Tensor | None, tokens: Tensor | None) -> Tensor:
        if self.embedding is not None:
            if tokens is None:
                raise UsageError("this network takes 'tokens', int64 (batch, time)")
            return cast(Tensor, self.embedding(tokens))
        if x is None:
            raise UsageError(f"this network takes 'x', float32 (batch, time, {self.config.input_size})")
        return (x - self.x_mean) / self.x_deviation if self.config.standardise else x

    def _answer(
        self,
        y: Tensor,
        last: Tensor,
        lengths: Tensor | None,
        states: Mapping[str, Tensor],
        following: dict[str, Tensor],
    ) -> dict[str, Tensor]:
        """Apply the head. y: (time, batch, width); last: (directions, batch, hidden_size)."""
        if self.config.head == "step":
            pooled = y.transpose(0, 1)
        elif self.config.head == "last":
            pooled = last.squeeze(0) if self.directions == 1 else torch.cat([last[0], last[1]], -1)
        else:
            pooled = self._mean(y, lengths, states, following)
        result = self.head(self.dropout(pooled))
        if self.config.task == "classify":
            return {"logits": result, "probabilities": torch.softmax(result, -1)}
        if self.config.standardise:
            result = result * self.y_deviation + self.y_mean
        return {"values": result}

    def _mean(
        self, y: Tensor, lengths: Tensor | None, states: Mapping[str, Tensor], following: dict[str, Tensor]
    ) -> Tensor:
        """The mean over all valid steps so far. The sum is float64 and the count int64: a stream may run for months."""
        total = y.double().sum(0)  # y is zero after a row's end
        count = torch.full_like(y[0, :, 0], y.shape[0], dtype=torch.int64) if lengths is None else lengths
        if "total" in states:
            total, count = total + states["total"], count + states["count"]
        following["total_next"], following["count_next"] = total, count
        return (total / count.double()[:, None]).to(y.dtype)

    def _inputs(self) -> tuple[TensorSpec, ...]:
        config = self.config
        if config.vocabulary_size:
            main = TensorSpec("tokens", "int64", (BATCH, TIME), range=(0, config.vocabulary_size))
        else:
            draw = self.hints.draw.get("x", {"normal": [0.0, 1.0]})
            main = TensorSpec("x", "float32", (BATCH, TIME, config.input_size), draw=draw)
        if not config.ragged:
            return (main,)
        return main, TensorSpec("lengths", "int64", (BATCH,), of=main.name)

    def _state_pairs(self) -> tuple[StatePair, ...]:
        axes: tuple[Axis, ...] = (self.directions, BATCH, self.config.hidden_size)
        names = [name for index in range(self.config.num_layers) for name in self._layer_states(index)]
        pairs = [StatePair(name, f"{name}_next", axes, self.config.initial_state) for name in names]
        if self.config.head == "mean":
            width = self.directions * self.config.hidden_size
            pairs.append(StatePair("total", "total_next", (BATCH, width), dtype="float64"))
            pairs.append(StatePair("count", "count_next", (BATCH,), dtype="int64"))
        return tuple(pairs)

    def _layer_states(self, index: int | None = None) -> tuple[str, ...]:
        """The state names of one layer, or of all."""
        quantities = ("h", "c") if self.config.cell == "lstm" else ("h",)
        indices = range(self.config.num_layers) if index is None else (index,)
        return tuple(f"{quantity}{i}" for i in indices for quantity in quantities)

    def _initial(self, name: str, batch: int, like: Tensor) -> Tensor:
        shape = (self.directions, batch, self.config.hidden_size)
        if self.config.initial_state == "learned":
            return cast(Tensor, self.initial[name]).expand(shape).contiguous()
        return like.new_zeros(shape)

    def _cell(self) -> Cell:
        if self.config.cell == "rnn":
            return cast(Cell, f"rnn_{self.config.nonlinearity}")
        return self.config.cell


def _one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UsageError(f"{name} is {value!r}, but it must be one of {', '.join(allowed)}")
