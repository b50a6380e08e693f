"""A PPT-style pruner: keypoint tokens travel through the backbone with the patches, and patches they do not look at are dropped.

Source: Ma et al., *PPT: Token-Pruned Pose Transformer for Monocular and Multi-view Human Pose Estimation*, ECCV 2022. From its text: the
keypoint tokens' attention, mean over heads and summed over keypoints, ranks the patches; the top 70 % stay at layers 3, 6 and 9 of
twelve; the keep rate falls from 1 by a cosine while training. *Ours*: the layers are a quarter, a half and three quarters of any depth;
the rate falls over the first half of training; a dropped patch returns to the grid as it was when it left, and the shared heatmap head
reads the grid (PPT reads its keypoint tokens, which from ViTPose weights would first have to learn what the head knows).
"""

import math

import torch
from timm.models.vision_transformer import Attention, Block
from torch import Tensor, nn

from causalpose.config import ModelConfig
from causalpose.model.backbone import Backbone
from causalpose.skeletons import keypoint_set

KEEP_RATE = 0.7


class Pruner(nn.Module):
    """The learned keypoint tokens, and the backbone's forward pass with them."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.keypoint_tokens = nn.Parameter(torch.zeros(1, len(keypoint_set(config.keypoints)), config.backbone.width))
        nn.init.trunc_normal_(self.keypoint_tokens, std=0.02)
        depth = config.backbone.depth
        self.layers = sorted({depth * quarter // 4 for quarter in (1, 2, 3)})

    def forward(self, backbone: Backbone, frames: Tensor, keep_rate: float | None = None) -> Tensor:
        """frames `[B, T, 3, H, W]` -> tokens `[B, T, N, C]`, every frame pruned for itself; `keep_rate` None is the final one."""
        vit, keep_rate = backbone.vit, KEEP_RATE if keep_rate is None else keep_rate
        x = vit.norm_pre(vit.patch_drop(vit._pos_embed(vit.patch_embed(backbone.prepare(frames)))))  # [BT, N, C]
        K, grid = self.keypoint_tokens.shape[1], x
        places = torch.arange(x.shape[1], device=x.device).expand(x.shape[:2])
        x = torch.cat((self.keypoint_tokens.to(x.dtype).expand(len(x), -1, -1), x), 1)
        for number, block in enumerate(vit.blocks):
            if number not in self.layers:
                x = block(x)
                continue
            x, looked = _attend(block, x, K)
            kept = looked.topk(max(1, round(keep_rate * looked.shape[1])), dim=1).indices.sort(1).values
            grid = _scatter(grid, places, x[:, K:])
            places = places.gather(1, kept)
            x = torch.cat((x[:, :K], x[:, K:].gather(1, kept[..., None].expand(-1, -1, x.shape[2]))), 1)
            x = x + block.drop_path2(block.ls2(block.mlp(block.norm2(x))))
        return vit.norm(_scatter(grid, places, x[:, K:])).unflatten(0, frames.shape[:2])


def annealed(progress: float) -> float:
    """Keep rate at a share of the training: by a cosine from 1 to `KEEP_RATE` over the first half, then constant."""
    return KEEP_RATE + (1 - KEEP_RATE) * 0.5 * (1 + math.cos(math.pi * min(1.0, 2 * progress)))


def _attend(block: Block, x: Tensor, keypoints: int) -> tuple[Tensor, Tensor]:
    """A block's attention half: x `[F, K+n, C]` -> the same, and how much the keypoint tokens look at every patch `[F, n]`."""
    attention: Attention = block.attn
    F, S, C = x.shape
    q, k, v = attention.qkv(block.norm1(x)).view(F, S, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
    q, k = attention.q_norm(q), attention.k_norm(k)
    weights = ((q * attention.scale) @ k.transpose(-2, -1)).softmax(-1)  # [F, heads, S, S]
    y = attention.proj_drop(attention.proj(attention.norm((weights.to(v.dtype) @ v).transpose(1, 2).reshape(F, S, C))))
    return x + block.drop_path1(block.ls1(y)), weights[:, :, :keypoints, keypoints:].mean(1).sum(1).detach()


def _scatter(grid: Tensor, places: Tensor, tokens: Tensor) -> Tensor:
    """The grid `[F, N, C]` with tokens `[F, n, C]` put at their places `[F, n]`."""
    return grid.to(tokens.dtype).scatter(1, places[..., None].expand_as(tokens), tokens)
