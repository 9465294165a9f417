"""Pictures side by side: as a grid, or each above what was rebuilt of it.

Values go from 0 (paper, white) to 1 (ink, black), as those of handwritten digits do; what lies beyond is clipped.
Each pixel becomes a square of whole pixels, so that nothing is smoothed.
"""

from math import ceil, sqrt

import numpy as np
from edgeseq_runtime.errors import UsageError

from edgeseq.pictures.arrays import Array, numbers, same_shape
from edgeseq.pictures.sheet import LETTERS, figure, png

ACROSS = 12
"""So many pairs stand side by side; more go on below."""

_WIDTH, _LARGEST = 1200, 6000
"""Pixels: of a sheet where pictures allow it, and of a sheet's longer side."""

_GREY = 0.9
"""How light a gap is, so that the edge of white paper is seen."""

_LABELS = 110
"""Pixels at the left, for what a row shows."""

_GAP, _BAND_GAP = 6, 20
"""Pixels between two pictures, and between two bands of pairs."""

_EMPTY = np.nan
"""Stands in a mosaic where there is no picture."""


def grid(pictures: object) -> bytes:
    """Pictures (n, height, width) row by row, on a sheet that is as square as it can be without empty places.

    Raises:
        UsageError: another shape, values that are not finite, or too many for one sheet.
        MissingPackageError: matplotlib is not installed.
    """
    cells = numbers("pictures", pictures, "n", "height", "width")
    columns, scale = _squarest(*cells.shape)
    return _sheet([_mosaic(cells, columns, scale)])


def check_grid(count: int, height: int, width: int) -> None:
    """Raise UsageError where so many pictures are too many for one grid, before they are there."""
    columns, scale = _squarest(count, height, width)
    rows = -(-count // columns)
    _check_sheet(rows * (height * scale + _GAP) + _GAP, columns * (width * scale + _GAP) + _GAP)


def _squarest(count: int, height: int, width: int) -> tuple[int, int]:
    """How many pictures stand side by side in a grid, and how many pixels of the sheet a pixel becomes."""
    squarest = min(count, ceil(sqrt(count * height / width)))
    columns = min(range(squarest, min(count, 2 * squarest) + 1), key=lambda tried: (-count % tried, tried))
    return columns, _scale(columns * width)


def pairs(inputs: object, rebuilt: object, shown: object = None) -> bytes:
    """Pictures (n, height, width) above what was rebuilt of them, of the same shape.

    shown: what the network was shown, such as noisy pictures, of the same shape, as a row between.

    Raises:
        UsageError: other shapes, values that are not finite, or too many for one sheet.
        MissingPackageError: matplotlib is not installed.
    """
    given = {"input": inputs, "shown": shown, "rebuilt": rebuilt}
    rows = {name: numbers(name, row, "n", "height", "width") for name, row in given.items() if row is not None}
    for name, row in rows.items():
        same_shape(name, row, "input", rows["input"])
    count, _, width = rows["input"].shape
    scale = _scale(min(count, ACROSS) * width)
    bands = []
    for start in range(0, count, ACROSS):
        band = [row[start : start + ACROSS] for row in rows.values()]
        bands.append(_mosaic(np.concatenate(band), len(band[0]), scale))
    return _sheet(bands, tuple(rows))


def _scale(width: int) -> int:
    """How many pixels of the sheet a pixel becomes; width: of a row of pictures."""
    return max(1, min(round(_WIDTH / width), 16))


def _mosaic(cells: Array, columns: int, scale: int) -> Array:
    """Cells (n, height, width) row by row and enlarged, with gaps between and around: (rows, columns of pixels)."""
    enlarged = cells.clip(0, 1).repeat(scale, axis=1).repeat(scale, axis=2)
    padded = np.pad(enlarged, ((0, -len(cells) % columns), (_GAP, 0), (_GAP, 0)), constant_values=_EMPTY)
    _, height, width = padded.shape
    sheet = padded.reshape(-1, columns, height, width).swapaxes(1, 2).reshape(-1, columns * width)
    return np.pad(sheet, ((0, _GAP), (0, _GAP)), constant_values=_EMPTY)


def _check_sheet(height: int, width: int) -> None:
    if max(height, width) > _LARGEST:
        raise UsageError(
            f"these pictures need a sheet of {width} × {height} pixels, but it has at most {_LARGEST} a side; "
            "give fewer or smaller ones"
        )


def _sheet(bands: list[Array], names: tuple[str, ...] = ()) -> bytes:
    """Bands, the first as wide as any, below each other; names: of each band's rows, written at its left."""
    left = _LABELS if names else 0
    tops = np.cumsum([0, *(len(band) + _BAND_GAP for band in bands)])
    height, width = int(tops[-1]) - _BAND_GAP, left + bands[0].shape[1]
    _check_sheet(height, width)
    pixels = np.ones((height, width, 3))
    drawn = figure(width, height, layout=None)
    for top, band in zip(tops, bands, strict=False):
        ink = np.where(np.isnan(band), 1 - _GREY, band)
        pixels[top : top + len(band), left : left + band.shape[1]] = 1 - ink[..., None]
        for row, name in enumerate(names):
            middle = top + (row + 0.5) * len(band) / len(names)
            drawn.text((left - 12) / width, 1 - middle / height, name, ha="right", va="center", **LETTERS)
    drawn.figimage(pixels, origin="upper")
    return png(drawn)
