"""The electricity load: what is read, in order of time, and networks that correct a first forecast."""

import numpy as np
import pytest
import torch
from edgeseq_export import Source, convert
from edgeseq_runtime import load
from edgeseq_runtime.errors import DamagedFileError, UsageError

from edgeseq.data import electricity_load
from edgeseq.data.electricity_load import AHEAD, DAY, HORIZON, WEEK, features, pairs, windows
from edgeseq.data.packages import package_file
from edgeseq.nn import build
from edgeseq.recipe import ModelTable
from edgeseq.training.network import network_for

LOADS = 30_000 + 1000 * np.random.default_rng(0).standard_normal(4 * WEEK).cumsum() / 50


@pytest.fixture(scope="module")
def loads():
    return electricity_load.parse(package_file("pmdarima", "2.1.1", "pmdarima/datasets/taylor.py").read_bytes())


@pytest.fixture(scope="module")
def parts():
    found = electricity_load.load()
    return found.whole, found.validation, found.test


def test_the_numbers_are_those_of_the_file(loads):
    assert loads.shape == (12 * WEEK,)
    assert loads[:3].tolist() == [22262, 21756, 22247]
    assert loads[-1] == 23132
    assert (loads.min(), loads.max()) == (18640, 38777)


def test_a_step_is_forecast_from_what_came_before_it(loads, parts):
    for data in parts:
        for row, t in ((0, 0), (len(data) - 1, data.x.shape[1] - 1)):
            steps = np.arange(WEEK, len(loads) - HORIZON)
            (step,) = (s for s in steps if np.array_equal(loads[s + 1 : s + 1 + HORIZON], data.y[row, t]))
            assert data.x[row, t, 0] == loads[step] - loads[step - WEEK]
            np.testing.assert_array_equal(data.naive[row, t], loads[step + 1 - WEEK : step + 1 - WEEK + HORIZON])
        np.testing.assert_array_equal(data.more["baseline"], data.naive)


def test_the_parts_follow_each_other_in_time(loads, parts):
    """No load is a target in two parts, and the test part is every forecast that has its whole future in it."""
    train, validation, test = parts
    np.testing.assert_array_equal(validation.y[0, 0], loads[8 * WEEK : 8 * WEEK + HORIZON])
    np.testing.assert_array_equal(test.y[0, 0], loads[10 * WEEK : 10 * WEEK + HORIZON])
    np.testing.assert_array_equal(test.y[-1, -1], loads[-HORIZON:])
    assert test.y.shape == (1, 2 * WEEK - HORIZON + 1, HORIZON)
    assert train.x.shape[1:] == validation.x.shape[1:]
    for data, end in ((train, 8 * WEEK), (validation, 10 * WEEK)):
        last = data.y[-1, -1]
        assert any(np.array_equal(last, loads[e - HORIZON : e]) for e in range(end - DAY, end + 1))


def test_the_naive_forecast_is_the_load_a_week_before():
    data = windows(LOADS, WEEK, 4 * WEEK, 20, 7)
    steps = WEEK + np.arange(0, 3 * WEEK - HORIZON - 20 + 1, 7)
    assert len(data) == len(steps)
    for row, start in enumerate(steps):
        change = LOADS[start : start + 20] - LOADS[start - WEEK : start + 20 - WEEK]
        np.testing.assert_allclose(data.x[row, :, 0], change, atol=1e-3)
        for t in (0, 19):
            first = start + t + 1
            np.testing.assert_array_equal(data.y[row, t], LOADS[first : first + HORIZON].astype(np.float32))
            past = LOADS[first - WEEK : first - WEEK + HORIZON].astype(np.float32)
            np.testing.assert_array_equal(data.naive[row, t], past)


def test_the_time_of_the_day_returns():
    x = windows(LOADS, WEEK, 4 * WEEK, 2 * WEEK, 1).x[0]
    np.testing.assert_allclose(x[:-DAY, 1:], x[DAY:, 1:], atol=1e-5)
    np.testing.assert_allclose((x[:, 1:] ** 2).sum(-1), 1, atol=1e-6)


@pytest.mark.parametrize(("start", "end", "stride"), [(2 * WEEK - 1, 3 * WEEK, 50), (2 * WEEK, 4 * WEEK, 7)])
def test_a_week_is_followed_by_the_two_days_behind_it(start, end, stride):
    data = pairs(LOADS, start, end, stride)
    last = np.arange(start, end - AHEAD, stride)
    assert (data.x.shape, data.y.shape) == ((len(last), WEEK, 3), (len(last), AHEAD, 1))
    assert (data.x.dtype, data.y.dtype, data.task, data.stepwise) == (np.float32, np.float32, "forecast", False)
    assert (set(data.lengths.tolist()), set(data.y_lengths.tolist())) == ({WEEK}, {AHEAD})
    for row, step in enumerate(last):
        np.testing.assert_array_equal(data.x[row], features(LOADS[: step + 1])[-WEEK:])  # nothing later is read
        ahead = slice(step + 1, step + 1 + AHEAD)
        before = LOADS[ahead.start - WEEK : ahead.stop - WEEK]
        day = slice(step + 1 - DAY, step + 1)
        level = LOADS[day].mean() - LOADS[day.start - WEEK : day.stop - WEEK].mean()
        first = before + level * 0.85 ** (np.arange(1, AHEAD + 1) / DAY)
        np.testing.assert_allclose(data.y[row, :, 0], LOADS[ahead] - first, atol=1e-3)
        np.testing.assert_allclose(data.naive[row, :, 0], before - first, atol=1e-3)


