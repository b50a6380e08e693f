"""Costs on paper, and measured growth, as curves."""

from fractions import Fraction

import pandas as pd
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from causalpose.errors import CausalPoseError
from causalpose.model.clustering import PANELLED, PANELS
from causalpose.plotting.palette import CYCLE, unit
from causalpose.plotting.style import FAINT, panels

MARKERS = "osD^v"


def cost_figure(cost: pd.DataFrame, *, keep_rate: float = 0.3, frames: int = 5, size: tuple[int, int] = (256, 192)) -> Figure:
    """Three panels of the table of `benchmark.cost.cost_table`: operations by T, kept activations by T, and stage 2 by keep rate.

    One colour and marker a preset; solid lines for `size`, dashed for the other sizes that all presets have. The last panel shows the
    forward pass in per cent of the one that keeps every token.
    """
    presets = list(dict.fromkeys(cost["preset"]))
    shared = cost.groupby(["height", "width"])["preset"].nunique()
    sizes = [index for index, count in shared.items() if count == len(presets)]
    if size not in sizes:
        raise CausalPoseError(f"cost_figure: the table holds no size {size[0]}x{size[1]} of every preset; sizes: {sizes}")
    figure, axes = panels(1, 3, height=3.0, width=3.5, pictures=False)
    for number, name in enumerate(presets):
        look = {"color": unit(CYCLE[number % len(CYCLE)]), "marker": MARKERS[number % len(MARKERS)], "markersize": 4.5}
        for height, width in sizes:
            rows = cost[(cost["preset"] == name) & (cost["height"] == height) & (cost["width"] == width)]
            line = {"linestyle": "-" if (height, width) == size else "--", "label": name if (height, width) == size else None}
            by_frames = rows[rows["keep_rate"] == keep_rate].sort_values("frames")
            axes[0, 0].plot(by_frames["frames"], by_frames["forward_flops"] / 1e9, **look, **line)
            axes[0, 1].plot(by_frames["frames"], by_frames["activation_mb"] / 1e3, **look, **line)
            by_rate = rows[rows["frames"] == frames].sort_values("keep_rate")
            if (height, width) == size:
                every = by_rate["forward_flops"].iloc[-1]
                axes[0, 2].plot(by_rate["keep_rate"], 100 * by_rate["forward_flops"] / every, **look)
    axes[0, 0].set(xlabel="frames T", ylabel="forward pass (GFLOP a clip)", yscale="log")
    axes[0, 1].set(xlabel="frames T", ylabel="kept for the backward pass (GB a clip)", yscale="log")
    axes[0, 2].set(xlabel="keep rate ρ", ylabel=f"forward pass, T = {frames} (% of ρ = 1)")
    axes[0, 2].set_ylim(top=101)
    for axis in axes[0, :2]:
        axis.set_xticks(sorted(cost["frames"].unique()))
        _plain_numbers(axis.yaxis)
    handles, _ = axes[0, 0].get_legend_handles_labels()
    handles += [
        Line2D([], [], color=FAINT, linestyle="-" if index == size else "--", label=f"{index[0]} × {index[1]} pixels") for index in sizes
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)  # in the panels it would hide lines
    return figure


def _plain_numbers(side: Axis) -> None:
    """A logarithmic axis labelled 1, 2, 5, 10: it also has labels where it spans less than a factor of ten."""
    side.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    side.set_minor_locator(NullLocator())
    side.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def growth_figure(results: pd.DataFrame) -> Figure:
    """Milliseconds a clip of DPC-kNN by the number of tokens, ours and the plain form's: the rows of section `clustering`."""
    rows = results[(results["section"] == "clustering") & (results["unit"] == "ms")]
    if rows.empty:
        raise CausalPoseError("growth_figure: there are no rows of section clustering")
    tokens = rows["case"].str.extract(r"x (\d+) tokens")[0].astype(int)
    rows = rows.assign(tokens=tokens).sort_values("tokens")
    figure, axes = panels(1, 1, height=3.0, width=4.4, pictures=False)
    axis = axes[0, 0]
    label = f"{Fraction(PANELS + 1, 2 * PANELS)} of the product\n(from {PANELLED} tokens on), partial sort"
    axis.plot(rows["tokens"], rows["value"], "o-", color=unit(CYCLE[0]), label=label)
    axis.plot(rows["tokens"], rows["reference"], "s--", color=unit(CYCLE[1]), label="plain form")
    axis.set(xlabel="tokens to cluster", ylabel="ms a clip", xscale="log", yscale="log")
    _plain_numbers(axis.xaxis)
    _plain_numbers(axis.yaxis)
    axis.set_xticks(rows["tokens"])
    axis.legend(loc="upper left")
    return figure


def share_figure(results: pd.DataFrame) -> Figure:
    """Where the whole model's time goes: one bar a part, in the order of the forward pass, from the rows of section `stage-2`."""
    rows = results[(results["section"] == "stage-2") & (results["case"] == "share of the whole model")]
    if rows.empty:
        raise CausalPoseError("share_figure: there are no rows of section stage-2")
    figure, axes = panels(1, 1, height=2.6, width=5.2, pictures=False)
    axis = axes[0, 0]
    bars = axis.barh(rows["quantity"], rows["value"], color=unit(CYCLE[0]))
    axis.bar_label(bars, fmt="%.1f %%", padding=3, fontsize=9)
    axis.invert_yaxis()
    axis.grid(visible=False, axis="y")
    axis.set(xlabel="share of the time (%)", xlim=(0, 1.15 * rows["value"].max()))
    return figure
