"""The recurrent family: RNN, LSTM and GRU stacks with a head, for classes or for values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from edgeseq_export.ops import LeakyLayer, RecurrentLayer
from edgeseq_runtime.errors import UsageError
from edgeseq_runtime.signature import BATCH, TIME, Axis, Limit, Signature, StatePair
from edgeseq_runtime.signature import Tensor as TensorSpec
from numpy.typing import NDArray
from torch import Tensor, nn

from edgeseq.data import Dataset
from edgeseq.nn import initialise
from edgeseq.nn.cells import cell_of
from edgeseq.nn.family import Hints
from edgeseq.nn.network import BASELINE, check_choice, check_common, check_positive, last_step
from edgeseq.nn.reader import Reader


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
    baseline: whether a first forecast is an input too, at every step, to which the answer is added.
    vocabulary_size, embedding_size: where the input is token ids, embedded before the first layer.
    recurrent_init: of the recurrent matrices: PyTorch's uniform one, orthogonal, or (of the plain RNN) the identity.
    forget_bias: of the forget gates at the start, of the LSTM alone; None for PyTorch's random one.
    chrono: how many steps the gates of an LSTM or GRU remember at the start, each unit from 1 to so many; 0 for
        PyTorch's random gates.
    leak_rate: of the plain RNN alone: the share of a unit's value that is new at each step.
    skip: of the plain RNN alone: a unit also reads the state so many steps ago; 0 for none.
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
    baseline: bool = False
    vocabulary_size: int | None = None
    embedding_size: int = 32
    recurrent_init: Literal["default", "orthogonal", "identity"] = "default"
    forget_bias: float | None = None
    chrono: int = 0
    leak_rate: float = 1.0
    skip: int = 0

    def __post_init__(self) -> None:
        check_common(self)
        check_choice("cell", self.cell, ("rnn", "lstm", "gru"))
        check_choice("nonlinearity", self.nonlinearity, ("tanh", "relu", "sigmoid"))
        check_choice("head", self.head, ("step", "last", "mean"))
        check_choice("task", self.task, ("classify", "forecast"))
        check_choice("initial_state", self.initial_state, ("zeros", "learned"))
        check_positive(self, "input_size", "hidden_size", "num_layers", "embedding_size")
        if self.vocabulary_size is not None and self.vocabulary_size < 2:
            raise UsageError(f"vocabulary_size is {self.vocabulary_size}, but at least 2 tokens are needed")
        if self.baseline and self.task != "forecast":
            raise UsageError(f"a baseline is a first forecast, but the task is to {self.task}")
        self._check_long_term()

    @property
    def leaky(self) -> bool:
        """Whether its units leak or look back further than a step, so that no operator computes them."""
        return self.leak_rate != 1 or self.skip > 0

    def _check_long_term(self) -> None:
        check_choice("recurrent_init", self.recurrent_init, ("default", "orthogonal", "identity"))
        if not 0 < self.leak_rate <= 1:
            raise UsageError(f"leak_rate is {self.leak_rate}, but it must be above 0 and at most 1")
        if self.skip < 0 or self.skip == 1:
            raise UsageError(f"skip is {self.skip}, but it must be at least 2 steps, or 0 for none")
        if self.cell != "rnn" and (self.leaky or self.recurrent_init == "identity"):
            key = "recurrent_init = identity" if not self.leaky else "leak_rate" if self.leak_rate != 1 else "skip"
            raise UsageError(f"{key} is of the plain rnn, but the cell is {self.cell}, which has gates for that")
        if self.cell != "lstm" and self.forget_bias is not None:
            raise UsageError(f"forget_bias is of the lstm, but the cell is {self.cell}, which has no forget gate")
        if self.chrono and (self.cell == "rnn" or self.chrono < 3 or self.forget_bias is not None):
            raise UsageError(
                f"chrono is {self.chrono}: it is at least 3 steps, of the gates of an lstm or gru (the cell is "
                f"{self.cell}), and takes the place of forget_bias"
            )


class Recurrent(Reader):
    """A stack of recurrent layers between input standardisation (or a token embedding) and a head.

    Inputs: `x` float32 (batch, time, input_size), or `tokens` int64 (batch, time); `baseline` float32 (batch, time,
    output_size) where there is a first forecast; `lengths` int64 (batch,) where the network is ragged; one state a
    layer and quantity, h0, c0, h1, … (directions, batch, hidden_size). With a skip of d steps a state holds the last
    d side by side, (directions, batch, d · hidden_size).
    """

    def __init__(self, config: RecurrentConfig, hints: Hints | None = None) -> None:
        super().__init__(config, hints, config.cell)
        self.directions = 2 if config.bidirectional else 1
        sizes = [self.width] + [config.hidden_size * self.directions] * (config.num_layers - 1)
        self.layers = nn.ModuleList(self._layer(size) for size in sizes)
        self._state_size = config.hidden_size * max(config.skip, 1)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.hidden_size * self.directions, config.output_size)
        self.initial = nn.ParameterDict()
        if config.initial_state == "learned":
            shape = (self.directions, 1, self._state_size)
            self.initial.update({name: nn.Parameter(torch.zeros(shape)) for name in self._layer_states()})

    @classmethod
    def sizes(cls, data: Dataset) -> dict[str, Any]:
        """As Reader.sizes, and whether there is a first forecast."""
        return {**super().sizes(data), "baseline": BASELINE in data.more}

    def forward(
        self,
        x: Tensor | None = None,
        lengths: Tensor | None = None,
        tokens: Tensor | None = None,
        baseline: Tensor | None = None,
        **states: Tensor,
    ) -> dict[str, Tensor]:
        """Outputs and next states by the signature's names; a state that is not given starts at its initial value."""
        if unknown := states.keys() - {pair.input for pair in self._state_pairs()}:
            raise UsageError(f"there is no state '{min(unknown)}'; this network has {', '.join(self._layer_states())}")
        values = self.embed(x, tokens)
        y, batch = values.transpose(0, 1), values.shape[0]
        following: dict[str, Tensor] = {}
        last = y
        for index, layer in enumerate(self.layers):
            names = self._layer_states(index)
            given = tuple(states[n] if n in states else self._initial(n, batch, y) for n in names)
            y, after = layer(self.dropout(y) if index else y, given, lengths)
            following.update({f"{name}_next": state for name, state in zip(names, after, strict=True)})
            last = after[0]
        if self.config.skip:
            last = last[:, :, -self.config.hidden_size :]  # the state holds earlier steps before it
        if baseline is not None and self.config.head != "step":
            baseline = last_step(baseline, lengths)
        pooled = self._pooled(y, last, lengths, states, following)
        return {**self.answer(self.head(self.dropout(pooled)), baseline), **following}

    def signature(self) -> Signature:
        """What goes in and out, with the hints of the training data."""
        config = self.config
        return Signature(
            inputs=self._inputs(),
            outputs=self.answers("step" if config.head == "step" else "last"),
            states=self._state_pairs(),
            limits={TIME: Limit(1, None), BATCH: Limit(1, None)},
            typical=dict(self.hints.typical),
            streamable=not config.bidirectional,
            reason="it reads the sequence in both directions, so it needs the whole" if config.bidirectional else None,
        )

    @property
    def carries(self) -> bool:
        """Whether states can be carried on: not those of a direction that begins at the end."""
        return super().carries and not self.config.bidirectional

    def initial_values(self) -> dict[str, NDArray[Any]]:
        """The learned initial states by input name, (directions, 1, state size); empty where they are zeros."""
        return {name: value.detach().numpy() for name, value in self.initial.items()}

    def _pooled(
        self,
        y: Tensor,
        last: Tensor,
        lengths: Tensor | None,
        states: Mapping[str, Tensor],
        following: dict[str, Tensor],
    ) -> Tensor:
        """What the head reads. y: (time, batch, width); last: (directions, batch, hidden_size)."""
        if self.config.head == "step":
            return y.transpose(0, 1)
        if self.config.head == "last":
            return last.squeeze(0) if self.directions == 1 else torch.cat([last[0], last[1]], -1)
        return self._mean(y, lengths, states, following)

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
        inputs = [self.main_input()]
        if config.baseline:
            axes = (BATCH, TIME, config.output_size)
            inputs.append(TensorSpec(BASELINE, "float32", axes, draw=self.drawn(BASELINE)))
        if config.ragged:
            inputs.append(TensorSpec("lengths", "int64", (BATCH,), of=inputs[0].name))
        return tuple(inputs)

    def _state_pairs(self) -> tuple[StatePair, ...]:
        axes: tuple[Axis, ...] = (self.directions, BATCH, self._state_size)
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
        shape = (self.directions, batch, self._state_size)
        if self.config.initial_state == "learned":
            return cast(Tensor, self.initial[name]).expand(shape).contiguous()
        return like.new_zeros(shape)

    def _layer(self, size: int) -> RecurrentLayer | LeakyLayer:
        """A layer that reads `size` features, with its first weights."""
        config = self.config
        given = (cell_of(config), size, config.hidden_size, config.bidirectional)
        layer = LeakyLayer(*given, config.leak_rate, config.skip) if config.leaky else RecurrentLayer(*given)
        if config.recurrent_init == "orthogonal":
            initialise.orthogonal(layer)
        elif config.recurrent_init == "identity":
            initialise.identity(layer)
        if config.forget_bias is not None and isinstance(layer, RecurrentLayer):
            initialise.forget_bias(layer, config.forget_bias)
        if config.chrono and isinstance(layer, RecurrentLayer):
            initialise.chrono(layer, config.chrono)
        return layer
