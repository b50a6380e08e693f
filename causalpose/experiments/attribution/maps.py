"""Every method on one joint of each clip, held against the measured effects, the scene's truth, and the model itself."""

from collections.abc import Sequence

import pandas as pd
import torch

from causalpose.clip import Visibility
from causalpose.experiments.attribution.subject import INSIDE, Question, Rows, Subject, explain_all, find, measured_effect, pick_joint
from causalpose.explain import faithfulness, intervention, perturbation, scores, targets, truth
from causalpose.explain.perturbation import SUBSTRATES
from causalpose.scenes.world import World


def maps(
    subject: Subject, clips: Sequence[int], question: Question, *, wanted=INSIDE, part: str = "maps", world: World | None = None
) -> pd.DataFrame:
    """Every method on one joint of each clip, against the measured effects, the scene's truth, and by deletion, insertion and infidelity.

    Effects are those of re-rendered surroundings; `_content` marks the same scores against effects of all content, the person included. The
    pseudo-method `effect` holds what is measured of the effects themselves: how well one draw agrees with another (the ceiling of any
    agreement), their mean size, and their standard error in units of the size.
    """
    model, rows = subject.model, Rows(part, subject)
    world = subject.world() if world is None else world
    T = model.config.frames
    for number in clips:
        clip = world.render([number])
        k = pick_joint(clip, number, wanted)
        if k is None:
            continue
        joint = subject.names[k]
        found = explain_all(model, clip, joint, question, number)
        for item in found:
            rows.add(number, joint, item.method, "seconds", item.seconds)
            rows.add(number, joint, item.method, "forward_passes", item.forward_passes)
        body, limb, near = (
            truth.body_share(clip, model.config.grid), truth.limb_share(clip, joint, model.config.grid),
            truth.near_joint(clip, k, model.config.grid),
        )  # fmt: skip
        for item in found:
            for name, value in _against_truth(item.values, body, limb, near).items():
                rows.add(number, joint, item.method, name, value)
        for label, suffix in (("surroundings", ""), ("content", "_content"))[: 2 if question.content else 1]:
            effect, ceiling = measured_effect(model, world, number, k, label, question.content if suffix else question.resamples)
            for name, value in ceiling.items():
                rows.add(number, joint, "effect", name + suffix, value)
            for item in found:
                rows.add(number, joint, item.method, "agreement" + suffix, float(intervention.agreement(item, effect)))
                rows.add(number, joint, item.method, "top_overlap" + suffix, float(intervention.top_overlap(item, effect)))
                at_target = slice(T // 2, T // 2 + 1)
                value = intervention.agreement(item.values[:, at_target], effect[:, at_target])
                rows.add(number, joint, item.method, "agreement_target" + suffix, float(value))
            if not suffix:
                for name, value in _against_truth(effect, body, limb, near).items():
                    rows.add(number, joint, "effect", name, value)
        frames, shown = targets.inputs(model, clip), targets.oracle_truth(model, clip)
        for kind in SUBSTRATES:
            other = perturbation.substrate(model, frames, kind, world, [number])
            areas = perturbation.deletion_insertion(model, frames, found, joint, other, truth=shown, seed=number)
            for name, area in zip(("deletion", "insertion"), areas, strict=True):
                for item, value in zip(found, area, strict=True):
                    rows.add(number, joint, item.method, f"{name}_{kind}", value)
        error = faithfulness.infidelity(model, frames, found, joint, samples=question.samples, truth=shown, seed=number)
        for item, value in zip(found, error, strict=True):
            rows.add(number, joint, item.method, "infidelity", value)
    return rows.frame()


def _against_truth(values: torch.Tensor, body: torch.Tensor, limb: torch.Tensor, near: torch.Tensor) -> dict[str, float]:
    nowhere = float("nan")
    return {
        "body_mass": float(scores.body_mass(values, body)), "body_auc": float(scores.roc_auc(values, body)),
        "limb_mass": float(scores.body_mass(values, limb)), "limb_auc": float(scores.roc_auc(values, limb)),
        "joint_pointing": float(scores.pointing(values, near)) if near.any() else nowhere,
        "joint_mass": float(scores.body_mass(values, near)) if near.any() else nowhere,
    }  # fmt: skip


def outside(subject: Subject, clips: Sequence[int], question: Question) -> pd.DataFrame:
    """A placebo: the crop is so tight that a joint is outside the image, so nothing that a map shows can be where it is."""
    world = subject.world().do(camera={"zoom": 0.7})
    numbers = find(world, (Visibility.OUTSIDE,), len(clips), first=clips[0])
    return maps(subject, numbers, question, wanted=(Visibility.OUTSIDE,), part="outside", world=world)
