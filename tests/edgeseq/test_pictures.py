"""Pictures show what they are given: pixels are read back, and move with the data."""

import subprocess
import sys
from functools import cache
from io import BytesIO

import numpy as np
import pytest
from edgeseq_runtime.errors import MissingPackageError, UsageError
from matplotlib import image, rcParams
from scipy.ndimage import label

from edgeseq import pictures
from edgeseq.pictures import codes, mosaic, series
from edgeseq.pictures.sheet import ALARM, INPUT, REBUILT

GAP = mosaic._GAP
DIGITS = np.random.default_rng(0).random((10, 8, 6))
WINDOWS = np.sin(np.arange(3 * 48 * 2) / 5).reshape(3, 48, 2)
CODES, CLASSES = np.random.default_rng(1).normal(size=(60, 2)), np.arange(60) % 3
LABELS = ("zero", "one", "two")
STEPS = 1000
STEADY = np.sin(np.arange(STEPS) / 20)


def marked(*stretches):
    """(STEPS,): the number of the stretch, from 1, or 0."""
    marks = np.zeros(STEPS, np.int64)
    for number, (start, stop) in enumerate(stretches, start=1):
        marks[start:stop] = number
    return marks


ALARMS = {
    "signal": STEADY,
    "scores": np.abs(STEADY) + 2 * marked((300, 320)),
    "alarms": marked((300, 320)) > 0,
    "truth": marked((290, 310)),
    "threshold": 1.5,
}
CALLS = {
    "pairs": {"inputs": DIGITS, "rebuilt": DIGITS / 2, "shown": DIGITS[::-1]},
    "grid": {"pictures": DIGITS},
    "plane": {"codes": CODES, "classes": CLASSES, "labels": LABELS},
    "alarms": ALARMS,
    "curves": {"inputs": WINDOWS, "rebuilt": WINDOWS + 0.2},
}


@cache
def drawn(name):
    return getattr(pictures, name)(**CALLS[name])


def decoded(png):
    """(height, width, 3), from 0 to 1."""
    pixels = image.imread(BytesIO(png), format="png")
    return pixels[..., :3] if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=-1)


def where(pixels, colour, tolerance=0.06):
    """Rows and columns of the pixels of a colour such as "#c8102e"."""
    wanted = np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)]) / 255
    return np.nonzero((np.abs(pixels - wanted) < tolerance).all(axis=-1))


def cells(pixels, rows, columns, height, width):
    """The pictures of a mosaic (rows, columns, height, width), as ink: 0 is white, 1 is black."""
    scale = (pixels.shape[1] - GAP) // columns - GAP
    assert scale % width == 0
    scale //= width
    assert pixels.shape[:2] == (GAP + rows * (height * scale + GAP), GAP + columns * (width * scale + GAP))
    found = np.empty((rows, columns, height, width))
    for row, column in np.ndindex(rows, columns):
        top, left = GAP + row * (height * scale + GAP), GAP + column * (width * scale + GAP)
        block = pixels[top : top + height * scale, left : left + width * scale, 0]
        blocks = block.reshape(height, scale, width, scale)
        assert (blocks == blocks[:, :1, :, :1]).all()
        found[row, column] = 1 - blocks[:, 0, :, 0]
    return found


@pytest.mark.parametrize(
    ("count", "height", "width", "rows", "columns"),
    [
        (1, 8, 6, 1, 1),
        (2, 6, 6, 1, 2),
        (7, 6, 6, 2, 4),
        (10, 6, 6, 2, 5),
        (64, 28, 28, 8, 8),
        (6, 5, 40, 6, 1),
        (6, 40, 5, 1, 6),
    ],
)
def test_a_grid_has_each_picture_in_its_place(count, height, width, rows, columns):
    given = np.random.default_rng(count).random((count, height, width))
    found = cells(decoded(pictures.grid(given)), rows, columns, height, width).reshape(-1, height, width)
    np.testing.assert_allclose(found[:count], given, atol=1 / 255)
    assert np.ptp(found[count:], axis=(1, 2)).max(initial=0) == 0  # empty places are of one grey
    assert (found[count:] > 0.05).all()


def test_values_beyond_0_and_1_are_clipped(caplog):
    given = np.array([-3.0, 0.0, 1.0, 7.0])[:, None, None] * np.ones((4, 3, 3))
    found = cells(decoded(pictures.grid(given)), 2, 2, 3, 3)
    assert found[..., 0, 0].round(6).tolist() == [[0, 0], [1, 1]]
    assert not caplog.records  # matplotlib would complain of such values


