"""Real video: the scores that need no scene truth."""

from collections.abc import Sequence

import pandas as pd

from causalpose.config import override
from causalpose.experiments.attribution.subject import INSIDE, Question, Rows, Subject, explain_all, pick_joint
from causalpose.explain import faithfulness, perturbation, scores, targets, truth
from causalpose.explain.maps import as_batch
from causalpose.explain.perturbation import SUBSTRATES
from causalpose.training.sources import training_source


def real_video(subject: Subject, clips: Sequence[int], question: Question, source) -> pd.DataFrame:
    """Scores that need no scene truth: the labelled joint's surroundings, deletion and insertion on two substrates, infidelity."""
    model, rows = subject.model, Rows("real_video", subject)
    for number in clips:
        clip = as_batch(source[number])
        k = pick_joint(clip, number, (*INSIDE,))
        if k is None:
            continue
        joint = subject.names[k]
        found = explain_all(model, clip, joint, question, number)
        near = truth.near_joint(clip, k, model.config.grid)
        frames = targets.inputs(model, clip)
        for item in found:
            rows.add(
                number, joint, item.method, "joint_pointing", float(scores.pointing(item.values, near)) if near.any() else float("nan")
            )
            rows.add(number, joint, item.method, "joint_mass", float(scores.body_mass(item.values, near)) if near.any() else float("nan"))
            rows.add(number, joint, item.method, "seconds", item.seconds)
        for kind in SUBSTRATES[:2]:
            areas = perturbation.deletion_insertion(model, frames, found, joint, perturbation.substrate(model, frames, kind), seed=number)
            for name, area in zip(("deletion", "insertion"), areas, strict=True):
                for item, value in zip(found, area, strict=True):
                    rows.add(number, joint, item.method, f"{name}_{kind}", value)
        for item, value in zip(
            found, faithfulness.infidelity(model, frames, found, joint, samples=question.samples, seed=number), strict=True
        ):
            rows.add(number, joint, item.method, "infidelity", value)
    return rows.frame()


def source(subject: Subject, root: str):
    """The held-out clips of a data set."""
    return training_source(override(subject.config, {"data.source": root, "data.bias": ""}), split="val")
