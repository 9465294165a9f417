"""What is solved for: ridge against its definition, rows and groups left out; components; folds; sharpness."""

import numpy as np
import pytest
from edgeseq_runtime.errors import UsageError
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeseq.fit import principal_components, ridge, sharpness
from edgeseq.fit.classes import both, spread
from edgeseq.fit.folds import cross_validate, folds
from edgeseq.fit.scaled import scaled

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


@pytest.mark.parametrize(
    ("rows", "features", "groups"),
    [
        (12, 3, np.arange(12) // 4),  # groups of more rows than features
        (12, 20, np.arange(12) // 3),  # features enough to meet every target
        (12, 8, np.array([5, 5, 5, 0, 0, 0, 0, 0, 0, 0, 9, 9])),
        (12, 8, np.arange(12) % 2),  # not side by side
        (12, 5, np.arange(12)),  # each row a group
    ],
)
@pytest.mark.parametrize("penalty", [1e-6, 0.3])
def test_groups_are_left_out_together(rows: int, features: int, groups: np.ndarray, penalty: float) -> None:
    rng = np.random.default_rng(features)
    x, y = rng.normal(2, 1, (rows, features)), rng.normal(-1, 3, (rows, 2))
    found = ridge(x, y, [penalty], groups)
    for group in np.unique(groups):
        weights, bias = solved(x[groups != group], y[groups != group], penalty)
        np.testing.assert_allclose(found.left_out[groups == group], x[groups == group] @ weights + bias, rtol=1e-5)
    np.testing.assert_allclose(found.weights, ridge(x, y, [penalty]).weights, rtol=1e-12)


def test_one_group_is_taken_row_by_row() -> None:
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(9, 4)), rng.normal(size=(9, 1))
    np.testing.assert_array_equal(ridge(x, y, [0.1], np.zeros(9)).left_out, ridge(x, y, [0.1]).left_out)


def test_without_a_penalty_it_is_least_squares() -> None:
    rng = np.random.default_rng(7)
    x, y = rng.normal(3, 1, (30, 6)), rng.normal(size=(30, 2))
    found = ridge(x, y, [0.0])
    wanted = np.linalg.lstsq(np.column_stack([x, np.ones(30)]), y, rcond=None)[0]
    np.testing.assert_allclose(np.vstack([found.weights, found.bias]), wanted, rtol=1e-9, atol=1e-12)
    for row in range(30):
        weights, bias = solved(np.delete(x, row, 0), np.delete(y, row, 0), 0)
        np.testing.assert_allclose(found.left_out[row], x[row] @ weights + bias, rtol=1e-8)


@pytest.mark.parametrize("penalty", [1e-12, 1e-10])
def test_features_that_almost_depend_on_each_other_are_told_apart(penalty: float) -> None:
    """Deviations from 1 to 1e-5, as the states of a smooth reservoir have them, and a target made of the smallest."""
    rng = np.random.default_rng(8)
    x = rng.normal(size=(400, 6)) * 10.0 ** -np.arange(6) @ np.linalg.qr(rng.normal(size=(6, 6)))[0]
    weights = rng.normal(size=(6, 1)) * 1e3
    found = ridge(x, x @ weights, [penalty])
    errors = np.abs(x @ found.weights + found.bias - x @ weights)
    assert errors.max() < 1e-3 * np.abs(x @ weights).max()
    assert found.errors[penalty] < 1e-6


def test_the_penalty_is_the_one_with_the_smallest_error_of_rows_left_out() -> None:
    x = RNG.normal(size=(40, 30))
    y = x[:, :1] + RNG.normal(0, 2, (40, 1))
    found = ridge(x, y)
    assert found.errors[found.penalty] == min(found.errors.values())
    assert 0.1 < found.penalty < 1e5  # neither the noise is learnt, nor is nothing
    assert ridge(x, y, [found.penalty]).errors == {found.penalty: pytest.approx(found.errors[found.penalty])}


def test_features_that_only_one_row_has_are_no_division_by_zero() -> None:
    y = np.arange(4.0)[:, None]
    found = ridge(np.eye(4), y, [1e-300])
    np.testing.assert_allclose(found.left_out, (y.sum() - y) / 3)  # of an unknown feature: the mean of the others


@pytest.mark.parametrize(
    ("x", "y", "penalties", "words"),
    [
        (np.ones((1, 2)), np.ones((1, 1)), [1.0], "2 or more rows"),
        (np.ones((3, 2)), np.ones((4, 1)), [1.0], "two tables of the same"),
        (np.full((3, 2), np.inf), np.ones((3, 1)), [1.0], "the features hold a value that is not finite"),
        (np.ones((3, 2)), np.ones((3, 1)), [], "at least one"),
        (np.ones((3, 2)), np.ones((3, 1)), [-1.0], "none less than 0"),
        (np.ones((3, 2)), np.ones((3, 1)), [0.0], "penalty is 0, .* tell only 0 .* must be more than 0"),
        (np.eye(3), np.ones((3, 1)), [1.0, 0.0], "3 rows of 3 features tell only 2 of them apart"),
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


def test_sharpness_is_never_sure_of_what_few_examples_show() -> None:
    scores = np.eye(3)[np.arange(30) % 3] + 0.01 * RNG.normal(size=(30, 3))
    factor = sharpness(scores, np.arange(30) % 3)  # always right
    probabilities = np.exp(factor * scores) / np.exp(factor * scores).sum(1, keepdims=True)
    assert probabilities.max(1).mean() == pytest.approx(1 - 1 / 32, rel=0.01)


@pytest.mark.parametrize(("rows", "features", "count"), [(50, 4, 4), (50, 4, 1), (5, 12, 4), (5, 12, 5)])
def test_principal_components_are_those_of_the_covariance(rows: int, features: int, count: int) -> None:
    x = np.random.default_rng(rows).normal(2, 1, (rows, features)) * np.arange(1, features + 1)
    mean, components = principal_components(x.astype(np.float32), count)
    x = x.astype(np.float32).astype(np.float64)
    np.testing.assert_allclose(mean, x.mean(0))
    np.testing.assert_allclose(components @ components.T, np.eye(count), atol=1e-12)
    variances = np.linalg.eigvalsh(np.cov(x.T))[::-1][:count]
    np.testing.assert_allclose(((x - mean) @ components.T).var(0, ddof=1), variances, rtol=1e-9, atol=1e-12)
    assert (components[np.arange(count), np.abs(components).argmax(1)] > 0).all()


@pytest.mark.parametrize("count", [0, 4, 9])
def test_components_that_there_are_not(count: int) -> None:
    with pytest.raises(UsageError, match=f"components is {count}, but 3 rows of 8 features have from 1 to 3"):
        principal_components(np.ones((3, 8)), count)


@pytest.mark.parametrize(
    ("y", "groups", "count", "sizes"),
    [
        ([0] * 10 + [1] * 5, None, 5, [3] * 5),  # each class in each fold
        ([0, 0, 1, 1], None, 5, [1] * 4),
        ([0] * 6 + [1] * 6, np.arange(12) // 2, 3, [4] * 3),
        ([0, 0, 0, 1, 1, 1, 2], None, 2, [4, 3]),  # a class of one row: a fold does without
    ],
)
def test_folds_deal_out_classes_evenly_and_keep_groups_together(
    y: list[int], groups: np.ndarray | None, count: int, sizes: list[int]
) -> None:
    classes = np.array(y)
    fold = folds(classes, groups, count, 3)
    assert fold is not None
    assert sorted(np.bincount(fold), reverse=True) == sizes
    for held in (0, 1):
        dealt = np.bincount(fold[classes == held], minlength=len(sizes))
        assert dealt.max() - dealt.min() <= (1 if groups is None else 2)
    if groups is not None:
        assert all(len(np.unique(fold[groups == group])) == 1 for group in groups)
    np.testing.assert_array_equal(fold, folds(classes, groups, count, 3))


@pytest.mark.parametrize(
    ("y", "groups"),
    [
        (np.array([0, 1]), None),
        (np.array([0, 1, 0, 1]), np.zeros(4)),
        (np.array([0, 0, 0, 1]), None),
        (np.zeros((5, 2)), np.ones(5)),
    ],
)
def test_where_nothing_can_be_left_out_there_are_no_folds(y: np.ndarray, groups: np.ndarray | None) -> None:
    assert folds(y, groups, 5, 0) is None


def test_cross_validation_takes_the_penalty_that_does_best_on_rows_left_out() -> None:
    seen = []

    def fit(rows: np.ndarray, penalty: float):
        seen.append((penalty, set(rows)))
        return lambda others: np.full((len(others), 1), penalty) + others[:, None]

    fold = np.array([0, 1, 2, 0, 1])
    found = cross_validate(fit, lambda scores: abs(scores.mean() - 2.1 - np.arange(5).mean()), (1.0, 2.0, 3.0), fold)
    assert found.penalty == 2.0
    np.testing.assert_array_equal(found.left_out, 2.0 + np.arange(5)[:, None])
    assert [rows for penalty, rows in seen if penalty == 1.0] == [{1, 2, 4}, {0, 2, 3}, {0, 1, 3, 4}]
    assert cross_validate(fit, lambda scores: 0.0, (1.0, 2.0, 3.0), None) == type(found)(2.0, None)


@pytest.mark.parametrize("shape", [(40, 5), (6, 30)])
def test_scaled_rows_have_one_deviation_and_weights_find_their_way_back(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(8)
    x = rng.normal(5, 3, shape) * np.arange(1, shape[1] + 1)
    table = scaled(x)
    np.testing.assert_allclose(table.rows.mean(0), 0, atol=1e-12)
    assert (table.rows**2).mean() == pytest.approx(1)
    np.testing.assert_allclose(table.rows[0] / table.rows[1], (x - x.mean(0))[0] / (x - x.mean(0))[1])
    turned = table.turned()
    assert turned.rows.shape == (shape[0], min(shape))
    np.testing.assert_allclose(turned.rows @ turned.rows.T, table.rows @ table.rows.T, atol=1e-10)
    weights, bias = rng.normal(size=(min(shape), 2)), np.array([1.0, -2.0])
    wide, offset = turned.unscaled(weights, bias)
    np.testing.assert_allclose(x @ wide + offset, turned.rows @ weights + bias, atol=1e-9)


def test_features_that_do_not_vary_are_scaled_by_1() -> None:
    table = scaled(np.full((4, 3), 0.1))
    assert table.deviation == 1
    np.testing.assert_allclose(table.rows, 0, atol=1e-15)


def test_a_class_without_an_example_never_scores_the_most() -> None:
    rng = np.random.default_rng(7)
    x, weights, bias = rng.normal(0, 9, (500, 4)), rng.normal(size=(4, 2)), np.array([3.0, -1.0])
    wide, offset = spread(weights, bias, np.array([1, 3, 3]), 5)
    scores = x @ wide + offset
    np.testing.assert_array_equal(scores[:, [1, 3]], x @ weights + bias)
    assert set(scores.argmax(1)) == {1, 3}


def test_one_decision_between_two_classes_is_their_difference() -> None:
    weights, bias = both(np.array([[2.0], [4.0]]), np.array([1.0]))
    np.testing.assert_array_equal(weights, [[-1, 1], [-2, 2]])
    np.testing.assert_array_equal(bias, [-0.5, 0.5])
