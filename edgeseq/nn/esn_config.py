"""How an echo state network is built: the keys of the family esn, their ranges, and what follows from them."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from edgeseq_runtime.errors import UsageError

from edgeseq.nn.dense import check_sizes
from edgeseq.nn.network import check_common
from edgeseq.nn.readout import check_task
from edgeseq.schema import AT_LEAST_ONE, FRACTION, NOT_NEGATIVE, POSITIVE

MODEL_SPACES = ("output_space", "reservoir_space")
"""The representations that are a linear model of each sequence."""


@dataclass(frozen=True)
class EsnConfig:
    """An echo state network: a reservoir, what is taken of its states, and what reads it.

    input_size: features a step. output_size: classes, or values to forecast. stepwise: whether every step has an
        answer.
    units: in each direction of each layer. num_layers: each but the first reads the states of the one before.
    topology: every unit fed by a share `density` of all units at random; units in blocks of `block_size`, each block
        fed by a share of all blocks; or units in a cycle.
    spectral_radius: of the recurrent weights. leak_rate: the share of a unit's value that is new at each step.
    input_scaling: the largest input weight; of the layers above the first divided by the root of their inputs' number.
    input_weights: uniform, or plus and minus that. bias: the largest one.
    noise: deviation of what is added to the units' sums while the readout is solved for.
    transient: the first steps of each sequence, which are neither learnt from nor scored.
    components: what a principal component analysis leaves of the states; None: all of them.
    representation: what the readout reads: the last state, the mean, every state (for one answer its scores are
        averaged), or a linear model of how each sequence's states go on (to the next input, to the next state). None:
        every state where every step has an answer, else the mean.
    space_penalty: of that model's ridge regression.
    readout: how it reads. penalty: of its weights; where it is not given it is chosen on the training data.
    kernel: of the support vector machine. hidden_sizes: of the perceptron.
    read_input: whether the readout reads the input beside the states.
    free_run: how many steps to forecast from a sequence's end by feeding the forecast back; 0 for none.
    ragged, task, standardise: as in the recurrent families.
    support_vectors: how many the readout has; known when it is fitted.
    """

    input_size: int
    output_size: int
    units: Annotated[int, AT_LEAST_ONE] = 300
    num_layers: Annotated[int, AT_LEAST_ONE] = 1
    topology: Literal["random", "block", "cycle"] = "random"
    block_size: Annotated[int, AT_LEAST_ONE] = 32
    density: Annotated[float, FRACTION] = 0.1
    spectral_radius: Annotated[float, POSITIVE] = 0.9
    leak_rate: Annotated[float, FRACTION] = 1.0
    input_scaling: Annotated[float, NOT_NEGATIVE] = 1.0
    input_weights: Literal["uniform", "binomial"] = "uniform"
    bias: Annotated[float, NOT_NEGATIVE] = 0.0
    activation: Literal["tanh", "relu", "sigmoid"] = "tanh"
    bidirectional: bool = False
    noise: Annotated[float, NOT_NEGATIVE] = 0.0
    transient: Annotated[int, NOT_NEGATIVE] = 0
    components: Annotated[int, AT_LEAST_ONE] | None = None
    representation: Literal["last", "mean", "states", "output_space", "reservoir_space"] | None = None
    space_penalty: Annotated[float, POSITIVE] = 1.0
    readout: Literal["ridge", "logistic", "svm", "mlp"] = "ridge"
    penalty: Annotated[float, NOT_NEGATIVE] | None = None
    kernel: Literal["rbf", "linear"] = "rbf"
    hidden_sizes: list[int] = field(default_factory=lambda: [64])
    read_input: bool = False
    free_run: Annotated[int, NOT_NEGATIVE] = 0
    task: Literal["classify", "forecast"] = "classify"
    stepwise: bool = False
    ragged: bool = True
    standardise: bool = True
    support_vectors: Annotated[int, NOT_NEGATIVE] = 0

    def __post_init__(self) -> None:
        check_common(self)
        self._check_topology()
        self._check_reading()

    @property
    def directions(self) -> int:
        """2 where a second reservoir reads each sequence from its end."""
        return 2 if self.bidirectional else 1

    @property
    def width(self) -> int:
        """All states of a step side by side."""
        return self.units * self.directions * self.num_layers

    @property
    def fan_in(self) -> int:
        """How many units feed each, of the topology "block" how many blocks."""
        if self.topology == "block":
            return max(round(self.density * (self.units // self.block_size)), 1)
        return round(self.density * self.units)

    @property
    def read(self) -> str:
        """The representation, chosen or left to the data."""
        return self.representation or ("states" if self.stepwise else "mean")

    @property
    def averages(self) -> bool:
        """Whether the one answer is a mean over steps."""
        return self.read == "mean" or (self.read == "states" and not self.stepwise)

    @property
    def features(self) -> int:
        """What the readout reads."""
        size = (self.components or self.width) + (self.input_size if self.read_input else 0)
        targets = {"output_space": self.input_size, "reservoir_space": size}
        return (size + 1) * targets[self.read] if self.read in targets else size

    def _check_topology(self) -> None:
        if self.topology == "block" and self.units % self.block_size:
            raise UsageError(
                f"units is {self.units}, but in topology 'block' it must be a multiple of block_size, {self.block_size}"
            )
        if self.topology == "random" and self.density * self.units < 1 - 1e-9:
            raise UsageError(
                f"density is {self.density}, which leaves the {self.units} units without input from each other; it "
                f"must be at least {1 / self.units:.3g} and at most 1"
            )

    def _check_reading(self) -> None:
        check_task(self.readout, self.task)
        check_sizes("hidden_sizes", self.hidden_sizes)
        if self.components is not None and self.components > self.width:
            raise UsageError(f"components is {self.components}, but it must be from 1 to the {self.width} states")
        if self.stepwise and self.read != "states":
            raise UsageError(
                f"representation is '{self.read}', but the data has an answer for every step, which needs 'states'"
            )
        if self.read in MODEL_SPACES and self.read_input:
            raise UsageError(f"read_input is true, but the representation '{self.read}' is of states alone")
        if self.free_run and (not self.stepwise or self.task != "forecast" or self.bidirectional):
            raise UsageError(
                f"free_run is {self.free_run}, but only a forecast at every step, in one direction, can be fed back"
            )
        if self.free_run and self.input_size != self.output_size:
            raise UsageError(
                f"free_run is {self.free_run}, but the forecast has {self.output_size} values and the input "
                f"{self.input_size}: it cannot be fed back"
            )
