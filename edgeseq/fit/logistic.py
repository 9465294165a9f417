"""Logistic regression of several classes, by scikit-learn."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeseq.fit.classes import both, check_classes, spread
from edgeseq.fit.folds import Validated, cross_entropy, cross_validate, folds
from edgeseq.fit.scaled import scaled
from edgeseq.fit.scikit import estimator, fit

Array = NDArray[Any]

PENALTIES = (10.0, 1.0, 0.1, 0.01, 0.001)
"""What is tried where no penalty is given."""


def logistic(
    features: Array, y: Array, outputs: int, penalty: float | None, groups: Array | None = None, seed: int = 0
) -> tuple[Array, Array, Validated]:
    """Minimise the cross entropy, summed over rows, + penalty / 2 · |W|², of features that are scaled first.

    Args:
        features: (rows, features). y: classes int64 (rows,), of which there are `outputs`.
        penalty: more than 0; None: the one of PENALTIES with the smallest cross entropy of rows left out.
        groups: (rows,), left out together.

    Returns:
        weights (features, outputs) and bias (outputs,) for features as they are, and what cross-validation found.

    Raises:
        UsageError: one class only. MissingPackageError: no scikit-learn.
    """
    check_classes(y)
    table = scaled(features).turned()

    def fitted(rows: Array, strength: float) -> tuple[Array, Array]:
        model = estimator("linear_model", "LogisticRegression", C=1 / strength, max_iter=500)
        fit(model, table.rows[rows], y[rows])
        weights, bias = model.coef_.T, model.intercept_
        if weights.shape[1] == 1:
            weights, bias = both(weights, bias)
        return spread(weights, bias, y[rows], outputs)

    def scorer(rows: Array, strength: float) -> Any:
        weights, bias = fitted(rows, strength)
        return lambda others: table.rows[others] @ weights + bias

    penalties = PENALTIES if penalty is None else (penalty,)
    found = cross_validate(scorer, lambda scores: cross_entropy(scores, y), penalties, folds(y, groups, 5, seed))
    return *table.unscaled(*fitted(np.arange(len(y)), found.penalty)), found
