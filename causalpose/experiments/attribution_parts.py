"""What the attribution study measures of one model: each function gives long rows, a number a clip, joint, method and score.

Columns: part, arm, seed, clip, joint, method, score, value. `method` is empty where the number is the model's, not a map's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from causalpose.clip import Clip, Visibility
from causalpose.config import Config
from causalpose.errors import CausalPoseError
from causalpose.explain import faithfulness, intervention, methods, perturbation, sanity, scores, targets, trial, truth
from causalpose.explain.attributions import LIGHT, Effort
from causalpose.explain.maps import Map, as_batch
from causalpose.explain.perturbation import SUBSTRATES
from causalpose.model import heatmaps
from causalpose.model.cmpose import CMPose
from causalpose.scenes.bias import PROP, STRAY
from causalpose.scenes.body import ATTACHED, KEYPOINTS, PERSON_PARTS, Part
from causalpose.scenes.world import World
from causalpose.skeletons import keypoint_set

COLUMNS = ("part", "arm", "seed", "clip", "joint", "method", "score", "value")
LABELS = COLUMNS[:-1]
# The study's clips are of the test split, which no choice was made on (see `scenes.dataset`: seed * 3 + position of the split).
TEST_SEED = 2


@dataclass(frozen=True)
class Subject:
    """A model to put questions to: its arm and seed, the model, its configuration."""

    arm: str
    seed: int
    model: CMPose
    config: Config

    @property
    def names(self) -> tuple[str, ...]:
        """Names of its keypoints."""
        return keypoint_set(self.config.model.keypoints).keypoints

    def world(self) -> World:
        """The world of the test clips."""
        m = self.config.model
        return World(m.height, m.width, m.frames, seed=TEST_SEED)


@dataclass(frozen=True)
class Question:
    """How maps are made and measured: methods, effort, draws of the effect, seed of everything drawn."""

    methods: tuple[str, ...]
    effort: Effort = LIGHT
    resamples: int = 2
    samples: int = 32

    def of(self, model: CMPose) -> list[str]:
        """The methods that this model can be asked for, in the library's order."""
        return [name for name in methods.possible(model.config.stage) if name in self.methods]


class Rows:
    """Collects long rows."""

    def __init__(self, part: str, subject: Subject):
        self.part, self.subject, self.rows = part, subject, []

    def add(self, clip: int, joint: str, method: str, score: str, value: float) -> None:
        """One number."""
        self.rows.append((self.part, self.subject.arm, self.subject.seed, clip, joint, method, score, float(value)))

    def frame(self) -> pd.DataFrame:
        """All numbers."""
        return pd.DataFrame(self.rows, columns=COLUMNS)


