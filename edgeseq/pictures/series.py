"""Series over time: where alarms were raised beside where they should have been, and windows with what was rebuilt.

Of many windows or features a few are drawn, evenly spread; their numbers, from 1, stand beside them.
"""

from itertools import pairwise
from math import ceil, floor, isfinite, log10
from typing import TYPE_CHECKING, Any

import numpy as np
from edgeseq_runtime.errors import UsageError

from edgeseq.pictures.arrays import Array, class_numbers, numbers, same_shape
from edgeseq.pictures.sheet import ALARM, INPUT, LETTERS, REBUILT, figure, legend, plain, png, written

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

WINDOWS, FEATURES = 4, 4
"""At most so many are drawn."""

POINTS = 2400
"""A line of more points is thinned."""

_WIDTH, _SEEN = 1440, 4
"""Pixels: of a sheet, and of the shortest stretch that is seen."""

_FAR = 10
"""A score so many times the threshold would press everything below it flat."""

_KINDS = ("#f2b447", "#72b7b2", "#b279a2", "#8cb369", "#9d755d", "#7f7f7f")
"""Colours of kinds of anomaly, in turn."""


def alarms(
    signal: object,
    scores: object,
    alarms: object,
    truth: object,
    threshold: float,
    labels: tuple[str, ...] | None = None,
) -> bytes:
    """A series with its labelled stretches shaded; below it the score, the threshold, and where alarms were raised.

    signal: (time,) or (time, features), a panel for each feature. scores: (time,). alarms: (time,), true or other than
    0 where one is raised. truth: classes int (time,), of which 0 is normal and each other one a kind of anomaly.
    labels: their names.

    A long series is thinned, but its peaks stay; a stretch too short to be seen is drawn a little longer. Where the
    highest score is far above the threshold, the scale of scores is logarithmic from there on.

    Raises:
        UsageError: other shapes, values that are not finite, or a class without a label.
        MissingPackageError: matplotlib is not installed.
    """
    given = np.asarray(signal)
    series = numbers("signal", given[:, None] if given.ndim == 1 else given, "time", "features")
    score = numbers("scores", scores, "time")
    raised = numbers("alarms", alarms, "time") != 0
    for name, array in (("scores", score), ("alarms", raised)):
        same_shape(name, array, "each feature of the signal", series[:, 0])
    bound = float(threshold)
    if not isfinite(bound):
        raise UsageError(f"the threshold is {bound}, but a finite number is expected")
    kinds = class_numbers("truth", truth, len(series), labels)
    named = labels or tuple(f"anomaly {number}" for number in range(kinds.max() + 1))

    features = _spread(series.shape[1], FEATURES)
    drawn = figure(_WIDTH, 220 * (len(features) + 1) + 240)
    *panels, strip = drawn.subplots(
        len(features) + 2, sharex=True, gridspec_kw={"height_ratios": [1] * (len(features) + 1) + [0.3]}
    )
    for feature, axes in zip(features, panels, strict=False):  # the last panel is the score's
        plain(axes, y_label="signal" if series.shape[1] == 1 else f"feature {feature + 1} of {series.shape[1]}")
        _line(axes, series[:, feature], INPUT)
    keys: dict[str, Artist] = {f"threshold {bound:.3g}": _score(panels[-1], score, bound)}

    plain(strip, "step")
    strip.set(ylim=(0, 2), yticks=[0.5, 1.5], yticklabels=["alarm", "labelled"], xlim=(-0.5, len(series) - 0.5))
    least = _SEEN * len(series) / _WIDTH
    strip.broken_barh(_stretches(raised, least), (0.1, 0.8), facecolor=ALARM, linewidth=0)
    for number in np.unique(kinds[kinds > 0]):
        colour, stretches = _KINDS[(number - 1) % len(_KINDS)], _stretches(kinds == number, least)
        keys[named[number]] = strip.broken_barh(stretches, (1.1, 0.8), facecolor=colour, linewidth=0)
        for axes in panels:
            whole = axes.get_xaxis_transform()  # from the lower edge to the upper one
            axes.broken_barh(stretches, (0, 1), facecolor=colour, linewidth=0, alpha=0.35, transform=whole)
    drawn.align_ylabels(panels)
    legend(drawn, keys, "outside upper left", min(len(keys), 6))
    return png(drawn)


