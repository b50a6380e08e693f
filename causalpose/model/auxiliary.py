"""Stage 1's auxiliary tasks: masked-token reconstruction and token denoising (Multitask Coarse Learning).

*Paper*: random tokens are masked and restored from the others (an occlusion in feature space); Gaussian noise is put on some tokens and
taken off again (a defocus in feature space); both train the model beside the pose. *Ours*, where the public text is silent: the
target is the clean backbone token without gradient, normalised per token (MAE); corruption happens before the temporal embedding;
each task has its own light decoder above the shared encoder; a loss counts the corrupted tokens only.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from causalpose.config import MCLConfig, ModelConfig
from causalpose.model.attention import Block, initialise_linear
from causalpose.model.randomness import normal, uniform


@dataclass(frozen=True)
class Branch:
    """A corrupted copy of the clip's tokens: tokens `[B, T, N, C]`, and which of them were corrupted, bool `[B, T, N]`."""

    name: str
    tokens: Tensor
    chosen: Tensor


class Decoder(nn.Module):
    """A few blocks over the encoder's output, then a norm and a linear layer: light, so that the encoder has to do the work."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        width, e = config.backbone.width, config.encoder
        self.blocks = nn.ModuleList(Block(width, e.heads, e.mlp_ratio) for _ in range(config.mcl.decoder_depth))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, width)
        self.out.apply(initialise_linear)

    def forward(self, mixed: Tensor) -> Tensor:
        """mixed `[B, T, N, C]` -> restored tokens `[B, T, N, C]`."""
        x = mixed.flatten(1, 2)
        for block in self.blocks:
            x, _ = block(x)
        return self.out(self.norm(x)).view_as(mixed)


class Auxiliary(nn.Module):
    """Corrupts tokens before the encoder and scores their restoration after it. Used in training only."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config, self.grid = config.mcl, config.grid
        width, (rows, columns) = config.backbone.width, config.grid
        # A task of weight zero is not run at all, so it needs no parameters either.
        self.weights = {}
        if self.config.mask and self.config.weight_mask > 0:
            self.weights["mask"] = self.config.weight_mask
            # A masked token has lost its place with its content, so the mask token brings a learned position of its own.
            self.mask_token = nn.Parameter(torch.zeros(1, 1, 1, width))
            self.mask_position = nn.Parameter(torch.zeros(1, 1, rows * columns, width))
            nn.init.trunc_normal_(self.mask_token, std=0.02)
            nn.init.trunc_normal_(self.mask_position, std=0.02)
        if self.config.noise and self.config.weight_noise > 0:
            self.weights["noise"] = self.config.weight_noise
        self.decoders = nn.ModuleDict({name: Decoder(config) for name in self.weights})

    def corrupt(self, tokens: Tensor, generator: torch.Generator | None = None) -> list[Branch]:
        """tokens `[B, T, N, C]`, clean -> one corrupted copy per task."""
        branches = []
        if "mask" in self.weights:
            chosen = token_mask(self.config, tokens.shape[0], tokens.shape[1], self.grid, tokens.device, generator)
            replacement = (self.mask_token + self.mask_position).to(tokens.dtype)
            branches.append(Branch("mask", torch.where(chosen[..., None], replacement, tokens), chosen))
        if "noise" in self.weights:
            chosen = noise_mask(self.config, tokens.shape[0], tokens.shape[1], self.grid, tokens.device, generator)
            # One standard deviation a clip: a clip's task does not depend on the rest of its batch.
            spread = tokens.detach().flatten(1).float().std(1).view(-1, 1, 1, 1)
            noise = normal(tuple(tokens.shape), tokens.device, generator) * (self.config.noise_std * spread)
            branches.append(Branch("noise", tokens + (noise * chosen[..., None]).to(tokens.dtype), chosen))
        return branches

    def losses(self, tokens: Tensor, branches: list[Branch], mixed: list[Tensor]) -> dict[str, Tensor]:
        """Weighted losses by task, from the clean tokens `[B, T, N, C]`, the branches and the encoder's output for each.

        `target_variance`, which is to be watched and not minimised, is the variance of the clean tokens over clips, frames and places
        (mean over channels): the target is itself learned, and a collapse would show there as a fall towards zero.
        """
        if not branches:
            return {}
        target = tokens.detach().float()
        out = {"target_variance": target.flatten(0, 2).var(0).mean()}
        if self.config.normalise:
            target = F.layer_norm(target, target.shape[-1:])
        for branch, encoded in zip(branches, mixed, strict=True):
            error = F.mse_loss(self.decoders[branch.name](encoded).float(), target, reduction="none").mean(-1)  # [B, T, N]
            out[branch.name] = self.weights[branch.name] * (error * branch.chosen).sum() / branch.chosen.sum()
        return out


