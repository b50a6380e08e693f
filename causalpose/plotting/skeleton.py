"""Skeletons over frames, for pages and papers (for video, see `overlay`).

The look says the state: a filled joint is visible, a hollow one is hidden, one outside the picture is absent.
"""

import numpy as np
import torch
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from causalpose.clip import Clip, Visibility
from causalpose.errors import CausalPoseError
from causalpose.plotting.palette import RIM, WRONG, side_colour, unit
from causalpose.plotting.style import PAPER, frame_titles, panels, picture_axis
from causalpose.skeletons import KeypointSet, keypoint_set

_ABSENT = (Visibility.UNLABELLED, Visibility.OUTSIDE)


def one_clip(clip: Clip, task: str) -> Clip:
    """The clip itself; a batch is an error, for a figure shows one."""
    if clip.frames.ndim != 4:
        raise CausalPoseError(f"{task} shows one clip, but this is a batch of shape {list(clip.frames.shape)}; pick one with clip[i]")
    return clip


def named(names: KeypointSet | str) -> KeypointSet:
    """A keypoint set, or the one of that name."""
    return keypoint_set(names) if isinstance(names, str) else names


def show_frame(axis: Axes, frame: torch.Tensor, *, grey: bool = False, fade: float = 0.0) -> Axes:
    """Show a frame `[3, H, W]`, uint8 or float in [0, 1]; pixel centres are at integer coordinates, as everywhere.

    grey    without colour and stretched to full contrast, to lay a map over; fade: share of white mixed in, 0 to 1
    """
    picture = frame.detach().cpu().permute(1, 2, 0).numpy()
    picture = picture.astype(np.float32) / 255 if picture.dtype == np.uint8 else np.clip(picture, 0, 1)
    if grey:
        light = picture @ np.array([0.299, 0.587, 0.114], np.float32)
        low, high = np.quantile(light, [0.01, 0.99])
        picture = np.repeat(np.clip((light - low) / max(high - low, 0.05), 0, 1)[..., None], 3, -1)
    height, width = picture.shape[:2]
    axis.imshow(picture * (1 - fade) + fade, interpolation="nearest", extent=(-0.5, width - 0.5, height - 0.5, -0.5))
    axis.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    return picture_axis(axis)


def draw_skeleton(
    axis: Axes,
    keypoints: ArrayLike,
    names: KeypointSet | str = "posetrack15",
    visibility: ArrayLike | None = None,
    *,
    size: float = 4.5,
    dashed: bool = False,
) -> Axes:
    """Draw one pose.

    keypoints   `[K, 2]` pixels (x, y); visibility `[K]` of `Visibility`, by default all visible
    size        of a joint in points; limbs follow it
    dashed      the look of a prediction: dashed limbs and diamonds, so that it differs from the truth in more than colour
    """
    names = named(names)
    points = np.asarray(keypoints, dtype=float)
    if points.shape != (len(names), 2):
        raise CausalPoseError(f"skeleton: keypoints {list(points.shape)} are not [{len(names)}, 2] of the set {names.name}")
    states = np.full(len(names), int(Visibility.VISIBLE)) if visibility is None else np.asarray(visibility)
    shown = ~np.isin(states, _ABSENT) & np.isfinite(points).all(-1)
    rim = [patheffects.Stroke(linewidth=0.4 * size + 1.4, foreground=unit(RIM), alpha=0.65), patheffects.Normal()]
    for a, b in names.limb_indices:
        if shown[a] and shown[b]:
            line = axis.plot(
                *points[[a, b]].T, color=unit(side_colour(names.keypoints[a], names.keypoints[b])), linewidth=0.4 * size,
                linestyle=(0, (2.2, 1.4)) if dashed else "-", solid_capstyle="round", zorder=3,
            )  # fmt: skip
            line[0].set_path_effects(rim)
    for k in np.flatnonzero(shown):
        colour = unit(side_colour(names.keypoints[k]))
        hollow = states[k] in (Visibility.SELF_OCCLUDED, Visibility.OCCLUDED)
        axis.plot(
            *points[k],
            marker="D" if dashed else "o",
            markersize=size * (0.85 if dashed else 1),
            markerfacecolor=PAPER if hollow else colour,
            markeredgecolor=colour if hollow else unit(RIM),
            markeredgewidth=0.3 * size if hollow else 0.6,
            linestyle="none",
            zorder=4,
        )
    return axis


def draw_errors(axis: Axes, truth: ArrayLike, prediction: ArrayLike, visibility: ArrayLike | None = None) -> Axes:
    """Short lines from each true joint to the predicted one, `[K, 2]` both; joints without a trusted position have none."""
    truth, prediction = np.asarray(truth, float), np.asarray(prediction, float)
    counted = np.ones(len(truth), bool) if visibility is None else ~np.isin(np.asarray(visibility), _ABSENT)
    for a, b in zip(truth[counted], prediction[counted], strict=True):
        axis.plot([a[0], b[0]], [a[1], b[1]], color=unit(WRONG), linewidth=1.6, zorder=5)
    return axis


def clip_strip(
    clip: Clip,
    prediction: ArrayLike | None = None,
    *,
    names: KeypointSet | str = "posetrack15",
    skeleton: bool = True,
    title: str | None = None,
    height: float = 2.9,
) -> Figure:
    """The `T` frames of a clip side by side with their true skeletons.

    prediction  `[K, 2]` or `[T, K, 2]` pixels: the target frame (or every frame) is shown once more with the prediction over it,
                dashed, and a line from each true joint to the predicted one
    skeleton    False shows the bare frames
    height      of the row in inches
    """
    clip = one_clip(clip, "clip_strip")
    T, (H, W) = clip.length, clip.frames.shape[-2:]
    found = None if prediction is None else np.asarray(torch.as_tensor(prediction).cpu(), dtype=float)
    again = [] if found is None else [clip.target] if found.ndim == 2 else list(range(T))
    figure, axes = panels(1, T + len(again), height=height, width=height * W / H, title=title)
    size = 1.6 * height
    for t, axis in enumerate(axes[0, :T]):
        show_frame(axis, clip.frames[t])
        if skeleton:
            draw_skeleton(axis, clip.keypoints[t], names, clip.visibility[t], size=size)
    frame_titles(axes[0, :T], clip.target)
    for axis, t in zip(axes[0, T:], again, strict=True):
        points = found if found.ndim == 2 else found[t]
        show_frame(axis, clip.frames[t], fade=0.35)
        draw_skeleton(axis, points, names, size=size, dashed=True)
        draw_errors(axis, clip.keypoints[t], points, clip.visibility[t])
        axis.set_title("predicted" if t == clip.target else f"predicted, t{t - clip.target:+d}".replace("-", "−"), fontsize=9)
    return figure
