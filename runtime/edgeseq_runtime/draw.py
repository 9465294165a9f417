"""Realistic random inputs by a signature's `draw` hints, so that proofs and benchmarks are not vacuous."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeseq_runtime.errors import ContractError
from edgeseq_runtime.signature import TIME, Limit, Signature, StatePair, Tensor

Array = NDArray[Any]

# np.random is named in quotes: numpy imports it when it is first used, which a device never does


def draw_inputs(signature: Signature, sizes: Mapping[str, int], seed: int, ragged: bool = False) -> dict[str, Array]:
    """Random values for every input, states left out.

    sizes: the size of each named axis. ragged: lengths drawn from the least that is taken to time, one of several rows
    kept whole; otherwise all are `time`.
    """
    rng = np.random.default_rng(seed)
    least = signature.limits.get(TIME, Limit()).min if ragged else None
    return {t.name: _lengths(t, sizes, rng, least) if t.of else draw(t, sizes, rng) for t in signature.inputs}


def draw_states(signature: Signature, sizes: Mapping[str, int], seed: int) -> dict[str, Array]:
    """Random states: of deviation 0.5, inside the range a gated cell's own states take; counters from 1 to 8.

    Where a counter has a range, the first and half of the others are as high as they get, as in a long stream.
    """
    rng = np.random.default_rng(seed)
    return {s.input: _state(s, sizes, rng) for s in signature.states}


def draw(tensor: Tensor, sizes: Mapping[str, int], rng: "np.random.Generator") -> Array:
    """One random input by its `draw` hint (where there is none: by its range, standard normal, a mask, or zeros)."""
    shape = tensor.shape(sizes)
    if tensor.earlier:
        from edgeseq_runtime.table import draw_table  # few models have such an input

        return draw_table(rng, shape).astype(tensor.dtype)
    hint = dict(tensor.draw or {})
    if "examples" in hint:
        return _like_examples(hint["examples"], hint["deviation"], shape, rng).astype(tensor.dtype)
    if "normal" in hint:
        mean, deviation = (np.asarray(v, np.float64) for v in hint["normal"])
        return (mean + deviation * rng.standard_normal(shape)).astype(tensor.dtype)
    if "uniform" in hint:
        low, high = hint["uniform"]
        return np.asarray(rng.uniform(low, high, shape), tensor.dtype)
    if "integers" in hint:
        low, high = hint["integers"]
        return rng.integers(low, high, shape).astype(tensor.dtype)
    if hint:
        raise ContractError(
            f"input '{tensor.name}' has the unknown draw hint {hint!r}; known are normal, uniform, integers, examples"
        )
    if tensor.range is not None:
        return rng.integers(*tensor.range, shape).astype(tensor.dtype)
    if np.issubdtype(np.dtype(tensor.dtype), np.floating):
        return rng.standard_normal(shape).astype(tensor.dtype)
    if tensor.dtype == "bool":
        return _mask(shape, rng)
    return np.zeros(shape, tensor.dtype)


def _mask(shape: tuple[int, ...], rng: "np.random.Generator") -> Array:
    """Some entries True, the first of each row False: a row that is masked as a whole has no answer."""
    mask = rng.random(shape) < 0.3
    mask[..., :1] = False
    return mask


def _like_examples(
    examples: list[list[float]], deviation: float | list[float], shape: tuple[int, ...], rng: "np.random.Generator"
) -> Array:
    """Rows that are an example each, repeated or cut to length from some step on, with more or less noise or none.

    examples: each flat. shape: (batch, …); the last axis is one step of a sequence, whatever it is grouped into.
    """
    rows, width = np.asarray(examples, np.float64), shape[-1] if len(shape) > 2 else 1
    length = int(np.prod(shape[1:], dtype=int)) // width
    found = rows[rng.integers(len(rows), size=shape[0])]
    steps = found.reshape(shape[0], -1, width)
    if steps.shape[1] != length:
        start = rng.integers(steps.shape[1])
        steps = steps[:, (start + np.arange(length)) % steps.shape[1]]
    level = rng.choice([0.0, 1.0], shape[0]) * rng.random(shape[0])
    noise = np.asarray(deviation) * rng.standard_normal(shape)
    return steps.reshape(shape) + level.reshape(-1, *(1,) * (len(shape) - 1)) * noise


def _state(state: StatePair, sizes: Mapping[str, int], rng: "np.random.Generator") -> Array:
    shape = state.shape(sizes)
    if state.range is not None:
        highest = rng.random(shape) < 0.5
        highest.flat[:1] = True
        return np.where(highest, state.range[1] - 1, rng.integers(*state.range, shape)).astype(state.dtype)
    if np.issubdtype(np.dtype(state.dtype), np.integer):
        return rng.integers(1, 9, shape).astype(state.dtype)
    return (0.5 * rng.standard_normal(shape)).astype(state.dtype)


def _lengths(tensor: Tensor, sizes: Mapping[str, int], rng: "np.random.Generator", least: int | None) -> Array:
    """least: the shortest to draw; None: all are whole."""
    shape, time = tensor.shape(sizes), sizes[TIME]
    lengths = np.full(shape, time, tensor.dtype)
    if least is not None:
        lengths = rng.integers(min(least, time), time + 1, shape).astype(tensor.dtype)
        if lengths.size > 1:
            lengths.flat[rng.integers(lengths.size)] = time
    return lengths