def token_mask(
    config: MCLConfig, batch: int, frames: int, grid: tuple[int, int], device: torch.device, generator: torch.Generator | None = None
) -> Tensor:
    """Tokens to mask, bool `[B, T, N]`, the same number in every clip.

    `random`  round(ratio · T · N) tokens of the clip, drawn one by one
    `tube`    round(ratio · N) places, the same in every frame
    `block`   one rectangle a frame, placed anew in every frame, of the size `rectangle` gives
    """
    rows, columns = grid
    places = rows * columns
    if config.mask_pattern == "random":
        return _exactly(_count(config.mask_ratio, frames * places), (batch, frames * places), device, generator).view(batch, frames, places)
    if config.mask_pattern == "tube":
        tube = _exactly(_count(config.mask_ratio, places), (batch, places), device, generator)
        return tube[:, None].expand(batch, frames, places)
    high, wide = rectangle(config.mask_ratio, grid)
    corner = uniform((2, batch, frames, 1), device, generator)
    top, left = (corner[0] * (rows - high + 1)).long(), (corner[1] * (columns - wide + 1)).long()
    y, x = torch.arange(rows, device=device), torch.arange(columns, device=device)
    in_rows, in_columns = (y >= top) & (y < top + high), (x >= left) & (x < left + wide)  # [B, T, rows], [B, T, columns]
    return (in_rows[..., :, None] & in_columns[..., None, :]).flatten(2)


def noise_mask(
    config: MCLConfig, batch: int, frames: int, grid: tuple[int, int], device: torch.device, generator: torch.Generator | None = None
) -> Tensor:
    """Tokens to put noise on, bool `[B, T, N]`: exactly round(share · T · N) of every clip."""
    total = frames * grid[0] * grid[1]
    count = min(total, max(1, round(config.noise_share * total)))
    return _exactly(count, (batch, total), device, generator).view(batch, frames, -1)


def rectangle(ratio: float, grid: tuple[int, int]) -> tuple[int, int]:
    """Size (rows, columns) of the `block` mask: the rectangle whose area comes nearest to `ratio` of the frame.

    Only shapes between half and twice the frame's own aspect are considered (thin stripes hide little); of equals, the one most like
    the frame. On an 8x6 grid a ratio of 0.5 gives 6x4 = 24 of 48 tokens, exactly; 0.3 gives 5x3 = 15, where 14.4 was asked for.
    """
    rows, columns = grid
    shapes = [(a, b) for a in range(1, rows + 1) for b in range(1, columns + 1) if a * b < rows * columns]

    def stretch(shape: tuple[int, int]) -> float:
        return abs(math.log((shape[0] / rows) / (shape[1] / columns)))

    near = [s for s in shapes if stretch(s) <= math.log(2) + 1e-9] or shapes
    return min(near, key=lambda s: (abs(s[0] * s[1] - ratio * rows * columns), stretch(s), s))


def _count(ratio: float, total: int) -> int:
    """round(ratio · total), but never none (nothing to learn) nor all (nothing to restore from)."""
    return min(total - 1, max(1, round(ratio * total)))


def _exactly(count: int, shape: tuple[int, int], device: torch.device, generator: torch.Generator | None) -> Tensor:
    """Bool `[B, S]` with exactly `count` true in every row, uniformly drawn."""
    chosen = uniform(shape, device, generator).topk(count, dim=1).indices
    return torch.zeros(shape, dtype=torch.bool, device=device).scatter_(1, chosen, True)
