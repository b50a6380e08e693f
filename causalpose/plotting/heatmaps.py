"""Heatmaps over the frame they belong to, placed by the UDP convention: cell `j` of `w` lies at pixel `j (W-1) / (w-1)`."""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from torch import Tensor

from causalpose.clip import Clip, Visibility
from causalpose.errors import CausalPoseError
from causalpose.plotting.palette import ACCENT, RIM, unit
from causalpose.plotting.skeleton import named, one_clip, show_frame
from causalpose.plotting.style import PAPER, panels
from causalpose.skeletons import KeypointSet


def probabilities(heatmaps: Tensor, kind: str = "ce") -> np.ndarray:
    """What to paint, `[K, h, w]` in [0, 1]: the softmax of logits (`ce`), or the map itself clipped at zero and scaled (`mse`)."""
    maps = heatmaps.detach().float().cpu()
    if maps.ndim != 3:
        raise CausalPoseError(f"heatmaps of one clip are [K, h, w], not {list(maps.shape)}; pick a clip of the batch first")
    if kind == "ce":
        return maps.flatten(1).softmax(-1).view_as(maps).numpy()
    return (maps.clamp_min(0) / maps.clamp_min(0).amax().clamp_min(1e-12)).numpy()


def draw_heatmap(axis: Axes, values: ArrayLike, size: tuple[int, int], *, cmap: str = "viridis", opacity: float = 0.85) -> Axes:
    """Lay a map `[h, w]` over a frame of `size = (H, W)` pixels; the larger a value, the less of the frame shows through."""
    values = np.asarray(values, dtype=float)
    (H, W), (h, w) = size, values.shape
    step_x, step_y = (W - 1) / (w - 1), (H - 1) / (h - 1)
    scaled = values / max(float(values.max()), 1e-12)
    extent = (-step_x / 2, W - 1 + step_x / 2, H - 1 + step_y / 2, -step_y / 2)
    limits = axis.get_xlim(), axis.get_ylim()
    axis.imshow(scaled, cmap=cmap, vmin=0, vmax=1, alpha=np.sqrt(scaled) * opacity, extent=extent, interpolation="nearest", zorder=2)
    axis.set(xlim=limits[0], ylim=limits[1])
    return axis


def largest_cells(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The pixel (x, y) of the largest cell of each map: `[K, h, w]` -> `[K, 2]`."""
    K, h, w = values.shape
    cell = values.reshape(K, -1).argmax(-1)
    return np.stack([cell % w * (size[1] - 1) / (w - 1), cell // w * (size[0] - 1) / (h - 1)], -1)


def _mark(axis: Axes, found: np.ndarray, truth: np.ndarray | None) -> None:
    if truth is not None:
        axis.plot(*truth.T, "o", markerfacecolor="none", markeredgecolor=unit(RIM), markersize=8, markeredgewidth=2.6, zorder=4)
        axis.plot(*truth.T, "o", markerfacecolor="none", markeredgecolor=PAPER, markersize=8, markeredgewidth=1.3, zorder=5)
    axis.plot(*found.T, "P", markerfacecolor=unit(ACCENT), markeredgecolor=unit(RIM), markersize=6, markeredgewidth=0.7, zorder=6)


def heatmap_grid(
    clip: Clip,
    heatmaps: Tensor,
    *,
    joints: Sequence[str] | None = None,
    names: KeypointSet | str = "posetrack15",
    kind: str = "ce",
    columns: int = 5,
    title: str | None = None,
    height: float = 2.2,
) -> Figure:
    """Target-frame heatmaps joint by joint: the largest cell is a plus, the truth a ring.

    heatmaps  `[K, h, w]`, a head's output for this clip; joints: names to show, by default all
    kind      the loss the model was trained with (`ce` or `mse`), which says how logits become a map
    """
    names, clip = named(names), one_clip(clip, "heatmap_grid")
    chosen = [names.index(joint) for joint in (joints or names.keypoints)]
    maps = probabilities(heatmaps, kind)
    if len(maps) != len(names):
        raise CausalPoseError(f"heatmap_grid: {len(maps)} heatmaps, but {names.name} has {len(names)} keypoints")
    H, W = clip.frames.shape[-2:]
    columns = min(columns, len(chosen))
    rows = -(-len(chosen) // columns)
    figure, axes = panels(rows, columns, height=height + 0.2, width=height * W / H, title=title)
    found = largest_cells(maps, (H, W))
    states, truth = clip.visibility[clip.target].cpu().numpy(), clip.keypoints[clip.target].cpu().numpy()
    for axis in axes.flat[len(chosen) :]:
        axis.set_visible(False)
    for axis, k in zip(axes.flat, chosen, strict=False):
        show_frame(axis, clip.frames[clip.target], grey=True)
        draw_heatmap(axis, maps[k], (H, W))
        known = states[k] not in (Visibility.UNLABELLED, Visibility.OUTSIDE)
        _mark(axis, found[k], truth[k] if known else None)
        axis.set_title(names.keypoints[k].replace("_", " "), fontsize=8.5)
    return figure


def draw_heatmaps_together(axis: Axes, clip: Clip, heatmaps: Tensor, *, kind: str = "ce") -> Axes:
    """All joints in one picture: at each cell the largest value over joints, every map scaled to peak 1 so that no joint hides another."""
    clip = one_clip(clip, "draw_heatmaps_together")
    maps = probabilities(heatmaps, kind)
    size = tuple(clip.frames.shape[-2:])
    show_frame(axis, clip.frames[clip.target], grey=True)
    peaks = np.maximum(maps.max((1, 2), keepdims=True), 1e-12)
    draw_heatmap(axis, (maps / peaks).max(0), size)
    states = torch.as_tensor(clip.visibility[clip.target]).cpu().numpy()
    known = ~np.isin(states, (Visibility.UNLABELLED, Visibility.OUTSIDE))
    _mark(axis, largest_cells(maps, size), clip.keypoints[clip.target].cpu().numpy()[known])
    return axis
