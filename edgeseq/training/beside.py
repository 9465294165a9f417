"""What stands beside an autoencoder's figures: principal component analysis with as many numbers a code."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeseq.data import Dataset, Parts
from edgeseq.fit.scikit import estimator
from edgeseq.nn import Autoencoder, Network
from edgeseq.nn.head import fitted_head

Array = NDArray[Any]


def beside(network: Network, parts: Parts) -> dict[str, dict[str, float]]:
    """By method: `rebuild_error` of the test part, and `accuracy` of the same classifier on its codes.

    The method is fitted to the training and validation part together, in the unit that the network's error is in.
    Nothing for what is no autoencoder of arrays.
    """
    if not isinstance(network, Autoencoder) or network.ragged or network.config.window is not None:
        return {}
    known, test = network.examples(parts.train.join(parts.validation)), network.examples(parts.test)
    x, test_x = (_flat(data) / np.asarray(network.unit, np.float32) for data in (known, test))
    count = min(network.config.code_size, *x.shape)
    analysis = estimator("decomposition", "PCA", n_components=count, random_state=0).fit(x)
    codes = analysis.transform(test_x)
    figures = {"rebuild_error": float(np.square(analysis.inverse_transform(codes) - test_x).mean())}
    if network.head is not None:
        figures["accuracy"] = _accuracy(network, analysis.transform(x), known.y, codes, test.y)
    return {"PCA": figures}


def _accuracy(network: Autoencoder, codes: Array, y: Array, test_codes: Array, test_y: Array) -> float:
    weights, bias = fitted_head(codes, y, network.config.classes, network.config.head_labels)
    return float(((test_codes @ weights + bias).argmax(1) == test_y).mean())


def _flat(data: Dataset) -> Array:
    return data.x.reshape(len(data), -1)
