"""Lines of digits: no image in two parts, always the same lines, and y is what stands there."""

from itertools import combinations

import numpy as np
import pytest

from edgeseq.data import digit_lines, mnist_digits
from edgeseq.data.dataset import About, Dataset, Loaded

SHA256 = "c7106f984ad52e2d674364afdf87905406784a3ef1de3d02ce53d75b71b51165"
COUNT = 400
INK = slice(10, 18)  # as wide as frames may overlap: the ink of neighbours stays apart, even at the smallest gap


@pytest.fixture
def marked(monkeypatch):
    """Images that each show a number of their own, and fewer lines; returns the class of every number."""
    y = np.arange(COUNT) % 10
    x = np.zeros((COUNT, 28, 28), np.float32)
    x[:, :, INK] = np.arange(1, COUNT + 1)[:, None, None]
    whole = Dataset(x, y, None, tuple("0123456789"))
    monkeypatch.setattr(mnist_digits, "load", lambda: Loaded(whole, About("marks", "")))
    monkeypatch.setattr(digit_lines, "LINES", {"training": 300, "validation": 40, "test": 60})
    return dict(zip(range(1, COUNT + 1), y.tolist(), strict=True))


def parts(loaded):
    return {"training": loaded.whole, "validation": loaded.validation, "test": loaded.test}


def marks(line):
    """The numbers along the middle of a line, from left to right."""
    middle = line[:, line.shape[1] // 2]
    starts = np.flatnonzero(np.diff(middle, prepend=0.0) * (middle > 0))
    return middle[starts].astype(int).tolist()


def test_no_image_occurs_in_two_parts_and_all_occur(marked):
    used = {name: set(np.unique(part.x).astype(int)) - {0} for name, part in parts(digit_lines.load()).items()}
    assert {name: len(images) for name, images in used.items()} == {"training": 280, "validation": 40, "test": 80}
    for one, other in combinations(used.values(), 2):
        assert not one & other


def test_y_is_what_stands_in_the_line(marked):
    for name, part in parts(digit_lines.load()).items():
        assert len(part) == digit_lines.LINES[name]
        for row in range(len(part)):
            digits = [marked[mark] for mark in marks(part.x[row, : part.lengths[row]])]
            assert digits == part.y[row, : part.y_lengths[row]].tolist()
            assert not part.x[row, part.lengths[row] :].any()
            assert not part.y[row, part.y_lengths[row] :].any()


def test_sizes_gaps_and_shifts_take_every_value(marked):
    part = digit_lines.load().whole
    assert set(part.y_lengths) == set(range(3, 9))
    free = part.lengths - 28 * part.y_lengths
    assert (free >= -8 * (part.y_lengths - 1)).all()
    assert (free <= 4 * (part.y_lengths - 1)).all()
    starts = [np.flatnonzero(line[:, 14] > 0) for line in part.x]
    steps = {int(step) for at in starts for step in np.diff(at)}
    assert steps == {1, *range(28 - 8 - 7, 28 + 4 - 7 + 1)}
    blank_rows = {int((line[INK.start] == 0).sum()) for line in part.x}
    assert blank_rows == {0, 1, 2, 3}


def test_lines_are_the_same_every_time(marked):
    one, other = parts(digit_lines.load()), parts(digit_lines.load())
    for name, part in one.items():
        for field in ("x", "y", "lengths", "y_lengths"):
            assert np.array_equal(getattr(part, field), getattr(other[name], field))


def test_real_lines():
    loaded = digit_lines.load()
    assert loaded.about.sha256 == SHA256, "numpy's generator draws other numbers: the reference model has other data"
    assert {name: len(part) for name, part in parts(loaded).items()} == digit_lines.LINES
    for part in parts(loaded).values():
        assert (part.task, part.labels) == ("transcribe", tuple("0123456789"))
        assert part.x.dtype == np.float32
        assert part.x.shape[2] == 28
        assert part.x.min() == 0
        assert part.x.max() == 1
        valid = np.arange(8) < part.y_lengths[:, None]
        shares = np.bincount(part.y[valid]) / valid.sum()
        assert shares == pytest.approx(0.1, abs=0.01)
