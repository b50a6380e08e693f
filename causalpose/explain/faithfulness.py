"""Infidelity and sensitivity (Yeh et al., NeurIPS 2019), through `captum.metrics`, on token maps."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from captum.metrics import infidelity as captum_infidelity
from captum.metrics import sensitivity_max as captum_sensitivity_max
from torch import Tensor, nn

from causalpose.clip import Clip
from causalpose.errors import CausalPoseError
from causalpose.explain import methods, targets
from causalpose.explain.attributions import FULL, Effort
from causalpose.explain.maps import Map, as_batch, shares
from causalpose.explain.tokenmaps import ALL


@torch.no_grad()
def infidelity(
    model: nn.Module, frames: Tensor, maps: Sequence[Map], joint: str, *, samples: int = 32, truth=None, seed: int = 0
) -> Tensor:
    """How badly maps predict what the loss of random token subsets does to the target, `[M]`; 0 is perfect, 1 is a map of zeros.

    The explained function takes `z` in [0, 1]^TN, how much of each backbone token is there (0: the clip's mean token). A perturbation
    sets a random subset, of a size drawn between a twentieth and a half of the tokens, to zero. Signed maps are used where a method has
    one. Captum scales every map by its best factor (`normalize`), since maps have no common unit; its mean squared error is divided by
    that of a map of zeros on the same perturbations.
    """
    if len(frames) != 1:
        raise CausalPoseError("infidelity scores the maps of one clip; pick one of the batch")
    k = targets.joint_index(model, joint)
    tokens = model.embed(frames)
    clean, mean = tokens.flatten(1, 2), tokens.mean((1, 2))[:, None]
    cell = targets.predicted_cells(model.forward_tokens(tokens, truth=truth).heatmaps)[:, k]

    def function(z: Tensor) -> Tensor:
        rows, back = torch.unique(z, dim=0, return_inverse=True)  # every map is asked the same questions: answer each once
        out = []
        for part in rows.split(64):
            mixed = (mean + part[..., None] * (clean - mean)).unflatten(1, tokens.shape[1:3])
            shown = None if truth is None else truth.expand(len(part), -1, -1)
            out.append(targets.log_probability(model.forward_tokens(mixed, truth=shown).heatmaps[:, k], cell.expand(len(part))))
        return torch.cat(out)[back]

    generator = torch.Generator().manual_seed(seed)
    size = clean.shape[1]
    chance = 0.05 + 0.45 * torch.rand(samples, 1, generator=generator)
    masks = (torch.rand(samples, size, generator=generator) < chance).float().to(clean.device)

    def perturb(z: Tensor) -> tuple[Tensor, Tensor]:
        tiled = masks.repeat(len(z) // samples, 1)
        return tiled, z - tiled

    whole = torch.ones(len(maps), size, device=clean.device)
    attributions = torch.stack([(found.values if found.signed is None else found.signed).flatten() for found in maps]).to(clean.device)
    error = captum_infidelity(function, perturb, whole, attributions, n_perturb_samples=samples, normalize=True)
    nothing = (function(whole[:1]) - function(1 - masks)).square().mean()
    return (error / nothing.clamp_min(1e-12)).double().cpu()


def sensitivity(
    model: nn.Module,
    clip: Clip,
    joint: str,
    method: str,
    *,
    radius: float = 0.02,
    samples: int = 3,
    seed: int = 0,
    effort: Effort = FULL,
) -> float:
    """Largest relative change of a map under uniform noise of at most `radius` (in units of the full range of a colour) on the pixels.

    ‖map(x + noise) - map(x)‖ / ‖map(x)‖ with maps scaled to sum one, the largest of `samples` draws; the map's own draws stay the same.
    """
    clip = as_batch(clip)

    @torch.enable_grad()  # Captum asks without gradients, which its own methods switch on by themselves
    def explanation(inputs: Tensor | tuple[Tensor, ...]) -> tuple[Tensor]:
        found = []
        for one in inputs if torch.is_tensor(inputs) else inputs[0]:
            changed = replace(clip, frames=one[None])
            found.append(shares(methods.explain(model, changed, joint or ALL, method, seed=seed, effort=effort).values))
        return (torch.cat(found),)

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        frames = targets.inputs(model, clip).cpu()
        return float(captum_sensitivity_max(explanation, frames, perturb_radius=radius, n_perturb_samples=samples))
