"""How an autoencoder is built, trained and used: what is common to all kinds of them."""

from dataclasses import dataclass, field
from math import isfinite
from typing import Literal

from edgeseq_runtime.errors import UsageError

from edgeseq.nn.dense import check_sizes
from edgeseq.nn.network import check_choice, check_positive
from edgeseq.threshold import QUANTILE

PARTS = ("full", "encoder", "decoder", "score")
"""What a file can hold of an autoencoder: all of it, or the code, the generator or the anomaly score alone."""


@dataclass(frozen=True, kw_only=True)
class CodeConfig:
    """What every autoencoder has.

    input_shape: of one example; with a window its last entry, the features of a step, alone counts.
    code_size: numbers that an example is coded as.
    variational: whether the code is a distribution that is drawn from in training (Kingma and Welling 2014). beta:
        weight of its distance from the prior (Higgins et al. 2017); warm_up: updates in which that weight rises from 0.
    corruption: what is done in training to an example that is to be rebuilt clean (Vincent et al. 2008): noise is
        added, or entries are set to 0, or to the smallest or the largest value there is. corruption_level: the
        deviation of the noise, in the data's units; or the share of entries.
    sparsity: weight of the mean absolute code in the loss.
    loss: mean squared error, or binary cross entropy of values from 0 to 1. output: what the last layer ends with; a
        sigmoid is for values from 0 to 1.
    standardise: whether inputs are standardised in the network, by the training data's mean and deviation, and what is
        rebuilt is put back into their units.
    window: steps; sequences are cut into windows of so many, which are rebuilt one by one. None: they are not.
    score: of how anomalous an example is: the error of all of it, or of its last step alone; of a variational one also
        the negative evidence bound.
    threshold_quantile: of the scores of examples held out from training; above it lies an anomaly.
    threshold_deviations: in its place, so many deviations above their mean.
    hold: [k, n]: an alarm is given where at least k of the last n windows are above the threshold.
    hop: a file with the score of windows scores every so many steps; with 1 the window that ends with each.
    head_labels: labelled examples of the training part that a classifier on the codes is fitted to; 0: there is none.
    part: what of it an export writes, one of PARTS.
    """

    input_shape: list[int]
    classes: int = 0
    code_size: int = 16
    variational: bool = False
    beta: float = 1.0
    warm_up: int = 0
    corruption: Literal["none", "gaussian", "masking", "salt-and-pepper"] = "none"
    corruption_level: float = 0.0
    sparsity: float = 0.0
    loss: Literal["mse", "bce"] = "mse"
    output: Literal["linear", "sigmoid"] = "linear"
    standardise: bool = True
    window: int | None = None
    score: Literal["error", "last", "bound"] = "error"
    threshold_quantile: float = QUANTILE
    threshold_deviations: float | None = None
    hold: list[int] = field(default_factory=lambda: [1, 1])
    hop: int = 1
    head_labels: int = 0
    part: Literal["full", "encoder", "decoder", "score"] = "full"
    task: Literal["rebuild"] = "rebuild"

    def __post_init__(self) -> None:
        check_choice("corruption", self.corruption, ("none", "gaussian", "masking", "salt-and-pepper"))
        check_choice("loss", self.loss, ("mse", "bce"))
        check_choice("output", self.output, ("linear", "sigmoid"))
        check_choice("score", self.score, ("error", "last", "bound"))
        check_choice("part", self.part, PARTS)
        check_positive(self, "code_size", "hop")
        check_sizes("input_shape", self.input_shape)
        self._check_ranges()
        self._check_pairs()

    def _check_ranges(self) -> None:
        if not self.input_shape or (self.window is not None and len(self.input_shape) != 2):
            wanted = "(time, features)" if self.window is not None else "at least one axis"
            raise UsageError(f"input_shape is {self.input_shape}, but {wanted} is expected")
        for name in ("beta", "warm_up", "corruption_level", "sparsity", "head_labels", "classes"):
            if not (isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise UsageError(f"{name} is {getattr(self, name)}, but it must be at least 0, and finite")
        if self.head_labels and self.classes < 2:
            raise UsageError(
                f"head_labels is {self.head_labels}, but the data has no class for each example; leave the head out"
            )
        if self.window is not None and self.window < 2:
            raise UsageError(f"window is {self.window}, but a window has at least 2 steps")
        if not 0 < self.threshold_quantile < 1:
            raise UsageError(f"threshold_quantile is {self.threshold_quantile}, but it lies between 0 and 1")
        deviations = self.threshold_deviations
        if deviations is not None and not (isfinite(deviations) and deviations >= 0):
            raise UsageError(f"threshold_deviations is {deviations}, but it must be at least 0, and finite")
        if len(self.hold) != 2 or not 1 <= self.hold[0] <= self.hold[1]:
            raise UsageError(f"hold is {self.hold}, but it is [k, n], with k from 1 to n")

    def _check_pairs(self) -> None:
        """Raise UsageError where two settings contradict each other."""
        if (self.corruption == "none") != (self.corruption_level == 0):
            raise UsageError(
                f"corruption is '{self.corruption}' and corruption_level {self.corruption_level}; set both, or neither"
            )
        if self.corruption in ("masking", "salt-and-pepper") and self.corruption_level > 1:
            raise UsageError(f"corruption_level is {self.corruption_level}, but it is a share of the entries, up to 1")
        if self.loss == "bce" and self.output != "sigmoid":
            raise UsageError("the loss 'bce' is of values from 0 to 1; set output = 'sigmoid'")
        if self.score == "bound" and not self.variational:
            raise UsageError("the score 'bound' is of a variational autoencoder; set variational, or another score")
        if self.score == "last" and self.window is None:
            raise UsageError("the score 'last' is of the last step of a window; set window, or another score")
        if self.hold[1] > 1 and self.window is None:
            raise UsageError(f"hold is {self.hold}, but without a window there are no windows to hold for")
        if self.hop > 1 and self.window is None:
            raise UsageError(f"hop is {self.hop}, but without a window there are no windows to be so far apart")
        if self.window is not None and self.hop > self.window:
            raise UsageError(
                f"hop is {self.hop}, but it is at most the window's {self.window} steps, or some would not be looked at"
            )
        if self.threshold_deviations is not None and self.threshold_quantile != QUANTILE:
            raise UsageError(
                f"threshold_quantile is {self.threshold_quantile} and threshold_deviations "
                f"{self.threshold_deviations}, two ways to choose one threshold; leave one of them out"
            )
        if self.beta != 1 and not self.variational:
            raise UsageError(
                f"beta is {self.beta}, but it is the weight of a variational code; set variational, or leave it"
            )
        if self.warm_up and not self.variational:
            raise UsageError("warm_up is of the weight beta of a variational autoencoder; set variational, or leave it")

    @property
    def output_size(self) -> int:
        """Classes of the classifier on the codes."""
        return max(self.classes, 1)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example as the layers see it."""
        return tuple(self.input_shape) if self.window is None else (self.window, self.input_shape[-1])