def curves(inputs: object, rebuilt: object) -> bytes:
    """Windows (n, time, features), side by side, and what was rebuilt of them, of the same shape, over each.

    Raises:
        UsageError: other shapes, or values that are not finite.
        MissingPackageError: matplotlib is not installed.
    """
    given = numbers("inputs", inputs, "n", "time", "features")
    answer = numbers("rebuilt", rebuilt, "n", "time", "features")
    same_shape("rebuilt", answer, "inputs", given)
    windows, features = _spread(len(given), WINDOWS), _spread(given.shape[2], FEATURES)

    drawn = figure(_WIDTH, 280 * len(features) + 120)
    panels = drawn.subplots(len(features), len(windows), sharex=True, sharey="row", squeeze=False)
    for row, feature in zip(panels, features, strict=True):
        for axes, window in zip(row, windows, strict=True):
            plain(axes)
            keys: dict[str, Artist] = {
                "input": _line(axes, given[window, :, feature], INPUT, linewidth=2.4, alpha=0.7),
                "rebuilt": _line(axes, answer[window, :, feature], REBUILT, linewidth=1.4),
            }
        if given.shape[2] > 1:
            row[0].set_ylabel(f"feature {feature + 1} of {given.shape[2]}", **LETTERS)
    for axes, window in zip(panels[0], windows, strict=True):
        axes.set_title(f"window {window + 1:,} of {len(given):,}", **LETTERS)
    for axes in panels[-1]:
        axes.set_xlabel("step", **LETTERS)
    legend(drawn, keys, "outside upper left", len(keys))
    return png(drawn)


def _spread(count: int, most: int) -> list[int]:
    """Up to `most` of the numbers below `count`, evenly spread."""
    return [int(number) for number in np.unique(np.linspace(0, count - 1, most).round())]


def _score(axes: "Axes", score: Array, threshold: float) -> "Line2D":
    """Draw a score (time,) and its threshold; the line of the threshold."""
    plain(axes, y_label="score")
    _line(axes, score, LETTERS["color"])
    line = axes.axhline(threshold, color=ALARM, linewidth=1.2, linestyle=(0, (5, 3)))
    if score.max() > _FAR * threshold > 0:
        axes.set_yscale("symlog", linthresh=threshold)
        axes.set_yticks([0, *_round_numbers(threshold, score.max())])
        axes.minorticks_off()
        axes.set_ylabel("score (log)", **LETTERS)
        axes.yaxis.set_major_formatter(written)
    if score.min() >= 0:
        axes.set_ylim(bottom=0)
    return line


def _line(axes: "Axes", values: Array, colour: str, **given: Any) -> "Line2D":
    """Draw a series (time,), thinned where it is long. given: how, such as linewidth."""
    steps = thinned(values, POINTS)
    (line,) = axes.plot(steps, values[steps], **{"color": colour, "linewidth": 1.2, **given})
    return line


def thinned(values: Array, most: int) -> Array:
    """Of a series (time,) about `most` steps: the lowest and the highest of each of `most` / 2 stretches, in order."""
    if len(values) <= most:
        return np.arange(len(values))
    edges = np.linspace(0, len(values), most // 2 + 1).astype(int)
    kept = [start + at(values[start:stop]) for start, stop in pairwise(edges) for at in (np.argmin, np.argmax)]
    return np.unique(kept)


def _round_numbers(least: float, most: float) -> list[float]:
    """Numbers to write on a logarithmic scale from `least` to `most`: 1, 2 and 5 of each power of 10, or that alone."""
    powers = range(floor(log10(least)), ceil(log10(most)) + 1)
    digits = (1, 2, 5) if len(powers) < 4 else (1,)
    return [digit * 10.0**power for power in powers for digit in digits if least < digit * 10.0**power <= most]


def _stretches(marked: Array, least: float) -> list[tuple[float, float]]:
    """Start and width of each run of true steps of (time,), each at least so wide, around its middle."""
    starts, stops = np.flatnonzero(np.diff(marked, prepend=False, append=False)).reshape(-1, 2).T
    middles, widths = (starts + stops - 1) / 2, np.maximum(stops - starts, least)
    return list(zip((middles - widths / 2).tolist(), widths.tolist(), strict=True))