def pick_joint(clip: Clip, number: int, wanted: tuple[Visibility, ...]) -> int | None:
    """The joint that a clip is explained for: one in a wanted state at the target frame, drawn by the clip's number; None where none is."""
    states = as_batch(clip).visibility[0, clip.frames.shape[-4] // 2]
    fit = [k for k in range(len(states)) if int(states[k]) in wanted]
    return fit[int(np.random.default_rng(number).integers(len(fit)))] if fit else None


INSIDE = (Visibility.VISIBLE, Visibility.SELF_OCCLUDED, Visibility.OCCLUDED)


def find(world: World, wanted: tuple[Visibility, ...], count: int, first: int = 0, limit: int = 4096) -> list[int]:
    """The first `count` clips in which some joint is in a wanted state at the target frame."""
    found: list[int] = []
    for start in range(first, first + limit, 64):
        clips = world.render(range(start, start + 64))
        states = clips.visibility[:, clips.target]
        fits = torch.isin(states, torch.tensor([int(v) for v in wanted], dtype=states.dtype)).any(1)
        found += [start + int(i) for i in fits.nonzero()[:, 0]]
        if len(found) >= count:
            return found[:count]
    raise CausalPoseError(f"only {len(found)} of {limit} clips have a joint that is {' or '.join(v.name.lower() for v in wanted)}")


# -- maps, effects and their scores --------------------------------------------------------------------------------------


def explain_all(model: CMPose, clip: Clip, joint: str, question: Question, seed: int) -> list[Map]:
    """The maps of every method that the model can be asked for."""
    return [methods.explain(model, clip, joint, name, seed=seed, effort=question.effort) for name in question.of(model)]


def maps(
    subject: Subject, clips: Sequence[int], question: Question, *, wanted=INSIDE, part: str = "maps", surroundings: bool = True
) -> pd.DataFrame:
    """Every method on one joint of each clip, against the measured effects, the scene's truth, and by deletion, insertion and infidelity.

    The pseudo-method `effect` holds what is measured of the effects themselves: how well one draw agrees with another (the ceiling of any
    agreement), their mean size, and their standard error in units of the size.
    """
    model, world, rows = subject.model, subject.world(), Rows(part, subject)
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
        for label in ("content", "surroundings") if surroundings else ("content",):
            effect, ceiling = measured_effect(model, world, number, k, label, question.resamples)
            suffix = "" if label == "content" else "_surroundings"
            for name, value in ceiling.items():
                rows.add(number, joint, "effect", name + suffix, value)
            for item in found:
                rows.add(number, joint, item.method, "agreement" + suffix, float(intervention.agreement(item, effect)))
                rows.add(number, joint, item.method, "top_overlap" + suffix, float(intervention.top_overlap(item, effect)))
                at_target = slice(T // 2, T // 2 + 1)
                value = intervention.agreement(item.values[:, at_target], effect[:, at_target])
                rows.add(number, joint, item.method, "agreement_target" + suffix, float(value))
            if label == "content":
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


def measured_effect(
    model: CMPose, world: World, clip: int, joint: int, label: str, resamples: int
) -> tuple[torch.Tensor, dict[str, float]]:
    """The size of each token's effect on one joint `[1, T, rows, columns]`, and what is known of its quality.

    Draw by draw, so that one can be held against another: `ceiling` is the rank correlation of a draw with the next, stepped up to all
    draws (Spearman and Brown): no map can be expected to agree better with the mean of these draws.
    """
    draws = [intervention.effect_map(model, world, [clip], causes=label, resamples=1, seed=1 + draw) for draw in range(resamples)]
    sizes = torch.stack([draw.size[:, joint] for draw in draws])  # [R, 1, T, rows, columns]
    shift = torch.stack([draw.shift[:, joint] for draw in draws])
    size = sizes.mean(0)
    quality = {"effect_nats": float(size.mean()), "effect_pixels": float(shift.mean()), "effect_pixels_largest": float(shift.mean(0).max())}
    if resamples > 1:
        pairs = [float(intervention.agreement(a, b)) for a, b in zip(sizes[:-1], sizes[1:], strict=True)]
        r = float(np.nanmean(pairs)) if np.isfinite(pairs).any() else float("nan")
        quality["ceiling"] = resamples * r / (1 + (resamples - 1) * r)
        quality["relative_error"] = float((sizes.std(0) / resamples**0.5).mean() / size.mean().clamp_min(1e-12))
    quality["seconds"] = sum(draw.seconds for draw in draws)
    quality["forward_passes"] = sum(draw.forward_passes for draw in draws)
    return size, quality


def outside(subject: Subject, clips: Sequence[int], question: Question) -> pd.DataFrame:
    """A placebo: the joint is outside the image, so nothing that a map shows can be where it is."""
    numbers = find(subject.world(), (Visibility.OUTSIDE,), len(clips), first=clips[0])
    return maps(subject, numbers, question, wanted=(Visibility.OUTSIDE,), part="outside", surroundings=False)


# -- sanity checks -------------------------------------------------------------------------------------------------------


def sanity_checks(subject: Subject, clips: Sequence[int], question: Question) -> pd.DataFrame:
    """Randomised weights layer by layer, stability under a re-rendered background, and sensitivity to pixel noise."""
    model, world, rows = subject.model, subject.world(), Rows("sanity", subject)
    copies = list(sanity.randomised(model, subject.seed))
    for number in clips:
        clip = world.render([number])
        joint = subject.names[pick_joint(clip, number, INSIDE)]
        other = world.resample("background", salt=1).render([number])
        for name in question.of(model):
            for layer, value in sanity.cascade(model, clip, joint, name, seed=number, effort=question.effort, copies=copies).items():
                rows.add(number, joint, name, f"randomised_{layer}", value)
            before, after = (methods.explain(model, c, joint, name, seed=number, effort=question.effort).values for c in (clip, other))
            rows.add(number, joint, name, "stability", float(sanity.likeness(before, after)))
            noise = faithfulness.sensitivity(model, clip, joint, name, samples=2, seed=number, effort=question.effort)
            rows.add(number, joint, name, "sensitivity", noise)
    return rows.frame()


# -- selection on trial --------------------------------------------------------------------------------------------------

KEEP_RATES = (0.1, 0.3, 0.5)


def selection(subject: Subject, clips: Sequence[int], question: Question, rates: Sequence[float] = KEEP_RATES) -> pd.DataFrame:
    """Other selections at the same number of tokens, and other content in the tokens that were not selected."""
    model, kind, rows = subject.model, subject.config.train.loss, Rows("selection", subject)
    batch = subject.world().render(clips)
    elsewhere = subject.world().resample("background", salt=1).render(clips)
    with torch.no_grad():
        tokens = torch.cat([model.embed(targets.inputs(model, batch[i : i + 32])) for i in range(0, len(batch), 32)])
        others = {
            "another-clip": tokens.roll(1, 0),
            "background": torch.cat([model.embed(targets.inputs(model, elsewhere[i : i + 32])) for i in range(0, len(batch), 32)]),
        }

    def put(method: str, score: str, values: torch.Tensor) -> None:
        for number, value in zip(clips, values.tolist(), strict=True):
            rows.add(number, "all", method, score, value)

    everything, _ = trial.swapped(model, tokens, batch, "all", 1.0, kind)
    put("all", "pck", trial.accuracy(everything, batch))
    for rate in rates:
        own, causal = trial.swapped(model, tokens, batch, model.config.fte.selector, rate, kind)
        share = truth.body_share(batch, model.config.grid).flatten(1) >= truth.BODY_TOKEN
        put("own", f"recall_of_body@{rate:g}", (causal.cpu() & share).sum(1).double() / share.sum(1).clamp_min(1))
        for selector in ("own", *trial.SWAPS[:-1]):
            name = model.config.fte.selector if selector == "own" else selector
            found = own if selector == "own" else trial.swapped(model, tokens, batch, name, rate, kind)[0]
            put(selector, f"pck@{rate:g}", trial.accuracy(found, batch))
            put(selector, f"shift@{rate:g}", trial.shift(found, own, batch))
        for what, replacement in others.items():
            for choice in trial.CHOICES:
                found = trial.exchanged(model, tokens, replacement, batch, choice, rate, kind)
                put(choice, f"pck_{what}@{rate:g}", trial.accuracy(found, batch))
                put(choice, f"shift_{what}@{rate:g}", trial.shift(found, own, batch))
    return rows.frame()


# -- the planted shortcut ------------------------------------------------------------------------------------------------


def shortcut(subject: Subject, clips: Sequence[int], question: Question) -> pd.DataFrame:
    """Does the model lean on the stick, and do its maps say so?

    The stick stands at a stray place. `lean`: how far the predicted wrist moves towards the tip when the stick is put there (against no
    stick at all), as a share of the distance; `pck` with the stick at the wrist, astray and away. A map's `stick_mass` is its share on the
    tokens that show the stick, `stick_auc` how well it ranks them above the tokens that show neither stick nor person.
    """
    from causalpose.experiments.attribution_models import SHORTCUT_JOINT

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
        stick = torch.nn.functional.avg_pool2d(
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


# -- occluded joints -----------------------------------------------------------------------------------------------------

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


# -- real video ----------------------------------------------------------------------------------------------------------


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


Measure = Callable[[Subject, Sequence[int], Question], pd.DataFrame]
PARTS: dict[str, Measure] = {
    "maps": maps, "outside": outside, "sanity": sanity_checks, "selection": selection, "shortcut": shortcut, "occluded": occluded,
}  # fmt: skip
