"""Hidden joints: whose tokens move the prediction of a joint that cannot be seen?"""

from collections.abc import Sequence

import pandas as pd
import torch

from causalpose.clip import Visibility
from causalpose.experiments.attribution.subject import Question, Rows, Subject, find, pick_joint
from causalpose.explain import intervention, truth
from causalpose.scenes.body import ATTACHED, KEYPOINTS, PERSON_PARTS, Part

_HIDDEN = (Visibility.OCCLUDED,)


def limbs_of(joint: int) -> dict[str, tuple[int, ...]]:
    """Body parts by their relation to a joint: its own limb, the limbs that share a joint with it, the rest of the body."""
    own = {int(p) for p in PERSON_PARTS if ATTACHED[joint][p] and p != Part.TORSO}
    near = {
        int(p)
        for p in PERSON_PARTS
        for other in range(len(KEYPOINTS.keypoints))
        if ATTACHED[other][p] and any(ATTACHED[other][q] for q in own)
    } - own
    return {
        "own-limb": tuple(own),
        "neighbouring": tuple(near),
        "rest-of-body": tuple(int(p) for p in PERSON_PARTS if int(p) not in own | near),
    }


def occluded(subject: Subject, clips: Sequence[int], question: Question) -> pd.DataFrame:
    """The effect of each limb's tokens on a joint that something hides, and on a visible joint of the same clip, by frame.

    A token belongs to the relation that most of its shown pixels have to the joint, to `occluder` or to `elsewhere`; the number is the mean
    effect of such a token in nats.
    """
    model, world, rows = subject.model, subject.world().under("occluded", 3), Rows("occluded", subject)
    T = model.config.frames
    for number in find(world, _HIDDEN, len(clips), first=clips[0]):
        clip = world.render([number])
        effect = intervention.effect_map(model, world, [number], causes="content", resamples=1, seed=1)
        for state, wanted in (("hidden", _HIDDEN), ("visible", (Visibility.VISIBLE,))):
            k = pick_joint(clip, number, wanted)
            if k is None:
                continue
            relations = limbs_of(k) | {"occluder": (int(Part.OCCLUDER),)}
            area = torch.stack([truth.part_share(clip, parts, model.config.grid) for parts in relations.values()])  # [R, 1, T, r, c]
            largest, which = area.max(0)
            which = torch.where(largest >= truth.BODY_TOKEN, which, len(relations))
            for place, frames in (("target", [T // 2]), ("other-frames", [t for t in range(T) if t != T // 2])):
                for r, relation in enumerate((*relations, "elsewhere")):
                    chosen = which[:, frames] == r
                    if chosen.any():
                        rows.add(
                            number, subject.names[k], relation, f"effect_{state}_{place}", float(effect.size[:, k, frames][chosen].mean())
                        )
    return rows.frame()
