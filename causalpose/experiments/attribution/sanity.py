"""Sanity checks of every method: do its maps depend on the weights, and on little else?"""

from collections.abc import Sequence

import pandas as pd

from causalpose.experiments.attribution.subject import INSIDE, Question, Rows, Subject, pick_joint
from causalpose.explain import faithfulness, methods
from causalpose.explain import sanity as checks


def sanity_checks(subject: Subject, clips: Sequence[int], question: Question) -> pd.DataFrame:
    """Randomised weights layer by layer, stability under a re-rendered background, and sensitivity to pixel noise."""
    model, world, rows = subject.model, subject.world(), Rows("sanity", subject)
    copies = list(checks.randomised(model, subject.seed))
    for number in clips:
        clip = world.render([number])
        chosen = pick_joint(clip, number, INSIDE)
        if chosen is None:
            continue
        joint = subject.names[chosen]
        other = world.resample("background", salt=1).render([number])
        for name in question.of(model):
            for layer, value in checks.cascade(model, clip, joint, name, seed=number, effort=question.effort, copies=copies).items():
                rows.add(number, joint, name, f"randomised_{layer}", value)
            before, after = (methods.explain(model, c, joint, name, seed=number, effort=question.effort).values for c in (clip, other))
            rows.add(number, joint, name, "stability", float(checks.likeness(before, after)))
            noise = faithfulness.sensitivity(model, clip, joint, name, samples=2, seed=number, effort=question.effort)
            rows.add(number, joint, name, "sensitivity", noise)
    return rows.frame()
