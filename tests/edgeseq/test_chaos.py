"""Chaotic series: what follows what, which part holds it, that it obeys its equation, and the figures of forecasts."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from edgeseq_runtime.errors import MissingPackageError, UsageError

from edgeseq.data import Dataset, lorenz, mackey_glass
from edgeseq.data.chaos import fingerprint, generate, windows
from edgeseq.nn import Network
from edgeseq.training.evaluate import evaluate

STEPS = mackey_glass.WARMUP + mackey_glass.SCORED
SOURCES = {
    "mackey-glass": (mackey_glass.load, 1),
    "mackey-glass-10": (mackey_glass.load_ten_ahead, 10),
}


@pytest.fixture(scope="module")
def flow():
    return lorenz.load()


def parts_of(loaded):
    return loaded.whole, loaded.validation, loaded.test


def slope(state):
    x, y, z = state.T
    return np.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z], 1)


def after(state, time, count):
    """Where the Lorenz flow takes states (n, 3), by `count` Runge-Kutta steps."""
    h = time / count
    for _ in range(count):
        a = slope(state)
        b = slope(state + h / 2 * a)
        c = slope(state + h / 2 * b)
        state = state + h / 6 * (a + 2 * b + 2 * c + slope(state + h * c))
    return state


@pytest.mark.parametrize("source", SOURCES)
def test_every_step_is_answered_by_a_later_one(source):
    load, ahead = SOURCES[source]
    for data, count in zip(parts_of(load()), (10, 5, 5), strict=True):
        assert data.x.shape == data.y.shape == (count, STEPS, 1)
        assert data.x.dtype == data.y.dtype == np.float32
        assert data.stepwise
        assert (data.lengths == STEPS).all()
        np.testing.assert_array_equal(data.y[:, :-ahead], data.x[:, ahead:])


@pytest.mark.parametrize("source", SOURCES)
def test_each_scored_step_stands_once_and_the_parts_follow_each_other(source):
    load, ahead = SOURCES[source]
    series = mackey_glass.generate_series()[:, 0].astype(np.float32)
    place = {value.tobytes(): step for step, value in enumerate(np.lib.stride_tricks.sliding_window_view(series, 8))}
    before = 0
    for data in parts_of(load()):
        first = [place[window[:8, 0].tobytes()] for window in data.x]
        last = [place[window[-8:, 0].tobytes()] + 7 for window in data.y]
        assert np.diff(first).tolist() == [mackey_glass.SCORED] * (len(data) - 1)
        assert [end - start for start, end in zip(first, last, strict=True)] == [STEPS + ahead - 1] * len(data)
        assert first[0] > before
        before = last[-1]
    assert before < len(series)


def test_the_mackey_glass_series_obeys_its_equation():
    series = mackey_glass.generate_series()[:, 0]
    now, delayed, change = series[17:-1], series[:-18], np.diff(series)[17:]
    right = 0.2 * delayed / (1 + delayed**10) - 0.1 * now
    share = (change * right).sum() / (right**2).sum()
    np.testing.assert_allclose(change, share * right, atol=1e-12)
    assert 0.9 < share < 1


def test_ten_steps_ahead_reads_what_one_step_ahead_reads():
    for one, ten in zip(*(parts_of(load()) for load, _ in SOURCES.values()), strict=True):
        np.testing.assert_array_equal(one.x, ten.x)


def test_the_lorenz_trajectories_obey_their_equations(flow):
    for data in parts_of(flow):
        x, y = (array.reshape(-1, 3).astype(float) for array in (data.x, data.y))
        np.testing.assert_allclose(after(x, lorenz.STEP, 20), y, atol=2e-5)
        assert np.abs(x - (0, 0, 25)).max() < 30


def test_the_lorenz_parts_are_trajectories_of_their_own(flow):
    shapes = [(32, lorenz.WARMUP + lorenz.SCORED, 3), *((count, lorenz.WARMUP + lorenz.FREE, 3) for count in (8, 20))]
    for data, shape in zip(parts_of(flow), shapes, strict=True):
        assert data.x.shape == data.y.shape == shape
        np.testing.assert_array_equal(data.y[:, :-1], data.x[:, 1:])
    points = np.concatenate([data.y[:, lorenz.WARMUP :].reshape(-1, 3) for data in parts_of(flow)])
    assert len(np.unique(points, axis=0)) == len(points) == (8 + 8 + 20) * lorenz.FREE  # each is scored once


def test_a_lorenz_start_is_found_again_within_what_float32_tells_apart(flow):
    start = next(lorenz._starts())
    moved = (np.nextafter(start[0], np.inf), *start[1:])
    one, other = (lorenz.trajectory(point, 1151) for point in (start, moved))
    np.testing.assert_array_equal(flow.whole.x[0], one[250:550].astype(np.float32))
    np.testing.assert_allclose(one[:700], other[:700], atol=1e-5)


def test_the_hash_is_of_what_the_numbers_follow_from(flow):
    hashes = [load().about.sha256 for load, _ in SOURCES.values()] + [flow.about.sha256]
    assert len(set(hashes)) == 3
    assert hashes[0] == mackey_glass.load().about.sha256
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1}) != fingerprint({"a": 1, "b": 3})


def test_a_missing_generator_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "reservoirpy.datasets", None)
    with pytest.raises(MissingPackageError, match=r"make data.*pip install reservoirpy==0\.4\.2"):
        generate("lorenz", n_timesteps=3)


def test_how_chaotic_data_is_stays_with_its_rows(flow):
    data = flow.whole
    assert data.lyapunov_steps == pytest.approx(55.2, abs=0.05)
    assert data.rows(np.array([1])).join(data).lyapunov_steps == data.lyapunov_steps
    assert mackey_glass.load().whole.lyapunov_steps == pytest.approx(201.6, abs=0.05)


def test_an_error_grows_e_fold_in_the_lyapunov_steps_told():
    """From 1e-9 on, over three times as many steps; the rate differs from place to place, so on average."""
    series, growth = mackey_glass.generate_series()[:, 0], []
    for seed in range(40):
        history = series[100 * seed : 100 * seed + 17]
        one, other = (
            generate("mackey_glass", n_timesteps=2200, x0=x0, history=history, **settings_without_start())
            for x0 in (history[-1], history[-1] + 1e-9)
        )
        apart = np.abs(one - other)[:, 0]
        growth.append(np.log(apart[2000:2200].max() / apart[600:800].max()))
    assert np.mean(growth) / 1400 * mackey_glass.LYAPUNOV_STEPS == pytest.approx(1, abs=0.3)


def settings_without_start():
    return {"tau": 17, "a": 0.2, "b": 0.1, "n": 10, "h": 1.0}


class Echo(Network):
    """Answers every step with what it reads, and leaves out the first `skipped` steps."""

    def __init__(self, task="forecast", skipped=0, more=None):
        super().__init__(SimpleNamespace(task=task, output_size=2, standardise=True), None, "echo")
        self.skipped, self.more = skipped, more or {}

    @property
    def unscored(self):
        return self.skipped

    def inputs(self, batch):
        return {"x": batch["x"]}

    def forward(self, x):
        return {"logits" if self.task == "classify" else "values": x}

    def metrics(self, outputs, batch):
        return {**super().metrics(outputs, batch), **self.more}


def ragged(count=300, time=9, seed=0):
    """Rows for two batches, of which the shortest have three steps."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(2, 3, (2, count, time, 2)).astype(np.float32)
    return Dataset(x, y, rng.integers(3, time + 1, count))


