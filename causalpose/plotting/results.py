"""Results of an ablation: every seed as a point, a mean with its interval, and paired differences from a baseline.

Input is the tidy table (`causalpose.evaluation.tables`): one row a measurement.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from causalpose.errors import CausalPoseError
from causalpose.evaluation.statistics import Interval, mean_interval
from causalpose.plotting.palette import CYCLE, unit
from causalpose.plotting.style import FAINT, INK, panels

_MARKERS = "osD^vPX"  # arms differ in shape as well as in colour


def pick(frame: pd.DataFrame, metric: str, joint: str = "mean") -> pd.DataFrame:
    """The rows of one metric and joint; none is an error that says what there is."""
    rows = frame[(frame["metric"] == metric) & (frame["joint"] == joint)]
    if rows.empty:
        metrics = ", ".join(map(str, dict.fromkeys(frame["metric"])))
        raise CausalPoseError(f"results hold no rows of metric {metric!r} for joint {joint!r}; metrics: {metrics}")
    return rows


def arm_plot(
    frame: pd.DataFrame,
    metric: str = "PCK@0.2",
    *,
    joint: str = "mean",
    arms: Sequence[str] | None = None,
    conditions: Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
    title: str | None = None,
    height: float = 3.0,
) -> Figure:
    """Arms by condition. Small dots are the seeds, the large mark their mean, the bar its 95 % bootstrap interval over seeds.

    With one or two seeds there is no interval to draw, and none is drawn.
    labels    prettier names of arms

    From the eighth arm on, colours begin again, with hollow marks.
    """
    rows = pick(frame, metric, joint)
    arms, conditions = list(arms or dict.fromkeys(rows["variant"])), list(conditions or dict.fromkeys(rows["condition"]))
    figure, axes = panels(1, 1, height=height, width=max(4.5, 1.25 * len(conditions) + 1.8), title=title, pictures=False)
    axis = axes[0, 0]
    for number, arm in enumerate(arms):
        for place, condition in enumerate(conditions):
            values = rows[(rows["variant"] == arm) & (rows["condition"] == condition)]["value"].to_numpy()
            interval = mean_interval(values)[1:] if len(values) > 2 else None
            label = (labels or {}).get(arm, arm) if place == 0 else None
            # When colours and markers begin again, hollow marks keep the arms apart.
            hollow = number >= min(len(CYCLE), len(_MARKERS))
            _dot(axis, place + _offset(number, len(arms)), values, interval, number, label, hollow=hollow)
    axis.set(ylabel=f"{metric} (%)")
    _conditions(axis, conditions, len(arms) > 1)
    return figure


def difference_plot(
    differences: Mapping[tuple[str, str], Interval] | pd.DataFrame,
    seeds: Mapping[tuple[str, str], Sequence[float]] | None = None,
    *,
    baseline: str = "the baseline",
    metric: str = "PCK@0.2",
    labels: Mapping[str, str] | None = None,
    title: str | None = None,
    height: float = 3.0,
) -> Figure:
    """Paired differences from a baseline by condition, each with its interval; filled where the interval leaves zero out.

    differences   (arm, condition) -> `Interval` (from `evaluation.statistics.paired`), or a tidy table of differences
                  (`seed_differences`), whose interval is over seeds
    seeds         (arm, condition) -> the difference of each seed, shown as small dots
    """
    if isinstance(differences, pd.DataFrame):
        groups = {key: part["value"].to_numpy() for key, part in differences.groupby(["variant", "condition"], sort=False)}
        seeds = seeds or groups
        differences = {key: Interval(*mean_interval(values), len(values), 1) for key, values in groups.items()}
    if not differences:
        raise CausalPoseError("difference_plot: there is no difference to show")
    arms, conditions = (list(dict.fromkeys(key[i] for key in differences)) for i in (0, 1))
    figure, axes = panels(1, 1, height=height, width=max(4.5, 1.25 * len(conditions) + 1.8), title=title, pictures=False)
    axis = axes[0, 0]
    axis.axhline(0, color=INK, linewidth=1)
    for number, arm in enumerate(arms):
        label = (labels or {}).get(arm, arm)
        for place, condition in enumerate(conditions):
            interval = differences.get((arm, condition))
            if interval is not None:
                points = np.asarray((seeds or {}).get((arm, condition), ()), float)
                span = (interval.low, interval.high) if interval.high > interval.low else None
                hollow = span is not None and not interval.distinguishable
                _dot(axis, place + _offset(number, len(arms)), points, span, number, label, mean=interval.mean, hollow=hollow)
                label = None
    axis.set(ylabel=f"{metric}: difference\nfrom {baseline} (points)")
    _conditions(axis, conditions, True)
    return figure


def forest_plot(
    compared: pd.DataFrame, metric: str = "PCK@0.2", *, conditions: Sequence[str] | None = None, title: str | None = None
) -> Figure:
    """Every arm's difference from its reference: a panel a condition, a row an arm, the bar its 95 % interval over seeds and clips.

    compared     a table of `experiments.comparisons`
    conditions   the panels; all of the table by default, `all` first

    Filled and coloured where the interval leaves zero out (blue above, orange below), hollow and grey where nothing is distinguishable.
    """
    rows = compared[compared["metric"] == metric]
    if rows.empty:
        raise CausalPoseError(f"no comparison on {metric!r}; there are: {', '.join(map(str, dict.fromkeys(compared['metric'])))}")
    conditions = [name for name in conditions or dict.fromkeys(rows["condition"]) if (rows["condition"] == name).any()]
    arms = list(dict.fromkeys(zip(rows["variant"], rows["against"], strict=True)))
    columns = min(len(conditions), 4)  # more in a row, and a page would shrink them until nobody can read them
    lines = -(-len(conditions) // columns)
    figure, axes = panels(lines, columns, height=0.24 * len(arms) + 0.6, width=1.75, title=title, pictures=False, margin=1.9)
    figure.get_layout_engine().set(h_pad=0.08)  # a title is nearer to its own panel than to the labels above it
    for spare in axes.flat[len(conditions) :]:
        spare.remove()
    shown = rows[rows["condition"].isin(conditions)]
    reach = 1.05 * max(shown["high"].max(), 0) - min(1.05 * shown["low"].min(), 0)
    low, high = min(shown["low"].min(), 0) - 0.03 * reach, max(shown["high"].max(), 0) + 0.03 * reach
    for number, (axis, condition) in enumerate(zip(axes.flat, conditions, strict=False)):
        part = rows[rows["condition"] == condition].set_index(["variant", "against"])
        axis.axvline(0, color=INK, linewidth=1)
        for place, arm in enumerate(arms):
            if arm not in part.index:
                continue
            row = part.loc[arm]
            row = row.iloc[0] if isinstance(row, pd.DataFrame) else row
            clear = row["low"] > 0 or row["high"] < 0
            colour = unit(CYCLE[0] if row["mean"] > 0 else CYCLE[1]) if clear else FAINT
            axis.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=2.2, solid_capstyle="butt")
            axis.plot(row["mean"], place, "o", markersize=5.5, markeredgecolor=colour, markerfacecolor=colour if clear else "white")
        axis.set(ylim=(len(arms) - 0.5, -0.5), xlim=(low, high))
        axis.set_title(condition.replace("_", " "), fontsize=9.5)
        axis.set_yticks(range(len(arms)), [f"{name} − {against}" for name, against in arms] if number % columns == 0 else [])
        axis.grid(False, axis="y")
        axis.tick_params(labelsize=8.5)
    figure.supxlabel(f"{metric}: difference in points", fontsize=9.5)
    return figure


def seed_differences(frame: pd.DataFrame, baseline: str, metric: str = "PCK@0.2", joint: str = "mean") -> pd.DataFrame:
    """The tidy table of `arm - baseline`, seed by seed and condition by condition; only seeds that both have are compared."""
    rows = pick(frame, metric, joint)
    if baseline not in set(rows["variant"]):
        raise CausalPoseError(
            f"results hold no arm {baseline!r} to compare with; arms: {', '.join(map(str, dict.fromkeys(rows['variant'])))}"
        )
    keys = ["seed", "dataset", "condition"]
    reference = rows[rows["variant"] == baseline].set_index(keys)["value"]
    others = rows[rows["variant"] != baseline].join(reference.rename("reference"), on=keys, how="inner")
    return others.assign(value=others["value"] - others["reference"]).drop(columns="reference").reset_index(drop=True)


def _offset(number: int, count: int) -> float:
    """Where an arm stands about its condition's place: the arms share six tenths of it."""
    return 0.6 * ((number + 0.5) / count - 0.5)


def _dot(axis: Axes, x: float, values, interval, number: int, label: str | None, mean: float | None = None, hollow: bool = False) -> None:
    colour, marker = unit(CYCLE[number % len(CYCLE)]), _MARKERS[number % len(_MARKERS)]
    if mean is None and not len(values):
        return
    mean = float(np.mean(values)) if mean is None else mean
    if interval is not None:
        axis.plot([x, x], interval, color=colour, linewidth=2.2, solid_capstyle="butt", zorder=3)
    if len(values) > 1:
        axis.plot(np.full(len(values), x + 0.045), values, ".", color=FAINT, markersize=4.5, zorder=2)
    axis.plot(
        x, mean, marker, markersize=6.5, markerfacecolor="white" if hollow else colour, markeredgecolor=colour, markeredgewidth=1.6,
        linestyle="none", label=label, zorder=4,
    )  # fmt: skip


def _conditions(axis: Axes, conditions: Sequence[str], legend: bool) -> None:
    axis.set_xticks(range(len(conditions)), [str(name).replace("_", " ") for name in conditions])
    axis.set_xlim(-0.5, len(conditions) - 0.5)
    axis.grid(False, axis="x")
    if legend:
        axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
