"""Pictures of scenes: contact sheets, factual and counterfactual together, the causal graph, part labels."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Patch

from causalpose.clip import CONDITIONS, Clip, Visibility
from causalpose.errors import CausalPoseError
from causalpose.plotting.overlay import draw_pose
from causalpose.plotting.palette import CYCLE, LEFT, RIGHT, unit
from causalpose.plotting.skeleton import draw_skeleton, one_clip, show_frame
from causalpose.plotting.style import FAINT, INK, PAPER, STYLE, panels, picture_axis
from causalpose.scenes.bias import Edge
from causalpose.scenes.body import KEYPOINTS, Part
from causalpose.scenes.causes import GRAPH, LAYERS, LEVELS
from causalpose.scenes.motion import ACTIONS
from causalpose.scenes.world import World

# The person's left is blue, the right orange, the middle yellow (as everywhere); darker near the trunk. Things are purple, green and grey.
PART_COLOURS: dict[Part, str] = {
    Part.BACKGROUND: "#f0f0ec",
    Part.HEAD: "#f0e442",
    Part.TORSO: "#b8a800",
    Part.LEFT_UPPER_ARM: "#0072b2",
    Part.RIGHT_UPPER_ARM: "#d55e00",
    Part.LEFT_FOREARM: "#56b4e9",
    Part.RIGHT_FOREARM: "#f5a15b",
    Part.LEFT_THIGH: "#004a75",
    Part.RIGHT_THIGH: "#8f3f00",
    Part.LEFT_SHANK: "#8fcdf0",
    Part.RIGHT_SHANK: "#fbc9a0",
    Part.BYSTANDER: "#cc79a7",
    Part.DISTRACTOR: "#009e73",
    Part.OCCLUDER: "#4d4d4d",
}


# -- pixels ------------------------------------------------------------------------------------------------------------------


def frame_picture(clip: Clip, frame: int | None = None, *, enlarge: int = 1, skeleton: bool = False) -> np.ndarray:
    """One frame of a single clip, RGB uint8 `[H·enlarge, W·enlarge, 3]`; `frame` is the target frame unless named.

    With `skeleton` the keypoints are drawn in, hidden ones fainter, those outside the picture not at all.
    """
    if clip.frames.ndim != 4:
        raise CausalPoseError("a picture is made of a single clip: take one of the batch first, as in clips[0]")
    frame = clip.target if frame is None else frame
    picture = clip.frames[frame].permute(1, 2, 0).cpu().numpy()
    picture = np.ascontiguousarray(picture.repeat(enlarge, 0).repeat(enlarge, 1))
    if not skeleton:
        return picture
    # Pixel centres are at integers: the enlarged picture's grid starts half a pixel earlier.
    points = (clip.keypoints[frame].cpu().numpy() + 0.5) * enlarge - 0.5
    state = clip.visibility[frame].cpu().numpy()
    confidence = np.where(state == int(Visibility.VISIBLE), 1.0, 0.4)
    return draw_pose(picture, points, KEYPOINTS, confidence=confidence, shown=(state > 0) & (state != int(Visibility.OUTSIDE)))


def mosaic(pictures: Sequence[np.ndarray], columns: int, gap: int = 4, paper: int = 255) -> np.ndarray:
    """Pictures of one size `[H, W, 3]` in rows of `columns`, with `gap` pixels of paper between them."""
    if not pictures or columns < 1:
        raise CausalPoseError(f"mosaic: {len(pictures)} pictures in {columns} columns; both must be at least 1")
    columns = min(columns, len(pictures))
    height, width, _ = pictures[0].shape
    rows = -(-len(pictures) // columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), paper, np.uint8)
    for n, picture in enumerate(pictures):
        y, x = n // columns * (height + gap), n % columns * (width + gap)
        sheet[y : y + height, x : x + width] = picture
    return sheet


def sheet(
    clips: Clip, columns: int = 10, *, beside: Clip | None = None, frame: int | None = None, enlarge: int = 1, skeleton: bool = False
) -> np.ndarray:
    """One frame of every clip of a batch as one RGB picture; with `beside` (the counterfactual clips) each is followed by its other."""
    tiles = []
    for n in range(len(clips)):
        pair = [clips[n]] if beside is None else [clips[n], beside[n]]
        tiles.append(np.concatenate([frame_picture(clip, frame, enlarge=enlarge, skeleton=skeleton) for clip in pair], 1))
    return mosaic(tiles, columns)


# -- figures -----------------------------------------------------------------------------------------------------------------


def contact_sheet(clips: Clip, columns: int = 10, *, skeleton: bool = False, width: float = 9.0) -> Figure:
    """The target frames of a batch in a grid, `width` inches wide."""
    columns = min(columns, len(clips))
    enlarge = max(1, round(140 * width / columns / clips.frames.shape[-1]))
    picture = sheet(clips, columns, enlarge=enlarge, skeleton=skeleton)
    figure, axes = panels(1, 1, height=width * picture.shape[0] / picture.shape[1], width=width, margin=0.0)
    picture_axis(axes[0, 0]).imshow(picture, interpolation="nearest")
    return figure


def setting_text(settings: Mapping[str, object]) -> str:
    """An intervention in few letters: `background=None`, `lens=defocus`, `motion.speed=2`."""
    texts = []
    for cause, value in settings.items():
        if isinstance(value, Mapping):
            texts += [f"{cause}.{name}={number:g}" for name, number in value.items()]
        else:
            texts.append(f"{cause}={value}")
    return ", ".join(texts)


def do_pairs(world: World, clip: int, settings: Sequence[Mapping[str, object]], *, height: float = 2.0) -> Figure:
    """The same clip under several interventions: a column each, with the rows factual, counterfactual, and their difference.

    settings   the keyword arguments of `World.do`, e.g. `[{"background": None}, {"lens": "defocus"}]`
    height     of a row in inches

    The difference at the target frame is the mean absolute change of the three channels, in grey levels (0 to 255), on one scale for all.
    """
    if not settings:
        raise CausalPoseError("do_pairs: name at least one intervention, e.g. [{'background': None}]")
    factual = world.render([clip])[0]
    others = [world.do(**setting).render([clip])[0] for setting in settings]
    target = factual.target
    changes = [(other.frames[target].float() - factual.frames[target].float()).abs().mean(0).numpy() for other in others]
    top = max(1.0, *(float(change.max()) for change in changes))
    figure, axes = panels(3, len(settings), height=height, width=max(height * world.width / world.height, 1.3), margin=1.1)
    for column, (setting, other, change) in enumerate(zip(settings, others, changes, strict=True)):
        show_frame(axes[0, column], factual.frames[target])
        show_frame(axes[1, column], other.frames[target])
        scale = picture_axis(axes[2, column]).imshow(change, cmap="magma", vmin=0, vmax=top, interpolation="nearest")
        axes[0, column].set_title("do(" + setting_text(setting).replace(", ", ",\n") + ")", fontsize=8.5 if len(settings) < 8 else 7)
    for row, name in enumerate(("factual", "counterfactual", "difference")):
        axes[row, 0].set_ylabel(name, fontsize=9)
    bar = figure.colorbar(scale, ax=list(axes[2]), aspect=12, pad=0.02)
    bar.set_label("grey levels", fontsize=8)
    bar.ax.tick_params(labelsize=7.5, length=2)
    bar.outline.set_visible(False)
    return figure


def severities(world: World, clip: int, *, height: float = 1.5) -> Figure:
    """One clip clean and under every condition at its five severities: a row each, the target frame. `height`: of a row in inches."""
    conditions = [name for name in CONDITIONS if name != "clean"]
    figure, axes = panels(len(conditions), 6, height=height, width=height * world.width / world.height, margin=0.6)
    for row, condition in enumerate(conditions):
        for severity in range(6):
            shown = world.under(condition, severity) if severity else world.under("clean")
            show_frame(axes[row, severity], shown.render([clip]).frames[0, world.frames // 2])
        axes[row, 0].set_ylabel(condition.replace("_", " "), fontsize=9)
    for severity in range(6):
        axes[0, severity].set_title(f"severity {severity}" if severity else "clean", fontsize=8.5)
    return figure


def difficulty(results: pd.DataFrame, *, condition: str = "mixed", height: float = 2.9) -> Figure:
    """The levels of difficulty in numbers: share of hidden joints, and the score of everything that was measured on them.

    results   tidy rows of the record `weights`, data sets `scenes-level-LEVEL/…`
    """
    rows = results[results["dataset"].str.startswith("scenes-level-") & (results["condition"] == condition)]
    rows = rows.assign(level=rows["dataset"].str.extract(r"scenes-level-(\w+)/", expand=False))
    hidden = rows[rows["metric"] == "occluded joints"].set_index("level")["value"]
    scores = rows[(rows["metric"] == "PCK@0.2") & (rows["joint"] == "mean")]
    missing = [name for name in LEVELS if name not in hidden.index or name not in set(scores["level"])]
    if missing:
        raise CausalPoseError(f"difficulty: the results say nothing about level {missing[0]!r} under {condition!r}")
    figure, axes = panels(1, 2, height=height, width=3.6, margin=1.2, pictures=False)
    left, right = axes[0]
    bars = left.bar(LEVELS, [hidden[name] for name in LEVELS], width=0.55, color=FAINT)
    left.bar_label(bars, fmt="%.0f", fontsize=9, padding=2)
    left.set(ylabel="joints hidden (%)", ylim=(0, max(hidden) * 1.18), title="what is hidden")
    left.grid(axis="x", visible=False)
    means = scores.pivot_table(index="level", columns="variant", values="value", sort=False).loc[list(LEVELS)]
    for colour, marker, name in zip(CYCLE, "osD^vPX", means, strict=False):
        right.plot(LEVELS, means[name], marker=marker, color=unit(colour), label=name)
    right.set(ylabel="PCK@0.2 (%)", ylim=(0, 100), title="what is still found")
    right.margins(x=0.12)
    right.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0), borderaxespad=0)
    return figure


def biased_clips(world: World, clips: Sequence[int], cut: Mapping[str, object], *, height: float = 1.35) -> Figure:
    """Clips of a biased world, and below them the same clips after an intervention that cuts its edges, e.g. `{"distractors": None}`."""
    if not world.edges:
        raise CausalPoseError("biased_clips: this world has no edge; plant one with World.biased")
    figure, axes = panels(2, len(clips), height=height, width=height * world.width / world.height, margin=0.5)
    for row, (shown, text) in enumerate(((world, "biased"), (world.do(**cut), "edges cut"))):
        for axis, frame in zip(axes[row], shown.render(clips).frames[:, world.frames // 2], strict=True):
            show_frame(axis, frame)
        axes[row, 0].set_ylabel(text, fontsize=9)
    for axis, action in zip(axes[0], world.values(clips)["motion"]["action"].long().tolist(), strict=True):
        axis.set_title(ACTIONS[action], fontsize=9)
    return figure


def part_map(clip: Clip, frame: int | None = None, *, height: float = 3.2) -> Figure:
    """A frame with its keypoints beside its part labels, and a legend of the parts that appear. `frame`: the target unless named."""
    clip = one_clip(clip, "part_map")
    if clip.parts is None:
        raise CausalPoseError("part_map: this clip carries no part labels (scenes do, real video does not)")
    frame = clip.target if frame is None else frame
    labels = clip.parts[frame].cpu().numpy()
    figure, axes = panels(1, 2, height=height, width=height * labels.shape[1] / labels.shape[0], margin=1.6)
    show_frame(axes[0, 0], clip.frames[frame])
    draw_skeleton(axes[0, 0], clip.keypoints[frame], KEYPOINTS, clip.visibility[frame])
    colours = ListedColormap([to_rgb(PART_COLOURS[part]) for part in Part])
    picture_axis(axes[0, 1]).imshow(labels, cmap=colours, vmin=-0.5, vmax=len(Part) - 0.5, interpolation="nearest")
    axes[0, 0].set_title("frame and keypoints", fontsize=9)
    axes[0, 1].set_title("part labels", fontsize=9)
    handles = [
        Patch(facecolor=PART_COLOURS[Part(code)], edgecolor="#bbbbbb", linewidth=0.5, label=Part(code).name.lower().replace("_", " "))
        for code in np.unique(labels).tolist()
    ]
    axes[0, 1].legend(
        handles=handles, loc="upper left", bbox_to_anchor=(1.02, 1.0), borderaxespad=0, fontsize=8, labelspacing=0.35, handlelength=1.2
    )
    return figure


# -- the graph ---------------------------------------------------------------------------------------------------------------

# Distance of columns and rows, and the size of a box, all in one unit.
_COLUMN, _ROW, _WIDTH, _HEIGHT = 2.05, 0.86, 1.66, 0.70
SHORTCUT = "#b3261e"


def _levels() -> dict[str, int]:
    """Column of every node: a layer stands right of all it is computed from, a cause just left of the first layer that reads it."""
    level: dict[str, int] = {}
    for layer, parents in LAYERS.items():
        level[layer] = 1 + max((level[parent] for parent in parents if parent in level), default=0)
    for name in GRAPH:
        level[name] = min(level[layer] for layer, parents in LAYERS.items() if name in parents) - 1
    return level


def _positions() -> dict[str, tuple[float, float]]:
    """Centre of every node: layers that lead on in a line, those that end below it, causes above it (the first column centred on it)."""
    level = _levels()
    last = max(LAYERS, key=level.get)
    leads_on = {layer for layer in LAYERS if layer == last or any(layer in parents for parents in LAYERS.values())}
    place = {}
    for column in sorted(set(level.values())):
        here = [name for name in (*GRAPH, *LAYERS) if level[name] == column]
        causes = [name for name in here if name in GRAPH]
        first = (len(causes) - 1) / 2 if column == 0 else len(causes)
        for n, name in enumerate(causes):
            place[name] = (column * _COLUMN, (first - n) * _ROW)
        for name in here:
            if name in LAYERS:
                place[name] = (column * _COLUMN, 0.0 if name in leads_on else -_ROW)
    return place


def causal_graph(ax: Axes, edges: Sequence[Edge] = ()) -> None:
    """The graph of causes (`GRAPH`) and of what is computed from them (`LAYERS`), left to right, drawn from the definitions themselves.

    With `edges` (`World.edges`) the dependences of a biased world are drawn in, dashed, with their probabilities.
    """
    place, level = _positions(), _levels()
    below = min(y for _, y in place.values()) - 0.75 * _ROW
    for layer, parents in LAYERS.items():
        for parent in parents:
            _arrow(ax, place[parent], place[layer], None if level[layer] - level[parent] == 1 else below)
    above = _shortcuts(ax, edges, place)
    for name, (x, y) in place.items():
        is_cause = name in GRAPH
        box = FancyBboxPatch(
            (x - _WIDTH / 2, y - _HEIGHT / 2), _WIDTH, _HEIGHT, boxstyle="round,pad=0,rounding_size=0.1", linewidth=1.0, zorder=3,
            edgecolor=unit(LEFT if is_cause else RIGHT), facecolor="#e8f1f8" if is_cause else "#fdf3df",
        )  # fmt: skip
        ax.add_patch(box)
        middle = {"ha": "center", "va": "center", "color": INK, "zorder": 4}
        if is_cause:
            ax.text(x, y + 0.17, name, fontsize=9, weight="bold", **middle)
            ax.text(x, y - 0.11, _wrapped(GRAPH[name].text), fontsize=6.3, linespacing=1.05, **middle)
        else:
            ax.text(x, y, name, fontsize=10, style="italic", **middle)
    xs, ys = zip(*place.values(), strict=True)
    above = max(above, max(ys) + _HEIGHT / 2)
    ax.set(xlim=(min(xs) - _WIDTH / 2 - 0.1, max(xs) + _WIDTH / 2 + 0.1), ylim=(below - 0.1, above + 0.1), aspect="equal")
    ax.set_axis_off()


def graph_figure(width: float = 9.0, edges: Sequence[Edge] = ()) -> Figure:
    """`causal_graph` on a figure of its own."""
    with plt.rc_context(STYLE):
        figure = plt.figure(figsize=(width, 0.42 * width), facecolor=PAPER)
        causal_graph(figure.add_axes((0, 0, 1, 1)), edges)
    return figure


def _wrapped(text: str, limit: int = 27) -> str:
    """The text in lines of at most `limit` letters, as even as they come."""
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) < limit:
            lines[-1] = f"{lines[-1]} {word}".strip()
        else:
            lines.append(word)
    return "\n".join(lines)


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float], below: float | None) -> None:
    """An arrow from a node's right edge to the next column; with `below`, one that goes round under everything to a column further on."""
    (x0, y0), (x1, y1) = start, end
    style = {"arrowstyle": "-|>", "mutation_scale": 9, "linewidth": 1.0, "color": "#666666", "shrinkA": 0, "shrinkB": 1, "zorder": 2}
    if below is None:
        ax.add_patch(FancyArrowPatch((x0 + _WIDTH / 2, y0), (x1 - _WIDTH / 2, y1), **style))
        return
    ax.plot([x0, x0, x1], [y0 - _HEIGHT / 2, below, below], color=style["color"], linewidth=1.0, zorder=2, solid_joinstyle="round")
    ax.add_patch(FancyArrowPatch((x1, below), (x1, y1 - _HEIGHT / 2), **style))


