"""The measured effect of each token: re-render its region as it might have been, and see what the prediction does (ours).

For a token, the pixels that it covers are taken from the same scene with some causes drawn anew, `do(cause := another draw)`, and all
other pixels stay as they are. What changes in the target (`targets`) is the token's effect *in this clip*, measured and not inferred. It
needs the generator, so it exists for scenes only. The region is cut out of another picture, so there may be a seam that no camera records.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn
from tqdm.auto import tqdm

from causalpose.errors import CausalPoseError
from causalpose.explain import targets
from causalpose.explain.maps import Map
from causalpose.scenes.causes import GRAPH
from causalpose.scenes.world import World
from causalpose.skeletons import keypoint_set

# Everything that decides what a place shows, the person included: is the evidence in this token used at all? Camera, lens and sensor stay:
# the region is filmed by the same camera.
CONTENT = ("body", "motion", "clothing", "skin", "background", "distractors", "occluders")
# Everything that leaves the pose alone: does the prediction lean on what should not matter to it?
SURROUNDINGS = ("background", "clothing", "distractors", "occluders")
CAUSES = {"content": CONTENT, "surroundings": SURROUNDINGS}


@dataclass(frozen=True)
class Effect:
    """The effect of every token on every joint, each `[B, K, T, rows, columns]` float32.

    change     mean over resamples of target after - target before (`targets`), in nats; negative: evidence was lost
    error      its standard error (nan with one resample)
    size       mean over resamples of the absolute change: what an unsigned map can be compared with
    shift      mean over resamples of the distance, in crop pixels, by which the expected keypoint moves (the mean of the heatmap's
               distribution over places); shift_error: its standard error
    causes     what was drawn anew; resamples: how often
    """

    change: Tensor
    error: Tensor
    size: Tensor
    shift: Tensor
    shift_error: Tensor
    keypoints: str
    causes: tuple[str, ...]
    resamples: int
    seconds: float
    forward_passes: float

    def of(self, joint: str) -> Tensor:
        """The size of the effect on one joint, or the mean over `all`, `[B, T, rows, columns]`."""
        return self.size.mean(1) if joint == "all" else self.size[:, keypoint_set(self.keypoints).index(joint)]


def paste(frames: Tensor, other: Tensor, tokens: Tensor) -> Tensor:
    """Frames `[..., 3, H, W]` with the pixels under the tokens (bool `[..., rows, columns]`) taken from `other`, as `World.local` does."""
    H, W = frames.shape[-2:]
    rows, columns = tokens.shape[-2:]
    mask = tokens.repeat_interleave(H // rows, -2).repeat_interleave(W // columns, -1).unsqueeze(-3)
    return torch.where(mask, other, frames)


def redrawn(world: World, causes: Sequence[str], salt: int) -> World:
    """The world with causes drawn anew *before* its own interventions: what it sets by hand stays set.

    A world without occluders, say, gets none by a new draw: the effect is measured under the world's own conditions.
    """
    fresh = replace(world, interventions=()).resample(*causes, salt=salt)
    return replace(fresh, interventions=fresh.interventions + world.interventions)


@torch.no_grad()
def effect_map(
    model: nn.Module,
    world: World,
    clips: Sequence[int],
    *,
    causes: str | Sequence[str] = "content",
    resamples: int = 4,
    seed: int = 0,
    batch: int = 48,
    progress: bool = False,
) -> Effect:
    """Measure the effect of every token of the given clips of a world, one token at a time, on all joints at once.

    causes      `content` or `surroundings` (`CAUSES`), or names of causes; they are drawn anew together
    resamples   draws of the causes; salts `1 + 1000 seed` and on, so another seed gives other draws
    batch       perturbed clips in one forward pass, each with another token's region re-rendered

    Cost: resamples x TN forward passes a clip, of which each embeds one frame only; plus one rendering of the clip for each resample.
    """
    causes = CAUSES.get(causes, causes) if isinstance(causes, str) else causes
    causes = (causes,) if isinstance(causes, str) else tuple(causes)
    if model.training:
        raise CausalPoseError("effect_map: the model is in training mode; call model.eval() first")
    if resamples < 1 or seed < 0 or batch < 1:
        raise CausalPoseError(f"effect_map: resamples = {resamples} and batch = {batch} must be at least 1, and seed = {seed} at least 0")
    unknown = [name for name in causes if name not in GRAPH]
    if unknown or not causes:
        raise CausalPoseError(f"effect_map: unknown causes {unknown}; give one or more of: {', '.join(GRAPH)}")
    started = time.perf_counter()
    factual = world.render(clips)
    frames, truth = targets.inputs(model, factual), targets.oracle_truth(model, factual)
    clean = model.embed(frames)  # [B, T, N, C]; a changed token changes one frame, the others' tokens are used again
    logits = model.forward_tokens(clean, truth=truth).heatmaps
    cells = targets.predicted_cells(logits)
    before, place = targets.log_probability(logits, cells), targets.expected_keypoints(logits, model.config)  # [B, K], [B, K, 2]
    (B, T), (rows, columns) = frames.shape[:2], model.config.grid
    N, K = rows * columns, before.shape[1]
    regions = torch.eye(N, dtype=torch.bool, device=frames.device).view(N, rows, columns)
    changes = frames.new_zeros(2, resamples, B, K, T * N)  # of the target, of the keypoint
    with tqdm(total=resamples * B * T * N, desc="measuring effects", unit="clip", disable=not progress, leave=False) as bar:
        for draw in range(resamples):
            other = targets.inputs(model, redrawn(world, causes, 1 + 1000 * seed + draw).render(clips))
            for b, part in product(range(B), torch.arange(T * N, device=frames.device).split(batch)):
                t, n = part // N, part % N
                pasted = paste(frames[b, t], other[b, t], regions[n])  # [batch, 3, H, W]
                tokens = clean[b].repeat(len(part), 1, 1, 1)
                tokens[torch.arange(len(part)), t] = model.embed(pasted[:, None])[:, 0]
                shown = None if truth is None else truth[b].expand(len(part), -1, -1)
                logits = model.forward_tokens(tokens, truth=shown).heatmaps
                after = targets.log_probability(logits, cells[b].expand(len(part), -1))
                changes[0, draw, b][:, part] = (after - before[b]).T
                changes[1, draw, b][:, part] = (targets.expected_keypoints(logits, model.config) - place[b]).norm(dim=-1).T
                bar.update(len(part))
    change, shift = changes.unflatten(-1, (T, rows, columns)).cpu()

    def error(draws: Tensor) -> Tensor:
        return draws.std(0) / resamples**0.5 if resamples > 1 else torch.full_like(draws[0], float("nan"))

    return Effect(
        change.mean(0), error(change), change.abs().mean(0), shift.mean(0), error(shift), model.config.keypoints, causes, resamples,
        time.perf_counter() - started, 1 + resamples * T * N,
    )  # fmt: skip


def agreement(found: Map | Tensor, effect: Tensor) -> Tensor:
    """Interventional agreement: rank correlation (Spearman) over tokens of a map with measured effects, `[B, T, rows, columns]` -> `[B]`.

    nan where either is constant, for a constant ranks nothing.
    """
    values = found.values if isinstance(found, Map) else found
    if values.shape != effect.shape or values.ndim != 4:
        raise CausalPoseError(f"agreement: map {list(values.shape)} and effect {list(effect.shape)} must both be [B, T, rows, columns]")
    out = []
    for a, b in zip(values.flatten(1).double().numpy(), effect.flatten(1).double().numpy(), strict=True):
        out.append(float("nan") if np.ptp(a) == 0 or np.ptp(b) == 0 else float(spearmanr(a, b).statistic))
    return torch.tensor(out, dtype=torch.float64)


def top_overlap(found: Map | Tensor, effect: Tensor, share: float = 0.1) -> Tensor:
    """Share of the tokens with the largest effects that are also among a map's largest, `[B]`; chance is `share`.

    Both sets have round(share · tokens) members; ties in the map share a place, so a constant map gets exactly chance. nan where the
    effect is constant.
    """
    values = found.values if isinstance(found, Map) else found
    if values.shape != effect.shape or values.ndim != 4:
        raise CausalPoseError(f"top_overlap: map {list(values.shape)} and effect {list(effect.shape)} must both be [B, T, rows, columns]")
    if not 0 < share < 1:
        raise CausalPoseError(f"top_overlap: share = {share} must be between 0 and 1")
    out = []
    for a, b in zip(values.flatten(1).double(), effect.flatten(1).double(), strict=True):
        k = max(1, round(share * len(a)))
        inside = [_membership(x, k) for x in (a, b)]
        out.append(float("nan") if b.max() == b.min() else float((inside[0] * inside[1]).sum() / k))
    return torch.tensor(out, dtype=torch.float64)


def _membership(values: Tensor, k: int) -> Tensor:
    """How far each value belongs to the k largest: 1, 0, or a part of the last places where several tie for them."""
    edge = values.topk(k).values[-1]
    above, tied = values > edge, values == edge
    return above.double() + tied.double() * (k - above.sum()) / tied.sum()
