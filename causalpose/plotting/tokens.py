"""Token maps over the `T` frames of a clip: importance, the causal tokens, the clusters of the others.

A map is `[T, rows, columns]`; token (row, column) covers the pixels from `row·p` to `row·p + p - 1`, and so in x.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from causalpose.clip import Clip
from causalpose.errors import CausalPoseError
from causalpose.plotting.palette import ACCENT, RIM, unit
from causalpose.plotting.skeleton import named, one_clip, show_frame
from causalpose.plotting.style import frame_titles, panels
from causalpose.skeletons import KeypointSet

IMPORTANCE = "inferno"


def as_map(values: ArrayLike | torch.Tensor, clip: Clip, what: str) -> np.ndarray:
    """A token map of this clip as a NumPy array `[T, rows, columns]`; other shapes are errors that name it."""
    array = values.detach().cpu().numpy() if torch.is_tensor(values) else np.asarray(values)
    H, W = clip.frames.shape[-2:]
    if array.ndim != 3 or len(array) != clip.length or H % array.shape[1] or W % array.shape[2]:
        raise CausalPoseError(
            f"{what}: the map {list(array.shape)} is not [T, rows, columns] of a clip of {clip.length} frames of {H}x{W} pixels; "
            "pick one clip of the batch, and one joint"
        )
    return array


def draw_tokens(axis: Axes, values: np.ndarray, size: tuple[int, int], *, high: float | None = None, cmap: str = IMPORTANCE) -> Axes:
    """Lay a map `[rows, columns]` over a frame of `size = (H, W)`: colour and opacity grow from 0 to `high` (by default its maximum)."""
    scaled = np.clip(values / max(float(values.max() if high is None else high), 1e-12), 0, 1)
    H, W = size
    axis.imshow(
        scaled,
        cmap=cmap,
        vmin=0,
        vmax=1,
        alpha=0.12 + 0.6 * scaled,
        extent=(-0.5, W - 0.5, H - 0.5, -0.5),
        interpolation="nearest",
        zorder=2,
    )
    return axis


def outline(axis: Axes, chosen: np.ndarray, size: tuple[int, int], *, colour=ACCENT, width: float = 1.6) -> Axes:
    """Draw the border of a set of tokens, bool `[rows, columns]`."""
    rows, columns = chosen.shape
    step_y, step_x = size[0] / rows, size[1] / columns
    padded = np.pad(chosen.astype(bool), 1)
    lines = []
    for r, c in zip(*np.nonzero(padded[1:, 1:-1] != padded[:-1, 1:-1]), strict=True):  # a horizontal edge above row r
        lines.append([(c * step_x - 0.5, r * step_y - 0.5), ((c + 1) * step_x - 0.5, r * step_y - 0.5)])
    for r, c in zip(*np.nonzero(padded[1:-1, 1:] != padded[1:-1, :-1]), strict=True):  # a vertical edge left of column c
        lines.append([(c * step_x - 0.5, r * step_y - 0.5), (c * step_x - 0.5, (r + 1) * step_y - 0.5)])
    for shade, thickness in ((RIM, width + 1.2), (colour, width)):
        axis.add_collection(
            LineCollection(lines, colors=[unit(shade)], linewidths=thickness, capstyle="projecting", zorder=3, clip_on=False)
        )
    return axis


def importance_map(
    clip: Clip, importance: ArrayLike, causal: ArrayLike | None = None, *, title: str | None = None, height: float = 2.9
) -> Figure:
    """Importance `[T, rows, columns]` over the frames, on one colour scale; causal tokens (bool, same shape) are outlined."""
    return compare_maps(clip, {"": importance}, causal=causal, title=title, height=height)


def keypoint_importance(
    clip: Clip,
    per_keypoint: ArrayLike,
    joints: Sequence[str] | None = None,
    *,
    names: KeypointSet | str = "posetrack15",
    title: str | None = None,
    height: float = 2.0,
) -> Figure:
    """Importance `[K, T, rows, columns]` joint by joint: a row a joint, a column a frame, scaled row by row; rings are true joints."""
    names = named(names)
    if len(per_keypoint) != len(names):
        raise CausalPoseError(f"keypoint_importance: {len(per_keypoint)} maps, but {names.name} has {len(names)} keypoints")
    chosen = joints or names.keypoints
    maps = {joint.replace("_", " "): per_keypoint[names.index(joint)] for joint in chosen}
    return compare_maps(clip, maps, marks=[names.index(joint) for joint in chosen], title=title, height=height)


def compare_maps(
    clip: Clip,
    maps: Mapping[str, ArrayLike],
    *,
    causal: ArrayLike | Mapping[str, ArrayLike] | None = None,
    marks: int | Sequence[int] | None = None,
    notes: Mapping[str, str] | None = None,
    title: str | None = None,
    height: float = 2.0,
    above: int = 0,
) -> Figure:
    """Token maps of one clip under each other: a row a map, a column a frame. Rows are scaled one by one: compare where, not how much.

    maps     name -> `[T, rows, columns]`, not negative
    causal   tokens to outline, bool `[T, rows, columns]`, in every row or by name in some
    marks    position of a joint whose true place is ringed, for all rows or row by row
    notes    a short text under a row's name (a score, say)
    above    empty rows on top, for the caller to draw in
    """
    clip = one_clip(clip, "compare_maps")
    if not maps:
        raise CausalPoseError("compare_maps: there is no map to show")
    T, size = clip.length, tuple(clip.frames.shape[-2:])
    margin = 0.8 + 0.085 * max(len(line) for name in maps for line in (name + "\n" + (notes or {}).get(name, "")).split("\n"))
    figure, axes = panels(above + len(maps), T, height=height, width=height * size[1] / size[0], title=title, margin=margin)
    positions = [marks] * len(maps) if marks is None or isinstance(marks, int) else list(marks)
    for row, (name, values), mark in zip(axes[above:], maps.items(), positions, strict=True):
        values = as_map(values, clip, name or "importance").astype(float)
        chosen = causal.get(name) if isinstance(causal, Mapping) else causal
        chosen = None if chosen is None else as_map(chosen, clip, "causal tokens").astype(bool)
        for t, axis in enumerate(row):
            show_frame(axis, clip.frames[t], grey=True)
            draw_tokens(axis, values[t], size, high=float(values.max()))
            if chosen is not None:
                outline(axis, chosen[t], size)
            if mark is not None:
                axis.plot(*clip.keypoints[t, mark].tolist(), "o", markerfacecolor="none", markeredgecolor="white", markersize=7, zorder=5)
        if name:
            note = "\n" + notes[name] if notes and name in notes else ""
            row[0].set_ylabel(name + note, fontsize=9, rotation=0, ha="right", va="center", labelpad=8)
    frame_titles(axes[0], clip.target)
    with_scale = figure.colorbar(
        ScalarMappable(Normalize(0, 1), IMPORTANCE),
        ax=axes[above:],
        shrink=min(1.0, 1.6 / len(maps)),
        aspect=18 if len(maps) == 1 else 24,
        pad=0.02,
    )
    with_scale.set_ticks([0, 1], labels=["0", "max"])
    with_scale.outline.set_visible(False)
    return figure


def cluster_map(clip: Clip, clusters: ArrayLike, *, title: str | None = None, height: float = 2.9) -> Figure:
    """Which non-causal tokens were merged with which, over the frames.

    clusters  int `[T, rows, columns]`: the number of the merged token, -1 causal (shown as it is, outlined), -2 dropped (blacked out).
              The number is written in, for no palette keeps many clusters apart for every eye
    """
    clip = one_clip(clip, "cluster_map")
    numbers = as_map(clusters, clip, "clusters").astype(int)
    size = tuple(clip.frames.shape[-2:])
    figure, axes = panels(1, clip.length, height=height, width=height * size[1] / size[0], title=title)
    palette = np.asarray(colormaps["tab20"].colors)
    rows, columns = numbers.shape[1:]
    for t, axis in enumerate(axes[0]):
        show_frame(axis, clip.frames[t], grey=True)
        layer = np.zeros((*numbers.shape[1:], 4))
        merged = numbers[t] >= 0
        layer[merged, :3], layer[merged, 3] = palette[numbers[t][merged] % len(palette)], 0.6
        layer[numbers[t] == -2] = (0, 0, 0, 0.8)
        axis.imshow(layer, extent=(-0.5, size[1] - 0.5, size[0] - 0.5, -0.5), interpolation="nearest", zorder=2)
        for r, c in zip(*np.nonzero(merged), strict=True) if rows <= 16 else ():
            x, y = (c + 0.5) * size[1] / columns - 0.5, (r + 0.5) * size[0] / rows - 0.5
            axis.text(x, y, str(numbers[t, r, c]), fontsize=min(7.5, 22 * height / rows), ha="center", va="center", zorder=4)
        outline(axis, numbers[t] == -1, size)
    frame_titles(axes[0], clip.target)
    return figure
