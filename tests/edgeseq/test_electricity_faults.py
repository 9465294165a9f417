"""Faults in the load: what each kind does, where they lie, and that nothing else is changed."""

from random import Random

import numpy as np
import pytest

from edgeseq.data import electricity_faults, electricity_load
from edgeseq.data.dataset import Dataset
from edgeseq.data.electricity_faults import DRIFT, FLAT_LINE, LABELS, LENGTHS, MISSING, SPIKE, Fault, draw, inject, part
from edgeseq.data.electricity_load import DAY, WEEK, features
from edgeseq.data.packages import package_file

SHA256 = "1622e9fd3b18828f2f5996b93ab7648a6932bafbf9288a436f0ec0d0fe96ff29"
LOADS = 30_000 + 1000 * np.random.default_rng(0).standard_normal(4 * WEEK).cumsum() / 50
RAMP = np.arange(10.0)


@pytest.fixture(scope="module")
def loads():
    return electricity_load.parse(package_file("pmdarima", "2.1.1", "pmdarima/datasets/taylor.py").read_bytes())


@pytest.fixture(scope="module")
def loaded():
    return electricity_faults.load()


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault(SPIKE, 4, 2, 50.0), [0, 1, 2, 3, 54, 55, 6, 7, 8, 9]),
        (Fault(SPIKE, 0, 1, -50.0), [-50, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (Fault(FLAT_LINE, 3, 4, 50.0), [0, 1, 2, 2, 2, 2, 2, 7, 8, 9]),
        (Fault(DRIFT, 2, 4, 8.0), [0, 1, 4, 7, 10, 13, 6, 7, 8, 9]),
        (Fault(MISSING, 2, 4, 8.0), RAMP),
    ],
)
def test_a_fault_changes_its_own_steps(fault, expected):
    readings = RAMP.copy()
    np.testing.assert_allclose(inject(readings, fault), expected)
    np.testing.assert_array_equal(readings, RAMP)


def test_missing_hours_are_left_out_and_the_clock_goes_on():
    data = part(LOADS, WEEK, 2 * WEEK, [(), (Fault(MISSING, 100, 6, 0.0),)])
    assert data.lengths.tolist() == [WEEK, WEEK - 6]
    np.testing.assert_array_equal(data.x[1, : WEEK - 6], np.delete(data.x[0], np.arange(100, 106), 0))
    assert np.flatnonzero(data.y[1]).tolist() == [100]
    assert data.y[1, 100] == MISSING
    assert not data.y[0].any()


@pytest.mark.parametrize("kind", [SPIKE, FLAT_LINE, DRIFT])
def test_load_and_change_are_wrong_alike_and_the_clock_is_right(kind):
    data = part(LOADS, WEEK, 3 * WEEK, [(), (Fault(kind, 30, 9, 500.0),)])
    error = data.x[1] - data.x[0]
    np.testing.assert_allclose(error[:, 0], error[:, 1], atol=0.01)
    assert not error[:, 2:].any()
    assert np.flatnonzero(data.y[1]).tolist() == list(range(30, 39))
    assert set(data.y[1, 30:39]) == {kind}
    assert not error[data.y[1] == 0].any()  # neither before nor behind it, nor a week later
    assert np.abs(error[30:39, 0]).max() > 1


def test_columns_without_faults(loads, loaded):
    for data, start in ((loaded.whole, WEEK), (loaded.validation, 8 * WEEK)):
        steps = start + np.arange(data.x.shape[1])
        np.testing.assert_array_equal(data.x[0, :, 0], loads[steps])
        np.testing.assert_array_equal(data.x[0, :, 1], loads[steps] - loads[steps - WEEK])
        np.testing.assert_array_equal(data.x[0, :, 2:], features(loads)[steps - WEEK, 1:])
        assert not data.y.any()


def test_the_parts(loaded):
    assert loaded.whole.x.shape == (1, 7 * WEEK, 4)
    assert loaded.validation.x.shape == (1, WEEK, 4)
    for data in (loaded.whole, loaded.validation, loaded.test):
        assert (data.x.dtype, data.y.dtype, data.task, data.stepwise) == (np.float32, np.int64, "classify", True)
        assert (data.labels, data.steps_a_week) == (LABELS, WEEK)
        assert data.rows(np.array([0])).steps_a_week == WEEK
    assert Dataset(RAMP, RAMP).steps_a_week is None


def test_every_copy_has_one_fault_of_each_kind_and_is_right_elsewhere(loads, loaded):
    test, places = loaded.test, set()
    recorded = {tuple(row): t for t, row in enumerate(electricity_faults.columns(loads[9 * WEEK :], loads, 9 * WEEK))}
    assert len(test) == 8
    for x, y, length in zip(test.x, test.y, test.lengths, strict=True):
        edges = np.flatnonzero(np.diff(y, prepend=0, append=0)).reshape(-1, 2)
        assert sorted(y[start] for start, _ in edges) == [SPIKE, FLAT_LINE, DRIFT, MISSING]
        for start, end in edges:
            shortest, longest = (1, 1) if y[start] == MISSING else LENGTHS[y[start]]
            assert shortest <= end - start <= longest
        assert edges[0, 0] >= DAY
        assert (edges[1:, 0] - edges[:-1, 1]).min() >= 2 * DAY
        assert edges[-1, 1] <= length - DAY + 1
        places.add(tuple(edges[:, 0]))
        steps = np.array([recorded[tuple(row)] for row in x[:length][y[:length] == 0]])
        assert (np.diff(steps) > 0).all()
        shortest, longest = LENGTHS[MISSING]
        assert shortest <= 3 * WEEK - length <= longest
        assert not x[length:].any()
    assert len(places) == 8


def test_sizes_are_multiples_of_the_deviation():
    faults = [fault for seed in range(1000) for fault in draw(Random(seed), 3 * WEEK, 1000.0)]
    sizes = np.array([fault.size for fault in faults])
    assert (np.abs(sizes).min() >= 500) & (np.abs(sizes).min() < 520)
    assert (np.abs(sizes).max() > 980) & (np.abs(sizes).max() <= 1000)
    assert 0.4 < (sizes > 0).mean() < 0.6
    for kind, (shortest, longest) in LENGTHS.items():
        mine = [fault for fault in faults if fault.kind == kind]
        assert {fault.length for fault in mine} >= {shortest, longest}
        assert all(shortest <= fault.length <= longest for fault in mine)
        assert {fault.start % DAY for fault in mine} == set(range(DAY))  # at any time of the day
        assert {fault.start * 4 // (3 * WEEK) for fault in mine} == {0, 1, 2, 3}


def test_the_same_faults_every_time(loaded):
    assert loaded.about.sha256 == SHA256
    assert loaded.about.name == "electricity-load-faults"
    again = electricity_faults.load()
    np.testing.assert_array_equal(again.test.x, loaded.test.x)


def test_other_faults_are_other_data(monkeypatch):
    monkeypatch.setattr(electricity_faults, "_SEED", 2001)
    assert electricity_faults.load().about.sha256 != SHA256
