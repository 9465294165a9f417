"""Closed forms: ridge against its definition, row by row left out; probabilities that are as sharp as they are true."""

import numpy as np
import pytest
from edgeseq_runtime.errors import UsageError
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeseq.fit import ridge, sharpness

RNG = np.random.default_rng(3)


def solved(x: np.ndarray, y: np.ndarray, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights and bias by the normal equations, the bias a column of ones that is not penalised."""
    table = np.column_stack([x, np.ones(len(x))])
    keep = np.eye(table.shape[1])
    keep[-1, -1] = 0
    both = np.linalg.solve(table.T @ table + penalty * keep, table.T @ y)
    return both[:-1], both[-1]


@settings(deadline=None, max_examples=25)
@given(
    rows=st.integers(3, 9),
    features=st.integers(1, 12),
    outputs=st.integers(1, 3),
    penalty=st.sampled_from([0.01, 1, 50]),
)
def test_ridge_is_what_its_definition_says(rows: int, features: int, outputs: int, penalty: float) -> None:
    rng = np.random.default_rng(rows * 100 + features)
    x, y = rng.normal(2, 1, (rows, features)), rng.normal(-1, 3, (rows, outputs))
    found = ridge(x, y, [penalty])
    weights, bias = solved(x, y, penalty)
    np.testing.assert_allclose(found.weights, weights, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found.bias, bias, rtol=1e-6, atol=1e-9)
    for row in range(rows):
        others = np.arange(rows) != row
        weights, bias = solved(x[others], y[others], penalty)
        np.testing.assert_allclose(found.left_out[row], x[row] @ weights + bias, rtol=1e-6, atol=1e-8)
    assert found.errors == {penalty: pytest.approx(((y - found.left_out) ** 2).mean())}


def test_the_penalty_is_the_one_with_the_smallest_error_of_rows_left_out() -> None:
    x = RNG.normal(size=(40, 30))
    y = x[:, :1] + RNG.normal(0, 2, (40, 1))
    found = ridge(x, y)
    assert found.errors[found.penalty] == min(found.errors.values())
    assert 0.1 < found.penalty < 1e5  # neither the noise is learnt, nor is nothing
    assert ridge(x, y, [found.penalty]).errors == {found.penalty: found.errors[found.penalty]}


def test_features_that_only_one_row_has_are_no_division_by_zero() -> None:
    found = ridge(np.eye(4), np.arange(4.0)[:, None], [1e-300])
    assert np.isfinite(found.left_out).all()


@pytest.mark.parametrize(
    ("x", "y", "penalties", "words"),
    [
        (np.ones((1, 2)), np.ones((1, 1)), [1.0], "2 or more rows"),
        (np.ones((3, 2)), np.ones((4, 1)), [1.0], "two tables of the same"),
        (np.full((3, 2), np.inf), np.ones((3, 1)), [1.0], "the features hold a value that is not finite"),
        (np.ones((3, 2)), np.ones((3, 1)), [], "at least one"),
        (np.ones((3, 2)), np.ones((3, 1)), [0.0], "more than 0"),
    ],
)
def test_what_cannot_be_solved_is_said(x: np.ndarray, y: np.ndarray, penalties: list[float], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        ridge(x, y, penalties)


def test_sharpness_finds_the_factor_that_the_classes_were_drawn_with() -> None:
    scores = RNG.normal(size=(20_000, 4))
    weights = np.exp(3.0 * scores)
    drawn = RNG.random(20_000)[:, None] * weights.sum(1, keepdims=True)
    y = (weights.cumsum(1) < drawn).sum(1)
    assert sharpness(scores, y) == pytest.approx(3.0, rel=0.05)
    assert sharpness(scores, scores.argmax(1)) == pytest.approx(1000, rel=1e-6)  # always right: no factor is too large
