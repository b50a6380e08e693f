"""Fine token enhancement: keypoint, causal and merged tokens are refined together and go back to the token grid.

*Paper*: causal tokens and merged non-causal tokens are enhanced for the final pose. *Ours*: the refined tokens return to the grid
(TAR-ViTPose, CVPR 2026, found reading them out directly far worse), in one of two ways (`fte.residual`):

- strict: the grid holds what went through selection and merging and nothing else. The blocks start as the identity, so stage 2 begins
  as the stage 1 it takes its weights from, seen through selection: a causal place holds its token, any other its cluster's mean.
- residual: what comes back is added to stage 1's tokens by a layer that starts at zero, so stage 2 begins exactly as stage 1. The pose
  then depends little on *which* tokens were selected, and so does the gradient that the selector gets.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from causalpose.config import ModelConfig
from causalpose.model.attention import Block
from causalpose.model.clustering import Merged
from causalpose.model.selection import Selection


@dataclass(frozen=True)
class Enhanced:
    """What refinement gives.

    grid       `[B, N, C]`, the target frame's tokens
    keypoints  `[B, K, C]`, the refined keypoint tokens
    attention  float `[B, depth, heads, K, TN]` or None: attention of the keypoint tokens to every place, block by block; a merged place
               has its equal share of its cluster's, a dropped place zero (what goes to the keypoint tokens themselves is left out)
    """

    grid: Tensor
    keypoints: Tensor
    attention: Tensor | None


class Enhancement(nn.Module):
    """Transformer blocks over `K + k + M` tokens, and their restoration to the target frame's grid."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        width, f = config.backbone.width, config.fte
        self.residual = f.residual
        self.blocks = nn.ModuleList(Block(width, f.heads, f.mlp_ratio, identity=not f.residual) for _ in range(f.depth))
        if f.residual:
            self.norm = nn.LayerNorm(width)
            # No bias: where nothing is restored (a dropped token's place) the residual is exactly zero.
            self.out = nn.Linear(width, width, bias=False)
            nn.init.zeros_(self.out.weight)
        # What a place without a token holds. Without it nothing is empty, and a strict grid has no place for it.
        self.empty_token = nn.Parameter(torch.zeros(width)) if not f.residual and f.clustering == "drop" else None

    def forward(self, mixed: Tensor, keypoint_tokens: Tensor, selection: Selection, merged: Merged, with_weights: bool = False) -> Enhanced:
        """Refine and restore.

        mixed `[B, T, N, C]`, keypoint_tokens `[B, K, C]`, selection of `k` causal tokens, `M` merged tokens.
        A causal place gets its own refined token, a non-causal place its cluster's; a dropped place keeps its stage-1 token (residual) or
        gets the empty token (strict).
        """
        B, T, N, C = mixed.shape
        K, k = keypoint_tokens.shape[1], selection.causal.shape[1]
        causal = mixed.flatten(1, 2).gather(1, selection.causal[..., None].expand(-1, -1, C))
        x = torch.cat((keypoint_tokens.to(causal.dtype), causal, merged.tokens.to(causal.dtype)), 1)  # [B, K+k+M, C]

        bias, gate = self.keys(selection, merged, K)
        source = self._source(selection, merged, K, B, T * N)  # [B, TN]
        attention = []
        for block in self.blocks:
            x, weights = block(x, with_weights, bias=bias, gate=gate)
            if with_weights:
                attention.append(_at_places(weights[:, :, :K], source, merged, K + k))
        grid = self._restore(x, mixed[:, T // 2], gate, source[:, T // 2 * N : (T // 2 + 1) * N])
        return Enhanced(grid, x[:, :K], torch.stack(attention, 1) if with_weights else None)

    @staticmethod
    def keys(selection: Selection, merged: Merged, K: int) -> tuple[Tensor | None, Tensor | None]:
        """What the blocks are told of their `K + k + M` tokens as keys, each `[B, K+k+M]` or None: bias on the logits, gate on the values.

        A merged token counts in attention as often as it stands for a token (ToMe's proportional attention): its bias is its log size.
        """
        size, gate = merged.size, selection.gate
        B, M = size.shape
        before = K + selection.causal.shape[1]
        bias = torch.cat((size.new_zeros(B, before), size.clamp_min(1).log()), 1) if M else None
        return bias, None if gate is None else torch.cat((gate.new_ones(B, K), gate, gate.new_ones(B, M)), 1)

    def _restore(self, x: Tensor, stage_1: Tensor, gate: Tensor | None, source: Tensor) -> Tensor:
        """Refined tokens `[B, K+k+M, C]` to the places whose source `[B, N]` they are; stage 1's tokens there are `[B, N, C]`."""
        empty = 0 if self.empty_token is None else self.empty_token.to(x.dtype)
        x = self.norm(x) if self.residual else x - empty
        if gate is not None:
            x = x * gate[..., None].to(x.dtype)  # towards the empty token: the alternative to a place's own
        restored = x.gather(1, source.clamp_min(0)[..., None].expand(-1, -1, x.shape[-1])) * (source >= 0)[..., None]
        return stage_1 + self.out(restored) if self.residual else restored + empty

    @staticmethod
    def _source(selection: Selection, merged: Merged, K: int, B: int, S: int) -> Tensor:
        """Position in the sequence of the token that goes back to each place, int64 `[B, S]`; -1 for none."""
        k = selection.causal.shape[1]
        own = torch.arange(K, K + k, device=selection.causal.device).expand(B, k)
        cluster = torch.where(merged.assignment >= 0, merged.assignment + K + k, -1)
        return torch.empty(B, S, dtype=torch.long, device=own.device).scatter(1, selection.causal, own).scatter(1, selection.rest, cluster)


def _at_places(weights: Tensor, source: Tensor, merged: Merged, before: int) -> Tensor:
    """Attention `[B, heads, K, K+k+M]` laid out over the places, `[B, heads, K, TN]`; `before` tokens come before the merged ones."""
    size = torch.cat((merged.size.new_ones(len(source), before), merged.size.clamp_min(1)), 1)
    each = weights.float() / size[:, None, None]
    index = source.clamp_min(0)[:, None, None].expand(-1, *weights.shape[1:3], -1)
    return each.gather(-1, index) * (source >= 0)[:, None, None]
