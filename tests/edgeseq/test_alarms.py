"""Figures of alarms over small series, each worked out by hand."""

import math

import numpy as np
import pytest
from edgeseq_runtime.errors import UsageError

from edgeseq.training.alarms import alarm_figures, stretches

LABELS = ("normal", "anomaly")
KINDS = ("normal", "spike", "flat line")


def digits(*rows):
    """Lines of digits as int64 (rows, steps)."""
    return np.array([[int(digit) for digit in row] for row in rows], np.int64)


def figures(alarms, y, window=1, labels=LABELS, **settings):
    alarms, y = digits(*alarms), digits(*y)
    return alarm_figures(np.zeros(y.shape), alarms, y, labels, window, **settings)


@pytest.mark.parametrize(
    ("alarms", "y", "precision", "recall", "share"),
    [
        ("0001000000", "0011110000", 1.0, 1 / 4, 0.0),  # one step of an event finds no other
        ("0110001100", "0011110000", 1 / 4, 1 / 4, 3 / 6),
        ("1111111111", "0011110000", 4 / 10, 1.0, 1.0),
        ("0000000000", "0011110000", math.nan, 0.0, 0.0),
        ("0001000000", "0000000000", 0.0, math.nan, 1 / 10),
        ("0001000000", "1111111111", 1.0, 1 / 10, math.nan),
    ],
)
@pytest.mark.parametrize("window", [1, 3])
def test_steps(alarms, y, precision, recall, share, window):
    """The window changes nothing: a normal step with an alarm is one, whatever the window still holds."""
    found = figures([alarms], [y], window)
    names = ("precision", "recall", "normal_alarm_share")
    assert [found[name] for name in names] == pytest.approx([precision, recall, share], nan_ok=True)


@pytest.mark.parametrize(
    ("alarms", "y", "window", "events", "found", "delay", "false"),
    [
        ("0001000000", "0011110000", 1, 1, 1, 1, 0),
        ("0010000000", "0011110000", 1, 1, 1, 0, 0),
        ("0110000000", "0011110000", 1, 1, 1, 0, 0),  # was on before: no false alarm, and no delay
        ("0100000000", "0011110000", 1, 1, 0, math.nan, 1),
        ("0000001000", "0011110000", 1, 1, 0, math.nan, 1),
        ("0000001000", "0011110000", 2, 1, 1, 4, 0),  # the window still holds the last anomalous step
        ("0000000100", "0011110000", 2, 1, 0, math.nan, 1),
        ("0000000100", "0011110000", 3, 1, 1, 5, 0),
        ("0000000110", "0011110000", 3, 1, 1, 5, 0),  # touches the reach
        ("0000000001", "0000000011", 5, 1, 1, 1, 0),  # the reach ends with the series
        ("0010000001", "0110001110", 1, 2, 1, 1, 1),
        ("0010000010", "0110001110", 1, 2, 2, 1.5, 0),
        ("0000010000", "0110010000", 9, 2, 1, 0, 0),  # the reach of the first ends where the second starts
        ("1010101010", "0000000000", 3, 0, 0, math.nan, 5),
        ("1100000011", "0001100000", 1, 1, 0, math.nan, 2),
        ("0000000000", "0001100000", 1, 1, 0, math.nan, 0),
    ],
)
def test_events(alarms, y, window, events, found, delay, false):
    result = figures([alarms], [y], window)
    names = ("events", "events_found", "delay", "false_alarms")
    assert [result[name] for name in names] == pytest.approx([events, found, delay, false], nan_ok=True)
    assert result["event_recall"] == pytest.approx(found / events if events else math.nan, nan_ok=True)
    assert "lowest_event_recall" not in result


def test_each_kind_has_its_own_share():
    """Series: a spike and a flat line next to each other, both found; a spike not found; nothing."""
    found = figures(["01010000", "00000000", "00000000"], ["01222000", "00000110", "00000000"], labels=KINDS)
    assert (found["events"], found["events_found"], found["delay"]) == (3, 2, 0.5)
    assert found["event_recall_spike"] == 1 / 2
    assert found["event_recall_flat_line"] == 1
    assert found["lowest_event_recall"] == 1 / 2
    assert found["event_recall"] == 2 / 3


@pytest.mark.parametrize(("y", "spike", "lowest"), [("00220", math.nan, 1.0), ("00000", math.nan, math.nan)])
def test_a_kind_that_does_not_occur(y, spike, lowest):
    found = figures(["00110"], [y], labels=KINDS)
    assert found["event_recall_spike"] == pytest.approx(spike, nan_ok=True)
    assert found["lowest_event_recall"] == pytest.approx(lowest, nan_ok=True)


