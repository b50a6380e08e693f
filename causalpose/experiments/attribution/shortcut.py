"""A planted shortcut: a test of maps with a known answer."""

from collections.abc import Sequence

import pandas as pd
import torch
import torch.nn.functional as F

from causalpose.experiments.attribution.models import SHORTCUT_JOINT
from causalpose.experiments.attribution.subject import INSIDE, Question, Rows, Subject, explain_all, measured_effect
from causalpose.explain import scores, targets, truth
from causalpose.model import heatmaps
from causalpose.scenes.bias import PROP, STRAY


def shortcut(subject: Subject, clips: Sequence[int], question: Question) -> pd.DataFrame:
    """Does the model lean on the stick, and do its maps say so?

    The stick stands at a stray place. `lean`: how far the predicted wrist moves towards the tip when the stick is put there (against no
    stick at all), as a share of the distance; `pck` with the stick at the wrist, astray and away. A map's `stick_mass` is its share on the
    tokens that show the stick, `stick_auc` how well it ranks them above the tokens that show neither stick nor person.
    """
    model, world, rows = subject.model, subject.world(), Rows("shortcut", subject)
    k, t, kind = subject.names.index(SHORTCUT_JOINT), model.config.frames // 2, subject.config.train.loss
    # One setting after the other: the stick's stray place is drawn with the distractors, so both worlds hold the same other distractors.
    settings = {"at-wrist": PROP, "astray": STRAY, "away": 0.0}
    for number in clips:
        shown = {name: world.do(distractors={"prop": value}).render([number]) for name, value in settings.items()}
        if int(shown["away"].visibility[0, t, k]) not in INSIDE:
            continue
        with torch.no_grad():
            points = {
                name: heatmaps.decode(model(targets.inputs(model, clip)).heatmaps, model.config, kind)[0].cpu()
                for name, clip in shown.items()
            }
        for name, clip in shown.items():
            apart = (points[name][0, k] - clip.keypoints[0, t, k]).norm() / clip.scale[0]
            rows.add(number, SHORTCUT_JOINT, "", f"pck_{name}", 100.0 * float(apart <= 0.2))
        tip = world.do(distractors={"prop": STRAY}).values([number])["distractors"]["prop_stray"][0].float() * torch.tensor(
            [model.config.width, model.config.height]
        )
        direction = tip - points["away"][0, k]
        distance = direction.norm().clamp_min(1e-6)
        moved = ((points["astray"] - points["away"])[0, k] @ direction) / distance
        rows.add(number, SHORTCUT_JOINT, "", "lean", float(moved / distance))
        rows.add(number, SHORTCUT_JOINT, "", "shift_astray", float((points["astray"] - points["away"])[0, k].norm()))
        clip, without = shown["astray"], shown["away"]
        differs = (clip.frames.int() - without.frames.int()).abs().amax(2) > 24  # [1, T, H, W]
        stick = F.avg_pool2d(
            differs.float(), (clip.frames.shape[-2] // model.config.grid[0], clip.frames.shape[-1] // model.config.grid[1])
        )
        body = truth.body_share(clip, model.config.grid)
        on_stick = (stick >= 0.05) & (body < truth.BODY_TOKEN)
        if not on_stick.any():
            continue
        neither = (stick == 0) & (body < truth.BODY_TOKEN)
        effect, _ = measured_effect(model, world.do(distractors={"prop": STRAY}), number, k, "content", 1)
        found = {item.method: item.values for item in explain_all(model, clip, SHORTCUT_JOINT, question, number)} | {"effect": effect}
        for name, values in found.items():
            rows.add(number, SHORTCUT_JOINT, name, "stick_mass", float(scores.body_mass(values, on_stick.float())))
            relevant = (on_stick | neither).flatten()
            auc = scores.roc_auc(values.flatten()[relevant].view(1, 1, 1, -1), on_stick.flatten()[relevant].view(1, 1, 1, -1).float())
            rows.add(number, SHORTCUT_JOINT, name, "stick_auc", float(auc))
    return rows.frame()
