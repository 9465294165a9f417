"""The anomaly scores and alarms of series, step by step, as somebody who watches the file's answers knows them."""

import numpy as np
import torch

from edgeseq.data.dataset import Array
from edgeseq.nn import Autoencoder, with_settings


def stepwise_alarms(network: Autoencoder, x: Array) -> tuple[Array, Array]:
    """At each step the latest score that is known, float32 (n, time), and whether there is an alarm, int64 (n, time).

    x: float32 (n, time, features). With a hop of h steps an answer comes with the last of them, and holds until the
    next one; before the first there is a score of 0, and no alarm.
    """
    scored = with_settings(network, {"part": "score"})
    with torch.no_grad():
        found = scored(**scored.inputs({"x": torch.from_numpy(x)}))
    latest = (np.arange(x.shape[1]) + 1) // network.config.hop
    scores, alarms = (np.pad(found[name].numpy(), ((0, 0), (1, 0)))[:, latest] for name in ("score", "alarm"))
    return scores, alarms


def reach_of(network: Autoencoder) -> int:
    """How many steps an alarm looks at: those of its windows, and until the next answer takes its place."""
    hop = network.config.hop
    return int(network.config.window + (network.config.hold[1] - 1) * hop + hop - 1)
