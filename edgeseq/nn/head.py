"""A classifier on codes: logistic regression on a few labelled examples."""

from typing import Any

import numpy as np
from edgeseq_runtime.errors import UsageError
from numpy.typing import NDArray

from edgeseq.fit.logistic import logistic

Array = NDArray[Any]


def fitted_head(codes: Array, y: Array, classes: int, count: int) -> tuple[Array, Array]:
    """Weights (code_size, classes) and bias (classes,) of a classifier, the penalty by cross-validation.

    codes: (examples, code_size). y: int64 (examples,). count: the labelled examples, drawn from all with a seed of 0.

    Raises:
        UsageError: there are fewer examples.
    """
    if count > len(codes):
        raise UsageError(f"head_labels is {count}, but the training part has {len(codes)} examples")
    rows = np.sort(np.random.default_rng(0).permutation(len(codes))[:count])
    weights, bias, _ = logistic(codes[rows], y[rows], classes, None)
    return weights.astype(np.float32), bias.astype(np.float32)
