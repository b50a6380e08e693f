"""What importance is taught beside the pose loss: where the labelled joints are, or what a token's removal is measured to do (ours).

`joints` is the plain way: a keypoint token should look at its joint, in every frame that labels it. `effects` needs no labels. It asks the
model: replace some tokens by another clip's, and see how much log-probability each joint loses; importance learns to say so beforehand, in
the manner of FastSHAP (Jethani et al., ICLR 2022), whose weighting of the subsets it takes over: a sum over the replaced tokens that fits
best is then an estimate of Shapley values.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from causalpose.clip import Clip, Visibility
from causalpose.config import ModelConfig
from causalpose.errors import CausalPoseError
from causalpose.model.cmpose import CMPose
from causalpose.model.randomness import uniform

# Pairs of a subset and its complement that each clip of a step is measured with. One pair halves the cost and is noisier.
PAIRS = 1


def joint_places(clip: Clip, config: ModelConfig) -> tuple[Tensor, Tensor]:
    """Where each joint is, as a distribution over the tokens of all frames that label it.

    returns   target float32 `[B, K, TN]`: in every such frame a bilinear share to the (at most four) nearest token centres, frames alike;
              weight `[B, K]` in {0, 1}: zero where no frame labels the joint inside the image
    """
    rows, columns = config.grid
    patch = config.backbone.patch
    x, y = clip.keypoints.float().unbind(-1)  # [B, T, K]
    inside = (x >= -0.5) & (x < config.width - 0.5) & (y >= -0.5) & (y < config.height - 0.5)
    known = inside & (clip.visibility != Visibility.UNLABELLED) & (clip.visibility != Visibility.OUTSIDE)

    def share(pixel: Tensor, count: int) -> Tensor:
        place = (torch.where(known, pixel, 0.0) - (patch - 1) / 2) / patch  # unlabelled joints may hold anything, nan included
        offset = torch.arange(count, device=pixel.device) - place.clamp(0, count - 1)[..., None]
        return (1 - offset.abs()).clamp_min(0)

    cells = share(y, rows)[..., :, None] * share(x, columns)[..., None, :]  # [B, T, K, rows, columns], each of sum one
    cells = (cells * known[..., None, None]).transpose(1, 2).flatten(2)  # [B, K, TN]
    frames = known.sum(1)
    return cells / frames.clamp_min(1)[..., None], (frames > 0).float()


def joints_loss(importance: Tensor, clip: Clip, config: ModelConfig, number: Tensor | None = None) -> Tensor:
    """Cross-entropy of importance `[B, K, TN]` against `joint_places`, mean over the joints that count; zero when none does.

    number   of the joints that count, where this is a shard of a batch and the mean is to be the whole one's
    """
    target, weight = joint_places(clip, config)
    each = -(target * importance.float().clamp_min(1e-9).log()).sum(-1)
    return (each * weight).sum() / (weight.sum() if number is None else number).clamp_min(1)


@dataclass(frozen=True)
class Measured:
    """Effects of replacing tokens, `R` subsets a clip.

    replaced   bool `[R, B, TN]`: the tokens that another clip's took the place of
    change     float `[R, B, K]`: log-probability of each joint's predicted cell afterwards minus before, in nats
    total      float `[B, K]`: the same with every token replaced
    """

    replaced: Tensor
    change: Tensor
    total: Tensor


class _KeepsAll(nn.Module):
    """Heatmaps from tokens, with every token kept."""

    def __init__(self, model: CMPose):
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens `[B, T, N, C]` -> heatmap logits `[B, K, h, w]`."""
        return self.model.forward_tokens(tokens, keep_rate=1.0).heatmaps


@torch.no_grad()
def measure_effects(model: CMPose, tokens: Tensor, generator: torch.Generator | None = None, pairs: int = PAIRS) -> Measured:
    """Replace random subsets of tokens `[B, T, N, C]` by those of another clip of the batch, and see what it does.

    Tokens are as `model.forward_tokens` takes them. Importance ranks mixed tokens, so for it they are the encoder's, which then lets them
    pass. Subsets come in pairs with their complements, of sizes drawn from the Shapley kernel p(n) ∝ 1 / (n (S - n)). The model is measured
    with every token kept: a token that the selector leaves out can still prove what it is worth.
    """
    B, T, N, _ = tokens.shape
    S = T * N
    if B < 2:
        raise CausalPoseError("fte.supervision = 'effects' takes tokens from another clip of the batch: set train.batch to 2 or more")
    sizes = torch.arange(1, S, dtype=torch.float32)
    # On the CPU: a sum that runs along has no kernel on GPUs that gives the same bits every time.
    cumulated = (1 / (sizes * (S - sizes))).cumsum(0).to(tokens.device)
    draw = uniform((pairs, B, 1), tokens.device, generator) * cumulated[-1]
    size = 1 + torch.searchsorted(cumulated, draw).clamp_max(S - 2)
    place = uniform((pairs, B, S), tokens.device, generator).argsort(-1).argsort(-1)
    half = place < size
    replaced = torch.cat((half, ~half, torch.ones_like(half[:1])))  # [2 pairs + 1, B, S]
    shift = 1 + int(uniform((1,), torch.device("cpu"), generator).item() * (B - 1))
    other = tokens.roll(shift, 0)

    everything = torch.cat((tokens[None], torch.where(replaced.view(-1, B, T, N, 1), other, tokens)))  # [1 + 2 pairs + 1, B, T, N, C]
    whole = _KeepsAll(model)
    # On copies of the buffers: clips that do not exist must not enter BatchNorm's running statistics.
    buffers = {name: buffer.clone() for name, buffer in whole.named_buffers()}
    logits = torch.func.functional_call(whole, buffers, (everything.flatten(0, 1),)).float().flatten(-2).log_softmax(-1)
    logits = logits.unflatten(0, (-1, B))
    cells = logits[0].argmax(-1)  # [B, K]
    reached = logits.gather(-1, cells.expand(len(logits), -1, -1)[..., None])[..., 0]  # [., B, K]
    change = reached[1:] - reached[0]
    return Measured(replaced[:-1], change[:-1], change[-1])


def effects_loss(importance: Tensor, measured: Measured) -> Tensor:
    """Mean squared error of `total · (importance of what was replaced)` against the measured change, in units of the mean squared total.

    importance `[B, K, TN]` sums to one, so what all tokens do together is met by construction (Shapley's efficiency).
    """
    inside = torch.einsum("rbs,bks->rbk", measured.replaced.to(importance.dtype), importance)
    error = (measured.change - measured.total * inside).square()
    return error.mean() / measured.total.square().mean().clamp_min(1e-6)
