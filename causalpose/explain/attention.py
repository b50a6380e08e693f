"""What attention says: raw, rolled out over the encoder, and weighted by its gradient.

All three read the row of the target-frame token in which the joint was found: which tokens of which frames feed it. They see the
encoder's blocks, from the backbone's tokens on; what the backbone mixed within a frame before, and what stage 2 adds, they do not see
(the gradient does pass through stage 2).
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from causalpose.clip import Clip
from causalpose.errors import CausalPoseError
from causalpose.explain import targets
from causalpose.explain.maps import Map

ALL = "all"


@contextmanager
def recorded(model: nn.Module) -> Iterator[list[Tensor]]:
    """Within the block, every forward pass appends the encoder's attention weights `[B, heads, TN, TN]`, block by block, to the list."""
    weights: list[Tensor] = []

    def ask(module, args):
        return (args[0], True, *args[2:])

    def keep(module, args, output):
        weights.append(output[1])

    handles = []
    for block in model.encoder.blocks:
        handles += [block.attention.register_forward_pre_hook(ask), block.attention.register_forward_hook(keep)]
    try:
        yield weights
    finally:
        for handle in handles:
            handle.remove()


def rollout(weights: list[Tensor]) -> Tensor:
    """Attention rollout (Abnar and Zuidema, ACL 2020): the product over blocks of (Ā + I) / 2, Ā the mean over heads; `[B, TN, TN]`."""
    joined = torch.eye(weights[0].shape[-1], device=weights[0].device)
    for block in weights:
        joined = (block.mean(1) + torch.eye(block.shape[-1], device=block.device)) / 2 @ joined
    return joined


def relevance(weights: list[Tensor], gradients: list[Tensor]) -> Tensor:
    """Gradient x attention (Chefer et al., ICCV 2021, self-attention rule): R ← R + Ā R from R = I, Ā = mean over heads of (∇A ⊙ A)⁺."""
    joined = torch.eye(weights[0].shape[-1], device=weights[0].device).expand(len(weights[0]), -1, -1)
    for block, gradient in zip(weights, gradients, strict=True):
        joined = joined + (block * gradient).clamp_min(0).mean(1) @ joined
    return joined


def _joints(model: nn.Module, joint: str, count: int) -> list[int]:
    return list(range(count)) if joint == ALL else [targets.joint_index(model, joint)]


def _needs_encoder(model: nn.Module, method: str) -> None:
    if model.config.stage == 0:
        raise CausalPoseError(f"a stage-0 model looks at one frame and has no encoder, hence no {method}")


def joint_tokens(model: nn.Module, cells: Tensor, size: tuple[int, int]) -> Tensor:
    """Position among the `TN` tokens of the target-frame token that holds each predicted cell; int64, as `cells`."""
    (rows, columns), (h, w) = model.config.grid, size
    token = (cells // w * rows // h) * columns + cells % w * columns // w
    return model.config.frames // 2 * rows * columns + token


def _pick(model: nn.Module, joined: Tensor, tokens: Tensor, joints: list[int]) -> Tensor:
    """Rows of `[B, TN, TN]` at the joints' tokens `[B, K]`, mean over the joints, `[B, T, rows, columns]`."""
    found = torch.stack([row[token[joints]].mean(0) for row, token in zip(joined, tokens, strict=True)])
    return found.unflatten(1, (model.config.frames, *model.config.grid)).detach().float().cpu()


@torch.no_grad()
def encoder_attention(model: nn.Module, clip: Clip, joint: str = ALL) -> Map:
    """Attention of the last encoder block, mean over heads, from the target-frame token in which the joint was found."""
    return _forward_only(model, clip, joint, "encoder_attention", lambda weights: weights[-1].mean(1))


@torch.no_grad()
def attention_rollout(model: nn.Module, clip: Clip, joint: str = ALL) -> Map:
    """Attention rolled out over the encoder's blocks (`rollout`), from the target-frame token in which the joint was found."""
    return _forward_only(model, clip, joint, "attention_rollout", rollout)


def _forward_only(model: nn.Module, clip: Clip, joint: str, name: str, join) -> Map:
    _needs_encoder(model, name)
    started = time.perf_counter()
    with recorded(model) as weights:
        logits = model(targets.inputs(model, clip), truth=targets.oracle_truth(model, clip)).heatmaps
    tokens = joint_tokens(model, targets.predicted_cells(logits), logits.shape[-2:])
    values = _pick(model, join(weights), tokens, _joints(model, joint, logits.shape[1]))
    return Map(name, joint, values, time.perf_counter() - started, 1)


def gradient_attention(model: nn.Module, clip: Clip, joint: str = ALL) -> Map:
    """Gradient x attention of the joint's target (`relevance`); for `all` the mean over joints, a backward pass each.

    The token's own entry of R starts at one and would hide the rest, so the identity is taken off again.
    """
    _needs_encoder(model, "gradient_attention")
    started = time.perf_counter()
    frames, truth = targets.inputs(model, clip), targets.oracle_truth(model, clip)
    with torch.no_grad():
        tokens = model.embed(frames)
    with recorded(model) as weights, torch.enable_grad():
        logits = model.forward_tokens(tokens.requires_grad_(), truth=truth).heatmaps
    cells = targets.predicted_cells(logits)
    score = targets.log_probability(logits, cells)  # [B, K]
    places = joint_tokens(model, cells, logits.shape[-2:])
    found = []
    for k in (joints := _joints(model, joint, logits.shape[1])):
        gradients = torch.autograd.grad(score[:, k].sum(), weights, retain_graph=k != joints[-1])
        with torch.no_grad():
            joined = relevance(weights, list(gradients))
            found.append(_pick(model, joined - torch.eye(joined.shape[-1], device=joined.device), places, [k]))
    return Map("gradient_attention", joint, torch.stack(found).mean(0).clamp_min(0), time.perf_counter() - started, 1)