@pytest.mark.parametrize("count", [1, 5, mosaic.ACROSS, mosaic.ACROSS + 3])
@pytest.mark.parametrize("noisy", [False, True])
def test_pairs_stand_above_each_other(count, noisy):
    draw = np.random.default_rng(count)
    inputs, shown, rebuilt = draw.random((3, count, 9, 9))
    rows = [inputs, shown, rebuilt] if noisy else [inputs, rebuilt]
    pixels = decoded(pictures.pairs(inputs, rebuilt, shown if noisy else None))[:, mosaic._LABELS :]
    bands = -(-count // mosaic.ACROSS)
    height = (len(pixels) - (bands - 1) * mosaic._BAND_GAP) // bands
    for band in range(bands):
        part = slice(band * mosaic.ACROSS, (band + 1) * mosaic.ACROSS)
        expected = np.stack([row[part] for row in rows])
        top = band * (height + mosaic._BAND_GAP)
        used = pixels.shape[1] if band == 0 else GAP + expected.shape[1] * (pixels.shape[1] - GAP) // mosaic.ACROSS
        found = cells(pixels[top : top + height, :used], len(rows), expected.shape[1], 9, 9)
        np.testing.assert_allclose(found, expected, atol=1 / 255)


def test_rows_of_pairs_are_named():
    png = pictures.pairs(DIGITS, DIGITS)
    names = decoded(png)[:, : mosaic._LABELS]
    dark = (names < 0.4).all(axis=-1).any(axis=1)
    middle = len(names) // 2
    assert dark[:middle].any()
    assert dark[middle:].any()


@pytest.mark.parametrize("size", [2, 5])
def test_dots_have_the_colour_of_their_class(size):
    draw = np.random.default_rng(0)
    classes = np.repeat([0, 1], 40)
    given = draw.normal(scale=0.1, size=(80, size))
    given[:, 0] += 10 * classes
    blue, orange = "#629fca", "#ffa556"  # the first two colours, on white that shines through
    for numbers, left, right in ((classes, blue, orange), (1 - classes, orange, blue)):
        pixels = decoded(pictures.plane(given, numbers, LABELS))[:, : codes._WIDTH * 7 // 8]
        middle = pixels.shape[1] // 2
        columns = {colour: where(pixels, colour)[1] for colour in (left, right)}
        assert columns[left].size > 20 < columns[right].size
        assert columns[left].max() < middle < columns[right].min()


def test_principal_components_are_those_of_the_largest_variance():
    draw = np.random.default_rng(0)
    plane = draw.normal(size=(200, 2)) * [5, 2]
    turned, _ = np.linalg.qr(draw.normal(size=(6, 6)))
    found, names = codes._principal(plane @ turned[:2] + 3)
    distances = [np.linalg.norm(dots[:, None] - dots, axis=-1) for dots in (plane, found)]
    np.testing.assert_allclose(*distances, atol=1e-9)
    share = plane.var(axis=0)[0] / plane.var(axis=0).sum()
    assert names[0] == f"principal component 1 of 6 dimensions ({100 * share:.0f} % of the variance)"
    np.testing.assert_allclose(np.abs(codes._principal(-plane @ turned[:2])[0]), np.abs(found), atol=1e-9)


@pytest.mark.parametrize("given", [np.ones((1, 3)), np.ones((5, 3))], ids=["one code", "all codes alike"])
def test_codes_without_variance_are_drawn(given):
    assert pictures.plane(given, np.zeros(len(given), int), LABELS)


@pytest.mark.parametrize("size", [(1, 1), (8, 7), (3, 9)])
def test_too_many_are_refused_before_they_are_there(monkeypatch, size):
    monkeypatch.setattr(mosaic, "_LARGEST", 1300)
    refused = []
    for count in (2, 150, 400, 1500, 2500, 4000, 5500, 9000, 30000):
        for call in (lambda n=count: pictures.grid(np.zeros((n, *size))), lambda n=count: mosaic.check_grid(n, *size)):
            try:
                refused.append(call() and None)
            except UsageError as error:
                refused.append(str(error))
    assert refused[::2] == refused[1::2]
    assert refused[0] is None
    assert "at most 1300 a side" in refused[-1]


@pytest.mark.parametrize("most", [7, 60, 100])
def test_of_many_codes_a_part_is_drawn(monkeypatch, most):
    monkeypatch.setattr(codes, "DOTS", most)
    places = np.stack(np.divmod(np.arange(60), 10), axis=1).astype(float)  # no two dots touch
    pixels = decoded(pictures.plane(places, np.zeros(60, int), LABELS))[:, : codes._WIDTH * 7 // 8]
    dots = np.zeros(pixels.shape[:2], bool)
    dots[where(pixels, "#629fca")] = True
    assert label(dots)[1] == min(most, 60)
    assert (pixels[:30] < 0.5).any() == (most < 60)  # the line that says so


def extent(key, marks, colour, **given):
    """Where marks are drawn in the strip below, from 0 (the first step) to 1 (behind the last one): first and last."""
    columns = []
    for drawn in (marks, np.ones_like(marks)):
        pixels = decoded(pictures.alarms(**{**ALARMS, **given, key: drawn}))
        columns.append(where(pixels[len(pixels) * 4 // 5 :], colour)[1])
    some, whole = columns
    return (np.array([some.min(), some.max() + 1]) - whole.min()) / (whole.max() + 1 - whole.min())


@pytest.mark.parametrize(("start", "stop"), [(0, 100), (400, 500), (900, 1000)])
def test_alarms_and_labelled_stretches_stand_where_they_are(start, stop):
    for key, colour in (("alarms", ALARM), ("truth", series._KINDS[0])):
        found = extent(key, marked((start, stop)), colour)
        np.testing.assert_allclose(found, [start / STEPS, stop / STEPS], atol=0.003)


@pytest.mark.parametrize(("key", "colour"), [("alarms", ALARM), ("truth", series._KINDS[0])])
def test_a_stretch_of_one_step_is_seen(key, colour):
    count = 50_000
    given = {"signal": np.zeros(count), "scores": np.zeros(count)}
    given.update(dict.fromkeys(("alarms", "truth"), np.zeros(count, int)))
    first, last = extent(key, (np.arange(count) == count // 2).astype(int), colour, **given)
    assert abs((first + last) / 2 - 0.5) < 0.002
    assert 2 / series._WIDTH < last - first < 6 / series._WIDTH
    nothing = decoded(pictures.alarms(**{**ALARMS, **given}))
    assert not where(nothing[len(nothing) * 4 // 5 :], colour)[0].size


def test_kinds_of_anomaly_have_colours_of_their_own():
    truth = marked((100, 200), (300, 400), (500, 600))
    pixels = decoded(pictures.alarms(**{**ALARMS, "truth": truth}, labels=("normal", "spike", "drift", "gap")))
    columns = [where(pixels[len(pixels) * 4 // 5 :], colour)[1] for colour in series._KINDS[:3]]
    assert columns[0].max() < columns[1].min() <= columns[1].max() < columns[2].min()


@pytest.mark.parametrize("count", [10, series.POINTS, series.POINTS + 1, 3 * series.POINTS + 7, 100_000])
def test_no_peak_is_lost_by_thinning(count):
    draw = np.random.default_rng(count)
    for step in (0, count - 1, *draw.integers(count, size=20)):
        for peak in (10, -10):
            values = draw.random(count)
            values[step] = peak
            steps = series.thinned(values, series.POINTS)
            assert step in steps
            assert len(steps) <= series.POINTS
            assert (np.diff(steps) > 0).all()


@pytest.mark.parametrize("highest", [2.0, 1000.0])
def test_a_score_far_above_the_threshold_leaves_the_rest_to_be_seen(highest):
    scores = np.where(marked((5, 6)), highest, 0.5)
    pixels = decoded(pictures.alarms(STEADY, scores, marked(), marked(), 1.0))[:, series._WIDTH // 2 :]
    threshold, usual = (np.bincount(where(pixels, colour)[0]).argmax() for colour in (ALARM, "#333333"))
    assert usual - threshold > 10


def test_curves_lie_where_their_values_are():
    for shift in (0.5, -0.5):
        pixels = decoded(pictures.curves(np.zeros((1, 20, 1)), np.full((1, 20, 1), shift)))[80:]
        given, rebuilt = (where(pixels, colour, 0.2)[0].mean() for colour in ("#82a0bf", REBUILT))
        assert (rebuilt < given) == (shift > 0)
        assert abs(rebuilt - given) > 100


@pytest.mark.parametrize(("features", "panels"), [(1, 1), (3, 3), (12, series.FEATURES)])
def test_a_panel_for_each_feature_up_to_a_number(features, panels):
    signal = np.repeat(STEADY[:, None], features, axis=1)
    pixels = decoded(pictures.alarms(**{**ALARMS, "signal": signal}))
    rows = np.unique(where(pixels, INPUT)[0])
    assert (np.diff(rows) > 20).sum() + 1 == panels
    rows = np.unique(where(decoded(pictures.curves(signal[None, :48], signal[None, :48]))[60:], REBUILT)[0])
    assert (np.diff(rows) > 20).sum() + 1 == panels


@pytest.mark.parametrize("name", CALLS)
def test_the_same_arrays_give_the_same_small_file(name):
    given = CALLS[name]
    before = {key: np.copy(value) for key, value in given.items()}
    settings = dict(rcParams)
    png = getattr(pictures, name)(**given)
    assert png == drawn(name)
    assert dict(rcParams) == settings
    assert all((before[key] == given[key]).all() for key in given)
    assert len(png) < 80_000
    assert chunks(png) <= {b"IHDR", b"PLTE", b"IDAT", b"IEND"}


def chunks(png):
    names, at = set(), 8
    while at < len(png):
        names.add(png[at + 4 : at + 8])
        at += 12 + int.from_bytes(png[at : at + 4], "big")
    return names


@pytest.mark.parametrize(
    ("name", "key"), [(name, key) for name, given in CALLS.items() for key in given if key != "labels"]
)
def test_every_array_is_seen(name, key):
    given = CALLS[name]
    other = 1.2 if key == "threshold" else np.roll(given[key], 1, axis=0)[..., ::-1]
    assert getattr(pictures, name)(**{**given, key: other}) != drawn(name)


@pytest.mark.parametrize(
    ("name", "changed", "message"),
    [
        ("grid", {"pictures": np.zeros((4, 784))}, r"pictures has shape \(4, 784\), .* \(n, height, width\)"),
        ("grid", {"pictures": np.zeros((0, 8, 8))}, r"shape \(0, 8, 8\), .* at least 1"),
        ("grid", {"pictures": np.full((1, 2, 2), np.nan)}, r"is nan at \(0, 0, 0\)"),
        ("grid", {"pictures": np.full((1, 2, 2), "a")}, "type <U1"),
        ("grid", {"pictures": np.zeros((1, 10, 7000))}, "at most 6000 a side"),
        ("pairs", {"rebuilt": np.zeros((9, 8, 6))}, r"rebuilt has shape \(9, 8, 6\), but input has \(10, 8, 6\)"),
        ("pairs", {"shown": np.zeros((10, 8, 7))}, r"shown has shape \(10, 8, 7\), but input has \(10, 8, 6\)"),
        ("plane", {"codes": np.zeros(60)}, r"codes has shape \(60,\), .* \(n, size\)"),
        ("plane", {"codes": np.zeros((60, 1))}, "1 dimension, .* at least 2"),
        ("plane", {"classes": np.zeros(59, int)}, r"classes has shape \(59,\), but \(60,\)"),
        ("plane", {"classes": np.zeros(60)}, "type float64, but class numbers"),
        ("plane", {"classes": np.full(60, -1)}, "a class -1"),
        ("plane", {"labels": LABELS[:2]}, "a class 2, but there are 2 labels"),
        ("alarms", {"signal": np.zeros((1, STEPS, 1))}, r"signal has shape \(1, 1000, 1\), .* \(time, features\)"),
        ("alarms", {"scores": np.zeros(999)}, r"scores has shape \(999,\), but each feature .* \(1000,\)"),
        ("alarms", {"alarms": np.zeros(999)}, r"alarms has shape \(999,\)"),
        ("alarms", {"truth": np.zeros(999, int)}, r"truth has shape \(999,\), but \(1000,\)"),
        ("alarms", {"truth": np.full(STEPS, np.nan)}, "truth is of type float64"),
        ("alarms", {"labels": ("normal",)}, "a class 1, but there are 1 labels"),
        ("alarms", {"threshold": float("nan")}, "threshold is nan"),
        ("curves", {"inputs": WINDOWS[0]}, r"inputs has shape \(48, 2\), .* \(n, time, features\)"),
        ("curves", {"rebuilt": WINDOWS[:2]}, r"rebuilt has shape \(2, 48, 2\), but inputs has \(3, 48, 2\)"),
    ],
)
def test_wrong_arrays_are_told(name, changed, message):
    with pytest.raises(UsageError, match=message):
        getattr(pictures, name)(**{**CALLS[name], **changed})


@pytest.mark.parametrize("name", CALLS)
def test_a_missing_matplotlib_is_named_with_its_extra(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'edgeseq\[pictures\]'"):
        getattr(pictures, name)(**CALLS[name])


def test_matplotlib_is_imported_to_draw_and_pyplot_and_torch_never():
    code = """
import sys, numpy
from edgeseq import pictures
assert "matplotlib" not in sys.modules
pictures.curves(numpy.zeros((1, 4, 1)), numpy.ones((1, 4, 1)))
assert "matplotlib" in sys.modules
print([name for name in ("matplotlib.pyplot", "torch") if name in sys.modules])
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
