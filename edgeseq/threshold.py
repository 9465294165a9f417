"""Above which score an anomaly lies: chosen on scores of what is normal. numpy alone, so that a device can do it."""

from typing import Any

import numpy as np
from edgeseq_runtime.errors import InputError
from numpy.typing import NDArray

Array = NDArray[Any]

QUANTILE = 0.999
"""Of the scores of what is normal, where nobody says which."""

_LEAST = 2


def threshold_of(scores: Array, quantile: float = QUANTILE, deviations: float | None = None) -> float:
    """A quantile of the scores; or their mean and so many of their standard deviations.

    scores: float32 (examples,).

    Raises:
        InputError: fewer than two scores, all the same, or one that is not finite.
    """
    if len(scores) < _LEAST:
        raise InputError(
            f"a threshold is chosen on at least {_LEAST} scores, but there is {len(scores)}; give more data"
        )
    if not np.isfinite(scores).all():
        raise InputError("a score is not finite; look for missing values in the data")
    if scores.min() == scores.max():
        raise InputError(
            f"all {len(scores)} scores are {scores[0]:g}, so no threshold can be chosen on them: the data is constant"
        )
    if deviations is None:
        return float(np.quantile(scores.astype(np.float64), quantile))
    return float(scores.mean(dtype=np.float64)) + deviations * float(scores.std(dtype=np.float64))
