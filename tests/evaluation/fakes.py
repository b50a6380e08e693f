"""Sources made up on the spot: the clips carry random pictures and known keypoints."""

import torch

from causalpose.clip import Clip
from causalpose.config import ModelConfig, override


def small_config(**changes) -> ModelConfig:
    """A model of one block and 32 channels."""
    base = {
        "backbone.width": 32,
        "backbone.depth": 1,
        "backbone.heads": 2,
        "encoder.depth": 1,
        "encoder.heads": 2,
        "head.channels": 16,
        "fte.heads": 2,
    }
    return override(ModelConfig(), base | {key.replace("__", "."): value for key, value in changes.items()})


class FakeSource:
    """`size` clips of random pixels; condition = index modulo `conditions`; keypoints on a grid, the same in every frame."""

    def __init__(self, size: int = 6, config: ModelConfig | None = None, conditions: int = 1, seed: int = 0):
        config = config or small_config()
        random = torch.Generator().manual_seed(seed)
        T, K = config.frames, 15
        points = torch.rand(size, 1, K, 2, generator=random) * torch.tensor([config.width - 1.0, config.height - 1.0])
        self.clips = Clip(
            frames=torch.randint(0, 256, (size, T, 3, config.height, config.width), generator=random, dtype=torch.uint8),
            keypoints=points.expand(size, T, K, 2).contiguous(),
            visibility=torch.ones(size, T, K, dtype=torch.uint8),
            scale=torch.full((size,), 20.0),
            condition=(torch.arange(size) % conditions).to(torch.uint8),
            index=torch.arange(size),
        )

    def __len__(self) -> int:
        return len(self.clips)

    def batch(self, indices) -> Clip:
        return self.clips[torch.as_tensor(indices)]

    def describe(self) -> dict:
        return {"source": "fake", "split": "val"}