@pytest.mark.parametrize(
    ("y", "window", "peak", "distance"),
    [
        ("0001100000", 1, 3, 0),
        ("0001100000", 1, 4, 0),
        ("0001100000", 1, 5, 1),
        ("0001100000", 1, 9, 5),
        ("0001100000", 1, 0, 3),
        ("0001100000", 4, 6, 2),  # to the event, not to its reach
        ("0001100000", 4, 2, 0),  # before the first whole window: the next highest counts
        ("0100000100", 1, 4, 3),
        ("0100000100", 1, 5, 2),
        ("0000000000", 1, 5, math.inf),
    ],
)
def test_the_highest_score(y, window, peak, distance):
    scores = np.zeros((1, 10)) - 5
    scores[0, 3] = -1
    scores[0, peak] = 1
    y = digits(y)
    assert alarm_figures(scores, np.zeros_like(y), y, LABELS, window)["peak_distance"] == distance


def test_the_highest_score_is_looked_for_in_all_series():
    y = digits("100000", "000000", "000010")
    scores = np.zeros((3, 6))
    scores[2, 2] = 1
    assert alarm_figures(scores, np.zeros_like(y), y, LABELS, 1)["peak_distance"] == 2
    scores[1, 2] = 2
    assert alarm_figures(scores, np.zeros_like(y), y, LABELS, 1)["peak_distance"] == math.inf


@pytest.mark.parametrize(
    ("window", "false", "quiet"),
    [
        (1, 3, 9),  # every normal step
        (2, 3, 9 - 2),  # not the first, of no whole window, nor the one behind the event
        (3, 2, 9 - 4),  # a step more at both places, and the stretch there is the event's own
    ],
)
def test_false_alarms_a_week(window, false, quiet):
    """3 stretches of alarm and 3 anomalous steps in 12; the weeks here have 6 steps."""
    found = figures(["010000110010"], ["001110000000"], window, steps_a_week=6)
    assert found["false_alarms"] == false
    assert found["false_alarms_a_week"] == pytest.approx(false * 6 / quiet)


def test_a_series_without_a_quiet_step():
    assert math.isnan(figures(["111"], ["111"], steps_a_week=6)["false_alarms_a_week"])
    assert math.isnan(figures(["000"], ["000"], window=4, steps_a_week=6)["false_alarms_a_week"])
    assert math.isnan(figures(["000"], ["000"], window=4)["peak_distance"])
    assert "false_alarms_a_week" not in figures(["000"], ["000"])


def test_what_lies_behind_a_series_end_does_not_count():
    short = figures(["0100", "0110"], ["0100", "0000"], 2, lengths=np.array([4, 4]), steps_a_week=8)
    alarms, y, scores = digits("010011", "011011"), digits("010011", "000011"), np.zeros((2, 6))
    scores[:, 4:] = 9
    scores[1, 5] = math.nan
    lengths = np.array([4, 4])
    padded = alarm_figures(scores, alarms, y, LABELS, 2, lengths, steps_a_week=8)
    assert padded == short
    assert short["false_alarms"] == 1
    assert short["precision"] == 1 / 3


def test_alarms_may_be_truth_values():
    one, other = (
        alarm_figures(np.zeros((1, 4)), digits("0110").astype(kind), digits("0011"), LABELS, 1)
        for kind in (bool, np.int64)
    )
    assert one == other
    assert all(type(value) is float for value in one.values())


@pytest.mark.parametrize(
    ("mask", "expected"), [("0110010", [(1, 3), (5, 6)]), ("111", [(0, 3)]), ("000", []), ("101", [(0, 1), (2, 3)])]
)
def test_stretches(mask, expected):
    assert stretches(digits(mask)[0] == 1) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": np.zeros((1, 4))}, r"y has shape \(1, 5\), but scores has shape \(1, 4\)"),
        ({"alarms": np.zeros(5)}, r"but alarms has shape \(5,\)"),
        ({"y": np.zeros(5, np.int64)}, r"y has shape \(5,\), but a class for every step"),
        ({"y": np.zeros((0, 5), np.int64)}, r"y has shape \(0, 5\)"),
        ({"y": np.full((1, 5), 2)}, "classes from 2 to 2, but the labels name 0 to 1"),
        ({"y": np.full((1, 5), -1)}, "classes from -1 to -1"),
        ({"window": 0}, "the window is 0 steps, but at least 1"),
        ({"lengths": np.array([6])}, r"lengths is \[6\], but 1 numbers from 1 to 5"),
        ({"lengths": np.array([0])}, "from 1 to 5"),
        ({"lengths": np.array([5, 5])}, "but 1 numbers"),
        ({"scores": np.full((1, 5), math.nan)}, "a score is not finite"),
        ({"scores": np.array([[0, 0, math.inf, 0, 0]])}, "a score is not finite"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    given = {"scores": np.zeros((1, 5)), "alarms": np.zeros((1, 5)), "y": np.zeros((1, 5), np.int64)}
    with pytest.raises(UsageError, match=message):
        alarm_figures(**{**given, "labels": LABELS, "window": 1, **change})
