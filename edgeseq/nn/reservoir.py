"""The random weights of reservoirs, drawn once and scaled to their spectral radius."""

from typing import Any, cast

import numpy as np
import torch
from edgeseq_export.ops.reservoir import (
    BlockFeedback,
    CycleFeedback,
    DenseFeedback,
    Feedback,
    ReservoirLayer,
    ReservoirStep,
)
from edgeseq_runtime.errors import MissingPackageError, UsageError
from numpy.typing import NDArray
from torch import Tensor

from edgeseq.nn.esn_config import EsnConfig

Array = NDArray[Any]

_DENSE = 256
"""Up to so many units all eigenvalues are found at once, which is faster than a sparse solver and never fails."""


def draw(layer: ReservoirLayer, config: EsnConfig, rng: np.random.Generator, input_scaling: float) -> None:
    """Set all weights of a layer, in place.

    input_scaling: the largest input weight of this layer.
    """
    for direction, step in enumerate(layer.steps):
        shape = layer.w_in[direction].shape
        if config.input_weights == "binomial":
            weights = rng.integers(0, 2, shape) * 2.0 - 1
        else:
            weights = rng.uniform(-1, 1, shape)
        _set(layer.w_in[direction], input_scaling * weights)
        _set(layer.bias[direction], config.bias * rng.uniform(-1, 1, layer.hidden_size))
        _draw_feedback(cast(ReservoirStep, step).feedback, config, rng)


def random_weights(units: int, fan_in: int, rng: np.random.Generator) -> Array:
    """W (units, units): every unit is fed by `fan_in` others or itself, with weights uniform in [-1, 1]."""
    sources = rng.permuted(np.tile(np.arange(units), (units, 1)), axis=1)[:, :fan_in]
    weights = np.zeros((units, units))
    weights[np.arange(units)[:, None], sources] = rng.uniform(-1, 1, sources.shape)
    return weights


def block_weights(blocks: int, size: int, fan_in: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Which blocks feed each, int64 (blocks, fan_in); the weights (blocks, fan_in · size, size), uniform in [-1, 1]."""
    sources = rng.permuted(np.tile(np.arange(blocks), (blocks, 1)), axis=1)[:, :fan_in]
    return np.sort(sources, axis=1), rng.uniform(-1, 1, (blocks, fan_in * size, size))


def spectral_radius(weights: Array) -> float:
    """The largest modulus of an eigenvalue of a sparse matrix (n, n), by Arnoldi iteration (ARPACK) to full precision.

    Raises MissingPackageError where scipy is not there.
    """
    if len(weights) <= _DENSE:
        return float(np.abs(np.linalg.eigvals(weights)).max())
    try:
        from scipy.sparse import csr_array
        from scipy.sparse.linalg import ArpackNoConvergence, eigs
    except ImportError as error:
        raise MissingPackageError("a reservoir's weights need scipy: pip install 'edgeseq[train]'") from error
    start = np.random.default_rng(0).uniform(-1, 1, len(weights))  # ARPACK's own would be another at each call
    try:
        values = eigs(csr_array(weights), k=6, ncv=64, which="LM", v0=start, return_eigenvectors=False)
    except ArpackNoConvergence:
        values = np.linalg.eigvals(weights)
    return float(np.abs(values).max())


def scale_to(weights: Array, wanted: float) -> float:
    """The factor that gives a matrix (n, n) the spectral radius `wanted`.

    Raises UsageError where the matrix has none to scale: no path leads from any unit back to itself.
    """
    found = spectral_radius(weights)
    if found < 1e-12 * max(float(np.abs(weights).max(initial=0)), 1e-300):
        raise UsageError(
            f"a reservoir of {len(weights)} units has spectral radius 0 and cannot be scaled to spectral_radius = "
            f"{wanted}: no unit feeds back to itself; raise density (at most 1)"
        )
    return wanted / found


def block_matrix(sources: Array, weights: Array) -> Array:
    """What `block_weights` gives as one matrix W (units, units), for h -> W h."""
    blocks, fan_in = sources.shape
    size = weights.shape[2]
    matrix = np.zeros((blocks, size, blocks, size))
    for block, feeding in enumerate(sources):
        for place, source in enumerate(feeding):
            matrix[block, :, source] = weights[block, place * size : (place + 1) * size].T
    assert fan_in * size == weights.shape[1]
    return matrix.reshape(blocks * size, blocks * size)


def _draw_feedback(feedback: Feedback, config: EsnConfig, rng: np.random.Generator) -> None:
    if isinstance(feedback, CycleFeedback):
        _set(feedback.weight, np.asarray(config.spectral_radius))  # the n-th roots of wⁿ all have modulus w
    elif isinstance(feedback, BlockFeedback):
        blocks, width, size = feedback.weights.shape
        sources, weights = block_weights(blocks, size, width // size, rng)
        _set(feedback.sources, sources)
        _set(feedback.weights, scale_to(block_matrix(sources, weights), config.spectral_radius) * weights)
    else:
        assert isinstance(feedback, DenseFeedback)
        weights = random_weights(config.units, config.fan_in, rng)
        _set(feedback.weights, scale_to(weights, config.spectral_radius) * weights.T)


def _set(tensor: Tensor, values: Array) -> None:
    tensor.copy_(torch.from_numpy(np.asarray(values)))
