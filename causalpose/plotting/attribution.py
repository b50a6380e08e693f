"""Figures of the attribution study: methods by scores with their intervals, selection by keep rate, verdicts, and disagreements.

Input is the summary table of the study: columns part, arm, method, score, mean, low, high, seeds, clips.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from causalpose.errors import CausalPoseError
from causalpose.plotting.palette import CYCLE, unit
from causalpose.plotting.skeleton import named
from causalpose.plotting.style import FAINT, INK, panels
from causalpose.plotting.tokens import compare_maps
from causalpose.scenes.world import World

# Scores of the figure, with their titles and the value that knows nothing (None: there is none to draw).
SCORES: dict[str, tuple[str, float | None]] = {
    "agreement_target": ("agreement with\neffects (target frame)", 0.0),
    "top_overlap": ("top-tenth overlap\nwith effects", 0.1),
    "limb_auc": ("AUC against\nthe joint's limb", 0.5),
    "joint_pointing": ("pointing game", None),
    "deletion_background": ("deletion, re-rendered\n(lower is better)", None),
    "insertion_background": ("insertion, re-rendered", None),
    "infidelity": ("infidelity\n(lower is better)", 1.0),
}
# What a map costs; the axes of costs are logarithmic.
COSTS: dict[str, tuple[str, float | None]] = {
    "seconds": ("seconds a map", None),
    "forward_passes": ("forward passes a map", 1.0),
}
_MARKERS = "osD^vPX"


def method_label(name: str) -> str:
    """A method's name for people."""
    special = {
        "tcis": "TCIS",
        "grad_cam": "layer Grad-CAM",
        "smooth_grad": "SmoothGrad",
        "gradient_attention": "gradient × attention",
        "gradient_shap": "GradientSHAP",
        "effect": "measured effects",
    }
    return special.get(name, name.replace("_x_", " × ").replace("_", " "))


