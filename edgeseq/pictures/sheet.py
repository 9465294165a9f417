"""The sheet that pictures are drawn on: a matplotlib figure of one look, and its PNG bytes.

Figures are made and drawn as objects, without pyplot, so that nothing outside of them changes.
"""

from collections.abc import Mapping
from io import BytesIO
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from edgeseq_runtime.errors import MissingPackageError

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 128
"""A power of 2, so that whole pixels stay whole."""

LETTERS: dict[str, Any] = {"fontfamily": "DejaVu Sans", "fontsize": 11, "color": "#333333"}
"""The font comes with matplotlib, so that a picture looks the same everywhere. It is large enough to be read where a
sheet is shown at half its size, as pages do on fine screens."""

LINE, INPUT, REBUILT, ALARM = "#b0b0b0", "#4c78a8", "#e4632d", "#c8102e"


def figure(width: float, height: float, layout: Literal["constrained"] | None = "constrained") -> "Figure":
    """An empty white sheet. width, height: in pixels; layout: None where everything is placed by hand."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingPackageError(f"a picture needs matplotlib: pip install 'edgeseq[pictures]' ({error})") from error
    return Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white", layout=layout)


def png(drawn: "Figure") -> bytes:
    """The figure as a PNG file.

    It has at most 256 colours, which makes it small, and tells neither the time nor versions.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas: Any = FigureCanvasAgg(drawn)  # its methods have no types
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[:, :, :3]
    if (pixels == pixels[:, :, :1]).all():  # grey alone, and then all of its 256 levels
        image = Image.fromarray(pixels[:, :, 0])
    else:
        image = Image.fromarray(pixels).quantize(256, dither=Image.Dither.NONE)
    file = BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()


def plain(axes: "Axes", x_label: str = "", y_label: str = "") -> None:
    """Give axes the look of all pictures: white, a thin frame at the left and below, small grey letters."""
    axes.set_facecolor("white")
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set(color=LINE, linewidth=1)
    axes.grid(visible=False)
    axes.tick_params(color=LINE, width=1, length=4, direction="out")
    axes.tick_params(labelcolor=LETTERS["color"], labelsize=LETTERS["fontsize"], labelfontfamily=LETTERS["fontfamily"])
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(written)
    axes.set_xlabel(x_label, **LETTERS)
    axes.set_ylabel(y_label, **LETTERS)


def written(value: float, _: object = None) -> str:
    """A number of an axis, such as 40,000 or −0.5."""
    return f"{value:,.10g}".replace("-", "−")


def legend(
    drawn: "Figure",
    keys: "Mapping[str, Artist]",
    place: Literal["outside upper left", "outside right upper"],
    columns: int,
) -> None:
    """Write what the figure's colours stand for. keys: what is drawn, by its name."""
    drawn.legend(
        list(keys.values()),
        list(keys),
        loc=place,
        ncols=columns,
        frameon=False,
        handletextpad=0.5,
        labelcolor=LETTERS["color"],
        prop={"family": LETTERS["fontfamily"], "size": LETTERS["fontsize"]},
    )
