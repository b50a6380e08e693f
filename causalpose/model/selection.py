"""Token Causal Importance Selection (TCIS) and the selectors it is compared with.

*Paper*: the causal importance of a token tells keypoint-relevant (causal) from other (non-causal) tokens. *Ours*, after PPT (ECCV 2022):
importance is the attention that learned keypoint tokens pay to the token, mean over heads; summed over keypoints it ranks the tokens;
the top share is causal. How the hard choice gets its gradient is ours too (`_gate`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from causalpose.config import FTEConfig, ModelConfig
from causalpose.errors import CausalPoseError
from causalpose.model.attention import initialise_linear
from causalpose.model.randomness import per_clip
from causalpose.skeletons import keypoint_set


class TokenImportance(nn.Module):
    """`K` learned keypoint tokens attend to the clip's `TN` tokens: what they read, and where they looked."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        width, keypoints = config.backbone.width, len(keypoint_set(config.keypoints))
        self.heads = config.fte.heads
        self.keypoint_tokens = nn.Parameter(torch.zeros(1, keypoints, width))
        self.norm_query, self.norm_token = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key_value, self.out = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, width)
        self.apply(initialise_linear)
        nn.init.trunc_normal_(self.keypoint_tokens, std=0.02)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """tokens `[B, TN, C]` -> keypoint tokens `[B, K, C]` and attention float32 `[B, heads, K, TN]`, each row of which sums to one."""
        B, S, C = tokens.shape
        asked = self.query(self.norm_query(self.keypoint_tokens))
        q = asked.view(1, -1, self.heads, C // self.heads).transpose(1, 2)  # [1, heads, K, C/heads]
        k, v = self.key_value(self.norm_token(tokens)).view(B, S, 2, self.heads, C // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        weights = ((q * (C // self.heads) ** -0.5) @ k.transpose(-2, -1)).float().softmax(-1)  # [B, heads, K, TN]
        read = (weights.to(v.dtype) @ v).transpose(1, 2).reshape(B, -1, C)
        return self.keypoint_tokens + self.out(read), weights


@dataclass(frozen=True)
class Selection:
    """Which tokens are causal. `S = TN` tokens, `k` of them causal.

    causal      int64 `[B, k]`, positions in ascending order
    rest        int64 `[B, S-k]`, positions of the non-causal tokens, ascending
    mask        bool `[B, S]`, true where causal
    gate        `[B, k]` or None: factor on the values of the causal tokens (one in the forward pass if straight-through)
    score       `[B, S]`, what the tokens were ranked by
    importance  `[B, S]`, pooled over keypoints, sums to one: weighs the tokens in merging
    """

    causal: Tensor
    rest: Tensor
    mask: Tensor
    gate: Tensor | None
    score: Tensor
    importance: Tensor


def select(
    tokens: Tensor,
    per_keypoint: Tensor,
    config: FTEConfig,
    frames: int,
    *,
    heatmap_mass: Callable[[], Tensor] | None = None,
    truth: Tensor | None = None,
    keep_rate: float | None = None,
    training: bool = False,
    generator: torch.Generator | None = None,
) -> Selection:
    """Rank the tokens by `config.selector` and keep the top share.

    tokens        `[B, S, C]`; per_keypoint `[B, K, S]`: the importance per keypoint
    heatmap_mass  gives `[B, S]`, stage 1's heatmap mass in each token's cells (`heatmap` only)
    truth         `[B, T, N]`, share of each token's patch that shows the body (`oracle` only)
    keep_rate     in place of `config.keep_rate` (annealing, effects); where every token is kept there is nothing to choose and no gate

    `attention` ranks by importance (TCIS), `bottom` by its opposite (a control that should hurt), `norm` by the token's length, `random`
    by chance, `heatmap` and `oracle` by what they are given; `all` keeps every token.
    """
    B, S, _ = tokens.shape
    importance = per_keypoint.mean(1)
    score = _score(tokens, importance, config.selector, B, S, heatmap_mass, truth, training, generator)
    if config.selector == "all":
        every = torch.arange(S, device=tokens.device).expand(B, S)
        return Selection(every, every[:, :0], torch.ones_like(every, dtype=torch.bool), None, score, importance)
    groups = frames if config.ranking == "frame" else 1
    rate = config.keep_rate if keep_rate is None else keep_rate
    mask, threshold = top_share(score.detach(), rate, groups)
    kept = groups * kept_tokens(rate, S // groups)
    # The causal positions come first and each group stays in ascending order. (Keys that all differ: not every exporter has a stable sort.)
    order = (torch.where(mask, 0, S) + torch.arange(S, device=mask.device)).argsort(dim=1)
    causal, rest = order[:, :kept], order[:, kept:]
    # Only TCIS learns what to select: a gate on `bottom` would teach it to turn its meaning round.
    learns = config.selector == "attention" and kept < S
    gate = _gate(importance, mask, threshold, config.gate).gather(1, causal) if learns else None
    return Selection(causal, rest, mask, gate, score, importance)


def training_keep_rate(config: FTEConfig, progress: float) -> float:
    """The keep rate of a training step; progress in [0, 1] is the share of the steps already taken.

    With `keep_anneal` the rate falls from 1 to `keep_rate` along half a cosine over that share of the steps (PPT, ECCV 2022).
    """
    if config.train_selection == "all":
        return 1.0
    if progress >= config.keep_anneal:
        return config.keep_rate
    return config.keep_rate + (1 - config.keep_rate) * 0.5 * (1 + math.cos(math.pi * progress / config.keep_anneal))


def kept_tokens(keep_rate: float, tokens: int) -> int:
    """How many of `tokens` are causal: round(ρ · tokens), at least one."""
    return min(tokens, max(1, round(keep_rate * tokens)))


def top_share(score: Tensor, keep_rate: float, groups: int) -> tuple[Tensor, Tensor]:
    """The top share of every group of tokens: exactly `kept_tokens` of each.

    score     `[B, S]`; groups: 1 ranks all tokens together, `T` ranks every frame for itself
    returns   mask bool `[B, S]` and threshold `[B, S]`, the middle between the last kept and the first left out of the token's group
    """
    grouped = score.unflatten(1, (groups, -1))  # [B, groups, S/groups]
    size = grouped.shape[-1]
    kept = kept_tokens(keep_rate, size)
    values, positions = grouped.topk(min(kept + 1, size), dim=-1)
    mask = torch.zeros_like(grouped, dtype=torch.bool).scatter_(-1, positions[..., :kept], True)
    threshold = (values[..., kept - 1] + values[..., -1]) / 2
    return mask.flatten(1), threshold[..., None].expand_as(grouped).flatten(1)


def heatmap_mass(logits: Tensor, grid: tuple[int, int]) -> Tensor:
    """Probability that any joint is in a token's cells: logits `[B, T, K, h, w]` -> `[B, TN]`, mean over joints, each frame sums to one."""
    probability = logits.float().flatten(-2).softmax(-1).unflatten(-1, logits.shape[-2:]).mean(2)  # [B, T, h, w]
    rows, columns = grid
    cells = (logits.shape[-2] // rows, logits.shape[-1] // columns)
    return F.avg_pool2d(probability, cells).flatten(1) * (cells[0] * cells[1])


def _score(tokens, importance, selector, B, S, heatmap, truth, training, generator) -> Tensor:
    if selector == "bottom":
        return -importance
    if selector == "norm":
        return tokens.float().norm(dim=-1)
    if selector == "random":
        return per_clip(B, S, tokens.device, generator, training)
    if selector == "heatmap":
        return heatmap()
    if selector == "oracle":
        if truth is None:
            raise CausalPoseError(
                "fte.selector = 'oracle' needs the ground-truth body share of each token: pass truth [B, T, N] (scenes have it)"
            )
        if truth.numel() != B * S or truth.shape[0] != B:
            raise CausalPoseError(f"truth has shape {tuple(truth.shape)}; the oracle selector takes [B, T, N] with B = {B} and T·N = {S}")
        # Many patches are all body or none at all: importance breaks the ties without ever changing the order of unequal shares.
        return truth.reshape(B, S).float() + 1e-4 * importance.detach() / importance.detach().amax(1, keepdim=True)
    return importance


def _gate(importance: Tensor, mask: Tensor, threshold: Tensor, kind: str) -> Tensor:
    """Factor `[B, S]` on the tokens' values, through which the ranking learns.

    soft = sigmoid(log importance - log threshold) = importance / (importance + threshold): one half at the edge of being kept, near one
    far above. `soft` uses it as it is. `straight-through` is exactly one (kept) or zero in the forward pass, with the gradient of `soft`.
    """
    soft = importance / (importance + threshold)
    return soft if kind == "soft" else mask.to(soft.dtype) + soft - soft.detach()