@pytest.mark.parametrize("skipped", [0, 2, 3, 8])
def test_forecast_figures_are_those_of_all_scored_steps(skipped):
    data = ragged()
    scored = data.valid & (np.arange(9) >= skipped)
    predicted, y = data.x[scored].astype(float), data.y[scored].astype(float)
    rmse = np.sqrt(((predicted - y) ** 2).mean())
    expected = {
        "loss": rmse**2,
        "mae": np.abs(predicted - y).mean(),
        "rmse": rmse,
        "nrmse": rmse / np.sqrt(((y - y.mean(0)) ** 2).mean()),
    }
    assert evaluate(Echo(skipped=skipped), data) == pytest.approx(expected, rel=1e-5)


def test_what_is_left_out_changes_no_figure():
    data, y = ragged(), ragged().y.copy()
    y[:, :2] += 100
    assert evaluate(Echo(skipped=2), replace(data, y=y)) == evaluate(Echo(skipped=2), data)
    assert evaluate(Echo(skipped=1), replace(data, y=y)) != evaluate(Echo(skipped=1), data)


def test_accuracy_is_that_of_scored_steps():
    data = ragged()
    classes = data.x.argmax(-1)
    classes[:, :2] = 1 - classes[:, :2]
    data = replace(data, y=classes, labels=("a", "b"))
    share = 2 * len(data) / data.lengths.sum()
    assert evaluate(Echo("classify", 2), data)["accuracy"] == 1
    assert evaluate(Echo("classify"), data)["accuracy"] == pytest.approx(1 - share, rel=1e-5)


def test_data_with_nothing_to_score_is_refused():
    with pytest.raises(UsageError, match=r"are left out \(transient\), but the longest has 9"):
        evaluate(Echo(skipped=9), ragged())


def test_an_error_is_not_small_beside_targets_that_never_change():
    data = replace(ragged(), y=np.ones((300, 9, 2), np.float32))
    assert evaluate(Echo(), data)["nrmse"] == np.inf


@pytest.mark.parametrize(("lyapunov_steps", "expected"), [(None, None), (20.0, 1.5)])
def test_a_valid_time_is_told_in_lyapunov_times_where_the_data_has_them(lyapunov_steps, expected):
    figures = evaluate(Echo(more={"valid_steps": torch.tensor(30.0)}), replace(ragged(), lyapunov_steps=lyapunov_steps))
    assert (figures["valid_steps"], figures.get("valid_time")) == (30, expected)


@pytest.mark.parametrize(
    ("length", "stride", "ahead", "starts"),
    [(4, 3, 1, [0, 3, 6]), (4, 3, 3, [0, 3]), (10, 1, 1, [0, 1]), (11, 5, 1, [0])],
)
def test_windows_are_all_that_have_their_whole_future_in_the_series(length, stride, ahead, starts):
    data = windows(np.arange(12.0)[:, None], length, stride, ahead, 7.0)
    assert data.x[:, 0, 0].tolist() == starts
    assert data.y[:, -1, 0].tolist() == [start + length - 1 + ahead for start in starts]
    assert data.lyapunov_steps == 7
