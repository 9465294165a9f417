"""Lines of 3 to 8 handwritten digits side by side, composed from MNIST: images of any width, read from left to right.

Made anew from the 5,000 images of `mnist_digits`, and always the same, as long as numpy's generator draws the same: the
hash is that of the lines, and so tells. The images are divided into training, validation and test images before any
line is made, so no image occurs in two parts; within a part an image occurs in several lines.
"""

from collections.abc import Iterable
from dataclasses import replace
from hashlib import sha256

import numpy as np

from edgeseq.data import mnist_digits
from edgeseq.data.dataset import Array, Dataset, Loaded, pad

SHARES = {"training": 0.7, "validation": 0.1, "test": 0.2}
"""Of the images of each digit, by part."""

LINES = {"training": 4000, "validation": 500, "test": 1000}

SHORTEST, LONGEST = 3, 8
GAPS = range(-8, 5)
"""Between the frames of two neighbours, in pixels. A digit keeps about 4 pixels from each side of its frame, so with -8
two digits touch, and wide ones run into each other."""

SHIFT = 3
"""Digits stand up to so many pixels higher or lower than centred."""

_SEED = 0
_MADE = "Lines composed of images of: "


def load() -> Loaded:
    """x: float32 (lines, width, 28), time along the line; y: int64 (lines, 8). Raises MissingPackageError."""
    digits = mnist_digits.load()
    rng = np.random.default_rng(_SEED)
    chosen = divide(digits.whole.y, rng)
    parts = {part: compose(digits.whole.rows(rows), LINES[part], rng) for part, rows in chosen.items()}
    about = replace(
        digits.about, name="digit-lines", sha256=_hash(parts.values()), citation=_MADE + digits.about.citation
    )
    return Loaded(parts["training"], about, parts["test"], parts["validation"])


def divide(y: Array, rng: np.random.Generator) -> dict[str, Array]:
    """Row numbers by part, the same share of every class. y: int64 (n,)."""
    bounds = np.cumsum([*SHARES.values()])[:-1]
    pieces = []
    for label in np.unique(y):
        rows = rng.permutation(np.flatnonzero(y == label))
        pieces.append(np.split(rows, np.round(bounds * len(rows)).astype(int)))
    return {part: np.concatenate(rows) for part, rows in zip(SHARES, zip(*pieces, strict=True), strict=True)}


def compose(digits: Dataset, count: int, rng: np.random.Generator) -> Dataset:
    """Lines of random digits. digits: images (n, height, width), all used about equally often."""
    order = np.concatenate([rng.permutation(len(digits)) for _ in range(-(-count * LONGEST // len(digits)))])
    sizes = rng.integers(SHORTEST, LONGEST + 1, count)
    rows = np.split(order, np.cumsum(sizes))[:count]
    x, lengths = pad([_line(digits.x[each], rng) for each in rows])
    y = np.zeros((count, LONGEST), np.int64)
    for line, each in enumerate(rows):
        y[line, : len(each)] = digits.y[each]
    return Dataset(x, y, lengths, digits.labels, y_lengths=sizes)


def _line(images: Array, rng: np.random.Generator) -> Array:
    """One line, (width, height). images: (digits, height, width)."""
    _, height, width = images.shape
    gaps = rng.integers(GAPS.start, GAPS.stop, len(images) - 1)
    lefts = np.concatenate([[0], np.cumsum(width + gaps)])
    line = np.zeros((lefts[-1] + width, height), images.dtype)
    for image, left, up in zip(images, lefts, rng.integers(0, 2 * SHIFT + 1, len(images)), strict=True):
        shifted = np.pad(image, ((SHIFT, SHIFT), (0, 0)))[up : up + height]
        place = line[left : left + width]
        np.maximum(place, shifted.T, out=place)  # where two overlap, the darker ink shows
    return line


def _hash(parts: Iterable[Dataset]) -> str:
    content = sha256()
    for part in parts:
        for array in (part.x, part.y, part.lengths, part.y_lengths):
            content.update(np.ascontiguousarray(array).data)
    return content.hexdigest()
