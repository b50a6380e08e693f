"""Corruptions of real frames at severities 1 to 5: defocus, motion blur, low light, JPEG, noise, and pasted occluders (*ours*).

The severities of defocus, JPEG and noise follow ImageNet-C (Hendrycks and Dietterich, ICLR 2019) with lengths as shares of the picture's
height, so that a severity means the same at every crop size; the others are chosen to rise as evenly. What is drawn at random depends on
(seed, clip, corruption) alone: not on the severity, the batch, or the order of calls, so severities pair and every model sees the same.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import Tensor

from causalpose.clip import Clip, Visibility
from causalpose.errors import CausalPoseError

SEVERITIES = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Corruption:
    """Five levels, what they are, and the function (frames uint8 [T, H, W, 3], level, random) -> frames; None for occluders."""

    levels: tuple[float, ...]
    unit: str
    apply: Callable[[np.ndarray, float, np.random.Generator], np.ndarray] | None


def _defocus(frames: np.ndarray, radius: float, random: np.random.Generator) -> np.ndarray:
    radius *= frames.shape[1]
    reach, fine = int(np.ceil(radius)), 8
    grid = (np.arange((2 * reach + 1) * fine) + 0.5) / fine - reach - 0.5
    disk = (grid[:, None] ** 2 + grid[None] ** 2 <= max(radius, 0.5) ** 2).astype(np.float32)
    kernel = disk.reshape(2 * reach + 1, fine, 2 * reach + 1, fine).sum((1, 3))  # the share of each pixel that the disk covers
    return _filtered(frames, kernel)


def _motion_blur(frames: np.ndarray, length: float, random: np.random.Generator) -> np.ndarray:
    angle = random.uniform(0, np.pi)  # one direction for the clip: a shaken camera
    length *= frames.shape[1]
    reach = int(np.ceil(length / 2)) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    for along in np.linspace(-length / 2, length / 2, 8 * reach + 1):
        x, y = reach + along * np.cos(angle), reach + along * np.sin(angle)
        column, line = int(x), int(y)
        for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):  # bilinear
            kernel[line + dy, column + dx] += (1 - abs(y - line - dy)) * (1 - abs(x - column - dx))
    return _filtered(frames, kernel)


def _low_light(frames: np.ndarray, gain: float, random: np.random.Generator) -> np.ndarray:
    light = gain * frames / 255.0
    shot = np.sqrt(light * 0.01 / 4 + 0.015**2)  # a full well of 400 electrons and the reader's noise
    return _bytes(255 * (light + shot * random.standard_normal(frames.shape)))


def _jpeg(frames: np.ndarray, quality: float, random: np.random.Generator) -> np.ndarray:
    out = np.empty_like(frames)
    for t, frame in enumerate(frames):
        _, data = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
        out[t] = cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    return out


def _noise(frames: np.ndarray, deviation: float, random: np.random.Generator) -> np.ndarray:
    return _bytes(frames + 255 * deviation * random.standard_normal(frames.shape))


def _filtered(frames: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    kernel = kernel / kernel.sum()
    return np.stack([cv2.filter2D(frame, -1, kernel, borderType=cv2.BORDER_REFLECT_101) for frame in frames])


def _bytes(values: np.ndarray) -> np.ndarray:
    return values.round().clip(0, 255).astype(np.uint8)


CORRUPTIONS: dict[str, Corruption] = {
    "defocus": Corruption((0.013, 0.018, 0.027, 0.036, 0.045), "radius of the disk / height", _defocus),
    "motion_blur": Corruption((0.03, 0.05, 0.08, 0.12, 0.17), "length of the path / height", _motion_blur),
    "low_light": Corruption((0.7, 0.5, 0.33, 0.2, 0.1), "gain", _low_light),
    "jpeg": Corruption((25, 18, 15, 10, 7), "quality", _jpeg),
    "noise": Corruption((0.08, 0.12, 0.18, 0.26, 0.38), "standard deviation / full scale", _noise),
    "occluders": Corruption((0.05, 0.10, 0.17, 0.25, 0.35), "share of the crop that is covered", None),
}


def corrupt(clip: Clip, kind: str, severity: int, seed: int = 0, others: Tensor | None = None) -> Clip:
    """A single clip (not a batch) corrupted; its `index` chooses the random stream.

    `others` uint8 `[N, 3, H, W]` are pictures that occluders are cut from; without them, from the clip's own frames. Visible joints that
    an occluder covers become `Visibility.OCCLUDED`; their position stays known.
    """
    if kind not in CORRUPTIONS:
        raise CausalPoseError(f"unknown corruption {kind!r}; known: {', '.join(CORRUPTIONS)}")
    if severity not in SEVERITIES:
        raise CausalPoseError(f"corruption severity = {severity} must be one of 1, 2, 3, 4, 5")
    chosen = CORRUPTIONS[kind]
    level = chosen.levels[severity - 1]
    random = np.random.default_rng([seed, int(clip.index), list(CORRUPTIONS).index(kind)])
    frames = clip.frames.permute(0, 2, 3, 1).cpu().numpy()
    if chosen.apply is not None:
        return replace(clip, frames=_tensor(chosen.apply(frames, level, random), clip))
    pasted, covered = _paste(frames, level, random, None if others is None else others.permute(0, 2, 3, 1).cpu().numpy())
    visibility = clip.visibility.cpu().numpy().copy()
    place = clip.keypoints.cpu().numpy().round()
    height, width = covered.shape[1:]
    x, y = (np.nan_to_num(place[..., axis]).astype(int).clip(0, size - 1) for axis, size in ((0, width), (1, height)))
    under = covered[np.arange(len(covered))[:, None], y, x] & (visibility == Visibility.VISIBLE)
    visibility[under] = Visibility.OCCLUDED
    return replace(clip, frames=_tensor(pasted, clip), visibility=torch.from_numpy(visibility).to(clip.visibility.device))


def _paste(frames: np.ndarray, share: float, random: np.random.Generator, others: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Three patches with rounded outlines, cut from other pictures, that drift slowly; also the mask `[T, H, W]` of what they cover."""
    length, height, width = frames.shape[:3]
    out, covered = frames.copy(), np.zeros((length, height, width), bool)
    yy, xx = np.mgrid[:height, :width]
    for _ in range(3):
        centre = np.array([random.uniform(0.2, 0.8) * width, random.uniform(0.1, 0.9) * height])
        drift = random.normal(0, 0.01 * height, 2)
        aspect, angle, power = random.uniform(0.6, 1.6), random.uniform(0, np.pi), random.choice([2.0, 4.0])
        source = frames[random.integers(length)] if others is None else others[random.integers(len(others))]
        source = np.roll(source[:, ::-1], random.integers(0, height), axis=0)
        half = np.sqrt(share / 3 * height * width / np.pi) * np.array([np.sqrt(aspect), 1 / np.sqrt(aspect)])
        for t in range(length):
            dx, dy = xx - centre[0] - drift[0] * (t - length // 2), yy - centre[1] - drift[1] * (t - length // 2)
            along, across = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
            mask = np.abs(along / half[0]) ** power + np.abs(across / half[1]) ** power <= 1
            out[t][mask] = source[mask]
            covered[t] |= mask
    return out, covered


def _tensor(frames: np.ndarray, clip: Clip) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 3, 1, 2))).to(clip.frames.device)


