"""The training objective: pose loss plus the auxiliary losses, `L = L_pose + λ_mask L_mask + λ_noise L_noise` (paper, stage 1), or in
stage 2 plus what importance is taught by (ours, `supervision`).

It is a module of its own so that data parallel training wraps exactly what is differentiated.
"""

import torch
from torch import Tensor, nn

from causalpose.clip import Clip
from causalpose.config import Config
from causalpose.model import heatmaps
from causalpose.model.baselines import ppt
from causalpose.model.cmpose import CMPose, Output
from causalpose.model.selection import training_keep_rate
from causalpose.training import supervision

# Entries of `Output.losses` that are watched, not minimised.
WATCHED = ("target_variance",)


class Objective(nn.Module):
    """`(clip, tokens, generator) -> (loss, parts by name, output)`.

    With `train.freeze` the backbone is in eval mode and runs without gradients, or not at all when `tokens` are given.
    """

    def __init__(self, model: CMPose, config: Config):
        super().__init__()
        self.model = model
        self.config = config

    def train(self, mode: bool = True) -> "Objective":
        super().train(mode)
        if self.config.train.freeze:
            self.model.backbone.eval()
        return self

    def forward(
        self,
        clip: Clip,
        tokens: Tensor | None = None,
        truth: Tensor | None = None,
        generator: torch.Generator | None = None,
        progress: float = 1.0,
        number: Tensor | None = None,
        places: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor], Output]:
        """clip: a batch; tokens `[B, T, N, C]`: backbone tokens of it, when cached; truth `[B, T, N]`: body share (oracle selector);
        progress: share of the training steps already taken (annealing); number: joints that count in a shard, mean over the step's shards,
        where a step has several: the mean of their losses is then the loss of their clips in one batch; places: the same of the joints
        that teach importance, i.e. that any frame labels."""
        train = self.config.train
        views, pruner = None, self.model.pruner
        fixed = train.freeze and pruner is None  # a pruner's keypoint tokens learn through a frozen backbone as well
        patches = ppt.annealed(progress) if pruner is not None and self.training else None
        if tokens is None or self.model.needs_frames:
            with torch.set_grad_enabled(torch.is_grad_enabled() and not fixed):
                tokens, views = self.model.embed_views(clip.frames, generator, tokens, patches)
        selecting = self.training and self.config.model.stage == 2
        keep_rate = training_keep_rate(self.config.model.fte, progress) if selecting else None
        output = self.model.forward_tokens(tokens, views=views, generator=generator, truth=truth, keep_rate=keep_rate)
        target = clip.target
        truth_maps, weights = heatmaps.encode(clip.keypoints[:, target], clip.visibility[:, target], self.config.model, train.sigma)
        parts = {"pose": heatmaps.loss(output.heatmaps.float(), truth_maps, weights, train.loss, number), **output.losses}
        for name, logits in output.branches.items():
            labelled = self.config.model.mcl.target == "pose"
            asked = (truth_maps, weights) if labelled else clean_view(output.heatmaps, train.loss)
            parts[name] = self.model.branch_weights[name] * heatmaps.loss(logits, *asked, train.loss, number if labelled else None)
        if selecting and self.config.model.fte.supervision != "none":
            parts["supervision"] = self._supervise(output.importance, clip, tokens, generator, places)
        total = torch.stack([value.float() for name, value in parts.items() if name not in WATCHED]).sum()
        return total, {"loss": total.detach()} | {name: value.detach().float() for name, value in parts.items()}, output

    def _supervise(
        self, importance: Tensor, clip: Clip, tokens: Tensor, generator: torch.Generator | None, places: Tensor | None
    ) -> Tensor:
        """The weighted loss on importance `[B, K, TN]` itself (`fte.supervision`)."""
        fte = self.config.model.fte
        if fte.supervision == "joints":
            loss = supervision.joints_loss(importance, clip, self.config.model, places)
        else:
            loss = supervision.effects_loss(importance, self._effects(tokens.detach(), generator))
        return fte.supervision_weight * loss

    @torch.no_grad()
    def _effects(self, tokens: Tensor, generator: torch.Generator | None) -> supervision.Measured:
        """Effects of replacing mixed tokens, which are what importance ranks, whether `tokens` come mixed (from a cache) or not."""
        mixed, _ = self.model.encoder(tokens)
        with self.model.encoder.passing():
            return supervision.measure_effects(self.model, mixed, generator)


@torch.no_grad()
def clean_view(logits: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    """The clean branch's heatmaps as targets `[B, K, h, w]` and weights `[B, K]`, all one: they need no label, so an unlabelled clip
    teaches as well (beyond the paper; self-distillation between two views, as in FixMatch and BYOL)."""
    logits = logits.detach().float()
    targets = logits.flatten(-2).softmax(-1).view_as(logits) if kind == "ce" else logits
    return targets, torch.ones_like(logits[..., 0, 0])


@torch.no_grad()
def correct_share(output: Output, clip: Clip, config: Config, threshold: float = 0.2) -> Tensor:
    """PCK proxy for the progress bar, in per cent: joints of this batch within `threshold` of the clip's scale, on training views."""
    target = clip.target
    found, _ = heatmaps.decode(output.heatmaps, config.model, config.train.loss)
    _, weights = heatmaps.encode(clip.keypoints[:, target], clip.visibility[:, target], config.model, config.train.sigma)
    distance = (found - clip.keypoints[:, target]).norm(dim=-1)
    hits = (distance <= threshold * clip.scale[:, None]) * weights
    return 100 * hits.sum() / weights.sum().clamp_min(1)
