"""One clip explained by several methods, each map scored against what is known of the clip."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import torch
from torch import nn
from tqdm.auto import tqdm

from causalpose.clip import Clip
from causalpose.config import Config
from causalpose.data.source import PersonSource
from causalpose.errors import CausalPoseError
from causalpose.explain import intervention, methods, scores, targets, truth
from causalpose.explain.attributions import FULL, Effort
from causalpose.explain.intervention import Effect
from causalpose.explain.maps import Map, as_batch
from causalpose.explain.tokenmaps import ALL
from causalpose.model import heatmaps
from causalpose.scenes.dataset import SceneSource
from causalpose.scenes.world import World
from causalpose.skeletons import keypoint_set

SCENES = "scenes"


@dataclass(frozen=True)
class Subject:
    """The clip to explain, where it comes from, and the world that can re-render it (None for real video)."""

    clip: Clip
    number: int
    facts: dict
    world: World | None = None


def pick_clip(config: Config, data: str, split: str, number: int, condition: str = "mixed") -> Subject:
    """A clip by its number: of `scenes` (any number is a clip), or of a data set on disk."""
    if data == SCENES:
        wanted = replace(config.data, source=data, split=split, clips=1)
        source = SceneSource(config.model, wanted, condition, cache=False)
        facts = {key: value for key, value in source.describe().items() if key != "clips"}
        return Subject(source.world.render([number])[0], number, facts, source.world)
    source = PersonSource(data, split, config.model, replace(config.data, source=data, split=split))
    if not 0 <= number < len(source):
        raise CausalPoseError(f"{data} has {len(source)} clips in split {split}; clip {number} must be 0 to {len(source) - 1}")
    return Subject(source[number], number, source.describe())


@dataclass(frozen=True)
class Explanation:
    """Maps of one clip with their scores; `scores[i]` belongs to `maps[i]`, None where a score is undefined.

    body_mass, body_pointing, body_auc   against the body's tokens (scenes)
    limb_mass                            share of the mass on the joint's own limb (scenes, one joint)
    joint_mass, joint_pointing           against the tokens within one of the true joint, in every frame (one labelled joint)
    agreement                            rank correlation with the measured effect (scenes)
    top_overlap                          how much of the tenth of the tokens with the largest effects is in the map's first tenth (scenes)
    agreement_target                     the same rank correlation within the target frame: to know that a model looks at no other frame
                                         ranks most tokens right, so `agreement` alone flatters every gradient
    """

    subject: Subject
    joint: str
    keypoints: str
    prediction: torch.Tensor  # [K, 2] crop pixels
    maps: tuple[Map, ...]
    scores: tuple[dict[str, float | None], ...]
    chance: dict[str, float | None]
    effect: Effect | None
    causal: torch.Tensor | None  # bool [T, rows, columns]
    seed: int
    effort: Effort

    def document(self) -> dict:
        """Everything but the maps, ready for JSON."""
        rows = [
            {"method": m.method, "scores": s, "seconds": round(m.seconds, 3), "forward_passes": m.forward_passes, **m.facts}
            for m, s in zip(self.maps, self.scores, strict=True)
        ]
        effect = self.effect and {
            "causes": list(self.effect.causes), "resamples": self.effect.resamples, "seconds": round(self.effect.seconds, 3),
            "forward_passes": self.effect.forward_passes,
        }  # fmt: skip
        return {
            "protocol": {
                "target": targets.DEFINITION, "joint": self.joint, "clip": self.subject.number, "data": self.subject.facts,
                "body_token": f"a token counts as body from a share of {truth.BODY_TOKEN:g} of its pixels",
                "joint_tokens": "at most one token from the token of the true joint, in every frame that labels it",
                "agreement": "Spearman's rank correlation over tokens with the mean absolute change of the target when the token's region "
                "is re-rendered with the listed causes drawn anew; agreement_target: within the target frame",
                "effect": effect, "seed": self.seed, "effort": asdict(self.effort),
            },
            "methods": rows,
            "chance": self.chance,
        }  # fmt: skip

    def tensors(self) -> dict[str, torch.Tensor]:
        """The maps `[T, rows, columns]` by method, and the measured effect."""
        out = {m.method: m.values[0].contiguous() for m in self.maps}
        if self.effect is not None:
            parts = {
                "size": self.effect.size,
                "change": self.effect.change,
                "error": self.effect.error,
                "shift": self.effect.shift,
                "shift_error": self.effect.shift_error,
            }
            out |= {f"effect_{name}": part[0].contiguous() for name, part in parts.items()}
        return out


def explain_clip(
    model: nn.Module,
    subject: Subject,
    joint: str = ALL,
    names: Sequence[str] | None = None,
    *,
    resamples: int = 2,
    causes: str | Sequence[str] = "content",
    effort: Effort = FULL,
    seed: int = 0,
    kind: str = "ce",
    progress: bool = False,
) -> Explanation:
    """Explain one clip; `names` are of `methods.NAMES`, or `every` that the model can have; by default a choice that fits the stage.

    `resamples` draws of `causes` go into the measured effect (scenes; 0 leaves it out); `kind` is the loss the model was trained with,
    which says how to read the predicted pose.
    """
    stage = model.config.stage
    names = list(dict.fromkeys(names or methods.default_methods(stage, joint)))
    if names == ["every"]:
        names = list(methods.possible(stage))
    for name in names:
        methods.check(name, joint, model)
    clip = as_batch(subject.clip)
    maps = [
        methods.explain(model, clip, joint, name, seed=seed, effort=effort)
        for name in tqdm(names, desc="explaining", unit="method", disable=not progress, leave=False)
    ]
    effect = None
    if subject.world is not None and resamples:
        effect = intervention.effect_map(
            model, subject.world, [subject.number], causes=causes, resamples=resamples, seed=seed, progress=progress
        )
    goals = _goals(model, clip, joint)
    measured = None if effect is None else effect.of(joint)
    scored = [_scores(found.values, goals, measured) for found in maps]
    with torch.no_grad():
        output = model(targets.inputs(model, clip), truth=targets.oracle_truth(model, clip), return_maps=True)
        prediction = heatmaps.decode(output.heatmaps, model.config, kind)[0][0].cpu()
    causal = output.maps["causal"][0].cpu() if stage == 2 else None
    level = _scores(torch.ones_like(maps[0].values), goals, None)
    return Explanation(subject, joint, model.config.keypoints, prediction, tuple(maps), tuple(scored), level, effect, causal, seed, effort)


def _goals(model: nn.Module, clip: Clip, joint: str) -> dict[str, torch.Tensor]:
    """What a map should find, by name, each `[1, T, rows, columns]`."""
    grid, goals = model.config.grid, {}
    if clip.parts is not None:
        goals["body"] = truth.body_share(clip, grid)
        if joint != ALL:
            goals["limb"] = truth.limb_share(clip, joint, grid)
    if joint != ALL:
        goals["joint"] = truth.near_joint(clip, keypoint_set(model.config.keypoints).index(joint), grid)
    return goals


def _scores(values: torch.Tensor, goals: dict[str, torch.Tensor], effect: torch.Tensor | None) -> dict[str, float | None]:
    out: dict[str, torch.Tensor] = {}
    if "body" in goals:
        out |= {f"body_{name}": value for name, value in scores.all_scores(values, goals["body"]).items()}
    if "limb" in goals:
        out["limb_mass"] = scores.body_mass(values, goals["limb"])
    if "joint" in goals:
        known = bool(goals["joint"].any())
        out["joint_mass"] = scores.body_mass(values, goals["joint"]) if known else torch.tensor([torch.nan])
        out["joint_pointing"] = scores.pointing(values, goals["joint"]) if known else torch.tensor([torch.nan])
    if effect is not None:
        out["agreement"] = intervention.agreement(values, effect)
        out["top_overlap"] = intervention.top_overlap(values, effect)
        target = slice(effect.shape[1] // 2, effect.shape[1] // 2 + 1)
        out["agreement_target"] = intervention.agreement(values[:, target], effect[:, target])
    return {name: None if torch.isnan(value[0]) else round(float(value[0]), 4) for name, value in out.items()}
