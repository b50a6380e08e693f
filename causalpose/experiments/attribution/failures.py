"""The clips in which a map and the measured effects disagree most, in numbers and in words (ours).

Everything is read from the record: its table of disagreements, the maps that belong to it, its rows; and from the scene, which says what a
token shows. The words name what is seen. They do not say why.
"""

import math

import numpy as np
import pandas as pd
import torch

from causalpose.clip import Clip, Visibility
from causalpose.evaluation import statistics
from causalpose.experiments.attribution import tables
from causalpose.experiments.attribution.occlusion import limbs_of
from causalpose.experiments.attribution.record import Record
from causalpose.experiments.attribution.subject import TEST_SEED
from causalpose.explain import intervention, truth
from causalpose.scenes.body import KEYPOINTS, Part
from causalpose.scenes.world import World

# A map whose mass is spread as evenly as over more than half of the tokens hardly ranks them.
FLAT = 0.5
# Below this a second measurement of the effects would itself agree poorly with the first.
NOISY = 0.5
_STATES = {
    Visibility.VISIBLE: "visible", Visibility.SELF_OCCLUDED: "hidden by the body itself", Visibility.OCCLUDED: "hidden by something",
}  # fmt: skip
_SHOWN = {
    "own-limb": "the joint's limb", "neighbouring": "a neighbouring limb", "rest-of-body": "the rest of the body",
    "occluder": "something in front", "other": "a bystander or a prop", "background": "background",
}  # fmt: skip


def spread(values: torch.Tensor) -> float:
    """Share of the tokens that a map is spread over: exp(entropy) / tokens; 1 for a constant map, 1/tokens for a single token."""
    p = values.flatten().double().clamp_min(0)
    p = p / p.sum().clamp_min(1e-12)
    return float(math.exp(-float(torch.special.xlogy(p, p).sum())) / p.numel())


def shown(clip: Clip, joint: int, grid: tuple[int, int]) -> tuple[list[str], torch.Tensor]:
    """What most of a token's pixels show, seen from a joint: labels, and each token's position in them, `[T, rows, columns]`.

    The person, what stands in front, and bystanders with props need a quarter of the pixels (`explain.truth.BODY_TOKEN`) to be named, for
    limbs are thin; of the person, the relation with most pixels is named.
    """
    relations = limbs_of(joint)
    others = {"occluder": (int(Part.OCCLUDER),), "other": (int(Part.BYSTANDER), int(Part.DISTRACTOR))}
    limbs, rest = (torch.stack([truth.part_share(clip, parts, grid)[0] for parts in kind.values()]) for kind in (relations, others))
    largest, which = torch.cat([limbs.sum(0, keepdim=True), rest]).max(0)
    named = torch.where(which == 0, limbs.argmax(0), which - 1 + len(relations))
    labels = [*relations, *others, "background"]
    return labels, torch.where(largest >= truth.BODY_TOKEN, named, len(labels) - 1)


