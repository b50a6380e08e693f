"""Deletion and insertion token by token: does the target fall, and rise, as a map says it should?

Tokens are exchanged between the clip's backbone tokens and those of a *substrate*, a version of the clip that holds nothing of interest:

    mean_token   the clip's mean token in every place: cheap, and nothing that the model ever sees
    blur         the clip's own picture, blurred by a token's width
    background   the scene rendered without the person and with other surroundings: real pictures, so nothing is out of distribution
                 (scenes only)

Exchanging tokens leaves a token's neighbours as they were, which the backbone had mixed with it already.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.transforms.functional import gaussian_blur

from causalpose.errors import CausalPoseError
from causalpose.explain import targets
from causalpose.explain.maps import Map
from causalpose.scenes.world import World

SUBSTRATES = ("mean_token", "blur", "background")
FRACTIONS = (0.05, 0.15, 0.4)  # of the tokens, between none and all; most of the curve happens early
# Drawn anew in the empty scene, so that no place keeps what the clip shows there.
_SURROUNDINGS = ("background", "distractors", "occluders")


@torch.no_grad()
def substrate(model: nn.Module, frames: Tensor, kind: str, world: World | None = None, clips: Sequence[int] = (), seed: int = 0) -> Tensor:
    """Backbone tokens `[B, T, N, C]` of a substrate of the clips `frames` `[B, T, 3, H, W]`; `background` needs their world and numbers."""
    if kind not in SUBSTRATES:
        raise CausalPoseError(f"unknown substrate {kind!r}; substrates: {', '.join(SUBSTRATES)}")
    if kind == "background":
        if world is None:
            raise CausalPoseError("substrate 'background' re-renders the scene, so it needs a world; on real video use mean_token or blur")
        empty = world.resample(*_SURROUNDINGS, salt=7001 + seed).render(clips, person=False)
        return model.embed(targets.inputs(model, empty))
    if kind == "blur":
        patch = model.config.backbone.patch
        return model.embed(gaussian_blur(frames.flatten(0, 1), 4 * patch + 1, float(patch)).view_as(frames))
    tokens = model.embed(frames)
    return tokens.mean((1, 2), keepdim=True).expand_as(tokens)


def ranking(values: Tensor, seed: int = 0) -> Tensor:
    """Tokens `[B, TN]` from the largest value to the smallest; ties fall by a seeded draw, not by place."""
    flat = values.flatten(1)
    draw = torch.rand(flat.shape, generator=torch.Generator().manual_seed(seed))
    shuffled = draw.argsort(1)
    return shuffled.gather(1, flat.gather(1, shuffled).argsort(dim=1, descending=True, stable=True))


@torch.no_grad()
def deletion_insertion(
    model: nn.Module,
    frames: Tensor,
    maps: Sequence[Map],
    joint: str,
    other: Tensor,
    *,
    fractions: Sequence[float] = FRACTIONS,
    truth: Tensor | None = None,
    seed: int = 0,
    batch: int = 64,
) -> tuple[Tensor, Tensor]:
    """Areas under the deletion and insertion curves of several maps of *one* clip, each `[M]`.

    The curve is the probability of the joint's predicted cell over that of the clean clip, against the share of tokens that was exchanged
    (RISE, Petsiuk et al. 2018, whose pixels are tokens here). Deletion starts at the clip and takes tokens away from the top: lower is
    better; insertion starts at the substrate `other` `[1, T, N, C]` and puts them back: higher is better.
    """
    if len(frames) != 1 or any(len(found.values) != 1 for found in maps):
        raise CausalPoseError("deletion_insertion scores the maps of one clip; pick one of the batch")
    fractions = [0.0, *sorted(fractions), 1.0]
    if fractions[1] <= 0 or fractions[-2] >= 1:
        raise CausalPoseError(f"deletion_insertion: fractions {fractions[1:-1]} must lie between 0 and 1")
    k = targets.joint_index(model, joint)
    clean, other = model.embed(frames).flatten(1, 2), other.flatten(1, 2)  # [1, TN, C]
    cell = targets.predicted_cells(model.forward_tokens(clean.view(1, *frames.shape[1:2], -1, clean.shape[-1]), truth=truth).heatmaps)[:, k]
    order = torch.cat([ranking(found.values, seed) for found in maps]).to(clean.device)  # [M, TN]
    place = order.argsort(1)  # each token's rank
    counts = [round(share * order.shape[1]) for share in fractions]
    top = torch.stack([place < count for count in counts], 1)  # [M, F, TN]
    keep = torch.stack([~top, top]).flatten(0, 2)  # deletion, insertion: where the clip's own token stands
    keep, back = torch.unique(keep, dim=0, return_inverse=True)  # all curves begin and end alike
    scores = []
    for part in keep.split(batch):
        tokens = torch.where(part[..., None], clean, other).unflatten(1, (frames.shape[1], -1))
        shown = None if truth is None else truth.expand(len(part), -1, -1)
        logits = model.forward_tokens(tokens, truth=shown).heatmaps[:, k]
        scores.append(targets.log_probability(logits, cell.expand(len(part))))
    curve = torch.cat(scores)[back].view(2, len(maps), len(fractions)).double()
    curve = (curve - curve[:1, :1, :1]).exp().cpu()  # the first point of a deletion curve is the clean clip
    area = torch.trapezoid(curve, torch.tensor(fractions, dtype=torch.float64), dim=-1)
    return area[0], area[1]
