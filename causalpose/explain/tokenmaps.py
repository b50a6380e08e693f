"""Maps that a model holds itself, and controls that any map must beat.

`tcis` is stage 2's importance; `heatmap_mass` and the attention maps (`attention`) are what a stage-1 model already tells. The controls
know nothing of the model: `random`, `uniform`, `centre` (a crop is centred on its person) and `edges` (a person has contours).
"""

import time

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from causalpose.clip import Clip
from causalpose.errors import CausalPoseError
from causalpose.explain import targets
from causalpose.explain.attention import ALL, attention_rollout, encoder_attention, gradient_attention
from causalpose.explain.maps import Map, as_batch, token_sum
from causalpose.model import selection


@torch.no_grad()
def _maps(model: nn.Module, clip: Clip) -> dict[str, Tensor]:
    return model(targets.inputs(model, clip), truth=targets.oracle_truth(model, clip), return_maps=True).maps


def _joint(model: nn.Module, joint: str) -> int | slice:
    return slice(None) if joint == ALL else targets.joint_index(model, joint)


def tcis(model: nn.Module, clip: Clip, joint: str = ALL) -> Map:
    """TCIS importance: the attention of a joint's keypoint token to every token; `all`: the mean over joints, what selection ranks by."""
    if model.config.stage != 2:
        raise CausalPoseError(
            f"a stage-{model.config.stage} model has no TCIS map; explain a stage-2 model, or use heatmap_mass or saliency"
        )
    started = time.perf_counter()
    chosen = _joint(model, joint)
    found = _maps(model, clip)["importance_per_keypoint"][:, chosen]
    return Map("tcis", joint, _cpu(found.mean(1) if joint == ALL else found), time.perf_counter() - started, 1)


def heatmap_mass(model: nn.Module, clip: Clip, joint: str = ALL) -> Map:
    """Probability that the joint (the mean of all) is in a token's cells, by the head read on every frame before any selection."""
    started = time.perf_counter()
    chosen = _joint(model, joint)
    with torch.no_grad():
        tokens = model.embed(targets.inputs(model, clip))
        mixed = model.encoder(tokens)[0] if model.config.stage else tokens
        logits = model.head(mixed.flatten(0, 1)).unflatten(0, mixed.shape[:2])  # [B, T, K, h, w]
        logits = logits if joint == ALL else logits[:, :, chosen, None]
        found = selection.heatmap_mass(logits, model.config.grid)
    return Map("heatmap_mass", joint, _cpu(found.unflatten(1, (tokens.shape[1], *model.config.grid))), time.perf_counter() - started, 1)


def random(model: nn.Module, clip: Clip, joint: str = ALL, *, seed: int = 0) -> Map:
    """Independent uniform numbers."""
    shape = _shape(model, clip)
    return Map("random", joint, torch.rand(shape, generator=torch.Generator().manual_seed(seed)), 0.0, 0, {"seed": seed})


def uniform(model: nn.Module, clip: Clip, joint: str = ALL) -> Map:
    """The same everywhere."""
    return Map("uniform", joint, torch.ones(_shape(model, clip)), 0.0, 0)


def centre(model: nn.Module, clip: Clip, joint: str = ALL) -> Map:
    """A Gaussian on the crop's centre, a quarter of the crop high and a quarter wide (one standard deviation)."""
    shape = _shape(model, clip)
    down, across = ((torch.arange(n) + 0.5) / n - 0.5 for n in shape[-2:])
    bump = torch.exp(-0.5 * (down[:, None].square() + across.square()) / 0.25**2)
    return Map("centre", joint, bump.expand(shape).clone(), 0.0, 0, {"std": 0.25})


def edges(model: nn.Module, clip: Clip, joint: str = ALL) -> Map:
    """Sobel gradient magnitude of the grey picture, summed over each token's pixels."""
    started = time.perf_counter()
    frames = as_batch(clip).frames
    grey = (frames.float() / 255 if frames.dtype == torch.uint8 else frames.float()).mean(2)  # [B, T, H, W]
    kernel = torch.tensor([[1.0, 2, 1], [0, 0, 0], [-1, -2, -1]])
    kernels = torch.stack([kernel, kernel.T])[:, None]
    padded = F.pad(grey.flatten(0, 1)[:, None], (1, 1, 1, 1), mode="replicate")
    size = F.conv2d(padded, kernels.to(padded.device)).square().sum(1, keepdim=True).sqrt().unflatten(0, grey.shape[:2])
    return Map("edges", joint, _cpu(token_sum(size, model.config.grid)), time.perf_counter() - started, 0)


TOKEN_MAPS = {
    "tcis": tcis,
    "heatmap_mass": heatmap_mass,
    "encoder_attention": encoder_attention,
    "attention_rollout": attention_rollout,
    "gradient_attention": gradient_attention,
}
CONTROLS = {"random": random, "uniform": uniform, "centre": centre, "edges": edges}


def _shape(model: nn.Module, clip: Clip) -> tuple[int, int, int, int]:
    B, T = as_batch(clip).frames.shape[:2]
    return (B, T, *model.config.grid)


def _cpu(values: Tensor) -> Tensor:
    return values.detach().float().cpu()
