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
from causalpose.model.auxiliary import Auxiliary, Views
from causalpose.model.backbone import Backbone
from causalpose.model.baselines.ppt import Pruner
from causalpose.model.baselines.tar import JointQueryDecoder
from causalpose.model.clustering import Merged
from causalpose.model.encoder import Encoder
from causalpose.model.enhancement import Enhanced, Enhancement
from causalpose.model.frame_order import reorder, restore_order
from causalpose.model.heads import Head, KeypointHead
from causalpose.model.selection import Selection, TokenImportance


@dataclass(frozen=True)
class Output:
    """What a forward pass gives.

    heatmaps   logits `[B, K, h, w]` of the target frame
    losses     stage 1 in training mode, else empty: the auxiliary losses `mask` and `noise`, already weighted, to be added to the pose
               loss; and `target_variance`, detached, to be watched
    branches   stage 1 in training mode with `mcl.target` `pose` or `heatmap`, else empty: each branch's logits `[B, K, h, w]`, to be scored
               by the objective and weighted by `CMPose.branch_weights`
    maps       only when asked for, else empty; with rows and columns of the token grid:
               `heatmaps` [B, K, h, w], all stages;
               `encoder_attention` [B, N, T, rows, columns], stages 1 and 2: attention of the last encoder block, mean over heads, from each
               token of the target frame to every token;
               stage 2: `importance` [B, T, rows, columns], what the selector ranked by; `importance_per_keypoint` [B, K, T, rows, columns],
               TCIS, sums to one for each keypoint; `causal` bool [B, T, rows, columns]; `clusters` int64 [B, T, rows, columns], number of
               the merged token, -1 for a causal place and -2 for a dropped one; `keypoint_attention`
               [B, 1 + depth, heads, K, T, rows, columns], what the keypoint tokens look at: first the layer whose mean over heads is the
               importance, then every refining block
    importance  stage 2: TCIS per keypoint `[B, K, TN]`, with its gradient, for a loss of its own; else None
    """

    heatmaps: Tensor
    losses: dict[str, Tensor] = field(default_factory=dict)
    branches: dict[str, Tensor] = field(default_factory=dict)
    maps: dict[str, Tensor] = field(default_factory=dict)
    importance: Tensor | None = None