def _route(start: tuple[float, float], end: tuple[float, float], tops: Mapping[float, float], lane: float) -> list[tuple[float, float]]:
    """Corners of a line from the right edge of a box to another, through the gaps between columns and over the columns on the way.

    `tops`: the upper edge of each column by its x; `lane`: an offset that keeps lines apart.
    """
    (x0, y0), (x1, y1) = start, end
    first = x0 + _COLUMN / 2 + lane
    begin = [(x0 + _WIDTH / 2, y0 + 0.2), (first, y0 + 0.2)]
    if x1 <= x0:  # the same column: round the corner and back
        return [*begin, (first, y1), (x1 + _WIDTH / 2, y1)]
    second = x1 - _COLUMN / 2 + lane
    between = [top for x, top in tops.items() if x0 < x < x1]
    if not between:
        return [*begin, (first, y1), (x1 - _WIDTH / 2, y1)]
    over = max(y1, max(between) + 0.12 + abs(lane))
    return [*begin, (first, over), (second, over), (second, y1), (x1 - _WIDTH / 2, y1)]


def _shortcuts(ax: Axes, edges: Sequence[Edge], place: Mapping[str, tuple[float, float]]) -> float:
    """Dashed arrows for the edges of a biased world, each with its probability on its longest stretch; returns the highest y."""
    highest = -np.inf
    tops: dict[float, float] = {}
    for x, y in place.values():
        tops[x] = max(y + _HEIGHT / 2, tops.get(x, y))
    for n, edge in enumerate(edges):
        corners = _route(place[edge.parent], place[edge.child], tops, 0.07 * (n % 4 - 1))
        corners = [point for i, point in enumerate(corners) if i == 0 or point != corners[i - 1]]
        ax.plot(*zip(*corners[:-1], strict=True), color=SHORTCUT, linewidth=1.5, linestyle=(0, (4, 2)), zorder=5)
        ax.annotate(
            "", corners[-1], corners[-2], zorder=5,
            arrowprops={"arrowstyle": "-|>", "mutation_scale": 10, "linewidth": 1.5, "color": SHORTCUT, "shrinkA": 0, "shrinkB": 1},
        )  # fmt: skip
        (xa, ya), (xb, yb) = max(zip(corners, corners[1:], strict=False), key=lambda pair: abs(sum(pair[0]) - sum(pair[1])))
        box = {"facecolor": PAPER, "edgecolor": "none", "pad": 0.8}
        middle = {"ha": "center", "va": "center", "fontsize": 7.5, "color": SHORTCUT, "bbox": box, "zorder": 6}
        ax.text((xa + xb) / 2, (ya + yb) / 2, f"{edge.probability:.0%}", **middle)
        highest = max(highest, *(y for _, y in corners))
    return highest
