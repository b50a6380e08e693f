"""From heatmaps to poses: the flip test and a confidence that means something.

The flip test runs the mirrored clip too, mirrors its maps back, swaps left and right, and averages. The average is over *probability
maps* (softmax), not logits, and it is exact: in the UDP convention a mirrored heatmap's cells lie where the straight one's do.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from causalpose.config import ModelConfig
from causalpose.model import heatmaps
from causalpose.skeletons import keypoint_set

_REACH = 2  # cells around the peak whose probability is the confidence


def to_maps(logits: Tensor, kind: str) -> Tensor:
    """Logits `[B, K, h, w]` as maps that may be averaged: probabilities for `ce`, the values themselves for `mse`."""
    return logits.float().flatten(-2).softmax(-1).view_as(logits) if kind == "ce" else logits.float()


def unflip(maps: Tensor, config: ModelConfig) -> Tensor:
    """Maps `[B, K, h, w]` of a mirrored clip, as maps of the straight one."""
    order = torch.tensor(keypoint_set(config.keypoints).flip_order, device=maps.device)
    return maps.flip(-1)[:, order]


def flip_truth(truth: Tensor | None, config: ModelConfig) -> Tensor | None:
    """Per-token truth `[B, T, N]` of a mirrored clip."""
    return None if truth is None else truth.unflatten(-1, config.grid).flip(-1).flatten(-2)


def poses(maps: Tensor, config: ModelConfig, kind: str, decoder: str = "dark") -> tuple[Tensor, Tensor]:
    """Keypoints `[B, K, 2]` in crop pixels and confidences `[B, K]` in [0, 1] of (averaged) maps `[B, K, h, w]`.

    For `ce` the confidence is the probability within two cells of the peak: how sure the model is of the *place*. The peak alone would be
    at most 1 / (2 pi sigma^2) for a perfect model. For `mse` it is the peak, cut to [0, 1].
    """
    if kind != "ce":
        points, scores = heatmaps.decode(maps, config, kind, decoder)
        return points, scores.clamp(0, 1)
    points, _ = heatmaps.decode(maps.clamp_min(1e-30).log(), config, kind, decoder)
    side = 2 * _REACH + 1
    mass = F.avg_pool2d(maps, side, stride=1, padding=_REACH) * side**2
    peak = maps.flatten(-2).argmax(-1, keepdim=True)
    return points, mass.flatten(-2).gather(-1, peak)[..., 0].clamp(0, 1)
