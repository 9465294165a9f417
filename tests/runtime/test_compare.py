"""What passes and what does not: bounds, decisions, excuses, and reports that prove nothing."""

import json

import numpy as np
import pytest
from edgeseq_runtime.compare import Comparison, ParityReport, bound, compare, refused
from edgeseq_runtime.signature import Tensor

LOGITS = Tensor("logits", "float32", ("batch", 3), decision="argmax")
TRUTH = np.array([[1.0, 2.0, 3.0], [5.0, 4.9999, 0.0]])


def shifted(row, column, by):
    actual = TRUTH.copy()
    actual[row, column] += by
    return actual


@pytest.mark.parametrize(
    ("actual", "allowed", "differing", "excused", "passed"),
    [
        (TRUTH, 1e-9, 0, 0, True),
        (shifted(0, 2, 0.5), 1.0, 0, 0, True),
        (shifted(0, 2, 0.5), 0.4, 0, 0, False),
        (shifted(0, 0, 2.5), 10.0, 1, 1, True),  # within a wide bound, and the margin is too
        (shifted(1, 1, 2e-4), 3e-4, 1, 1, True),  # undecided: the margin is 1e-4
        (shifted(0, 0, 2.5), 2.5, 1, 1, True),
        (shifted(0, 0, 2.5), 1.0, 1, 0, False),
        (shifted(0, 1, np.nan), 10.0, 1, 1, False),
        (TRUTH[:1], 10.0, 0, 0, False),
    ],
)
def test_compare(actual, allowed, differing, excused, passed):
    result = compare("case", LOGITS, "cpu", actual, TRUTH, allowed)
    assert (result.differing, result.excused, result.passed) == (differing, excused, passed)


def test_a_decision_that_differs_is_not_excused_by_a_small_distance_elsewhere():
    truth = np.array([[1.0, 1.0 + 3e-3]])
    actual = np.array([[1.0 + 2e-3, 1.0 + 1e-3]])  # each entry moved by 2e-3, the margin is 3e-3
    result = compare("case", LOGITS, "cpu", actual, truth, 2.5e-3)
    assert result.max_abs <= result.bound
    assert (result.differing, result.excused, result.passed) == (1, 0, False)


def test_integers_must_be_equal():
    tokens = Tensor("tokens", "int64", ("batch",))
    assert compare("case", tokens, "cpu", np.array([1, 2]), np.array([1, 2]), 0.0).passed
    assert not compare("case", tokens, "cpu", np.array([1, 3]), np.array([1, 2]), 0.0).passed


@pytest.mark.parametrize(
    ("shape", "place", "words"),
    [
        ((3,), (2,), "row 2: 7 in place of 1"),
        ((3, 4), (1, 3), "row 1, position 3: 7 in place of 1"),
        ((3, 2, 4), (1, 0, 2), "row 1, hypothesis 0, position 2: 7 in place of 1"),
        ((2, 1, 1, 2), (1, 0, 0, 1), "entry (1, 0, 0, 1): 7 in place of 1"),
    ],
)
def test_the_first_integer_that_differs_is_told(shape, place, words):
    expected = np.ones(shape, np.int64)
    actual = expected.copy()
    actual[place] = 7
    tokens = Tensor("tokens", "int64", ("batch", *shape[1:]))
    result = compare("case", tokens, "cpu", actual, expected, 0.0)
    assert (result.differing, result.first) == (1, words)
    assert compare("case", tokens, "cpu", expected, expected, 0.0).first == ""


@pytest.mark.parametrize("allowed", [float("inf"), float("nan")])
def test_a_bound_that_is_no_number_proves_nothing(allowed):
    assert not compare("case", LOGITS, "cpu", TRUTH, TRUTH, allowed).passed


def test_bound_is_the_tolerance_or_four_times_pytorchs_own_error():
    truth = np.array([3.0, -4.0])
    assert bound(truth, 0.0, 1e-5) == pytest.approx(1e-5 * 12.5**0.5)
    assert bound(truth, 1.0, 1e-5) == 4.0
    assert bound(np.array([1, 2]), 1.0, 1e-5) == 0.0
    assert np.isnan(bound(truth, float("nan"), 1e-5))


