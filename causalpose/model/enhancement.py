"""Fine token enhancement: keypoint, causal and merged tokens are refined together and go back to the token grid.

*Paper*: causal tokens and merged non-causal tokens are enhanced for the final pose. *Ours*: the refined tokens return to the grid
(TAR-ViTPose, CVPR 2026, found reading them out directly far worse), as a residual on stage 1's tokens whose last layer starts at
zero: stage 2 begins exactly as the stage 1 it takes its weights from.
"""

import torch
from torch import Tensor, nn

from causalpose.config import ModelConfig
from causalpose.model.attention import Block
from causalpose.model.clustering import Merged
from causalpose.model.selection import Selection


class Enhancement(nn.Module):
    """Transformer blocks over `K + k + M` tokens, and their restoration to the target frame's grid."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        width, f = config.backbone.width, config.fte
        self.blocks = nn.ModuleList(Block(width, f.heads, f.mlp_ratio) for _ in range(f.depth))
        self.norm = nn.LayerNorm(width)
        # No bias: where nothing is restored (a dropped token's place) the residual is exactly zero.
        self.out = nn.Linear(width, width, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(self, mixed: Tensor, keypoint_tokens: Tensor, selection: Selection, merged: Merged) -> Tensor:
        """The target frame's enhanced tokens `[B, N, C]`.

        mixed `[B, T, N, C]`, keypoint_tokens `[B, K, C]`, selection of `k` causal tokens, `M` merged tokens.
        A causal place gets its own refined token, a non-causal place its cluster's, a dropped place keeps its stage-1 token.
        """
        B, T, N, C = mixed.shape
        K, k, M = keypoint_tokens.shape[1], selection.causal.shape[1], merged.tokens.shape[1]
        causal = mixed.flatten(1, 2).gather(1, selection.causal[..., None].expand(-1, -1, C))
        x = torch.cat((keypoint_tokens.to(causal.dtype), causal, merged.tokens.to(causal.dtype)), 1)  # [B, K+k+M, C]

        # A merged token counts in attention as often as it stands for a token (ToMe's proportional attention).
        bias = torch.cat((merged.size.new_zeros(B, K + k), merged.size.clamp_min(1).log()), 1) if M else None
        gate = None
        if selection.gate is not None:
            gate = torch.cat((selection.gate.new_ones(B, K), selection.gate, selection.gate.new_ones(B, M)), 1)
        for block in self.blocks:
            x, _ = block(x, bias=bias, gate=gate)
        x = self.norm(x)
        if gate is not None:
            x = x * gate[..., None].to(x.dtype)

        source = self._source(selection, merged, K, B, T * N)[:, T // 2 * N : (T // 2 + 1) * N]  # [B, N]
        restored = x.gather(1, source.clamp_min(0)[..., None].expand(-1, -1, C)) * (source >= 0)[..., None]
        return mixed[:, T // 2] + self.out(restored)

    @staticmethod
    def _source(selection: Selection, merged: Merged, K: int, B: int, S: int) -> Tensor:
        """Position in the sequence of the token that goes back to each place, int64 `[B, S]`; -1 for none."""
        k = selection.causal.shape[1]
        own = torch.arange(K, K + k, device=selection.causal.device).expand(B, k)
        cluster = torch.where(merged.assignment >= 0, merged.assignment + K + k, -1)
        return torch.empty(B, S, dtype=torch.long, device=own.device).scatter(1, selection.causal, own).scatter(1, selection.rest, cluster)
