"""One look for every figure: `use_style()`, and the figures that the plotting functions make.

The paper of a figure is opaque and nearly white, with a margin, so it reads on a light page and on a dark one. The fonts come with
matplotlib, and SVG output is the same bytes every time.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from causalpose.plotting.palette import CYCLE, unit

PAPER, INK, FAINT = "#fcfcf9", "#222222", "#8a8a86"

STYLE: dict[str, object] = {
    "figure.facecolor": PAPER,
    "figure.dpi": 110,
    "savefig.facecolor": PAPER,
    "savefig.edgecolor": PAPER,
    "savefig.bbox": "tight",
    "savefig.pad_inches": 0.15,
    "savefig.transparent": False,
    "axes.facecolor": PAPER,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.labelsize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=[unit(colour) for colour in CYCLE]),
    "grid.color": "#e4e4de",
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "mathtext.fontset": "dejavusans",
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.6,
    "image.interpolation": "nearest",  # a pixel of a small picture is a fact; smoothing would invent some
    "svg.hashsalt": "causalpose",
    "svg.fonttype": "path",
}


def use_style() -> None:
    """Make the style matplotlib's default: the first line of every notebook. No other function here touches global settings."""
    plt.switch_backend(
        plt.get_backend()
    )  # load it now: loaded inside `rc_context`, a notebook's interactive mode would end with the context
    plt.rcParams.update(STYLE)


def panels(
    rows: int, columns: int, *, height: float, width: float, title: str | None = None, pictures: bool = True, margin: float = 0.3
) -> tuple[Figure, np.ndarray]:
    """A figure of `rows x columns` axes, each about `width x height` inches; returns it and the axes as an array `[rows, columns]`.

    pictures   the axes hold pictures: they are packed closely; else each has room for its labels
    margin     inches of width that go to row labels and a colour bar

    Notebooks show the figure at the end of the cell; elsewhere the caller saves and closes it.
    """
    size = (columns * width + margin, rows * height + (0.6 if title else 0.3))
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="compressed" if pictures else "constrained")
        figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0.02, hspace=0.02)
        if title:
            figure.suptitle(title, fontsize=10.5)
    return figure, axes


def picture_axis(axis: Axes) -> Axes:
    """An axis that holds a picture: no ticks, no frame, no grid."""
    axis.grid(False)
    axis.set(xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set_visible(False)
    return axis


def frame_titles(axes: Sequence[Axes], target: int) -> None:
    """Title the axes of a clip's frames by their distance from the target frame: t−1, t, t+1."""
    for number, axis in enumerate(axes):
        away = number - target
        axis.set_title("t (target)" if away == 0 else f"t{'+' if away > 0 else '−'}{abs(away)}", fontsize=9)
