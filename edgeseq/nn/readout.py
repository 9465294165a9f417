"""Readouts: what makes scores of classes, or values, of features that a fixed network computes. Fitted, not trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch
from edgeseq_runtime.errors import UsageError
from numpy.typing import NDArray
from torch import Tensor, nn

from edgeseq.fit import logistic, perceptron, ridge, support_vectors
from edgeseq.fit.classes import check_classes
from edgeseq.fit.ridge import PENALTIES
from edgeseq.nn.dense import dense

Array = NDArray[Any]
Kind = Literal["ridge", "logistic", "svm", "mlp"]
Kernel = Literal["rbf", "linear"]


@dataclass(frozen=True)
class Fitted:
    """What a fit found.

    chosen: plain values, such as the penalty. left_out: float64 (rows, outputs), what each row scores by a readout that
    has seen neither it nor its group; where no row can be left out, what it scores by the readout itself.
    """

    chosen: Mapping[str, Any]
    left_out: Array


class Readout(nn.Module):
    """Base of the readouts: features (..., features) to scores or values (..., outputs), float32. Nothing is trained.

    features, outputs: how many. penalty: None: chosen while fitting.
    """

    kind: ClassVar[Kind]
    lowest: ClassVar[float | None] = None
    """The least that a penalty may be, where 0 itself is allowed; None: it must be more than 0."""

    def __init__(self, features: int, outputs: int, penalty: float | None = None) -> None:
        super().__init__()
        allowed = penalty is None or penalty > 0 or penalty == self.lowest
        if not allowed:
            least = "more than 0" if self.lowest is None else "at least 0"
            raise UsageError(f"penalty is {penalty}, but for the readout '{self.kind}' it must be {least}")
        self.features, self.outputs, self.penalty = features, outputs, penalty

    @property
    def support_count(self) -> int:
        """How many support vectors there are; 0 but for a fitted support vector machine with a curved kernel."""
        return 0

    def fit(self, features: Array, targets: Array, groups: Array | None = None, seed: int = 0) -> Fitted:
        """Fit to features (rows, features) and targets: classes int64 (rows,), or values (rows, outputs).

        groups: (rows,), rows that belong together, such as the steps of a sequence: they are left out together.

        Raises:
            UsageError: one class only, or values for a readout that tells classes apart.
            MissingPackageError: scikit-learn is needed and not installed.
        """
        check_task(self.kind, "classify" if targets.ndim == 1 else "forecast")
        if targets.ndim == 1:
            check_classes(targets)
        penalty, left_out = self._fit(features, targets, groups, seed)
        if left_out is None:
            with torch.no_grad():
                left_out = self(torch.from_numpy(np.asarray(features, np.float32))).double().numpy()
        return Fitted({"penalty": penalty}, left_out)

    def scale_by(self, factor: float) -> None:
        """Multiply all scores of classes by a factor from now on."""
        for tensor in self._last():
            tensor.mul_(factor)

    def _fit(self, features: Array, targets: Array, groups: Array | None, seed: int) -> tuple[float, Array | None]:
        """Fit; returns the penalty, and what rows left out score where any can be."""
        raise NotImplementedError

    def _last(self) -> Sequence[Tensor]:
        """The tensors that scores are proportional to."""
        raise NotImplementedError


class LinearReadout(Readout):
    """Base of the readouts that are one linear layer."""

    def __init__(self, features: int, outputs: int, penalty: float | None = None) -> None:
        super().__init__(features, outputs, penalty)
        self.linear = nn.Linear(features, outputs)
        self.requires_grad_(False)

    def forward(self, features: Tensor) -> Tensor:
        """features: (..., features) -> (..., outputs)."""
        return cast(Tensor, self.linear(features))

    def _last(self) -> Sequence[Tensor]:
        return self.linear.weight, self.linear.bias


class RidgeReadout(LinearReadout):
    """Ridge regression, of values or of ones among zeros; the penalty is chosen by leaving out a row or group."""

    kind = "ridge"
    lowest = 0.0

    def _fit(self, features: Array, targets: Array, groups: Array | None, seed: int) -> tuple[float, Array | None]:
        penalties = PENALTIES if self.penalty is None else (self.penalty,)
        values = np.eye(self.outputs)[targets] if targets.ndim == 1 else targets
        found = ridge(features, values, penalties, groups)
        set_linear(self.linear, found.weights, found.bias)
        return found.penalty, found.left_out


class LogisticReadout(LinearReadout):
    """Logistic regression; the penalty is chosen by cross-validation."""

    kind = "logistic"

    def _fit(self, features: Array, targets: Array, groups: Array | None, seed: int) -> tuple[float, Array | None]:
        weights, bias, found = logistic(features, targets, self.outputs, self.penalty, groups, seed)
        set_linear(self.linear, weights, bias)
        return found.penalty, found.left_out


class LinearSvmReadout(LinearReadout):
    """Support vector machines with the linear kernel, one class against the rest: one linear layer."""

    kind = "svm"

    def _fit(self, features: Array, targets: Array, groups: Array | None, seed: int) -> tuple[float, Array | None]:
        vectors, found = support_vectors(features, targets, self.outputs, "linear", self.penalty, groups, seed)
        set_linear(self.linear, *vectors.linear())
        return found.penalty, found.left_out


class SvmReadout(Readout):
    """Support vector machines with the kernel exp(-|z - v|²), one class against the rest; z = (x - mean) · scale.

    support_vectors: how many there are; 0 until fitted, which takes as many as it needs.
    """

    kind = "svm"

    mean: Tensor
    scale: Tensor
    vectors: Tensor
    coefficients: Tensor
    bias: Tensor

    def __init__(self, features: int, outputs: int, penalty: float | None = None, support_vectors: int = 0) -> None:
        super().__init__(features, outputs, penalty)
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("vectors", torch.zeros(support_vectors, features))
        self.register_buffer("coefficients", torch.zeros(support_vectors, outputs))
        self.register_buffer("bias", torch.zeros(outputs))

    @property
    def support_count(self) -> int:
        """How many support vectors there are."""
        return len(self.vectors)

    def forward(self, features: Tensor) -> Tensor:
        """features: (..., features) -> (..., outputs)."""
        z = (features - self.mean) * self.scale
        products = z @ self.vectors.T
        distances = (z * z).sum(-1, keepdim=True) + (self.vectors * self.vectors).sum(-1) - 2 * products
        return torch.exp(-distances.clamp(min=0)) @ self.coefficients + self.bias

    def _fit(self, features: Array, targets: Array, groups: Array | None, seed: int) -> tuple[float, Array | None]:
        found, validated = support_vectors(features, targets, self.outputs, "rbf", self.penalty, groups, seed)
        self.mean, self.scale = _float32(found.mean), _float32(found.scale)
        self.vectors, self.coefficients = _float32(found.vectors), _float32(found.coefficients)
        self.bias = _float32(found.bias)
        return validated.penalty, validated.left_out

    def _last(self) -> Sequence[Tensor]:
        return self.coefficients, self.bias


class MlpReadout(Readout):
    """Fully connected layers with ReLU; the penalty is chosen by cross-validation."""

    kind = "mlp"
    lowest = 0.0

    def __init__(
        self, features: int, outputs: int, penalty: float | None = None, hidden_sizes: Sequence[int] = (64,)
    ) -> None:
        super().__init__(features, outputs, penalty)
        self.hidden_sizes = tuple(hidden_sizes)
        self.layers = dense(features, hidden_sizes, outputs, "relu", 0.0)
        self.requires_grad_(False)

    def forward(self, features: Tensor) -> Tensor:
        """features: (..., features) -> (..., outputs)."""
        return cast(Tensor, self.layers(features))

    def _fit(self, features: Array, targets: Array, groups: Array | None, seed: int) -> tuple[float, Array | None]:
        fitted, found = perceptron(features, targets, self.outputs, self.hidden_sizes, self.penalty, groups, seed)
        for layer, (weights, bias) in zip(self._linear(), fitted, strict=True):
            set_linear(layer, weights, bias)
        return found.penalty, found.left_out

    def _last(self) -> Sequence[Tensor]:
        last = self._linear()[-1]
        return last.weight, last.bias

    def _linear(self) -> list[nn.Linear]:
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]


def make_readout(
    kind: Kind,
    features: int,
    outputs: int,
    *,
    penalty: float | None = None,
    kernel: Kernel = "rbf",
    hidden_sizes: Sequence[int] = (64,),
    support_vectors: int = 0,
) -> Readout:
    """A readout that is not fitted yet, or that a checkpoint's weights are loaded into.

    kernel: of "svm". hidden_sizes: of "mlp". support_vectors: how many the checkpoint has, `Readout.support_count`.

    Raises:
        UsageError: a penalty that this readout cannot take.
    """
    if kind == "ridge":
        return RidgeReadout(features, outputs, penalty)
    if kind == "logistic":
        return LogisticReadout(features, outputs, penalty)
    if kind == "mlp":
        return MlpReadout(features, outputs, penalty, hidden_sizes)
    if kernel == "linear":
        return LinearSvmReadout(features, outputs, penalty)
    return SvmReadout(features, outputs, penalty, support_vectors)


def check_task(kind: Kind, task: str) -> None:
    """Raise UsageError where a readout that tells classes apart is to give values."""
    if kind in ("logistic", "svm") and task != "classify":
        raise UsageError(f"the readout '{kind}' tells classes apart; to forecast values take 'ridge' or 'mlp'")


def set_linear(layer: nn.Linear, weights: Array, bias: Array) -> None:
    """Copy weights (features, outputs) and bias (outputs,) into a layer."""
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weights.T))
        layer.bias.copy_(torch.from_numpy(bias))


def _float32(values: Any) -> Tensor:
    return torch.from_numpy(np.asarray(values, np.float32).copy())
