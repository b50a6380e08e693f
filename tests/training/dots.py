"""A tiny data source and a tiny run of it, also as a program: `python -m tests.training.dots OUT [KEY=VALUE …] [OPTION …]`.

Options: `--resume`; `--slowly`, a pause at every batch; `--unlabelled`, every third clip has five joints only; `--val`, validate on ten
other clips; `--cut=N`, break off at the N-th batch of each process.

Tests start it as a process of its own to kill it, or twice to train in parallel.
"""

import sys
import time

import torch
from torch import Tensor

from causalpose.clip import Clip
from causalpose.config import Config, ModelConfig, preset
from causalpose.skeletons import keypoint_set

SMALL = (
    "model.height=32", "model.width=32", "model.backbone.width=32", "model.backbone.depth=2", "model.backbone.heads=2",
    "model.head.channels=8", "model.encoder.depth=1", "model.encoder.heads=2", "model.fte.depth=1", "model.fte.heads=2",
    "model.fte.clusters=4", "train.batch=4", "train.warmup=2", "train.steps=10", "train.log_every=1", "train.checkpoint_every=2",
    "train.ema=0.9",
)  # fmt: skip


class Dots:
    """Noise frames in which every joint is a bright 3x3 dot whose colour depends on the joint."""

    def __init__(self, config: ModelConfig, count: int = 24, seed: int = 0, pause: float = 0.0, unlabelled: bool = False):
        joints, generator = len(keypoint_set(config.keypoints)), torch.Generator().manual_seed(seed)
        T, H, W = config.frames, config.height, config.width
        points = torch.rand(count, T, joints, 2, generator=generator) * torch.tensor([W - 9.0, H - 9.0]) + 4
        frames = torch.randint(0, 60, (count, T, 3, H, W), generator=generator, dtype=torch.uint8)
        for k in range(joints):
            x, y = points[:, :, k].round().long().unbind(-1)
            for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
                n, t = torch.meshgrid(torch.arange(count), torch.arange(T), indexing="ij")
                frames[n, t, k % 3, y + dy, x + dx] = 120 + 9 * k
        visible = torch.ones(count, T, joints, dtype=torch.uint8)
        if unlabelled:
            visible[::3, :, 5:] = 0
        scale, condition = torch.full((count,), 20.0), torch.zeros(count, dtype=torch.uint8)
        self.clips, self.pause = Clip(frames, points, visible, scale, condition, torch.arange(count)), pause

    def __len__(self) -> int:
        return len(self.clips)

    def batch(self, indices: Tensor) -> Clip:
        """The clips of the given numbers."""
        time.sleep(self.pause)
        return self.clips[indices]


def config(*overrides: str) -> Config:
    """The small configuration with overrides."""
    return preset("tiny", [*SMALL, *overrides])


class Cut(Exception):
    """The moment a test breaks a run off."""


class CutDots(Dots):
    """Dots that break off at the n-th batch."""

    def __init__(self, settings: ModelConfig, at: int, **more):
        super().__init__(settings, **more)
        self.left = at

    def batch(self, indices: Tensor) -> Clip:
        """The clips of the given numbers, as often as it lasts."""
        self.left -= 1
        if self.left < 0:
            raise Cut
        return super().batch(indices)


if __name__ == "__main__":
    from causalpose.training.loop import train

    torch.set_num_threads(1)
    out, *rest = sys.argv[1:]
    chosen = config(*(text for text in rest if not text.startswith("--")))
    pause = 0.1 if "--slowly" in rest else 0.0
    last = next((int(text.removeprefix("--cut=")) for text in rest if text.startswith("--cut=")), 10**9)
    source = CutDots(chosen.model, last, pause=pause, unlabelled="--unlabelled" in rest)
    val = Dots(chosen.model, 10, seed=9) if "--val" in rest else None
    train(chosen, source, out, resume="--resume" in rest, val=val, progress=False)
