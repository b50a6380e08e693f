"""AdamW parameter groups with layer-wise decay, and the warm-up + cosine schedule as a pure function of the step.

Sources: layer decay 0.75 and "no weight decay on 1-D parameters and the position embedding" are ViTPose's; the schedule is the
field's usual one. That learned tokens (mask token, keypoint tokens, temporal embedding) are not decayed either is *ours*: they
are inputs, and decay would pull them towards one another.
"""

import math
import re
from collections import defaultdict

import torch
from torch import nn

from causalpose.config import TrainConfig

_EMBEDDING = re.compile(r"(^|[._])(embedding|tokens?)([._]|$)")
_BLOCK = re.compile(r"^backbone\.vit\.blocks\.(\d+)\.")  # the transformer's own: a convolutional stem below it may have blocks as well
_EMBED_LAYERS = re.compile(r"(^|[._])(stem|patch_embed|pos_embed|position|cls_token|reg_token|norm_pre)([._]|$)")


def decays(name: str, parameter: nn.Parameter) -> bool:
    """Whether weight decay applies: weight matrices and kernels yes; biases, norms, gains, embeddings and learned tokens no.

    The matrices of layers are called `…weight`; a bare parameter of a module (position, temporal embedding, mask token) is an input.
    """
    return parameter.ndim > 1 and name.endswith("weight") and not _EMBEDDING.search(name)


def layer_id(name: str, depth: int) -> int:
    """Layer number of a parameter: stem and position embedding 0, backbone block i is i+1, everything above is `depth + 1`."""
    if not name.startswith("backbone."):
        return depth + 1
    block = _BLOCK.search(name)
    if block:
        return int(block.group(1)) + 1
    return 0 if _EMBED_LAYERS.search(name) else depth + 1


def parameter_groups(model: nn.Module, config: TrainConfig, depth: int) -> list[dict]:
    """AdamW groups that hold every trainable parameter exactly once.

    Each group carries `lr_scale = layer_decay ** (depth + 1 - layer)`; the loop sets `lr = lr_at(step) * lr_scale`.
    """
    groups: dict[tuple[int, bool], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups[layer_id(name, depth), decays(name, parameter)].append(parameter)
    return [
        {
            "params": parameters,
            "weight_decay": config.weight_decay if decayed else 0.0,
            "lr_scale": config.layer_decay ** (depth + 1 - layer),
            "lr": config.lr,
        }
        for (layer, decayed), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]


def build(model: nn.Module, config: TrainConfig, depth: int) -> torch.optim.AdamW:
    """AdamW over `parameter_groups` (betas 0.9, 0.999). The fused kernel steps all tensors in one call, also on CPU."""
    return torch.optim.AdamW(parameter_groups(model, config, depth), lr=config.lr, fused=True)


def lr_factor(step: int, steps: int, warmup: int) -> float:
    """Share of the peak learning rate at a step (0-based): linear warm-up to 1, then half a cosine down to 0 at `steps`."""
    warmup = min(warmup, steps)
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def set_learning_rate(optimiser: torch.optim.Optimizer, config: TrainConfig, step: int) -> float:
    """Set every group's rate for a step; returns the unscaled rate (that of the layers above the backbone)."""
    rate = config.lr * lr_factor(step, config.steps, config.warmup)
    for group in optimiser.param_groups:
        group["lr"] = rate * group["lr_scale"]
    return rate