class CorruptedSource:
    """A source (`len`, `batch(indices) -> Clip`, `describe`) whose clips are corrupted; everything else is the source's own.

    Occluders are cut from the target frames of other clips of the same source, chosen by (seed, clip).
    """

    def __init__(self, source, kind: str, severity: int, seed: int = 0):
        if kind not in CORRUPTIONS:
            raise CausalPoseError(f"unknown corruption {kind!r}; known: {', '.join(CORRUPTIONS)}")
        if severity not in SEVERITIES:
            raise CausalPoseError(f"corruption severity = {severity} must be one of 1, 2, 3, 4, 5")
        self.source, self.kind, self.severity, self.seed = source, kind, severity, seed
        self._patches: Tensor | None = None

    def __len__(self) -> int:
        return len(self.source)

    def __getattr__(self, name: str):
        if name == "source":  # not set yet: while being copied, say
            raise AttributeError(name)
        return getattr(self.source, name)

    def batch(self, indices: Sequence[int] | Tensor) -> Clip:
        """The clips at these positions as a batch, each corrupted by its own random stream."""
        clips = self.source.batch(indices)
        if self.kind == "occluders" and self._patches is None:
            chosen = np.random.default_rng([self.seed, 1]).permutation(len(self.source))[:32]
            patches = self.source.batch(torch.from_numpy(np.sort(chosen)))
            self._patches = patches.frames[:, patches.target].clone()
        done = [corrupt(clips[b], self.kind, self.severity, self.seed, self._patches) for b in range(len(clips))]
        pixels, visibility = (torch.stack([getattr(clip, name) for clip in done]) for name in ("frames", "visibility"))
        return replace(clips, frames=pixels, visibility=visibility)

    def describe(self) -> dict:
        """The source's protocol, and what was done to its clips."""
        corruption = CORRUPTIONS[self.kind]
        return self.source.describe() | {
            "corruption": self.kind, "severity": self.severity, "corruption_seed": self.seed,
            "level": f"{corruption.levels[self.severity - 1]:g} ({corruption.unit})",
        }  # fmt: skip
