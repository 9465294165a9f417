"""The esn family: echo state networks, fixed random reservoirs with a readout that is solved for.

Jaeger 2001; Lukoševičius, "A Practical Guide to Applying Echo State Networks", 2012; the representations of whole
sequences are those of Bianchi et al., "Reservoir computing approaches for representation and classification of
multivariate time series", 2021.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar, cast

import numpy as np
import torch
from edgeseq_export.ops.reservoir import ReservoirLayer
from edgeseq_runtime.errors import UsageError
from edgeseq_runtime.signature import BATCH, TIME, Limit, Signature, StatePair
from edgeseq_runtime.signature import Tensor as TensorSpec
from torch import Tensor, nn

from edgeseq.data import Dataset
from edgeseq.fit import principal_components, sharpness
from edgeseq.nn import reservoir
from edgeseq.nn.esn_config import MODEL_SPACES, EsnConfig
from edgeseq.nn.family import Batch, Hints, Outputs
from edgeseq.nn.free_run import FreeRun, StateReader
from edgeseq.nn.network import Array, Network, check_sequences, last_step
from edgeseq.nn.readout import make_readout
from edgeseq.nn.representation import ModelSpace, valid_steps

ASTRAY = 0.4
"""A free run is valid until it is off by so many deviations (Pathak et al., "Model-Free Prediction of Large
Spatiotemporally Chaotic Systems from Data", 2018)."""

_ROWS = 64
"""Sequences whose states are computed at once while the readout is solved for."""


class Esn(Network):
    """Reservoirs between input standardisation and a readout; nothing in it is trained by gradient.

    Inputs: `x` float32 (batch, time, input_size); `lengths` int64 (batch,) where the network is ragged; one state a
    layer, h0, h1, … (directions, batch, units). Where the answer is a mean over the steps of a stream also `total` and
    `count`, of what is averaged. With a free run the output `generated` (batch, free_run, output_size) goes on from the
    end of each sequence.

    Its weights are zeros until `initialise` has drawn the reservoir and `solve` has found the readout.
    """

    recurrence: ClassVar[str] = "unroll"

    def __init__(self, config: EsnConfig, hints: Hints | None = None) -> None:
        super().__init__(config, hints, "esn", (config.input_size,))
        sizes = [config.input_size] + [config.units * config.directions] * (config.num_layers - 1)
        self.layers = nn.ModuleList(
            ReservoirLayer(
                config.topology,
                config.activation,
                size,
                config.units,
                config.bidirectional,
                config.leak_rate,
                config.block_size,
                config.fan_in,
            )
            for size in sizes
        )
        self.reader = StateReader(config.width, config.components, config.read_input)
        self.space = ModelSpace(config.space_penalty) if config.read in MODEL_SPACES else None
        self.readout = make_readout(
            config.readout,
            config.features,
            config.output_size,
            penalty=config.penalty,
            kernel=config.kernel,
            hidden_sizes=config.hidden_sizes,
            support_vectors=config.support_vectors,
        )
        self.free = FreeRun(self, self._reservoirs, self.reader, self.readout)
        self._seed = 0
        self.requires_grad_(False)

    @classmethod
    def sizes(cls, data: Dataset) -> dict[str, Any]:
        """Features, classes or values, and whether every step has an answer.

        Raises:
            UsageError: x is anything but sequences of features.
        """
        check_sequences(data, "esn")
        known = {"input_size": data.x.shape[2], "stepwise": data.stepwise, "support_vectors": 0}
        return {**super().sizes(data), **known}

    def initialise(self) -> None:
        """Draw the reservoirs, by the seed of torch's random numbers alone: whatever reads them, they are the same."""
        self._seed = torch.initial_seed() % 2**31
        rng = np.random.default_rng(self._seed)
        for layer in self._reservoirs:
            inputs = layer.w_in.shape[1]
            # the many states below weigh together what an input weighs
            scaling = self.config.input_scaling / (1 if layer is self._reservoirs[0] else inputs**0.5)
            reservoir.draw(layer, self.config, rng, scaling)

    def forward(self, x: Tensor, lengths: Tensor | None = None, **states: Tensor) -> dict[str, Tensor]:
        """Outputs and next states by the signature's names; a state that is not given starts from zeros."""
        if unknown := states.keys() - {pair.input for pair in self._state_pairs()}:
            known = ", ".join(pair.input for pair in self._state_pairs())
            raise UsageError(f"there is no state '{min(unknown)}'; this network has {known}")
        given = self.standardised(x)
        h, after = self._states(given, lengths, states)
        following = {f"h{index}_next": state for index, state in enumerate(after)}
        if self.config.stepwise:
            outputs = self.answer(self.readout(self.reader(h, given)))
            if self.config.free_run:
                outputs["generated"] = self._generated(outputs["values"], lengths, after, self.config.free_run)
        else:
            scores, carried = self._one_answer(given, h, lengths, states, after)
            outputs, following = self.answer(scores), {**following, **carried}
        return {**outputs, **following}

    def signature(self) -> Signature:
        """What goes in and out, with the hints of the training data."""
        config = self.config
        inputs = [TensorSpec("x", "float32", (BATCH, TIME, config.input_size), draw=self.drawn("x"))]
        if config.ragged:
            inputs.append(TensorSpec("lengths", "int64", (BATCH,), of="x"))
        outputs = self.answers("step" if config.stepwise else "sequence" if config.read in MODEL_SPACES else "last")
        if config.free_run:
            axes = (BATCH, config.free_run, config.output_size)
            outputs = (*outputs, TensorSpec("generated", "float32", axes, "last"))
        reason = self._reason()
        return Signature(
            inputs=tuple(inputs),
            outputs=outputs,
            states=self._state_pairs(),
            limits={TIME: Limit(self.least_steps, None), BATCH: Limit(1, None)},
            typical=dict(self.hints.typical),
            streamable=reason is None,
            reason=reason,
        )

    @property
    def unscored(self) -> int:
        """The steps at the beginning of each sequence whose answers are not scored."""
        return int(self.config.transient) if self.config.stepwise else 0

    @property
    def weight_count(self) -> int:
        """As in Network, with those of reservoir, components and readout; zeros are left out."""
        kept = [*self.layers.buffers(), *self.reader.buffers(), *self.readout.buffers()]
        return super().weight_count + sum(int(each.count_nonzero()) for each in kept if each.is_floating_point())

    @property
    def least_steps(self) -> int:
        """How long a sequence must be."""
        config = self.config
        if config.read in MODEL_SPACES:
            return int(config.transient) + 2
        return int(config.transient) + 1 if config.averages else 1

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        """As in Network. Raises UsageError for a sequence that is too short."""
        shortest = int(batch["lengths"].min())
        if shortest < self.least_steps:
            raise UsageError(
                f"a sequence of the data has {shortest} steps, but representation '{self.config.read}' with transient "
                f"= {self.config.transient} needs at least {self.least_steps}; set transient lower"
            )
        return super().inputs(batch)

    def metrics(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """As in Network; with a free run also `valid_steps`, the median over the batch's rows (see `steps_astray`)."""
        figures = super().metrics(outputs, batch)
        if self.config.free_run:
            figures["valid_steps"] = self.steps_astray(batch["x"], batch["y"], batch["lengths"]).quantile(0.5)
        return figures

    def steps_astray(self, x: Tensor, y: Tensor, lengths: Tensor) -> Tensor:
        """After how many steps each row's free run, begun behind the transient, is astray, float32 (rows,).

        x, y: (batch, time, features), y the next x. A run that never is counts with all its steps; a row that ends
        within the transient is left out.
        """
        first = max(self.config.transient, 1)
        rows = lengths >= first
        x, truth, ends = x[rows], y[rows, first - 1 :], lengths[rows] - first + 1
        given = self.standardised(x[:, :first])
        h, after = self._states(given, None, {})
        values = self.answer(self.readout(self.reader(h, given)))["values"]
        generated = self._generated(values, None, after, truth.shape[1])
        distance = ((generated - truth) / self.y_deviation).square().mean(2).sqrt()
        over = torch.arange(truth.shape[1], device=x.device) >= ends[:, None]
        stop = torch.cat([over | ~(distance <= ASTRAY), over.new_ones(len(x), 1)], 1)
        return stop.int().argmax(1).float()

    def solve(self, data: Dataset) -> Mapping[str, Any]:
        """Find components and readout; returns what was chosen on the way, as plain values.

        Classes are scored so that the probabilities of examples left out are right on average (edgeseq.fit.sharpness).

        Raises:
            UsageError: data that these settings cannot learn from; it names the setting.
            MissingPackageError: the readout is fitted by scikit-learn, which is not there.
        """
        if self.config.free_run:
            _check_next(data)
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed)
            features, targets, groups = self._rows(data)
        fitted = self.readout.fit(features, targets, groups, self._seed)
        self.config = replace(self.config, support_vectors=self.readout.support_count)
        self.hints = replace(self.hints, longest=int(data.valid.sum(1).max()))
        if self.task == "forecast":
            return fitted.chosen
        scores, classes = fitted.left_out, targets
        if groups is not None and not self.config.stepwise:  # the answer is a mean over the steps of each sequence
            counts = np.bincount(groups)
            scores = np.add.reduceat(scores, np.cumsum(counts) - counts) / counts[:, None]
            classes = data.y
        factor = sharpness(scores, classes)
        self.readout.scale_by(factor)
        return {**fitted.chosen, "sharpness": factor}

    @property
    def _reservoirs(self) -> list[ReservoirLayer]:
        return cast(list[ReservoirLayer], list(self.layers))

    def _states(
        self, x: Tensor, lengths: Tensor | None, states: Mapping[str, Tensor], noise: float = 0.0
    ) -> tuple[Tensor, list[Tensor]]:
        """All states (batch, time, width) and each layer's last (directions, batch, units)."""
        y, outputs, after = x.transpose(0, 1), [], []
        for index, layer in enumerate(self.layers):
            state = states.get(f"h{index}")
            if state is None:
                state = y.new_zeros(self.config.directions, y.shape[1], self.config.units)
            y, (last,) = layer(y, (state,), lengths, noise) if noise else layer(y, (state,), lengths)
            outputs.append(y)
            after.append(last)
        return torch.cat(outputs, -1).transpose(0, 1), after

    def _one_answer(
        self, x: Tensor, h: Tensor, lengths: Tensor | None, states: Mapping[str, Tensor], after: list[Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The scores or values of each sequence, and the next states of their mean. x, h: (batch, time, …)."""
        if not self.config.averages:
            return self.readout(self._representation(x, h, lengths, after)), {}
        z = self.reader(h, x)
        if self.config.read == "states":
            return self._mean(self.readout(z), lengths, states)
        mean, carried = self._mean(z, lengths, states)
        return self.readout(mean), carried

    def _representation(self, x: Tensor, h: Tensor, lengths: Tensor | None, after: list[Tensor]) -> Tensor:
        """What the readout reads of each sequence (batch, features); of every state (batch, time, features)."""
        read, z = self.config.read, self.reader(h, x)
        if read == "states":
            return cast(Tensor, z)
        if read == "last":
            last = torch.cat([state[direction] for state in after for direction in range(self.config.directions)], -1)
            return cast(Tensor, self.reader(last, last_step(x, lengths)))
        if self.space is None:
            return self._mean(z, lengths, {})[0]
        valid = valid_steps(h, lengths, self.config.transient)
        return cast(Tensor, self.space(z, x if read == "output_space" else z, valid))

    def _mean(
        self, values: Tensor, lengths: Tensor | None, states: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean over the steps behind the transient and over those of earlier chunks, and its next states.

        values: (batch, time, …). The sum is float64 and the count int64: a stream may run for months.
        """
        valid = valid_steps(values, lengths, self.config.transient)
        total = torch.where(valid[:, :, None], values, values.new_zeros(())).double().sum(1)
        count = valid.sum(1)
        if "total" in states:
            total, count = total + states["total"], count + states["count"]
        mean = (total / count.double()[:, None]).to(values.dtype)
        return mean, {"total_next": total, "count_next": count} if self._reason() is None else {}

    def _generated(self, values: Tensor, lengths: Tensor | None, after: list[Tensor], count: int) -> Tensor:
        generated: Tensor = self.free(count, [state[0] for state in after], last_step(values, lengths))
        return generated

    def _rows(self, data: Dataset) -> tuple[Array, Array, Array | None]:
        """What the readout is fitted to: features (rows, …), targets, and for rows that are steps their sequence."""
        kept = data.valid & (np.arange(data.x.shape[1]) >= self.config.transient)
        if not kept.any():
            raise UsageError(
                f"transient is {self.config.transient}, but the longest sequence of the training data has "
                f"{kept.shape[1]} steps: nothing is left; it must be from 0 to {kept.shape[1] - 1}"
            )
        pieces = list(self._pieces(data))
        if self.config.components is not None:
            states = [h[valid_steps(h, lengths, self.config.transient)] for _, h, lengths, _ in pieces]
            mean, components = principal_components(torch.cat(states).numpy(), self.config.components)
            self.reader.mean.copy_(torch.from_numpy(mean))
            self.reader.components.copy_(torch.from_numpy(components.T))
        try:
            every = [self._representation(*piece) for piece in pieces]
        except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]  # torch forgot to list it
            raise UsageError(
                f"space_penalty is {self.config.space_penalty}, too little beside states as large as these: the ridge "
                "regression of a sequence has no solution; raise it, or lower spectral_radius or input_scaling"
            ) from error
        if self.config.read != "states":
            return torch.cat(every).numpy(), self._targets(data.y), None
        read = [z[valid_steps(z, piece[2], self.config.transient)] for z, piece in zip(every, pieces, strict=True)]
        groups = np.repeat(np.arange(len(data)), kept.sum(1))
        targets = self._targets(data.y[kept] if data.stepwise else data.y[groups])
        return torch.cat(read).numpy(), targets, groups

    def _pieces(self, data: Dataset) -> Iterator[tuple[Tensor, Tensor, Tensor, list[Tensor]]]:
        """A few sequences at a time: standardised x, all states, lengths, and each layer's last states."""
        for rows in torch.split(torch.arange(len(data)), _ROWS):
            batch = self._batch(data.rows(rows.numpy()))
            x = self.standardised(batch["x"])
            h, after = self._states(x, batch["lengths"], {}, self.config.noise)
            if not all(state.isfinite().all() for state in (h, *after)):
                raise UsageError(
                    f"the states of the reservoir grow beyond all bounds with activation {self.config.activation}, "
                    f"spectral_radius {self.config.spectral_radius} and input_scaling {self.config.input_scaling}; "
                    "lower spectral_radius (below 1 they fade), or take tanh"
                )
            yield x, h, batch["lengths"], after

    def _batch(self, data: Dataset) -> dict[str, Tensor]:
        """A part of the data as tensors, cut after its longest sequence."""
        assert data.lengths is not None  # sizes() refuses others
        x, lengths = torch.from_numpy(data.x[:, : int(data.lengths.max())]), torch.from_numpy(data.lengths)
        return {**self.inputs({"x": x, "lengths": lengths}), "lengths": lengths}

    def _targets(self, y: Array) -> Array:
        if self.task == "classify" or not self.config.standardise:
            return y
        return np.asarray((y - self.y_mean.numpy()) / self.y_deviation.numpy())

    def _reason(self) -> str | None:
        """Why the network cannot stream, None where it can."""
        if self.config.bidirectional:
            return "it reads the sequence in both directions, so it needs the whole"
        if self.config.read in MODEL_SPACES:
            return "it fits a linear model to the whole sequence"
        if self.config.averages and self.config.transient:
            return "it leaves the transient out of its mean, so it needs the sequence from its beginning"
        return None

    def _state_pairs(self) -> tuple[StatePair, ...]:
        config = self.config
        axes = (config.directions, BATCH, config.units)
        pairs = [StatePair(f"h{index}", f"h{index}_next", axes) for index in range(config.num_layers)]
        if config.averages and self._reason() is None:
            width = config.output_size if config.read == "states" else config.features
            pairs.append(StatePair("total", "total_next", (BATCH, width), dtype="float64"))
            pairs.append(StatePair("count", "count_next", (BATCH,), dtype="int64"))
        return tuple(pairs)


def _check_next(data: Dataset) -> None:
    """Raise UsageError where the answers are not the next inputs."""
    wrong = ~np.isclose(data.y[:, :-1], data.x[:, 1:], rtol=1e-5, atol=1e-8)[data.valid[:, 1:]]
    if wrong.any():
        raise UsageError("free_run is asked for, but y(t) is not x(t + 1) in this data: a forecast cannot be fed back")