class CMPose(nn.Module):
    """The whole model; `config.stage` says how much of it: 0 a single frame, 1 adds the encoder (MCL), 2 adds FTE.

    With another `config.method` it is one of the `baselines` on the same backbone and head.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.backbone = Backbone(config)
        self.head = Head(config)
        self.pruner = Pruner(config) if config.method == "ppt" else None
        self.joint_decoder = JointQueryDecoder(config) if config.method == "tar" else None
        if config.stage >= 1 and config.method == "cm-pose":
            self.encoder = Encoder(config)
        self.auxiliary = Auxiliary(config) if config.stage == 1 and config.method == "cm-pose" else None
        if config.stage == 2:
            self.importance = TokenImportance(config)
            self.enhancement = Enhancement(config)
            if config.fte.readout != "grid":
                self.keypoint_head = KeypointHead(config, silent=config.fte.readout == "both")

    def forward(
        self,
        frames: Tensor,
        *,
        generator: torch.Generator | None = None,
        truth: Tensor | None = None,
        keep_rate: float | None = None,
        return_maps: bool = False,
    ) -> Output:
        """The target frame's heatmaps.

        frames      `[B, T, 3, H, W]`, uint8 or float in [0, 1]; stage 0 takes any number of frames and uses the middle one
        generator   source of everything random in training (masks, noise, tie-breaks); evaluation never draws from it
        truth       `[B, T, N]`, share of each token's patch that shows the body; the `oracle` selector needs it
        keep_rate   stage 2: share of causal tokens in place of `fte.keep_rate`
        """
        if self.config.stage == 0:
            frames = _middle(frames, self.config)
        tokens, views = self.embed_views(frames, generator)
        return self.forward_tokens(tokens, views=views, generator=generator, truth=truth, keep_rate=keep_rate, return_maps=return_maps)

    def embed(self, frames: Tensor, keep_rate: float | None = None) -> Tensor:
        """frames `[B, T, 3, H, W]` -> backbone tokens `[B, T, N, C]`, frame by frame, hence reusable in every clip that shares a frame.

        keep_rate   method `ppt`: share of patches kept at each pruning layer, in place of the final one
        """
        self._check_frames(frames)
        return self.backbone(frames) if self.pruner is None else self.pruner(self.backbone, frames, keep_rate)

    @property
    def needs_frames(self) -> bool:
        """Whether training needs the pictures even where the tokens are known: a task erases pixels or looks into the backbone."""
        return self.training and self.auxiliary is not None and (self.auxiliary.erases or self.auxiliary.looks_below)

    @property
    def branch_weights(self) -> dict[str, float]:
        """Loss weight of each auxiliary branch."""
        return {} if self.auxiliary is None else self.auxiliary.weights

    def embed_views(
        self,
        frames: Tensor,
        generator: torch.Generator | None = None,
        tokens: Tensor | None = None,
        keep_rate: float | None = None,
    ) -> tuple[Tensor, Views | None]:
        """`embed` and, in training, what the auxiliary tasks need from the backbone: one pass of it over all pictures.

        tokens   `[B, T, N, C]` of these frames, when known (frozen backbone): the clean pictures then pass only if a task looks inside
        """
        if not self.needs_frames:
            return (self.embed(frames, keep_rate) if tokens is None else tokens), None
        auxiliary, layer = self.auxiliary, self.config.mcl.target_layer
        pictures, chosen = [frames] if tokens is None or auxiliary.looks_below else [], None
        if auxiliary.erases:
            erased, chosen = auxiliary.erase(frames, generator)
            pictures.append(erased)
        self._check_frames(frames)
        together = torch.cat(pictures)
        out, hidden = self.backbone.with_layer(together, layer) if auxiliary.looks_below else (self.embed(together), None)
        B = len(frames)
        views = Views(out[-B:] if auxiliary.erases else None, chosen, None if hidden is None else hidden[:B])
        return (out[:B] if tokens is None else tokens), views

    def forward_tokens(
        self,
        tokens: Tensor,
        *,
        views: Views | None = None,
        generator: torch.Generator | None = None,
        truth: Tensor | None = None,
        keep_rate: float | None = None,
        return_maps: bool = False,
    ) -> Output:
        """Everything above the backbone, from its tokens `[B, T, N, C]` (cached ones, say) and what `embed_views` found for training."""
        self._check_tokens(tokens)
        tokens = tokens.to(self.head.dtype)  # cached tokens may be in half precision
        target = tokens.shape[1] // 2
        if self.config.stage == 0:
            heatmaps = self.head(tokens[:, target])
            return Output(heatmaps, maps={"heatmaps": heatmaps} if return_maps else {})

        order = None
        if self.config.frame_order != "natural":
            tokens, views, order = reorder(self.config.frame_order, tokens, views, self.training, generator)
        if self.joint_decoder is not None:
            heatmaps = self.head(self.joint_decoder(tokens))
            return Output(heatmaps, maps={"heatmaps": heatmaps} if return_maps else {})
        mixed, losses, corrupted, attention = self._mix(tokens, views, generator, return_maps)
        if self.auxiliary is not None:
            heatmaps, branches = self._heads(mixed[:, target], {name: encoded[:, target] for name, encoded in corrupted.items()})
            maps = restore_order(self._maps(heatmaps, attention), order) if return_maps else {}
            return Output(heatmaps, losses, branches, maps)

        keypoint_tokens, looked = self.importance(mixed.flatten(1, 2))
        importance = looked.mean(1)  # [B, K, TN]
        chosen = self._select(mixed, importance, truth, keep_rate, generator)
        merged = self._merge(mixed, chosen, generator)
        enhanced = self.enhancement(mixed, keypoint_tokens, chosen, merged, return_maps)
        heatmaps = self._decode(enhanced)
        maps = self._maps(heatmaps, attention, looked, enhanced, chosen, merged) if return_maps else {}
        return Output(heatmaps, losses, maps=maps, importance=importance)

    def _decode(self, enhanced: Enhanced) -> Tensor:
        """Heatmaps from the restored grid, the keypoint tokens, or the sum of both (for `ce`, the product of their distributions)."""
        readout = self.config.fte.readout
        heatmaps = None if readout == "keypoints" else self.head(enhanced.grid)
        if readout == "grid":
            return heatmaps
        own = self.keypoint_head(enhanced.keypoints)
        return own if heatmaps is None else heatmaps + own

    def _mix(
        self, tokens: Tensor, views: Views | None, generator, with_weights: bool
    ) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor], Tensor | None]:
        """Encoder on the clean tokens and, in stage 1's training, on their corrupted copies: one pass over `[3B, T, N, C]`, which costs
        less than three. Returns the clean mixed tokens, the auxiliary losses, the mixed tokens of each branch, and the attention."""
        branches = self.auxiliary.corrupt(tokens, generator, views) if self.auxiliary is not None and self.training else []
        mixed, attention = self.encoder(torch.cat([tokens, *(branch.tokens for branch in branches)]) if branches else tokens, with_weights)
        if not branches:
            return mixed, {}, {}, attention
        clean, *corrupted = mixed.chunk(1 + len(branches))
        if self.config.mcl.placebo:
            corrupted = [encoded.detach() for encoded in corrupted]
        losses = self.auxiliary.losses(tokens, branches, corrupted, views)
        named = {branch.name: encoded for branch, encoded in zip(branches, corrupted, strict=True)}
        return clean, losses, named, None if attention is None else attention[: len(tokens)]

    def _heads(self, clean: Tensor, corrupted: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Heatmaps of the clean tokens `[B, N, C]` and, where the branches' target is read from heatmaps, of every branch's."""
        if not corrupted or self.auxiliary.restores:
            return self.head(clean), {}
        if self.config.mcl.placebo:  # the head is shared with the pose, so a placebo must not reach its weights either
            return self.head(clean), {name: _beside(self.head, encoded) for name, encoded in corrupted.items()}
        heatmaps, *rest = self.head(torch.cat([clean, *corrupted.values()])).chunk(1 + len(corrupted))
        return heatmaps, dict(zip(corrupted, rest, strict=True))

    def _select(self, mixed: Tensor, per_keypoint: Tensor, truth: Tensor | None, keep_rate: float | None, generator) -> Selection:
        """Causal and non-causal tokens."""

        @torch.no_grad()
        def mass() -> Tensor:
            logits = _beside(self.head, mixed.detach().flatten(0, 1)).unflatten(0, mixed.shape[:2])  # [B, T, K, h, w]
            return selection.heatmap_mass(logits, self.config.grid)

        return selection.select(
            mixed.flatten(1, 2), per_keypoint, self.config.fte, mixed.shape[1],
            heatmap_mass=mass, truth=truth, keep_rate=keep_rate, training=self.training, generator=generator,
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
        looked: Tensor | None = None,
        enhanced: Enhanced | None = None,
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
            maps["importance_per_keypoint"] = looked.mean(1).unflatten(2, grid)
            maps["keypoint_attention"] = torch.cat((looked[:, None], enhanced.attention), 1).unflatten(-1, grid)
            maps["causal"] = chosen.mask.unflatten(1, grid)
            maps["clusters"] = clusters.unflatten(1, grid)
        return maps

    def _check_frames(self, frames: Tensor) -> None:
        H, W = self.config.height, self.config.width
        if frames.ndim != 5 or frames.shape[2:] != (3, H, W):
            raise CausalPoseError(f"frames have shape {tuple(frames.shape)}; this model takes [B, T, 3, {H}, {W}]")

    def _check_tokens(self, tokens: Tensor) -> None:
        rows, columns = self.config.grid
        N, C, T = rows * columns, self.config.backbone.width, self.config.frames
        if tokens.ndim != 4 or tokens.shape[2:] != (N, C):
            raise CausalPoseError(f"tokens have shape {tuple(tokens.shape)}; this model takes [B, T, {N}, {C}]")
        if self.config.stage >= 1 and tokens.shape[1] != T:
            raise CausalPoseError(
                f"the clip has {tokens.shape[1]} frames, but this model was built for model.frames = {T}; cut clips of {T} frames"
            )


def _beside(head: Head, tokens: Tensor) -> Tensor:
    """Heatmaps of a pass beside the pose's own: neither its gradient nor its batch (BatchNorm's running statistics) reaches the head."""
    state = {name: weight.detach() for name, weight in head.named_parameters()}
    state |= {name: buffer.clone() for name, buffer in head.named_buffers()}
    return torch.func.functional_call(head, state, (tokens,))


def _middle(frames: Tensor, config: ModelConfig) -> Tensor:
    """The middle frame `[B, 1, 3, H, W]` of clips of any length; other ranks pass on to `embed`, which refuses them."""
    return frames[:, frames.shape[1] // 2, None] if frames.ndim == 5 and frames.shape[1] else frames
