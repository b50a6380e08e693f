"""Maps that a model holds itself, and controls that any map must beat.

`tcis` is stage 2's importance; `heatmap_mass` and `encoder_attention` are what a stage-1 model already tells; `random`, `uniform` and
`centre` know nothing of the model: `centre` knows only that a crop is centred on its person.
"""

import time

import torch
from torch import Tensor, nn

from causalpose.clip import Clip
from causalpose.errors import CausalPoseError
from causalpose.explain import targets
from causalpose.explain.maps import Map, as_batch
from causalpose.model import selection

ALL = "all"


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


def encoder_attention(model: nn.Module, clip: Clip, joint: str = ALL) -> Map:
    """Attention of the last encoder block, mean over heads, from the target-frame token in which the joint was found."""
    if model.config.stage == 0:
        raise CausalPoseError("a stage-0 model looks at one frame and has no encoder, hence no encoder_attention")
    started = time.perf_counter()
    chosen = _joint(model, joint)
    maps = _maps(model, clip)
    rows, columns = model.config.grid
    h, w = maps["heatmaps"].shape[-2:]
    cells = targets.predicted_cells(maps["heatmaps"])  # [B, K]
    token = (cells // w * rows // h) * columns + cells % w * columns // w
    attention = maps["encoder_attention"]  # [B, N, T, rows, columns]
    found = torch.stack([attention[b, token[b]] for b in range(len(token))])[:, chosen]
    return Map("encoder_attention", joint, _cpu(found.mean(1) if joint == ALL else found), time.perf_counter() - started, 1)


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


TOKEN_MAPS = {"tcis": tcis, "heatmap_mass": heatmap_mass, "encoder_attention": encoder_attention}
CONTROLS = {"random": random, "uniform": uniform, "centre": centre}


def _shape(model: nn.Module, clip: Clip) -> tuple[int, int, int, int]:
    B, T = as_batch(clip).frames.shape[:2]
    return (B, T, *model.config.grid)


def _cpu(values: Tensor) -> Tensor:
    return values.detach().float().cpu()
