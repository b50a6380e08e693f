"""The spatio-temporal encoder: every token of every frame attends to every other (CM-Pose, stage 1)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from causalpose.config import ModelConfig
from causalpose.model.attention import Block


class Encoder(nn.Module):
    """Temporal embedding, then transformer blocks over the `T·N` tokens.

    The paper says that the tokens of all frames are concatenated and mixed; that the embedding and the blocks' output projections start
    at zero is ours: a stage-1 model then begins exactly as the single-frame model whose weights it takes.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        width, e = config.backbone.width, config.encoder
        self.checkpointing = e.checkpointing
        self.temporal = nn.Parameter(torch.zeros(1, config.frames, 1, width))
        self.blocks = nn.ModuleList(Block(width, e.heads, e.mlp_ratio, identity=True) for _ in range(e.depth))
        self._passes = False

    def forward(self, tokens: Tensor, with_weights: bool = False) -> tuple[Tensor, Tensor | None]:
        """tokens `[B, T, N, C]` -> mixed tokens `[B, T, N, C]` and, if asked for, the last block's attention `[B, heads, TN, TN]`."""
        if self._passes:
            return tokens, None
        x = (tokens + self.temporal).flatten(1, 2)  # [B, TN, C]
        weights = None
        for block in self.blocks:
            if self.checkpointing and self.training and torch.is_grad_enabled():
                x, weights = checkpoint(block, x, with_weights, use_reentrant=False)
            else:
                x, weights = block(x, with_weights)
        return x.view_as(tokens), weights

    @contextmanager
    def passing(self, passes: bool = True) -> Iterator[None]:
        """Inside, tokens pass as they are, because they come mixed already: those of a frozen encoder are computed once and kept."""
        before, self._passes = self._passes, passes
        try:
            yield
        finally:
            self._passes = before
