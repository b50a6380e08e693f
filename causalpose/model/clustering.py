"""Non-causal tokens are merged, not thrown away (CM-Pose: they may hold cues, but redundantly).

The paper's public text names no algorithm. Ours is DPC-kNN as TCFormer (CVPR 2022) uses it; k-means, bipartite matching (ToMe, ICLR 2023),
dropping and keeping are there to compare. All are batched over clips, and no gradient goes through an assignment; it goes through the
merge itself, to the tokens and to the importance that weighs them.
"""

from contextlib import nullcontext
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from causalpose.config import FTEConfig
from causalpose.model.randomness import per_clip

KMEANS_ROUNDS = 10
PANELS, PANELLED = 4, 256  # on a CPU the distances of so many points or more are computed in so many panels


@dataclass(frozen=True)
class Merged:
    """Merged tokens `[B, M, C]`; assignment int64 `[B, S]`: the merged token that stands for each input token, -1 if dropped;
    size `[B, M]` float: how many tokens each merged token stands for."""

    tokens: Tensor
    assignment: Tensor
    size: Tensor


def cluster(
    tokens: Tensor, importance: Tensor, config: FTEConfig, *, training: bool = False, generator: torch.Generator | None = None
) -> Merged:
    """Merge tokens `[B, S, C]`, weighed by importance `[B, S]` (positive) or all alike, into `config.clusters` (at most `S`) tokens.

    `keep` leaves every token as it is (`M = S`), `drop` leaves none (`M = 0`).
    """
    B, S, _ = tokens.shape
    count = min(config.clusters, S)
    everyone = torch.arange(S, device=tokens.device).expand(B, S)
    if config.clustering == "keep" or S == 0:
        return Merged(tokens, everyone, torch.ones_like(importance))
    if config.clustering == "drop":
        return Merged(tokens[:, :0], torch.full_like(everyone, -1), importance[:, :0])
    points = tokens.detach().float()
    with _full_precision(points.device):
        if config.clustering == "dpc-knn":
            tie_break = per_clip(B, S, tokens.device, generator, training) * 1e-6
            assignment = dpc_knn(points, count, config.neighbours, tie_break)
        elif config.clustering == "kmeans":
            assignment = kmeans(points, count, per_clip(B, S, tokens.device, generator, training))
        else:
            assignment = bipartite(points, count)
    if config.merge_weight == "plain":
        return merge(tokens, torch.ones_like(importance), assignment, count)
    # Only ratios matter. In units of the mean they are of order one, and the 1e-6 of the merge stays negligible.
    return merge(tokens, importance / importance.mean(1, keepdim=True).clamp_min(1e-20), assignment, count)


def _full_precision(device: torch.device):
    """Autocast off: nearly equal distances decide who belongs where, and bfloat16 has three digits."""
    on = torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type)
    return torch.autocast(device.type, enabled=False) if on else nullcontext()


def merge(tokens: Tensor, weights: Tensor, assignment: Tensor, count: int) -> Merged:
    """Weighted means: y = sum p x / (sum p + 1e-6) over the tokens x of a cluster, with weights p (TCFormer, where p = exp(score)).

    tokens `[B, S, C]`, weights `[B, S]`, assignment int64 `[B, S]` in [0, count).
    """
    member = F.one_hot(assignment, count).transpose(1, 2).to(weights.dtype)  # [B, M, S]
    share = member * weights[:, None]
    share = share / (share.sum(-1, keepdim=True) + 1e-6)
    return Merged(share.to(tokens.dtype) @ tokens, assignment, member.sum(-1))


