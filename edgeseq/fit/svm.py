"""Support vector machines, one class against the rest, by scikit-learn."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from edgeseq_runtime.errors import UsageError
from numpy.typing import NDArray

from edgeseq.fit.classes import check_classes, spread
from edgeseq.fit.folds import Validated, cross_validate, folds, sharpened_cross_entropy
from edgeseq.fit.scaled import scaled
from edgeseq.fit.scikit import estimator

Array = NDArray[Any]
Kernel = Literal["rbf", "linear"]

PENALTIES = (1.0, 0.1, 0.01)
"""What is tried where no penalty is given: the inverse of the cost C."""

MOST_ROWS = 10_000
"""More are refused: each is compared with every other, in a table of 800 MB for so many."""


@dataclass(frozen=True)
class SupportVectors:
    """Scores are K(z, vectors) @ coefficients + bias, with z = (x - mean) · scale.

    K(z, v) = exp(-|z - v|²) for the kernel "rbf", and z · v for "linear".

    vectors: (support, features). coefficients: (support, outputs). bias: (outputs,). mean: (features,).
    """

    vectors: Array
    coefficients: Array
    bias: Array
    mean: Array
    scale: float

    def linear(self) -> tuple[Array, Array]:
        """Weights (features, outputs) and bias (outputs,) for features as they are, of the linear kernel."""
        weights = self.scale * self.vectors.T @ self.coefficients
        return weights, self.bias - self.mean @ weights


def kernel_matrix(kernel: Kernel, z: Array, vectors: Array) -> Array:
    """K of each z (rows, features) with each vector (vectors, features), as SupportVectors has it."""
    products: Array = z @ vectors.T
    if kernel == "linear":
        return products
    distances = (z**2).sum(1)[:, None] + (vectors**2).sum(1) - 2 * products
    similar: Array = np.exp(-np.maximum(distances, 0))
    return similar


def support_vectors(
    features: Array,
    y: Array,
    outputs: int,
    kernel: Kernel,
    penalty: float | None,
    groups: Array | None = None,
    seed: int = 0,
) -> tuple[SupportVectors, Validated]:
    """Tell each class from the rest by the widest margin (Cortes and Vapnik 1995), of features that are scaled first.

    The width of the kernel "rbf" is scikit-learn's "scale": exp(-|a - b|² / (features · variance)).

    Args:
        features: (rows, features). y: classes int64 (rows,), of which there are `outputs`.
        penalty: 1 / C, more than 0; None: the one of PENALTIES whose scores of rows left out, made as sharp as is best,
            have the smallest cross entropy.
        groups: (rows,), left out together.

    Raises:
        UsageError: one class only, or more than MOST_ROWS rows. MissingPackageError: no scikit-learn.
    """
    check_classes(y)
    if len(y) > MOST_ROWS:
        raise UsageError(
            f"the readout 'svm' is fitted to {len(y)} rows, but at most {MOST_ROWS} can be compared with each other; "
            "give it fewer sequences, or one state of each, or take 'logistic' or 'ridge'"
        )
    table = scaled(features)
    width = 1.0 if kernel == "linear" else table.rows.shape[1] ** -0.5
    z = table.rows * width
    gram = kernel_matrix(kernel, z, z)

    def scorer(rows: Array, strength: float) -> Any:
        coefficients, bias = _one_against_the_rest(gram[np.ix_(rows, rows)], y[rows], outputs, 1 / strength)
        return lambda others: gram[np.ix_(others, rows)] @ coefficients + bias

    penalties = PENALTIES if penalty is None else (penalty,)
    fold = folds(y, groups, 5, seed)
    found = cross_validate(scorer, lambda scores: sharpened_cross_entropy(scores, y), penalties, fold)
    coefficients, bias = _one_against_the_rest(gram, y, outputs, 1 / found.penalty)
    used = np.flatnonzero(np.abs(coefficients).sum(1))
    return SupportVectors(z[used], coefficients[used], bias, table.mean, width / table.deviation), found


def _one_against_the_rest(gram: Array, y: Array, outputs: int, cost: float) -> tuple[Array, Array]:
    """Coefficients (rows, outputs), 0 for rows that support nothing, and bias (outputs,). gram: (rows, rows)."""
    columns, biases = [], []
    for number in np.unique(y):
        model = estimator("svm", "SVC", C=cost, kernel="precomputed", tol=1e-5, cache_size=500)
        model.fit(gram, y == number)
        column = np.zeros(len(y))
        column[model.support_] = model.dual_coef_[0]
        columns.append(column)
        biases.append(model.intercept_[0])
    return spread(np.column_stack(columns), np.array(biases), y, outputs)
