"""Where a map and the measured effects part company, and what moves a joint that nobody can see (ours).

Input is a record of the attribution study: its table of disagreements with their maps, and its summary.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from causalpose.clip import Clip
from causalpose.errors import CausalPoseError
from causalpose.plotting.interactive import Show, enlarged, frames, in_a_row, under_map
from causalpose.plotting.palette import CYCLE, unit
from causalpose.plotting.skeleton import named, show_frame
from causalpose.plotting.style import FAINT, INK, panels
from causalpose.plotting.tokens import draw_tokens
from causalpose.scenes.world import World

KINDS = {"tcis": "TCIS", "effect": "measured effect"}
_MARKERS = "osD^vPX"
_PLACES = {"target": "target frame", "other-frames": "other frames"}
_STATES = {"visible": "visible joint", "hidden": "hidden joint"}


def pair_of(maps: Mapping[str, torch.Tensor], row: int) -> dict[str, torch.Tensor]:
    """The two maps `[T, rows, columns]` of a row of the table of disagreements, by `KINDS`."""
    missing = [f"{kind}-{row}" for kind in KINDS if f"{kind}-{row}" not in maps]
    if missing:
        raise CausalPoseError(f"the record holds no map {', '.join(missing)}; it has {len(maps) // len(KINDS)} pairs")
    return {kind: maps[f"{kind}-{row}"] for kind in KINDS}


def gallery(table: pd.DataFrame, maps: Mapping[str, torch.Tensor], world: World, *, columns: int = 2, height: float = 1.3) -> Figure:
    """Target frames of the clips of greatest disagreement: the frame with the joint ringed, the TCIS map, the measured effects.

    Each map has its own colour scale, over all frames of its clip: a pale target frame means that the map lives in the others.
    """
    if table.empty:
        raise CausalPoseError("gallery: the record holds no disagreements")
    lines = -(-len(table) // columns)
    ratio = world.width / world.height
    figure, axes = panels(lines, 3 * columns, height=height + 0.25, width=height * ratio + 0.45)
    for axis in axes.flat:
        axis.set_axis_off()
    for i, row in enumerate(table.itertuples()):
        own = axes[i % lines, 3 * (i // lines) : 3 * (i // lines) + 3]
        clip = world.render([row.clip])[0]
        joint, t = named("posetrack15").index(row.joint), clip.target
        for axis, kind in zip(own, (None, *KINDS), strict=True):
            show_frame(axis, clip.frames[t], grey=kind is not None)
            if kind is not None:
                values = pair_of(maps, i)[kind].numpy()
                draw_tokens(axis, values[t], (world.height, world.width), high=float(values.max()))
            axis.plot(*clip.keypoints[t, joint].tolist(), "o", markerfacecolor="none", markeredgecolor="white", markersize=7, zorder=5)
            if i % lines == 0:
                axis.set_title("target frame" if kind is None else KINDS[kind], fontsize=8.5)
        own[0].set_axis_on()
        own[0].set(xticks=[], yticks=[])
        for spine in own[0].spines.values():
            spine.set_visible(False)
        own[0].set_ylabel(
            f"clip {row.clip}\n{row.joint.replace('_', ' ')}\n{row.value:+.2f}", fontsize=8, rotation=0, ha="right", va="center", labelpad=4
        )
    return figure


def clip_shows(table: pd.DataFrame, maps: Mapping[str, torch.Tensor], world: World, notes: Sequence[str], scale: int = 3) -> Show:
    """The same clips in full, one at a time: every frame as it is, under the TCIS map, under the effects. `notes`: a sentence a clip."""
    if len(notes) != len(table):
        raise CausalPoseError(f"{len(table)} clips need as many notes, not {len(notes)}")
    pictures, labels, captions = [], [], []
    for i, (row, note) in enumerate(zip(table.itertuples(), notes, strict=True)):
        clip = world.render([row.clip])[0]
        pictures.append(_rows(clip, named("posetrack15").index(row.joint), pair_of(maps, i), scale))
        labels.append(f"clip {row.clip}")
        captions.append(f"Clip {row.clip}. Top: the frames; middle: TCIS; bottom: measured effects. {note}")
    return Show(tuple(pictures), tuple(labels), tuple(captions), "Clip, worst first")


def _rows(clip: Clip, joint: int, pair: Mapping[str, torch.Tensor], scale: int) -> np.ndarray:
    """Frames, and the frames under each map, as one picture; a white cross marks the true joint."""
    plain = frames(clip)
    lines = [[enlarged(frame, scale) for frame in plain]]
    for values in pair.values():
        array = values.numpy()
        lines.append([under_map(frame, array[t], scale, max(float(array.max()), 1e-12)) for t, frame in enumerate(plain)])
    for line in lines:
        for t, picture in enumerate(line):
            x, y = (int(round(scale * (float(c) + 0.5))) for c in clip.keypoints[t, joint])
            for reach in range(-4, 5):
                for px, py in ((x + reach, y), (x, y + reach)):
                    if 0 <= py < picture.shape[0] and 0 <= px < picture.shape[1]:
                        picture[py, px] = 255
    made = [in_a_row(line) for line in lines]
    gap = np.full((6, made[0].shape[1], 3), 128, np.uint8)
    whole = np.concatenate([part for line in made for part in (gap, line)][1:])
    return (whole & 0b11111000) | (whole >> 5)  # five bits a channel: sensor noise packs badly, and a page holds ten of these


def occlusion_plot(summary: pd.DataFrame, arms: Sequence[str] | None = None, *, least: int = 6) -> Figure:
    """Mean effect of a token on a joint by what the token shows: a panel a place and state, a mark an arm, with its interval.

    Hollow where fewer than `least` clips show such a token: nothing may be read from it.
    """
    rows = summary[summary["part"] == "occluded"]
    if rows.empty:
        raise CausalPoseError("occlusion_plot: the summary holds no hidden joints")
    arms = list(arms or dict.fromkeys(rows["arm"]))
    wanted = ("own-limb", "neighbouring", "rest-of-body", "occluder", "elsewhere")
    relations = [name for name in wanted if (rows["method"] == name).any()]
    figure, axes = panels(1, len(_PLACES) * len(_STATES), height=0.42 * len(relations) + 0.9, width=2.1, pictures=False, margin=1.2)
    kinds = [(place, state) for place in _PLACES for state in _STATES]
    reach = rows[rows["arm"].isin(arms) & rows["score"].str.startswith("effect_")]["high"].max()
    for column, (axis, (place, state)) in enumerate(zip(axes[0], kinds, strict=True)):
        for number, arm in enumerate(arms):
            own = rows[(rows["arm"] == arm) & (rows["score"] == f"effect_{state}_{place}")].set_index("method")
            present = [name for name in relations if name in own.index]
            y = np.array([relations.index(name) for name in present]) + 0.5 * ((number + 0.5) / len(arms) - 0.5)
            colour, values = unit(CYCLE[number % len(CYCLE)]), own.loc[present]
            axis.hlines(y, values["low"], values["high"], color=colour, linewidth=1.7, zorder=2)
            marker = _MARKERS[number % len(_MARKERS)]
            few = (values["clips"] < least).to_numpy()
            style = {"color": colour, "markersize": 4.5, "zorder": 3, "linestyle": "none"}
            axis.plot(values["mean"][~few], y[~few], marker, label=arm if column == 0 else None, **style)
            axis.plot(values["mean"][few], y[few], marker, markerfacecolor="white", **style)
        axis.axvline(0, color=FAINT, linewidth=1)
        axis.set_title(f"{_STATES[state]},\n{_PLACES[place]}", fontsize=9)
        axis.set(xlim=(-0.03 * reach, 1.05 * reach), ylim=(len(relations) - 0.5, -0.5))
        axis.set_yticks(range(len(relations)), [name.replace("-", " ") for name in relations] if column == 0 else [])
        axis.tick_params(labelsize=8, labelcolor=INK)
    figure.supxlabel("mean effect of a token (nats)", fontsize=9)
    figure.legend(loc="outside upper center", ncols=len(arms), frameon=False)
    return figure
