"""A joint-query temporal decoder: one query a joint gathers evidence from every frame, and what was found goes back to the grid.

Source: TAR-ViTPose (CVPR 2026), of which public text says: joint queries aggregate over the frames around the target, and the aggregate
is *restored to the grid* of a ViTPose (84.0 mAP on PoseTrack17, where reading the joint tokens directly gives 70.3). *Ours*: everything
below that outline. Joint queries attend to each frame's tokens, then across frames to what the same joint's query found there; the target
frame's tokens attend to the joint tokens, as a residual whose last layer starts at zero, so training begins at the single-frame model.
The other layers start as DETR's decoder does (Glorot). ViT's smaller start makes attention uniform at this width: every joint's query then
gathers the mean of a frame, and a short training does not get beyond it.
"""

import torch
from torch import Tensor, nn

from causalpose.config import ModelConfig
from causalpose.skeletons import keypoint_set


class CrossBlock(nn.Module):
    """Pre-norm cross-attention and MLP: what asks `[B, Q, C]` and what is asked `[B, S, C]` -> `[B, Q, C]`."""

    def __init__(self, width: int, heads: int, mlp_ratio: float):
        super().__init__()
        self.heads, hidden = heads, int(width * mlp_ratio)
        self.norm_query, self.norm_source, self.norm2 = (nn.LayerNorm(width) for _ in range(3))
        self.query, self.key_value, self.out = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
        self.apply(_initialise)

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        B, Q, C = x.shape
        q = self.query(self.norm_query(x)).view(B, Q, self.heads, -1).transpose(1, 2)
        k, v = self.key_value(self.norm_source(source)).view(B, source.shape[1], 2, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        weights = ((q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)).softmax(-1)
        x = x + self.out((weights.to(v.dtype) @ v).transpose(1, 2).reshape(B, Q, C))
        return x + self.mlp(self.norm2(x))


class JointQueryDecoder(nn.Module):
    """`encoder.depth` rounds of gathering, within frames and across them, and one of restoring."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        width, e = config.backbone.width, config.encoder
        self.queries = nn.Parameter(torch.zeros(1, len(keypoint_set(config.keypoints)), width))
        self.temporal = nn.Parameter(torch.zeros(1, config.frames, 1, width))
        nn.init.trunc_normal_(self.queries, std=0.02)
        nn.init.trunc_normal_(self.temporal, std=0.02)

        def blocks() -> nn.ModuleList:
            return nn.ModuleList(CrossBlock(width, e.heads, e.mlp_ratio) for _ in range(e.depth))

        self.within, self.across = blocks(), blocks()
        self.restore = CrossBlock(width, e.heads, e.mlp_ratio)
        for layer in (self.restore.out, self.restore.mlp[2]):
            nn.init.zeros_(layer.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens `[B, T, N, C]` -> the target frame's tokens `[B, N, C]`."""
        B, T, _, C = tokens.shape
        K = self.queries.shape[1]
        x = (self.queries[:, None] + self.temporal).expand(B, T, K, C)
        for within, across in zip(self.within, self.across, strict=True):
            x = within(x.reshape(B * T, K, C), tokens.flatten(0, 1)).view(B, T, K, C)
            each = x.transpose(1, 2).reshape(B * K, T, C)  # a joint's tokens through time
            x = across(each, each).view(B, K, T, C).transpose(1, 2)
        return self.restore(tokens[:, T // 2], x[:, T // 2])


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
