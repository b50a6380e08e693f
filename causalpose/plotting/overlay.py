"""Poses drawn on video frames with OpenCV: limbs, joints, a short trail of the hands and feet, boxes.

Colours are the project's (`palette`): the person's left side is blue, the right side orange, the middle pale yellow. Every stroke
has a dark rim, so it shows on any background.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from causalpose.errors import CausalPoseError
from causalpose.plotting.palette import BOX, RIM, side_colour
from causalpose.skeletons import KeypointSet

TRAILED = ("left_wrist", "right_wrist", "left_ankle", "right_ankle")
_SHIFT = 4  # OpenCV draws at 1/16 pixel


def enlarge(image: np.ndarray, shorter: int = 480) -> tuple[np.ndarray, float]:
    """A small picture enlarged so that its shorter side has at least `shorter` pixels; also returns the factor (1 for large ones)."""
    _check(image)
    factor = max(1.0, shorter / min(image.shape[:2]))
    if factor == 1.0:
        return image.copy(), 1.0
    size = (round(image.shape[1] * factor), round(image.shape[0] * factor))
    return cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), factor


def draw_pose(
    image: np.ndarray,
    keypoints: np.ndarray,
    names: KeypointSet,
    *,
    confidence: np.ndarray | None = None,
    shown: np.ndarray | None = None,
    box: np.ndarray | None = None,
    trail: Sequence[np.ndarray] = (),
    thickness: float | None = None,
) -> np.ndarray:
    """A copy of an RGB uint8 image `[H, W, 3]` with one pose drawn in.

    keypoints   `[K, 2]` image pixels; confidence `[K]` in [0, 1] is the opacity (a limb has its weaker end's, never below 0.15)
    shown       bool `[K]`: joints that are known; others, and limbs that end in one, are left out
    box         (x, y, w, h); trail: earlier keypoints `[K, 2]`, oldest first, of which wrists and ankles are traced
    thickness   of a limb in pixels; by default it follows the person's size
    """
    _check(image)
    keypoints = np.asarray(keypoints, dtype=float)
    if keypoints.shape != (len(names), 2):
        raise CausalPoseError(f"draw_pose: keypoints {list(keypoints.shape)} are not [{len(names)}, 2] of the set {names.name}")
    shown = np.isfinite(keypoints).all(-1) & (np.ones(len(names), bool) if shown is None else np.asarray(shown, bool))
    opacity = np.ones(len(names)) if confidence is None else np.clip(np.asarray(confidence, float), 0.15, 1)
    canvas = image.copy()
    if thickness is None:
        extent = np.ptp(keypoints[shown], axis=0).max() if shown.any() else min(image.shape[:2])
        thickness = float(np.clip(extent / 60, 1.5, 14))
    if box is not None:
        _draw_box(canvas, np.asarray(box, float), max(1.0, thickness / 2))
    _draw_trail(canvas, trail, keypoints, names, shown, thickness)
    for a, b in names.limb_indices:
        if shown[a] and shown[b]:
            colour = side_colour(names.keypoints[a], names.keypoints[b])
            _stroke(canvas, keypoints[[a, b]], colour, min(opacity[a], opacity[b]), thickness)
    for k in np.flatnonzero(shown):
        _dot(canvas, keypoints[k], side_colour(names.keypoints[k]), opacity[k], 0.9 * thickness)
    return canvas


def _check(image: np.ndarray) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise CausalPoseError(f"overlay: the image must be RGB uint8 [H, W, 3], not {image.dtype} {list(image.shape)}")


def _draw_box(canvas, box, thickness) -> None:
    x, y, w, h = box
    corners = np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]])
    for side in range(4):
        _stroke(canvas, corners[[side, (side + 1) % 4]], BOX, 0.8, thickness, rim=False)


def _draw_trail(canvas, trail, keypoints, names, shown, thickness) -> None:
    path = [np.asarray(points, float) for points in trail] + [keypoints]
    for k in (names.index(name) for name in TRAILED if name in names.keypoints):
        if shown[k]:
            for step in range(1, len(path)):
                pair = np.stack([path[step - 1][k], path[step][k]])
                if np.isfinite(pair).all():
                    fade = 0.7 * step / len(path)
                    _stroke(canvas, pair, side_colour(names.keypoints[k]), fade, max(1.0, thickness * 0.4), rim=False)


def _stroke(canvas, ends, colour, opacity, thickness, rim=True) -> None:
    """A line between two points (x, y)."""

    def mark(patch, offset, paint, width):
        a, b = (tuple(int(round(v * 2**_SHIFT)) for v in end - offset) for end in ends)
        cv2.line(patch, a, b, paint, max(1, round(width)), cv2.LINE_AA, _SHIFT)

    low, high = ends.min(0) - thickness - 3, ends.max(0) + thickness + 3
    if rim:
        _blend(canvas, low, high, lambda patch, offset: mark(patch, offset, RIM, thickness + max(2, 0.5 * thickness)), 0.6 * opacity)
    _blend(canvas, low, high, lambda patch, offset: mark(patch, offset, colour, thickness), opacity)


def _dot(canvas, centre, colour, opacity, radius) -> None:
    def mark(patch, offset, paint, size):
        x, y = (int(round(v * 2**_SHIFT)) for v in centre - offset)
        cv2.circle(patch, (x, y), int(round(size * 2**_SHIFT)), paint, -1, cv2.LINE_AA, _SHIFT)

    low, high = centre - radius - 4, centre + radius + 4
    _blend(canvas, low, high, lambda patch, offset: mark(patch, offset, RIM, radius + max(1, 0.3 * radius)), 0.8 * opacity)
    _blend(canvas, low, high, lambda patch, offset: mark(patch, offset, colour, radius), opacity)


def _blend(canvas, low, high, mark, opacity) -> None:
    """Mix what `mark(patch, offset)` draws into the region of the canvas between `low` and `high` (x, y), in place."""
    height, width = canvas.shape[:2]
    x0, y0 = np.clip(np.floor(low).astype(int), 0, [width, height])
    x1, y1 = np.clip(np.ceil(high).astype(int) + 1, 0, [width, height])
    if opacity <= 0 or x1 <= x0 or y1 <= y0:
        return
    region = canvas[y0:y1, x0:x1]
    patch = region.copy()
    mark(patch, np.array([x0, y0], float))
    region[:] = cv2.addWeighted(patch, opacity, region, 1 - opacity, 0)


class FrameDrawer:
    """Draws all persons of a frame, remembering where they were for the trails: `drawer(image, frame) -> image`, frame after frame.

    `frame.persons` have `track_id`, `keypoints`, `visibility` (0: unknown), `scores` and `box`. Small frames are enlarged first.
    """

    def __init__(self, names: KeypointSet, *, shorter: int = 480, trail: int = 12, boxes: bool = True):
        self.names, self.shorter, self.trail, self.boxes = names, shorter, trail, boxes
        self._past: dict[int, list[np.ndarray]] = {}

    def __call__(self, image: np.ndarray, frame) -> np.ndarray:
        canvas, factor = enlarge(image, self.shorter)
        past, self._past = self._past, {}
        for person in frame.persons:
            # Pixel centres at integers: the enlarged picture's grid starts half a pixel earlier.
            points = (person.keypoints + 0.5) * factor - 0.5
            box = None if person.box is None or not self.boxes else np.asarray(person.box) * factor
            trail = past.get(person.track_id, [])
            scores = person.scores if person.scores is not None and np.any(person.scores) else None
            shown = np.asarray(person.visibility) > 0
            canvas = draw_pose(canvas, points, self.names, confidence=scores, shown=shown, box=box, trail=trail)
            known = np.where(shown[:, None], points, np.nan)
            self._past[person.track_id] = [*trail, known][-self.trail :] if self.trail else []
        return canvas