def report(*comparisons, problems=()):
    return ParityReport("a", "b", comparisons, problems)


def decided(decisions, excused):
    return Comparison("case", "logits", "cpu", 0.0, 1.0, 1.0, decisions, excused, excused)


@pytest.mark.parametrize(
    ("given", "passed"),
    [
        (report(decided(1000, 0)), True),
        (report(), False),
        (report(decided(10, 0), problems=("blind",)), False),
        (report(decided(1000, 1)), True),
        (report(decided(999, 1)), False),  # more than 0.1 % excused
    ],
)
def test_report(given, passed):
    assert given.passed is passed
    assert json.loads(json.dumps(given.to_json()))["passed"] is passed


VALUES = Tensor("values", "float32", ("batch", 2))
SOME = np.array([[1.0, -2.0], [0.0, 4.0]])  # rms: √5.25


@pytest.mark.parametrize(
    ("actual", "allowed", "max_rel", "rms_ratio", "snr_db"),
    [
        (SOME, 1e-5, 0.0, 0.0, np.inf),
        (SOME * 1.01, 1e-5, 0.01, 0.01, 40.0),
        (
            np.add(SOME, [[0.0, 0.0], [1e-3, 0.0]]),
            1e-2,
            0.0,
            5e-4 / 5.25**0.5,
            73.2,
        ),  # nothing is relative to zero
        (np.add(SOME, [[0.5, 0.0], [0.0, 0.0]]), 3.0, 0.0, 0.25 / 5.25**0.5, 19.2),  # 1 is not above the bound, 4 is
        (np.full_like(SOME, np.nan), 1e-5, np.inf, np.inf, -np.inf),
    ],
)
def test_figures(actual, allowed, max_rel, rms_ratio, snr_db):
    result = compare("case", VALUES, "cpu", actual, SOME, allowed)
    assert result.max_rel == pytest.approx(max_rel)
    assert result.rms_ratio == pytest.approx(rms_ratio)
    assert result.snr_db == pytest.approx(snr_db, abs=0.05)
    assert result.shape == (2, 2)
    assert result.equal_share is None


def test_figures_of_what_is_zero_everywhere():
    zeros = np.zeros((1, 2))
    same, other = (compare("case", VALUES, "cpu", a, zeros, 1e-5) for a in (zeros, zeros + 1))
    assert (same.rms_ratio, same.snr_db, same.max_rel) == (0.0, np.inf, None)
    assert (other.rms_ratio, other.snr_db, other.max_rel) == (np.inf, -np.inf, None)


def test_an_infinity_in_its_place_is_equal_and_no_figure_suffers():
    truth = np.array([[np.inf, -np.inf], [np.nan, 2.0]])
    result = compare("case", VALUES, "cpu", np.add(truth, [[0, 0], [0, 0.02]]), truth, 1.0)
    assert result.max_abs == pytest.approx(0.02)
    assert result.max_rel == pytest.approx(0.01)
    assert result.rms_ratio == pytest.approx(0.01 / 2)  # one of four entries is off, and one of one is finite


@pytest.mark.parametrize(
    ("tensor", "actual", "expected", "share"),
    [
        (LOGITS, shifted(0, 0, 2.5), TRUTH, 0.5),
        (Tensor("n", "int64", ("batch",)), np.array([1, 2, 3, 5]), np.array([1, 2, 3, 4]), 0.75),
    ],
)
def test_share_of_equal_decisions(tensor, actual, expected, share):
    result = compare("case", tensor, "cpu", actual, expected, 1.0)
    assert result.equal_share == share
    assert result.to_json()["equal_share"] == share


def test_what_cannot_be_compared_says_why():
    wrong = compare("case", VALUES, "cpu", np.zeros((3, 2)), SOME, 1.0)
    assert not wrong.passed
    assert wrong.error == "its shape is (3, 2), but (2, 2) is expected"
    silent = refused("case", VALUES, "cpu", SOME, 1.0, "too long")
    assert (silent.passed, silent.error, silent.rms_ratio) == (False, "too long", None)
