"""Fully connected layers fitted to features, by scikit-learn."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeseq.fit.classes import both, check_classes, spread
from edgeseq.fit.folds import Validated, cross_entropy, cross_validate, folds
from edgeseq.fit.scaled import scaled
from edgeseq.fit.scikit import estimator, fit

Array = NDArray[Any]
Layers = list[tuple[Array, Array]]
"""Weights (inputs, outputs) and bias (outputs,) of one layer after the other, with ReLU between them."""

PENALTIES = (1.0, 0.01, 0.0001)
"""What is tried where no penalty is given."""

_UPDATES = 5000


def perceptron(
    features: Array,
    targets: Array,
    outputs: int,
    hidden_sizes: Sequence[int],
    penalty: float | None,
    groups: Array | None = None,
    seed: int = 0,
) -> tuple[Layers, Validated]:
    """Layers with ReLU for the smallest cross entropy or squared error + penalty / (2 · rows) · |W|², by Adam.

    Features are scaled first, and values are standardised; the layers that are returned take and give them as they are.

    Args:
        features: (rows, features). targets: classes int64 (rows,), or values (rows, outputs).
        penalty: None: the one of PENALTIES with the smallest loss of rows left out. groups: (rows,), left out together.

    Raises:
        UsageError: one class only. MissingPackageError: no scikit-learn.
    """
    table = scaled(features).turned()
    shift, spans, y = _standardised(targets, outputs)

    def scorer(rows: Array, strength: float) -> Any:
        layers = _fitted(table.rows[rows], y[rows], outputs, hidden_sizes, strength, seed)
        return lambda others: perceive(layers, table.rows[others])

    def loss(scores: Array) -> float:
        return cross_entropy(scores, y) if y.ndim == 1 else float(((scores - y) ** 2).mean())

    penalties = PENALTIES if penalty is None else (penalty,)
    found = cross_validate(scorer, loss, penalties, folds(y, groups, 3, seed))
    layers = _fitted(table.rows, y, outputs, hidden_sizes, found.penalty, seed)
    layers[0] = table.unscaled(*layers[0])
    weights, bias = layers[-1]
    layers[-1] = weights * spans, bias * spans + shift
    left_out = None if found.left_out is None else found.left_out * spans + shift
    return layers, Validated(found.penalty, left_out)


def _standardised(targets: Array, outputs: int) -> tuple[Array, Array, Array]:
    """Mean and deviation of values, and values with mean 0 and deviation 1; classes are left as they are."""
    if targets.ndim == 1:
        check_classes(targets)
        return np.zeros(outputs), np.ones(outputs), targets
    mean, deviation = targets.mean(0), targets.std(0)
    deviation = np.where(deviation > 0, deviation, 1.0)
    return mean, deviation, (targets - mean) / deviation


def perceive(layers: Layers, features: Array) -> Array:
    """The last layer's values, (rows, outputs), of features (rows, features)."""
    *hidden, (weights, bias) = layers
    for inner, offset in hidden:
        features = np.maximum(features @ inner + offset, 0)
    last: Array = features @ weights + bias
    return last


def _fitted(features: Array, y: Array, outputs: int, hidden_sizes: Sequence[int], penalty: float, seed: int) -> Layers:
    batch = min(len(features), max(32, min(256, len(features) // 50)))
    model = estimator(
        "neural_network",
        "MLPClassifier" if y.ndim == 1 else "MLPRegressor",
        hidden_layer_sizes=tuple(hidden_sizes),
        alpha=penalty,
        batch_size=batch,
        max_iter=max(10, min(300, _UPDATES * batch // len(features))),
        random_state=seed,
    )
    fit(model, features, y if y.ndim == 1 or y.shape[1] > 1 else y[:, 0])
    layers = list(zip(model.coefs_, model.intercepts_, strict=True))
    if y.ndim == 1:
        weights, bias = layers[-1]
        if weights.shape[1] == 1:
            weights, bias = both(weights, bias)
        layers[-1] = spread(weights, bias, y, outputs)
    return layers
