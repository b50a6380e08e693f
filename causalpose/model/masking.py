"""Which tokens an auxiliary task corrupts: random tokens, tubes or blocks, over the whole clip or in every frame alike (ours)."""

import math

import torch
from torch import Tensor

from causalpose.config import MCLConfig
from causalpose.model.randomness import uniform


def token_mask(
    config: MCLConfig, batch: int, frames: int, grid: tuple[int, int], device: torch.device, generator: torch.Generator | None = None
) -> Tensor:
    """Tokens to mask, bool `[B, T, N]`, the same number in every clip.

    `random`  round(ratio · T · N) tokens of the clip, drawn one by one; with scope `frame`, round(ratio · N) of every frame
    `tube`    round(ratio · N) places, the same in every frame
    `block`   one rectangle a frame, placed anew in every frame, of the size `rectangle` gives
    """
    rows, columns = grid
    places = rows * columns
    if config.mask_pattern == "random":
        groups = frames if config.scope == "frame" else 1
        size = frames * places // groups
        return _exactly(_count(config.mask_ratio, size), (batch * groups, size), device, generator).view(batch, frames, places)
    if config.mask_pattern == "tube":
        tube = _exactly(_count(config.mask_ratio, places), (batch, places), device, generator)
        return tube[:, None].expand(batch, frames, places)
    high, wide = rectangle(config.mask_ratio, grid)
    corner = uniform((2, batch, frames, 1), device, generator)
    top, left = (corner[0] * (rows - high + 1)).long(), (corner[1] * (columns - wide + 1)).long()
    y, x = torch.arange(rows, device=device), torch.arange(columns, device=device)
    in_rows, in_columns = (y >= top) & (y < top + high), (x >= left) & (x < left + wide)  # [B, T, rows], [B, T, columns]
    return (in_rows[..., :, None] & in_columns[..., None, :]).flatten(2)


def masked_tokens(config: MCLConfig, frames: int, grid: tuple[int, int]) -> int:
    """How many tokens of a clip `token_mask` chooses."""
    places = grid[0] * grid[1]
    if config.mask_pattern == "block":
        high, wide = rectangle(config.mask_ratio, grid)
        return frames * high * wide
    groups = frames if config.mask_pattern == "tube" or config.scope == "frame" else 1
    return groups * _count(config.mask_ratio, frames * places // groups)


def noised_tokens(config: MCLConfig, frames: int, grid: tuple[int, int]) -> int:
    """How many tokens of a clip `noise_mask` chooses."""
    groups = frames if config.scope == "frame" else 1
    return groups * _noised(config, frames * grid[0] * grid[1] // groups)


def noise_mask(
    config: MCLConfig, batch: int, frames: int, grid: tuple[int, int], device: torch.device, generator: torch.Generator | None = None
) -> Tensor:
    """Tokens to put noise on, bool `[B, T, N]`: exactly round(share · T · N) of every clip, or round(share · N) of every frame."""
    groups = frames if config.scope == "frame" else 1
    size = frames * grid[0] * grid[1] // groups
    return _exactly(_noised(config, size), (batch * groups, size), device, generator).view(batch, frames, -1)


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


def _noised(config: MCLConfig, total: int) -> int:
    """round(share · total), at least one."""
    return min(total, max(1, round(config.noise_share * total)))


def _exactly(count: int, shape: tuple[int, int], device: torch.device, generator: torch.Generator | None) -> Tensor:
    """Bool `[B, S]` with exactly `count` true in every row, uniformly drawn."""
    chosen = uniform(shape, device, generator).topk(count, dim=1).indices
    return torch.zeros(shape, dtype=torch.bool, device=device).scatter_(1, chosen, True)