def test_no_target_of_two_days_is_in_two_parts(loads):
    """Each part has the first and the last answer that it can have; the test part has every half-hour's forecast."""
    found = electricity_load.load_weeks()
    places = {load: [] for load in ("train", "validation", "test")}
    for part, data in zip(places, (found.whole, found.validation, found.test), strict=True):
        changes = features(loads)[:, 0]
        for row in (0, len(data) - 1):
            (step,) = (
                s for s in range(len(changes) - WEEK) if np.array_equal(changes[s : s + WEEK], data.x[row, :, 0])
            )
            first = step + 2 * WEEK  # of the loads that are forecast
            future = changes[first - WEEK : first - WEEK + AHEAD]
            np.testing.assert_allclose((data.y - data.naive)[row, :, 0], future, atol=1e-2)
            places[part] += [first, first + AHEAD]
    assert places["train"][0] == 2 * WEEK
    assert places["validation"][0] == 8 * WEEK
    assert (places["test"][0], places["test"][-1]) == (10 * WEEK, 12 * WEEK)
    assert places["train"][-1] <= 8 * WEEK
    assert places["validation"][-1] <= 10 * WEEK
    assert len(found.test) == 2 * WEEK - AHEAD + 1
    assert found.about.name == "electricity-load-week"


def test_errors_of_both_sources_are_on_one_scale(parts):
    """The naive forecast's errors a day ahead are the same, whatever the answers are added to."""
    days, weeks = parts[2], electricity_load.load_weeks().test
    absolute = np.abs(days.y - days.naive)[0, : len(weeks)]
    np.testing.assert_allclose(np.abs(weeks.y - weeks.naive)[:, :HORIZON, 0], absolute, atol=1e-2)


@pytest.mark.parametrize("content", [b"x = [1, 2, 3]", b"no python", b"x = 1", b"x = ['a']"])
def test_another_file_is_refused(content):
    with pytest.raises(DamagedFileError, match=r"taylor\.py of pmdarima"):
        electricity_load.parse(content)


@pytest.mark.parametrize(("family", "settings"), [("gru", {}), ("tcn", {"channels": 4, "dilations": [1, 2]})])
@pytest.mark.parametrize("head", ["step", "last"])
def test_a_network_that_answers_nothing_gives_the_baseline(family, settings, head):
    data = windows(LOADS, WEEK, 4 * WEEK, 30, 50)
    if head == "last":
        data = type(data)(data.x, data.y[:, -1], data.lengths, more=data.more)
    network = network_for(ModelTable(family, settings), data, seed=0)
    correction = data.y - (data.naive if head == "step" else data.more["baseline"][:, -1])
    np.testing.assert_allclose(network.y_mean, correction.reshape(-1, HORIZON).mean(0), rtol=1e-3)
    network.head.weight.data.zero_()
    network.head.bias.data.copy_(-network.y_mean / network.y_deviation)
    lengths = torch.tensor([30, 7, 1])
    batch = {"x": torch.from_numpy(data.x[:3]), "baseline": torch.from_numpy(data.more["baseline"][:3])}
    values = network(**batch, lengths=lengths)["values"].detach()
    expected = batch["baseline"] if head == "step" else batch["baseline"][torch.arange(3), lengths - 1]
    torch.testing.assert_close(values, expected)


def test_a_baseline_streams_beside_the_features():
    network = build("rnn", {"input_size": 2, "output_size": 3, "task": "forecast", "baseline": True, "head": "step"})
    model = load(convert(Source(network.eval(), network.signature(), "rnn", "forecast", "test")))
    rng = np.random.default_rng(0)
    given = {"x": rng.standard_normal((1, 9, 2)), "baseline": rng.standard_normal((1, 9, 3))}
    given = {name: array.astype(np.float32) for name, array in given.items()}
    stream = model.stream()
    streamed = [stream.step({name: array[:, t] for name, array in given.items()})["values"] for t in range(9)]
    np.testing.assert_allclose(np.stack(streamed, 1), model.run(given)["values"], atol=2e-6)


@pytest.mark.parametrize("family", ["rnn", "tcn"])
def test_classes_have_no_baseline(family):
    with pytest.raises(UsageError, match="a baseline is a first forecast, but the task is to classify"):
        build(family, {"input_size": 2, "output_size": 3, "baseline": True})