def describe(record: Record, world: World | None = None) -> pd.DataFrame:
    """The table of disagreements, a row a clip, with what the record and the scene say of it.

    state           of the joint in the target frame
    tcis, effect    what the first token of each shows; apart: their distance in tokens if they are in one frame, else nan
    tcis_target, effect_target   share of each map that lies in the target frame
    tcis_spread, effect_spread   `spread`
    within          rank correlation within the target frame
    ceiling         reliability: how well the mean of the effects' draws agrees with another such mean (nan: not known)
    """
    world, out = world or World(seed=TEST_SEED), []
    rows = record.rows
    ceilings = rows[(rows["part"] == "maps") & (rows["method"] == "effect") & (rows["score"] == "ceiling")]
    ceilings = ceilings.set_index(["arm", "seed", "clip"])["value"]
    for i, row in enumerate(record.disagreements.itertuples()):
        clip, joint = world.render([row.clip]), KEYPOINTS.index(row.joint)
        maps = {name: record.maps[f"{name}-{i}"] for name in ("tcis", "effect")}
        T, grid = clip.length, tuple(maps["tcis"].shape[1:])
        labels, which = shown(clip, joint, grid)
        tops = {name: np.unravel_index(int(values.argmax()), values.shape) for name, values in maps.items()}
        middle = {name: values[None, T // 2 : T // 2 + 1] for name, values in maps.items()}
        same = tops["tcis"][0] == tops["effect"][0]
        out.append(
            {
                "clip": row.clip, "arm": row.arm, "seed": row.seed, "joint": row.joint, "value": row.value,
                "state": _STATES.get(Visibility(int(clip.visibility[0, T // 2, joint])), "outside or unlabelled"),
                **{name: _SHOWN[labels[int(which[top])]] for name, top in tops.items()},
                "apart": float(np.hypot(*(np.subtract(tops["tcis"][1:], tops["effect"][1:])))) if same else float("nan"),
                **{f"{name}_target": float(values[T // 2].sum() / values.sum().clamp_min(1e-12)) for name, values in maps.items()},
                **{f"{name}_spread": spread(values) for name, values in maps.items()},
                "within": float(intervention.agreement(middle["tcis"], middle["effect"])),
                "ceiling": float(ceilings.get((row.arm, row.seed, row.clip), float("nan"))),
            }
        )  # fmt: skip
    return pd.DataFrame(out)


def told(row) -> str:
    """A row of `describe` in a few sentences."""
    where = "the same token" if row.apart == 0 else f"{row.apart:.1f} tokens apart" if row.apart == row.apart else "in another frame"
    parts = [
        f"{row.joint.replace('_', ' ').capitalize()}, {row.state}; {row.arm}, seed {row.seed}; rank correlation {row.value:.2f}, "
        f"within the target frame {row.within:.2f}.",
        f"The largest effect is in a token of {row.effect}, the map's maximum in one of {row.tcis}, {where}.",
        f"The target frame holds {row.effect_target:.0%} of the effects and {row.tcis_target:.0%} of the map.",
    ]
    if row.tcis_spread > FLAT:
        parts.append(f"The map is nearly flat: as if spread over {row.tcis_spread:.0%} of the tokens.")
    if row.ceiling < NOISY:
        parts.append(f"The effects are noisy here (reliability {row.ceiling:.2f}).")
    return " ".join(parts)


# With fewer clips not even a difference of one sign on all of them passes a sign test at 5 %: 2 / 2**6 < 0.05 < 2 / 2**5.
LEAST_CLIPS = 6


def hidden(rows: pd.DataFrame, left: tuple[str, str, str, str], right: tuple[str, str, str, str]) -> statistics.Interval | None:
    """Difference in mean effect of a token, left - right, on the clips that both have; None where they have none in common.

    left, right   (arm, state of the joint, frames, what the token shows), say ("stage1", "hidden", "target", "own-limb")
    """
    part = rows[rows["part"] == "occluded"]

    def scores(arm: str, state: str, place: str, relation: str) -> pd.DataFrame:
        chosen = part[(part["arm"] == arm) & (part["method"] == relation) & (part["score"] == f"effect_{state}_{place}")]
        return tables.matrix(chosen)

    a, b = scores(*left), scores(*right)
    seeds, clips = a.index.intersection(b.index), a.columns.intersection(b.columns)
    if not len(seeds) or not len(clips):
        return None
    a, b = a.loc[seeds, clips].to_numpy(), b.loc[seeds, clips].to_numpy()
    return None if np.isnan(a - b).any(0).all() else statistics.paired(b, a)


def verdict(interval: statistics.Interval | None) -> str:
    """What a difference allows: `more`, `less`, `not distinguishable`; `too few clips` before the interval is looked at."""
    if interval is None or interval.clips < LEAST_CLIPS:
        return "too few clips"
    if not interval.distinguishable:
        return "not distinguishable"
    return "more" if interval.mean > 0 else "less"