def squared_distances(points: Tensor, panels: int = 1) -> Tensor:
    """d²(i, j) = ||xi - xj||² / C = (||xi||² + ||xj||² - 2 xi·xj) / C of points `[B, S, C]`: `[B, S, S]`.

    panels   with `P` of them, the matrix is computed in `P` groups of rows, each from its diagonal block on; what is below is the mirror
             image. That takes (P + 1) / 2P of the whole product's operations. Rounding may leave a zero a little above or below it
    """
    S, C = points.shape[1:]
    own, columns = points.square().sum(-1) / C, points.transpose(1, 2)
    if panels == 1:
        return torch.baddbmm(own[:, None].expand(-1, S, -1), points, columns, alpha=-2 / C).add_(own[:, :, None])
    out, high = points.new_empty(len(points), S, S), -(-S // panels)
    for top in range(0, S, high):
        rows = slice(top, top + high)
        # Into memory of its own: a product written into a part of a larger matrix is computed clip by clip.
        start = own[:, None, top:] + own[:, rows, None]
        panel = torch.baddbmm(start, points[:, rows], columns[:, :, top:], alpha=-2 / C, out=start)
        out[:, rows, top:] = panel
        out[:, top + high :, rows] = panel[:, :, high:].transpose(1, 2)
    return out


def panels(points: Tensor) -> int:
    """In how many panels to compute the distances: `PANELS` on a CPU, where the product is what takes the time; one elsewhere, and for few
    points, where small products are the slower.
    """
    return PANELS if points.device.type == "cpu" and points.shape[1] >= PANELLED else 1


@torch.no_grad()
def dpc_knn(points: Tensor, count: int, neighbours: int, tie_break: Tensor) -> Tensor:
    """Density peaks over k nearest neighbours: assignment int64 `[B, S]` of points `[B, S, C]` to `count` clusters.

    density = exp(-mean d² over the k nearest, the point itself included) + tie_break `[B, S]` (U(0, 1e-6): equal densities must differ);
    delta = distance to the nearest denser point, for the densest the largest distance; the `count` points of largest density · delta
    are the centres; every point joins its nearest centre.
    """
    S = points.shape[1]
    distance = squared_distances(points, panels(points))
    nearest, who = distance.topk(min(neighbours, S), dim=-1, largest=False, sorted=False)
    density = (-nearest.mean(-1)).exp() + tie_break
    # The densest has nothing denser: infinitely far does for the largest distance, it comes first with either.
    delta = nearest_denser(distance, density, nearest, who).clamp_min(0).sqrt()
    centres = (density * delta).topk(count, dim=-1).indices  # [B, M]
    assignment = distance.gather(1, centres[..., None].expand(-1, -1, S)).argmin(1)
    # A centre stands for itself, even where another centre lies on the very same spot.
    return assignment.scatter(1, centres, torch.arange(count, device=points.device).expand_as(centres))


def nearest_denser(distance: Tensor, density: Tensor, nearest: Tensor, who: Tensor) -> Tensor:
    """Least distance `[B, S]` to a point of larger density, infinite where there is none.

    distance `[B, S, S]`, density `[B, S]`; nearest, who `[B, S, k]`: each point's k least distances and whose they are. Most points have a
    denser one among them, and so need no look at all the others. How many do not is known late, which a traced graph and a GPU dislike:
    there every point looks at all.
    """
    if distance.device.type != "cpu" or torch.compiler.is_compiling():
        return torch.where(density[:, None, :] > density[:, :, None], distance, torch.inf).amin(-1)
    B, S = density.shape
    theirs = density.flatten()[who + torch.arange(0, B * S, S)[:, None, None]]
    delta = torch.where(theirs > density[..., None], nearest, torch.inf).amin(-1)
    clip, peak = delta.isinf().nonzero(as_tuple=True)
    higher = density[clip] > density[clip, peak, None]
    delta[clip, peak] = torch.where(higher, distance[clip, peak], torch.inf).amin(-1)
    return delta


@torch.no_grad()
def kmeans(points: Tensor, count: int, order: Tensor, rounds: int = KMEANS_ROUNDS) -> Tensor:
    """Lloyd's k-means: assignment int64 `[B, S]`; starts from the `count` points that come first in `order` `[B, S]`.

    A centre that loses all its points stays where it is.
    """
    first = order.topk(count, dim=-1).indices
    centres = points.gather(1, first[..., None].expand(-1, -1, points.shape[-1]))
    for _ in range(rounds):
        lengths = centres.square().sum(-1)[:, None]  # of ||x - c||², the part that is the same for every centre is left out
        assignment = torch.baddbmm(lengths.expand(-1, points.shape[1], -1), points, centres.transpose(1, 2), alpha=-2).argmin(-1)
        member = F.one_hot(assignment, count).transpose(1, 2).to(points.dtype)  # [B, M, S]
        size = member.sum(-1, keepdim=True)
        centres = torch.where(size > 0, (member @ points) / size.clamp_min(1), centres)
    return assignment


@torch.no_grad()
def bipartite(points: Tensor, count: int) -> Tensor:
    """ToMe's bipartite soft matching, repeated until `count` tokens are left: assignment int64 `[B, S]`.

    Each round splits the tokens alternately into A and B, links every token of A to its most similar of B (cosine) and merges the best
    links, size-weighted; a round can merge half the tokens at most. ToMe compares attention keys; there are none here, so tokens.
    """
    B, S, _ = points.shape
    assignment = torch.arange(S, device=points.device).expand(B, S)
    size = points.new_ones(B, S)
    while points.shape[1] > count:
        left = points.shape[1]
        a, b = points[:, ::2], points[:, 1::2]
        merging = min(b.shape[1], left - count)
        link, partner = (F.normalize(a, dim=-1) @ F.normalize(b, dim=-1).transpose(1, 2)).max(-1)
        order = link.argsort(dim=-1, descending=True, stable=True)
        stay = order[:, merging:].sort(-1).values
        alone = stay.shape[1]
        # Where each old token goes: A's unmerged tokens first, then all of B; a merged token of A goes to its partner's place.
        place_a = (partner + alone).scatter(1, stay, torch.arange(alone, device=points.device).expand_as(stay))
        place_b = torch.arange(alone, alone + b.shape[1], device=points.device).expand(B, -1)
        place = torch.empty(B, left, dtype=torch.long, device=points.device)
        place[:, ::2], place[:, 1::2] = place_a, place_b
        merged = merge(points, size, place, alone + b.shape[1])
        member_size = points.new_zeros(B, alone + b.shape[1]).scatter_add(1, place, size)
        points, size, assignment = merged.tokens, member_size, place.gather(1, assignment)
    return assignment
