"""Selection on trial: would other tokens have done as well, and does it matter what the non-causal tokens hold?

`swapped` lets a trained stage-2 model select other tokens at the same number. `exchanged` keeps the model's choice and replaces what it
calls non-causal, before any frame is mixed with another, by tokens of another clip or of the clip before another background: if they are
not causal, the prediction should not care.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from causalpose.clip import Clip
from causalpose.errors import CausalPoseError
from causalpose.evaluation import pck
from causalpose.explain import targets, truth
from causalpose.model import heatmaps, selection

SWAPS = ("attention", "random", "bottom", "norm", "heatmap", "oracle", "all")
EXCHANGES = ("another-clip", "background")
CHOICES = ("attention", "random", "oracle")  # who says what is causal; the controls answer how much of the shift any choice would give


@contextmanager
def selecting(model: nn.Module, selector: str, keep_rate: float) -> Iterator[nn.Module]:
    """The model with another selector and keep rate at inference; its weights and everything else stay."""
    _needs_selection(model)
    before = model.config
    model.config = replace(before, fte=replace(before.fte, selector=selector, keep_rate=keep_rate))
    try:
        yield model
    finally:
        model.config = before


def _needs_selection(model: nn.Module) -> None:
    if model.config.stage != 2:
        raise CausalPoseError(f"a stage-{model.config.stage} model selects no tokens; put a stage-2 model on trial")


@torch.no_grad()
def swapped(
    model: nn.Module, tokens: Tensor, clips: Clip, selector: str | Tensor, keep_rate: float, kind: str = "ce", seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Keypoints `[B, K, 2]` in crop pixels, and which tokens were causal, bool `[B, TN]`, when `selector` chooses.

    tokens    `[B, T, N, C]`: the clips' backbone tokens
    selector  a selector's name, or a map `[B, T, rows, columns]`: the tokens where it is largest
    seed      of `random`, which draws for each clip anew
    """
    shown = _body(model, clips) if isinstance(selector, str) and selector == "oracle" else None
    if isinstance(selector, Tensor):
        # By rank, so that no difference is too small beside the oracle's way of breaking ties.
        selector, ranked = "oracle", selector.flatten(1)
        if ranked.shape != (len(tokens), tokens.shape[1] * tokens.shape[2]):
            raise CausalPoseError(f"a map of {tuple(ranked.shape)} tokens ranks none of {tuple(tokens.shape[:3])}: one value a token")
        shown = (ranked.argsort(1).argsort(1).float() / ranked.shape[1]).view(tokens.shape[:3]).to(tokens.device)
    elif selector == "random":
        # The model's own random selector shows every clip the same draw, so that its result depends on nothing else: that would put one
        # mask on trial. Numbers of our own go in where the oracle takes the body's.
        selector = "oracle"
        shown = torch.rand(tokens.shape[:3], generator=torch.Generator().manual_seed(seed)).to(tokens.device)
    with selecting(model, selector, keep_rate):
        output = model.forward_tokens(tokens, truth=shown, return_maps=True)
    return heatmaps.decode(output.heatmaps, model.config, kind)[0], output.maps["causal"].flatten(1)


@torch.no_grad()
def exchanged(
    model: nn.Module, tokens: Tensor, others: Tensor, clips: Clip, choice: str, keep_rate: float, kind: str = "ce", seed: int = 0
) -> Tensor:
    """Keypoints `[B, K, 2]` after every token outside a choice of the top share was replaced by `others` `[B, T, N, C]`.

    choice   `attention`: the model's own ranking; `random`; `oracle`: the body's tokens
    """
    _needs_selection(model)
    truths = targets.oracle_truth(model, clips)
    if choice == "attention":
        score = model.forward_tokens(tokens, truth=truths, return_maps=True).maps["importance"].flatten(1)
    elif choice == "oracle":
        score = _body(model, clips).flatten(1)
    elif choice == "random":
        score = torch.rand(tokens.shape[0], tokens.shape[1] * tokens.shape[2], generator=torch.Generator().manual_seed(seed)).to(
            tokens.device
        )
    else:
        raise CausalPoseError(f"unknown choice {choice!r}; choices: {', '.join(CHOICES)}")
    causal, _ = selection.top_share(score, keep_rate, 1)
    mixed = torch.where(causal.view(*tokens.shape[:3], 1), tokens, others)
    with selecting(model, model.config.fte.selector, keep_rate):
        return heatmaps.decode(model.forward_tokens(mixed, truth=truths).heatmaps, model.config, kind)[0]


def _body(model: nn.Module, clips: Clip) -> Tensor:
    device = next(model.parameters()).device
    return truth.body_share(clips, model.config.grid).flatten(2).to(device)


def accuracy(keypoints: Tensor, clips: Clip, threshold: float = 0.2) -> Tensor:
    """PCK of each clip in per cent at the target frame, `[B]`; nan where no joint counts."""
    t = clips.target
    apart = (keypoints.cpu() - clips.keypoints[:, t].cpu()).norm(dim=-1) / clips.scale.cpu()[:, None]
    counted = torch.as_tensor(pck.counted(clips.visibility[:, t].cpu().numpy()))
    right = ((apart <= threshold) & counted).sum(1).double()
    return 100 * torch.where(counted.any(1), right / counted.sum(1).clamp_min(1), torch.nan)


def shift(keypoints: Tensor, before: Tensor, clips: Clip) -> Tensor:
    """Mean distance over the counted joints between two predictions, in crop pixels, `[B]`."""
    counted = torch.as_tensor(pck.counted(clips.visibility[:, clips.target].cpu().numpy()))
    moved = (keypoints - before).norm(dim=-1).cpu().double()
    return torch.where(counted.any(1), (moved * counted).sum(1) / counted.sum(1).clamp_min(1), torch.nan)
