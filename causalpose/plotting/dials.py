"""Score against one setting: every seed as a point, its mean as a line, for as many settings as were recorded (ours)."""

import pandas as pd
from matplotlib.figure import Figure

from causalpose.errors import CausalPoseError
from causalpose.plotting.palette import CYCLE, unit
from causalpose.plotting.style import FAINT, panels

_MARKERS = "osD^v"


def dial_plot(frame: pd.DataFrame, xlabel: str, *, metric: str = "PCK@0.2", title: str | None = None, height: float = 2.8) -> Figure:
    """One line a series through the means over seeds; small dots are the seeds. A setting that was not recorded has no point.

    frame   columns series, setting, seed, score (`experiments.telling.dial`)
    """
    if frame.empty:
        raise CausalPoseError("dial_plot: the record holds none of the settings")
    figure, axes = panels(1, 1, height=height, width=6.2, title=title, pictures=False)
    axis = axes[0, 0]
    for number, (name, part) in enumerate(frame.groupby("series", sort=False)):
        means = part.groupby("setting")["score"].mean()
        colour = unit(CYCLE[number % len(CYCLE)])
        axis.plot(part["setting"], part["score"], ".", color=FAINT, markersize=4.5, zorder=2)
        axis.plot(means.index, means.to_numpy(), "-", marker=_MARKERS[number % len(_MARKERS)], color=colour, label=str(name), zorder=3)
    axis.set(xlabel=xlabel, ylabel=f"{metric} over all conditions (%)")
    axis.set_xticks(sorted(set(frame["setting"])))
    axis.legend(loc="lower right")
    return figure