def method_plot(
    summary: pd.DataFrame,
    arms: Sequence[str] = ("stage1", "stage2"),
    scores: Mapping[str, tuple[str, float | None]] = SCORES,
    *,
    part: str = "maps",
) -> Figure:
    """A panel a score, a row a method (on top the highest of the first score, or the cheapest), a mark an arm with its 95 % interval; the
    line is chance."""
    rows = summary[(summary["part"] == part) & summary["arm"].isin(list(arms)) & (summary["method"] != "effect")]
    rows = rows[~rows["score"].isin(list(COSTS)) | (rows["mean"] > 0)]  # what costs nothing has no place on a logarithmic axis
    shown = {name: text for name, text in scores.items() if (rows["score"] == name).any()}
    if not shown:
        raise CausalPoseError(f"the summary holds none of the scores {', '.join(scores)} for {', '.join(arms)}")
    first = rows[rows["score"] == next(iter(shown))].groupby("method")["mean"].mean()
    others = rows.loc[rows["score"].isin(list(shown)), "method"].unique()
    names = list(first.sort_values(ascending=next(iter(shown)) not in COSTS).index) + [name for name in others if name not in first.index]
    names = [name for name in names if name != "uniform"] if "uniform" not in first.index else names
    columns = min(len(shown), 4)  # more in a row, and a page would shrink them until nobody can read them
    lines = -(-len(shown) // columns)
    figure, axes = panels(lines, columns, height=(0.2 + 0.02 * len(arms)) * len(names) + 0.9, width=1.75, pictures=False, margin=1.6)
    for spare in axes.flat[len(shown) :]:
        spare.remove()
    for place, (axis, (score, (title, chance))) in enumerate(zip(axes.flat, shown.items(), strict=False)):
        for number, arm in enumerate(arms):
            part_rows = rows[(rows["arm"] == arm) & (rows["score"] == score)].set_index("method")
            present = [name for name in names if name in part_rows.index]
            y = np.array([names.index(name) for name in present]) + min(0.28, 0.72 / len(arms)) * (number - (len(arms) - 1) / 2)
            values = part_rows.loc[present]
            colour = unit(CYCLE[number % len(CYCLE)])
            axis.hlines(y, values["low"], values["high"], color=colour, linewidth=1.6, zorder=2)
            axis.plot(
                values["mean"],
                y,
                _MARKERS[number % len(_MARKERS)],
                color=colour,
                markersize=4.2,
                zorder=3,
                label=arm if place == 0 else None,
            )
        if chance is not None:
            axis.axvline(chance, color=FAINT, linewidth=1, zorder=1)
        axis.set_title(title, fontsize=8.5)
        axis.set_yticks(range(len(names)), [method_label(name) for name in names] if place % columns == 0 else [])
        axis.set_ylim(-0.7, len(names) - 0.3)
        axis.tick_params(axis="x", labelsize=7.5)
        if score in COSTS:
            axis.set_xscale("log")
    figure.legend(loc="outside lower center", ncols=len(arms), frameon=False)
    return figure


# Selections at inference, by a colour and a marker each, the same in every panel.
_SELECTIONS = ("own", "oracle", "heatmap", "norm", "random", "bottom", "encoder_attention", "gradient_attention")


def _place(selection: str) -> int:
    """A selection's place in the order of `_SELECTIONS`."""
    name = "own" if selection == "attention" else selection
    return _SELECTIONS.index(name) if name in _SELECTIONS else len(_SELECTIONS)


def selection_plot(summary: pd.DataFrame, arm: str = "stage2", *, what: str = "pck") -> Figure:
    """Accuracy by keep rate for every selection at inference, and the shift when the other tokens hold something else.

    `attention` is the model's own selection and stands under that name.
    """
    rows = summary[(summary["part"] == "selection") & (summary["arm"] == arm)]
    if rows.empty:
        raise CausalPoseError(f"the summary holds no selection trial of {arm}")
    figure, axes = panels(1, 3, height=2.6, width=2.9, pictures=False, margin=0.8)
    families = {"swapped": f"{what}@", "another-clip": "shift_another-clip@", "background": "shift_background@"}
    titles = {"swapped": "other tokens selected", "another-clip": "the rest: another clip's", "background": "the rest: another background"}
    for axis, (family, prefix) in zip(axes[0], families.items(), strict=True):
        chosen = rows[rows["score"].str.startswith(prefix)]
        rates = sorted(chosen["score"].str.rpartition("@")[2].astype(float).unique())
        doubled = (chosen["method"] == "own").any()  # where the own selection stands already, `attention` is the same once more
        for method in sorted(chosen["method"].unique(), key=_place):
            if method == "attention" and doubled:
                continue
            name, number = "own" if method == "attention" else method, _place(method)
            part = chosen[chosen["method"] == method]
            x = np.array([rates.index(float(score.rpartition("@")[2])) for score in part["score"]]) + 0.09 * (number - 3.5)
            colour = unit(CYCLE[number % len(CYCLE)])
            means, low, high = (part[column].to_numpy() for column in ("mean", "low", "high"))
            axis.vlines(x, low, high, color=colour, linewidth=1.5)
            label = method_label(name) if family == "swapped" else None
            fill = colour if number < len(CYCLE) else "white"  # where the colours begin anew, marks are hollow
            mark = _MARKERS[number % len(_MARKERS)]
            axis.plot(x, means, mark, markersize=5, color=colour, markerfacecolor=fill, zorder=3, label=label)
        if family == "swapped" and (rows["method"] == "all").any():
            axis.axhline(float(rows[rows["method"] == "all"]["mean"].iloc[0]), color=INK, linewidth=1, linestyle=":", label="all tokens")
        axis.set(xlabel="share kept ρ", ylabel="PCK@0.2 (%)" if family == "swapped" else "shift (pixels)")
        axis.set_title(titles[family], fontsize=9.5)
        axis.set_xticks(range(len(rates)), [f"{rate:g}" for rate in rates])
        axis.set_xlim(-0.5, len(rates) - 0.5)
        axis.grid(False, axis="x")
    figure.legend(loc="outside lower center", ncols=5, fontsize=8.5, frameon=False)
    return figure


def shortcut_plot(revealed: pd.DataFrame, score: str = "stick_auc") -> Figure:
    """Which maps show a planted shortcut: the biased model's score on it minus its twin's; filled where the interval is above zero."""
    rows = revealed[revealed["score"] == score].sort_values("mean")
    if rows.empty:
        raise CausalPoseError(f"there is no {score} to show")
    figure, axes = panels(1, 1, height=0.22 * len(rows) + 0.6, width=4.0, pictures=False, margin=1.6)
    axis, y = axes[0, 0], np.arange(len(rows))
    axis.axvline(0, color=INK, linewidth=1)
    colour = unit(CYCLE[0])
    axis.hlines(y, rows["low"], rows["high"], color=colour, linewidth=1.8)
    for place, row in zip(y, rows.itertuples(), strict=True):
        axis.plot(
            row.mean, place, "o", markersize=5, markeredgecolor=colour, markerfacecolor=colour if row.verdict == "reveals" else "white"
        )
    axis.set_yticks(y, [method_label(name) for name in rows["method"]])
    axis.set_xlabel("AUC of the stick's tokens: biased model minus its unbiased twin")
    return figure


def disagreement_figures(table: pd.DataFrame, maps: Mapping[str, torch.Tensor], world: World) -> list[Figure]:
    """The clips of greatest disagreement: for row i of the table the map `tcis-i` above the measured effects `effect-i`."""
    out = []
    for i, row in enumerate(table.itertuples()):
        clip = world.render([row.clip])[0]
        shown = {"TCIS importance": maps[f"tcis-{i}"], "measured effect\n(re-rendered)": maps[f"effect-{i}"]}
        joint = named("posetrack15").index(row.joint)
        title = f"clip {row.clip}, {row.joint.replace('_', ' ')}: rank correlation {row.value:.2f} ({row.arm}, seed {row.seed})"
        out.append(compare_maps(clip, shown, marks=joint, title=title, height=1.5))
    return out
