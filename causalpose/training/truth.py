"""The ground truth that the `oracle` selector is given: where the body is, token by token."""

import torch.nn.functional as F
from torch import Tensor

from causalpose.clip import Clip
from causalpose.config import ModelConfig
from causalpose.errors import CausalPoseError
from causalpose.scenes.body import Part


def body_share(clip: Clip, config: ModelConfig) -> Tensor:
    """Share of each token's patch that shows the person, `[B, T, N]` in [0, 1]; needs the part masks that only scenes have."""
    if clip.parts is None:
        raise CausalPoseError("the oracle selector needs part masks, which only scenes have; choose another fte.selector for real video")
    body = ((clip.parts >= Part.HEAD) & (clip.parts <= Part.RIGHT_SHANK)).float()  # [B, T, H, W]
    return F.avg_pool2d(body, config.backbone.patch).flatten(2)
