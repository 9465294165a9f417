"""Codes on a plane, coloured by class: what an encoder holds apart, and what it does not."""

from typing import TYPE_CHECKING

import numpy as np
from edgeseq_runtime.errors import UsageError

from edgeseq.pictures.arrays import Array, class_numbers, numbers
from edgeseq.pictures.sheet import LETTERS, figure, legend, plain, png

if TYPE_CHECKING:
    from matplotlib.colors import Colormap

_WIDTH, _HEIGHT = 1280, 1000
"""Pixels."""

DOTS = 1500
"""Of more codes so many are drawn, by lot, and a line above says so: more dots would only cover each other."""

_A_COLUMN = 20
"""So many classes stand in one column of the legend."""


def plane(codes: object, classes: object, labels: tuple[str, ...]) -> bytes:
    """A dot for each code (n, size) in the colour of its class, int (n,), with a legend of those that occur.

    Codes of more than two dimensions are shown by their first two principal components, and the axes say so.

    Raises:
        UsageError: other shapes, codes of one dimension, values that are not finite, or a class without a label.
        MissingPackageError: matplotlib is not installed.
    """
    values = numbers("codes", codes, "n", "size")
    if values.shape[1] < 2:
        raise UsageError("codes have 1 dimension, but a plane takes at least 2; set code_size to 2 or more")
    numbered = class_numbers("classes", classes, len(values), labels)
    dots, names = _principal(values) if values.shape[1] > 2 else (values, ("code, dimension 1", "code, dimension 2"))

    drawn = figure(_WIDTH, _HEIGHT)
    axes = drawn.add_subplot()
    plain(axes, *names)
    colours = _colours(len(labels))
    order = np.random.default_rng(0).permutation(len(dots))[:DOTS]  # shuffled, so that no class hides the others
    x, y = dots[order].T
    size = np.clip(30_000 / len(order), 20, 60)
    axes.scatter(x, y, s=size, c=colours[numbered[order]], alpha=0.7, linewidths=0)
    present = np.unique(numbered)
    keys = {labels[number]: axes.scatter([], [], s=60, color=colours[number], linewidths=0) for number in present}
    legend(drawn, keys, "outside right upper", -(-len(keys) // _A_COLUMN))
    if len(order) < len(dots):
        axes.set_title(f"{len(order):,} of {len(dots):,} codes", loc="left", **LETTERS)
    return png(drawn)


def _principal(codes: Array) -> tuple[Array, tuple[str, str]]:
    """The first two principal components (n, 2) of codes (n, size), and what to call them."""
    centred = codes - codes.mean(axis=0)
    _, sizes, directions = np.linalg.svd(centred, full_matrices=False)
    directions = np.pad(directions, ((0, max(0, 2 - len(directions))), (0, 0)))[:2]  # fewer than two codes
    largest = np.take_along_axis(directions, np.abs(directions).argmax(axis=1)[:, None], axis=1)
    directions = np.where(largest < 0, -directions, directions)  # their sign is free: one that is the same everywhere
    shares = np.pad(sizes, (0, 2))[:2] ** 2 / max((sizes**2).sum(), np.finfo(float).tiny)
    first, second = (
        f"principal component {number} of {codes.shape[1]} dimensions ({100 * share:.0f} % of the variance)"
        for number, share in enumerate(shares, start=1)
    )
    return centred @ directions.T, (first, second)


def _colours(count: int) -> Array:
    """(count, 4): colours that are told apart easily, as long as there are no more than 20."""
    from matplotlib import colormaps

    chosen: Colormap
    if count <= 10:
        chosen = colormaps["tab10"]
    elif count <= 20:
        chosen = colormaps["tab20"]
    else:
        chosen = colormaps["turbo"].resampled(count)
    return np.array([chosen(number) for number in range(count)])
