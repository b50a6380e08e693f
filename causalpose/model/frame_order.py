"""Controls of the use of time: the other frames in another order, or the target frame in their place (ours).

They act on the backbone's tokens, which is the same as acting on the frames, and belong to the model: what a checkpoint was trained with
it is also tested with.
"""

import torch
from torch import Tensor

from causalpose.model.auxiliary import Views
from causalpose.model.randomness import uniform


def reorder(
    kind: str, tokens: Tensor, views: Views | None, training: bool, generator: torch.Generator | None = None
) -> tuple[Tensor, Views | None, Tensor]:
    """tokens `[B, T, N, C]` (and the views) in another order of frames, and that order, int64 `[B, T]`: place t holds frame `order[t]`.

    `repeated`   every place holds the target frame
    `shuffled`   the target frame stays in the middle. In training the others are drawn anew for every clip. In evaluation the frames before
                 and those after the target change sides, the same for every clip: an order that training has seen as often as any other
    """
    B, T = tokens.shape[:2]
    target = T // 2
    if kind == "repeated":
        order = torch.full((B, T), target, device=tokens.device)
    else:
        others = torch.tensor([t for t in range(T) if t != target], device=tokens.device)
        if training:
            drawn = others[uniform((B, T - 1), tokens.device, generator).argsort(1)]
        else:
            drawn = others.roll(target).expand(B, T - 1)
        order = torch.cat((drawn[:, :target], torch.full((B, 1), target, device=tokens.device), drawn[:, target:]), 1)

    def take(x: Tensor | None) -> Tensor | None:
        return None if x is None else x.gather(1, order.view(B, T, *[1] * (x.ndim - 2)).expand_as(x))

    return take(tokens), None if views is None else Views(take(views.erased), take(views.chosen), take(views.target)), order


def restore_order(maps: dict[str, Tensor], order: Tensor | None) -> dict[str, Tensor]:
    """Stage 1's maps with each frame's attention back at its own place; frames that stood in several places sum, absent ones get zero."""
    if order is None:
        return maps
    attention = maps["encoder_attention"]  # [B, N, T, rows, columns]
    where = order[:, None, :, None, None].expand_as(attention)
    return maps | {"encoder_attention": torch.zeros_like(attention).scatter_add(2, where, attention)}
