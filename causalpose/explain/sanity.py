"""Does a map depend on the model, and on nothing but the model and the clip's content?

*Randomised weights* (Adebayo et al., NeurIPS 2018): from the output down, part by part, the trained weights give way to fresh ones. A map
that stays the same does not show what the model learned. *Stability*: the background is drawn anew; a map of the person should stay.
"""

import copy
from collections.abc import Iterator

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from causalpose.clip import Clip
from causalpose.explain import methods
from causalpose.explain.attributions import FULL, Effort
from causalpose.model.cmpose import CMPose

# From the output down; a stage that lacks a part passes it by.
PARTS = ("head", "enhancement", "importance", "encoder", "backbone")


def randomised(model: CMPose, seed: int = 0) -> Iterator[tuple[str, CMPose]]:
    """(part, a copy of the model in which it and all parts above it are freshly initialised), from the head to the backbone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = CMPose(model.config)
    changed = copy.deepcopy(model)
    for part in PARTS:
        if hasattr(changed, part):
            getattr(changed, part).load_state_dict(getattr(fresh, part).state_dict())
            yield part, copy.deepcopy(changed).eval()


def likeness(first: Tensor, second: Tensor) -> Tensor:
    """Rank correlation (Spearman) over tokens of two maps `[B, T, rows, columns]`, `[B]`; 1 where both are constant, 0 where one is."""
    out = []
    for a, b in zip(first.flatten(1).double().numpy(), second.flatten(1).double().numpy(), strict=True):
        flat = (np.ptp(a) == 0, np.ptp(b) == 0)
        out.append(float(all(flat)) if any(flat) else float(spearmanr(a, b).statistic))
    return torch.tensor(out, dtype=torch.float64)


def cascade(
    model: CMPose, clip: Clip, joint: str, method: str, *, seed: int = 0, effort: Effort = FULL, copies: list | None = None
) -> dict[str, float]:
    """Likeness of a map to itself after each step of the cascade, by the part that was randomised last.

    copies   `list(randomised(model, seed))`, to be shared by several methods
    """
    before = methods.explain(model, clip, joint, method, seed=seed, effort=effort).values
    steps = randomised(model, seed) if copies is None else copies
    return {
        part: float(likeness(before, methods.explain(changed, clip, joint, method, seed=seed, effort=effort).values).mean())
        for part, changed in steps
    }
