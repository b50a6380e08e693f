"""`Map`: what every method of explanation yields, whatever it is made of."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from causalpose.clip import Clip
from causalpose.errors import CausalPoseError


@dataclass(frozen=True)
class Map:
    """How much each token matters to one joint (or, pooled, to the pose), by one method.

    method          its name; joint: the joint's name, or `all`
    values          float32 `[B, T, rows, columns]` on the CPU, not negative; only the *ratios* within a clip mean anything across methods
    seconds         wall time for the batch
    forward_passes  clips that went through the model, for each clip explained (a gradient method runs as many backward)
    facts           what a reader must know to repeat it: baseline, steps, completeness error, …
    signed          the same with its sign where the method has one (positive: evidence for the joint), else None
    """

    method: str
    joint: str
    values: Tensor
    seconds: float
    forward_passes: float
    facts: dict[str, object] = field(default_factory=dict)
    signed: Tensor | None = None

    def __post_init__(self):
        if self.values.ndim != 4:
            raise CausalPoseError(f"{self.method}: a token map is [B, T, rows, columns], not {list(self.values.shape)}")
        if not torch.isfinite(self.values).all() or (self.values < 0).any():
            raise CausalPoseError(f"{self.method}: the map of {self.joint} holds negative values or values that are not finite")


def shares(values: Tensor) -> Tensor:
    """A map `[B, T, rows, columns]` scaled to sum one in each clip; a map of zeros stays one."""
    total = values.flatten(1).sum(1).clamp_min(1e-30)
    return values / total[:, None, None, None]


def pool(maps: list[Map]) -> Map:
    """One map from those of several joints: the mean of the maps, each scaled to sum one, so that no joint outweighs another."""
    if not maps:
        raise CausalPoseError("cannot pool no maps")
    first = maps[0]
    values = torch.stack([shares(found.values) for found in maps]).mean(0)
    joint = first.joint if len(maps) == 1 else "all"
    return Map(first.method, joint, values, sum(m.seconds for m in maps), round(sum(m.forward_passes for m in maps), 6), first.facts)


def join(maps: list[Map]) -> Map:
    """One map of a batch from the maps of its clips."""
    first = maps[0]
    signed = None if first.signed is None else torch.cat([m.signed for m in maps])
    passes = sum(m.forward_passes for m in maps) / len(maps)
    values = torch.cat([m.values for m in maps])
    return Map(first.method, first.joint, values, sum(m.seconds for m in maps), passes, first.facts, signed)


def as_batch(clip: Clip) -> Clip:
    """A single clip as a batch of one; a batch as it is."""
    return clip.map(lambda tensor: tensor[None]) if clip.frames.ndim == 4 else clip


def token_sum(pixels: Tensor, grid: tuple[int, int]) -> Tensor:
    """Sum of values `[B, T, C, H, W]` over each token's pixels and channels, `[B, T, rows, columns]`."""
    rows, columns = grid
    return pixels.unflatten(-1, (columns, -1)).unflatten(-3, (rows, -1)).sum((2, 4, 6))
