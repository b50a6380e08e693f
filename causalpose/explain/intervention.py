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

# Everything that decides what a place shows. Camera, lens and sensor stay: the region is filmed by the same camera.
CONTENT = ("body", "motion", "clothing", "skin", "background", "distractors", "occluders")


@dataclass(frozen=True)
class Effect:
    """The effect of every token on every joint's target.

    change     float32 `[B, K, T, rows, columns]`: mean over resamples of target after - target before, in nats; negative: evidence was lost
    error      its standard error (nan with one resample)
    size       mean over resamples of the absolute change: what an unsigned map can be compared with
    causes     what was drawn anew; resamples: how often
    """

    change: Tensor
    error: Tensor
    size: Tensor
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
    causes: Sequence[str] = CONTENT,
    resamples: int = 4,
    seed: int = 0,
    batch: int = 48,
    progress: bool = False,
) -> Effect:
    """Measure the effect of every token of the given clips of a world, one token at a time, on all joints at once.

    resamples   draws of the causes; salts `1 + 1000 seed` and on, so another seed gives other draws
    batch       perturbed clips in one forward pass
    """
    if model.training:
        raise CausalPoseError("effect_map: the model is in training mode; call model.eval() first")
    if resamples < 1 or seed < 0:
        raise CausalPoseError(f"effect_map: resamples = {resamples} must be at least 1, and seed = {seed} at least 0")
    unknown = [name for name in causes if name not in GRAPH]
    if unknown or not causes:
        raise CausalPoseError(f"effect_map: unknown causes {unknown}; give one or more of: {', '.join(GRAPH)}")
    started = time.perf_counter()
    factual = world.render(clips)
    frames, truth = targets.inputs(model, factual), targets.oracle_truth(model, factual)
    clean = model.embed(frames)  # [B, T, N, C]; a changed token changes one frame, the others' tokens are used again
    logits = model.forward_tokens(clean, truth=truth).heatmaps
    cells = targets.predicted_cells(logits)
    before = targets.log_probability(logits, cells)  # [B, K]
    (B, T), (rows, columns) = frames.shape[:2], model.config.grid
    N = rows * columns
    regions = torch.eye(N, dtype=torch.bool, device=frames.device).view(N, rows, columns)
    changes = frames.new_zeros(resamples, B, before.shape[1], T, N)
    with tqdm(total=resamples * B * T * N, desc="measuring effects", unit="clip", disable=not progress, leave=False) as bar:
        for draw in range(resamples):
            other = targets.inputs(model, redrawn(world, causes, 1 + 1000 * seed + draw).render(clips))
            for b, t in product(range(B), range(T)):
                for part in torch.arange(N, device=frames.device).split(batch):
                    pasted = paste(frames[b, t], other[b, t], regions[part])  # [n, 3, H, W]
                    tokens = clean[b].repeat(len(part), 1, 1, 1)
                    tokens[:, t] = model.embed(pasted[:, None])[:, 0]
                    shown = None if truth is None else truth[b].expand(len(part), -1, -1)
                    after = targets.log_probability(model.forward_tokens(tokens, truth=shown).heatmaps, cells[b].expand(len(part), -1))
                    changes[draw, b, :, t, part] = (after - before[b]).T
                    bar.update(len(part))
    changes = changes.unflatten(-1, (rows, columns)).cpu()
    error = changes.std(0) / resamples**0.5 if resamples > 1 else torch.full_like(changes[0], float("nan"))
    return Effect(
        changes.mean(0), error, changes.abs().mean(0), model.config.keypoints, tuple(causes), resamples,
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
