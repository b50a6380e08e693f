"""How well a map finds what it should: three scores, each with the value that chance would get beside it.

All take values and shares `[B, T, rows, columns]` (a share is in [0, 1]: how much of the token shows the body) and give one number a clip,
`[B]`. A map of zeros points nowhere: its scores are nan, never a lucky or an unlucky number.
"""

import torch
from scipy.stats import rankdata
from torch import Tensor

from causalpose.errors import CausalPoseError
from causalpose.explain.truth import BODY_TOKEN


def _flat(values: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    if values.shape != share.shape or values.ndim != 4:
        raise CausalPoseError(f"scores: map {list(values.shape)} and truth {list(share.shape)} must both be [B, T, rows, columns]")
    return values.flatten(1).double(), share.flatten(1).double()


def body_mass(values: Tensor, share: Tensor) -> Tensor:
    """Share of the map's mass that lies on the body: Σ value · share / Σ value (energy-based pointing, Wang et al. 2020).

    Chance, a uniform map, gets the mean share.
    """
    values, share = _flat(values, share)
    total = values.sum(1)
    return torch.where(total > 0, (values * share).sum(1) / total.clamp_min(1e-300), torch.nan)


def pointing(values: Tensor, share: Tensor, threshold: float = BODY_TOKEN) -> Tensor:
    """Does the largest value fall on a body token? 1 or 0 (pointing game, Zhang et al. 2016).

    Ties share the point: of three equal maxima with two on the body, the score is 2/3; a uniform map gets the share of body tokens.
    """
    values, share = _flat(values, share)
    highest = values.amax(1, keepdim=True)
    first = (values == highest).double()
    hits = (first * (share >= threshold)).sum(1) / first.sum(1)
    return torch.where(highest[:, 0] > 0, hits, torch.nan)


def roc_auc(values: Tensor, share: Tensor, threshold: float = BODY_TOKEN) -> Tensor:
    """Chance that a body token has a larger value than another token, ties counting half: area under the ROC curve, 0.5 by chance.

    nan where the clip shows no body token, or nothing else.
    """
    values, share = _flat(values, share)
    out = []
    for value, body in zip(values.numpy(), (share >= threshold).numpy(), strict=True):
        positives, negatives = int(body.sum()), int((~body).sum())
        if not positives or not negatives or not value.any():
            out.append(float("nan"))
            continue
        ranks = rankdata(value)  # ties get the mean of their ranks
        out.append((ranks[body].sum() - positives * (positives + 1) / 2) / (positives * negatives))
    return torch.tensor(out, dtype=torch.float64)


def all_scores(values: Tensor, share: Tensor) -> dict[str, Tensor]:
    """Every score by name, each `[B]`."""
    return {"mass": body_mass(values, share), "pointing": pointing(values, share), "auc": roc_auc(values, share)}


def chance(share: Tensor, threshold: float = BODY_TOKEN) -> dict[str, Tensor]:
    """What a uniform map scores on these clips, each `[B]`."""
    flat = share.flatten(1).double()
    return {
        "mass": flat.mean(1),
        "pointing": (flat >= threshold).double().mean(1),
        "auc": torch.full((len(flat),), 0.5, dtype=torch.float64),
    }
