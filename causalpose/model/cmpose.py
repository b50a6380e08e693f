"""CM-Pose in PyTorch: embed, mix, (mask, noise), select, merge, refine, restore, decode.

Shapes, here as everywhere: batch `B`, frames `T` with the target in the middle, tokens per frame `N`, width `C`, keypoints `K`,
heatmap rows and columns `h`, `w`.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from causalpose.config import ModelConfig
from causalpose.errors import CausalPoseError
from causalpose.model import clustering, selection
from causalpose.model.auxiliary import Auxiliary
from causalpose.model.backbone import Backbone
from causalpose.model.clustering import Merged
from causalpose.model.encoder import Encoder
from causalpose.model.enhancement import Enhancement
from causalpose.model.heads import Head
from causalpose.model.selection import Selection, TokenImportance


@dataclass(frozen=True)
class Output:
    """What a forward pass gives.

    heatmaps   logits `[B, K, h, w]` of the target frame
    losses     stage 1 in training mode, else empty: the auxiliary losses `mask` and `noise`, already weighted, to be added to the pose
               loss; and `target_variance`, detached, to be watched
    maps       only when asked for, else empty; with rows and columns of the token grid:
               `heatmaps` [B, K, h, w], all stages;
               `encoder_attention` [B, N, T, rows, columns], stages 1 and 2: attention of the last encoder block, mean over heads, from each
               token of the target frame to every token;
               stage 2: `importance` [B, T, rows, columns], what the selector ranked by; `importance_per_keypoint` [B, K, T, rows, columns],
               TCIS, sums to one for each keypoint; `causal` bool [B, T, rows, columns]; `clusters` int64 [B, T, rows, columns], number of
               the merged token, -1 for a causal place and -2 for a dropped one
    """

    heatmaps: Tensor
    losses: dict[str, Tensor] = field(default_factory=dict)
    maps: dict[str, Tensor] = field(default_factory=dict)


class CMPose(nn.Module):
    """The whole model; `config.stage` says how much of it: 0 a single frame, 1 adds the encoder (MCL), 2 adds FTE."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.backbone = Backbone(config)
        self.head = Head(config)
        if config.stage >= 1:
            self.encoder = Encoder(config)
        if config.stage == 1:
            self.auxiliary = Auxiliary(config)
        if config.stage == 2:
            self.importance = TokenImportance(config)
            self.enhancement = Enhancement(config)

    def forward(
        self, frames: Tensor, *, generator: torch.Generator | None = None, truth: Tensor | None = None, return_maps: bool = False
    ) -> Output:
        """The target frame's heatmaps.

        frames      `[B, T, 3, H, W]`, uint8 or float in [0, 1]; stage 0 takes any number of frames and uses the middle one
        generator   source of everything random in training (masks, noise, tie-breaks); evaluation never draws from it
        truth       `[B, T, N]`, share of each token's patch that shows the body; the `oracle` selector needs it
        """
        if self.config.stage == 0:
            frames = _middle(frames, self.config)
        return self.forward_tokens(self.embed(frames), generator=generator, truth=truth, return_maps=return_maps)

    def embed(self, frames: Tensor) -> Tensor:
        """frames `[B, T, 3, H, W]` -> backbone tokens `[B, T, N, C]`, frame by frame, hence reusable in every clip that shares a frame."""
        H, W = self.config.height, self.config.width
        if frames.ndim != 5 or frames.shape[2:] != (3, H, W):
            raise CausalPoseError(f"frames have shape {tuple(frames.shape)}; this model takes [B, T, 3, {H}, {W}]")
        return self.backbone(frames)

    def forward_tokens(
        self, tokens: Tensor, *, generator: torch.Generator | None = None, truth: Tensor | None = None, return_maps: bool = False
    ) -> Output:
        """Everything above the backbone, from its tokens `[B, T, N, C]` (cached ones, say)."""
        self._check_tokens(tokens)
        tokens = tokens.to(self.head.dtype)  # cached tokens may be in half precision
        target = tokens.shape[1] // 2
        if self.config.stage == 0:
            heatmaps = self.head(tokens[:, target])
            return Output(heatmaps, maps={"heatmaps": heatmaps} if return_maps else {})

        mixed, losses, attention = self._mix(tokens, generator, return_maps)
        if self.config.stage == 1:
            heatmaps = self.head(mixed[:, target])
            return Output(heatmaps, losses, self._maps(heatmaps, attention) if return_maps else {})

        keypoint_tokens, per_keypoint = self.importance(mixed.flatten(1, 2))
        chosen = self._select(mixed, per_keypoint, truth, generator)
        merged = self._merge(mixed, chosen, generator)
        restored = self.enhancement(mixed, keypoint_tokens, chosen, merged)
        heatmaps = self.head(restored)
        return Output(heatmaps, losses, self._maps(heatmaps, attention, per_keypoint, chosen, merged) if return_maps else {})

    def _mix(self, tokens: Tensor, generator, with_weights: bool) -> tuple[Tensor, dict[str, Tensor], Tensor | None]:
        """Encoder on the clean tokens and, in stage 1's training, on their corrupted copies: one pass over `[3B, T, N, C]`, which costs
        less than three. Returns the clean mixed tokens, the auxiliary losses and the attention."""
        branches = self.auxiliary.corrupt(tokens, generator) if self.config.stage == 1 and self.training else []
        mixed, attention = self.encoder(torch.cat([tokens, *(branch.tokens for branch in branches)]) if branches else tokens, with_weights)
        clean, *corrupted = mixed.chunk(1 + len(branches))
        losses = self.auxiliary.losses(tokens, branches, corrupted) if branches else {}
        return clean, losses, None if attention is None else attention[: len(tokens)]

    def _select(self, mixed: Tensor, per_keypoint: Tensor, truth: Tensor | None, generator) -> Selection:
        """Causal and non-causal tokens."""

        @torch.no_grad()
        def mass() -> Tensor:
            logits = self.head(mixed.flatten(0, 1)).unflatten(0, mixed.shape[:2])  # [B, T, K, h, w]
            return selection.heatmap_mass(logits, self.config.grid)

        return selection.select(
            mixed.flatten(1, 2), per_keypoint, self.config.fte, mixed.shape[1],
            heatmap_mass=mass, truth=truth, training=self.training, generator=generator,
        )  # fmt: skip

    def _merge(self, mixed: Tensor, chosen: Selection, generator) -> Merged:
        """The non-causal tokens in clusters."""
        rest = mixed.flatten(1, 2).gather(1, chosen.rest[..., None].expand(-1, -1, mixed.shape[-1]))
        importance = chosen.importance.gather(1, chosen.rest)
        return clustering.cluster(rest, importance, self.config.fte, training=self.training, generator=generator)

    def _maps(
        self,
        heatmaps: Tensor,
        attention: Tensor,
        per_keypoint: Tensor | None = None,
        chosen: Selection | None = None,
        merged: Merged | None = None,
    ) -> dict[str, Tensor]:
        """Everything that stays hidden otherwise, on the token grid; see `Output`."""
        (rows, columns), T = self.config.grid, self.config.frames
        N, target = rows * columns, T // 2
        grid = (T, rows, columns)
        maps = {
            "heatmaps": heatmaps,
            "encoder_attention": attention.mean(1)[:, target * N : (target + 1) * N].unflatten(2, grid),
        }
        if chosen is not None:
            clusters = torch.full_like(chosen.mask, -1, dtype=torch.long)
            clusters = clusters.scatter(1, chosen.rest, torch.where(merged.assignment >= 0, merged.assignment, -2))
            maps["importance"] = chosen.score.unflatten(1, grid)
            maps["importance_per_keypoint"] = per_keypoint.unflatten(2, grid)
            maps["causal"] = chosen.mask.unflatten(1, grid)
            maps["clusters"] = clusters.unflatten(1, grid)
        return maps

    def _check_tokens(self, tokens: Tensor) -> None:
        rows, columns = self.config.grid
        N, C, T = rows * columns, self.config.backbone.width, self.config.frames
        if tokens.ndim != 4 or tokens.shape[2:] != (N, C):
            raise CausalPoseError(f"tokens have shape {tuple(tokens.shape)}; this model takes [B, T, {N}, {C}]")
        if self.config.stage >= 1 and tokens.shape[1] != T:
            raise CausalPoseError(
                f"the clip has {tokens.shape[1]} frames, but this model was built for model.frames = {T}; cut clips of {T} frames"
            )


def _middle(frames: Tensor, config: ModelConfig) -> Tensor:
    """The middle frame `[B, 1, 3, H, W]` of clips of any length; other ranks pass on to `embed`, which refuses them."""
    return frames[:, frames.shape[1] // 2, None] if frames.ndim == 5 and frames.shape[1] else frames
