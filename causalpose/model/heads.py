"""Heatmap heads: one frame's tokens to heatmaps of four times the token grid (ViTPose, NeurIPS 2022)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from causalpose.config import ModelConfig
from causalpose.skeletons import keypoint_set


class ClassicHead(nn.Module):
    """Two deconvolutions (kernel 4, stride 2), each with a norm and ReLU, then a 1x1 convolution.

    ViTPose puts BatchNorm here (`norm = "batch"`); ours is GroupNorm, which has no batch statistics: training equals evaluation, a
    clip's heatmaps do not depend on the others in its batch, and small batches (or data parallel shards) train alike.
    """

    def __init__(self, width: int, channels: int, keypoints: int, norm: str = "group"):
        super().__init__()
        groups = max(g for g in (1, 2, 4, 8) if channels % g == 0)

        def norm_layer() -> nn.Module:
            return nn.BatchNorm2d(channels) if norm == "batch" else nn.GroupNorm(groups, channels)

        self.up = nn.Sequential(
            nn.ConvTranspose2d(width, channels, 4, 2, 1, bias=False), norm_layer(), nn.ReLU(),
            nn.ConvTranspose2d(channels, channels, 4, 2, 1, bias=False), norm_layer(), nn.ReLU(),
        )  # fmt: skip
        self.out = nn.Conv2d(channels, keypoints, 1)
        for layer in self.up:
            if isinstance(layer, nn.ConvTranspose2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
        nn.init.normal_(self.out.weight, std=0.01)
        nn.init.zeros_(self.out.bias)

    def forward(self, grid: Tensor) -> Tensor:
        """grid `[B, C, rows, columns]` -> logits `[B, K, 4 rows, 4 columns]`."""
        return self.out(self.up(grid))


class SimpleHead(nn.Module):
    """ReLU, fourfold bilinear upsampling, one 3x3 convolution: ViTPose's proof that the tokens hold the pose already."""

    def __init__(self, width: int, keypoints: int):
        super().__init__()
        self.out = nn.Conv2d(width, keypoints, 3, padding=1)
        nn.init.normal_(self.out.weight, std=0.01)
        nn.init.zeros_(self.out.bias)

    def forward(self, grid: Tensor) -> Tensor:
        """grid `[B, C, rows, columns]` -> logits `[B, K, 4 rows, 4 columns]`."""
        return self.out(F.interpolate(grid.relu(), scale_factor=4, mode="bilinear", align_corners=False))


class Head(nn.Module):
    """The configured head on tokens."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        width, keypoints, h = config.backbone.width, len(keypoint_set(config.keypoints)), config.head
        self.grid = config.grid
        self.layers = ClassicHead(width, h.channels, keypoints, h.norm) if h.kind == "classic" else SimpleHead(width, keypoints)

    @property
    def dtype(self) -> torch.dtype:
        """Number type of the weights."""
        return self.layers.out.weight.dtype

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens `[B, N, C]` of one frame -> logits `[B, K, 4 rows, 4 columns]`."""
        return self.layers(tokens.transpose(1, 2).unflatten(2, self.grid))


class KeypointHead(nn.Module):
    """Each keypoint token to its own heatmap, by a norm and a linear layer that the keypoints share (TokenPose, ICCV 2021).

    `silent`: starts at zero, so that beside another read-out it first changes nothing.
    """

    def __init__(self, config: ModelConfig, silent: bool):
        super().__init__()
        self.size = config.heatmap_size
        self.norm = nn.LayerNorm(config.backbone.width)
        self.out = nn.Linear(config.backbone.width, self.size[0] * self.size[1])
        nn.init.zeros_(self.out.bias)
        if silent:
            nn.init.zeros_(self.out.weight)
        else:
            nn.init.trunc_normal_(self.out.weight, std=0.02)

    def forward(self, keypoint_tokens: Tensor) -> Tensor:
        """keypoint tokens `[B, K, C]` -> logits `[B, K, 4 rows, 4 columns]`."""
        return self.out(self.norm(keypoint_tokens)).unflatten(2, self.size)
