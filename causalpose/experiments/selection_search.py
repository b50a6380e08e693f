"""`python -m causalpose.experiments.selection_search`: how stage 2's default selection was chosen, as a record.

Short trainings from the shipped stage 1, one a variant, all with the same clips, steps and seed; measured on the scenes' *val* split, since
a choice follows from them. Each model is also measured with other selectors put in its place: where `random` costs nothing, the pose does
not depend on what is selected. One seed each: a search, not a comparison.

Rows of the record, beside the usual ones of the model as trained: `PCK@0.2 with SELECTOR` (the model, another selector at inference),
`ROC-AUC` of importance against the tokens that show the body, and `agreement`, the mean over clips of Spearman's correlation between
importance and the measured effect of every token.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from causalpose.config import Config, differing_keys, override
from causalpose.errors import CausalPoseError
from causalpose.evaluation import tables
from causalpose.experiments import records
from causalpose.experiments.measure import Measured, TestSet, measure_model
from causalpose.explain.intervention import agreement, effect_map
from causalpose.explain.scores import roc_auc
from causalpose.explain.truth import body_share
from causalpose.model.cmpose import CMPose
from causalpose.training import checkpoint
from causalpose.training.loop import train
from causalpose.training.sources import training_source
from causalpose.weights.make import RECIPES, VAL_CLIPS

STUDY, START = "selection_search", "tiny-stage1"
# What each variant changes in the strict, unsupervised form (the paper's selector, as far as its text goes, with nothing to pass it by).
BASELINE = {"model.fte.residual": False, "model.fte.supervision": "none", "train.steps": 200}
VARIANTS = {
    "strict": {},
    "residual": {"model.fte.residual": True},
    "trained with all tokens": {"model.fte.train_selection": "all"},
    "joints 0.3": {"model.fte.supervision": "joints", "model.fte.supervision_weight": 0.3},
    "joints 1": {"model.fte.supervision": "joints", "model.fte.supervision_weight": 1.0},
    "joints 1, no selection": {"model.fte.supervision": "joints", "model.fte.supervision_weight": 1.0, "model.fte.selector": "all"},
    "effects 1": {"model.fte.supervision": "effects", "model.fte.supervision_weight": 1.0},
}
SWAPS = ("all", "random", "bottom", "oracle", "heatmap")
CLIPS_WITH_EFFECTS = 8


def variant_config(name: str, steps: int, overrides: Sequence[str] = ()) -> Config:
    """A variant's configuration: the recipe of the shipped stage 2, the search's baseline, `overrides`, and what the variant changes."""
    recipe = next(recipe for recipe in RECIPES if recipe.name == "tiny-stage2")
    return override(override(override(recipe.config(), BASELINE | {"train.steps": steps}), overrides), VARIANTS[name])


def with_selector(model: CMPose, selector: str) -> CMPose:
    """The same weights, another selector."""
    other = CMPose(override(model.config, {"fte.selector": selector}))
    other.load_state_dict(model.state_dict())
    return other.eval()


@torch.inference_mode()
def importance_scores(model: CMPose, source, effects: int) -> dict[str, float]:
    """ROC-AUC on all clips of a source of scenes, and the agreement with measured effects on its first ones."""
    found, aucs = [], []
    for start in range(0, len(source), 64):
        clip = source.batch(range(start, min(start + 64, len(source))))
        importance = model(clip.frames, return_maps=True).maps["importance_per_keypoint"].mean(1)
        found.append(importance[:effects] if start == 0 else importance[:0])
        aucs.append(roc_auc(importance, body_share(clip, model.config.grid)))
    out = {"ROC-AUC": torch.cat(aucs).nanmean().item()}
    if effects:
        measured = effect_map(model, source.world, range(effects), resamples=1).of("all")
        out["agreement"] = float(np.nanmean(agreement(torch.cat(found), measured)))
    return out


def measure_variant(name: str, run: Path, source, effects: int, progress: bool) -> Measured:
    """One trained variant on val."""
    model, config, _ = checkpoint.load(run)
    labels = {"study": STUDY, "variant": name, "seed": config.train.seed}
    sets = [TestSet("scenes/val", source, "mixed")]
    measured = measure_model(model, config, sets, flip_test=False, progress=progress, **labels)
    scores = importance_scores(model, source, effects)
    for selector in SWAPS:
        swapped = measure_model(with_selector(model, selector), config, sets, flip_test=False, progress=progress, **labels).results
        chosen = swapped[(swapped["joint"] == "mean") & (swapped["metric"] == "PCK@0.2")]
        scores[f"PCK@0.2 with {selector}"] = float(chosen["value"].iloc[0])
    rows = [
        {**labels, "dataset": "scenes/val", "condition": "mixed", "joint": "mean", "metric": metric, "value": value}
        for metric, value in scores.items()
    ]
    return Measured.join([measured, Measured(tables.tidy(rows), measured.clips[:0])])


def search(
    names: Sequence[str],
    runs: Path,
    into: Path,
    *,
    steps: int,
    clips: int,
    effects: int,
    overrides: Sequence[str] = (),
    progress: bool = True,
) -> Path:
    """Train what is not trained yet, measure, write the record; returns its folder.

    Errors: an unknown variant; a finished run in `runs` that was trained with another configuration.
    """
    began = time.perf_counter()
    unknown = [name for name in names if name not in VARIANTS]
    if unknown:
        raise CausalPoseError(f"unknown variants {unknown}; variants: {', '.join(VARIANTS)}")
    source, parts, changes = None, [], {}
    val = training_source(variant_config(names[0], steps, overrides), split="val", clips=clips, progress=progress)
    for name in names:
        config, run = variant_config(name, steps, overrides), runs / name.replace(" ", "-").replace(",", "")
        if not (run / "model.safetensors").is_file():
            source = source or training_source(config, progress=progress)
            train(config, source, run, init=START, resume=True, progress=progress)
        other = differing_keys(checkpoint.read(run)[1], config)
        if other:
            raise CausalPoseError(f"{run} was trained with another {', '.join(other)}; remove it or give another --runs")
        parts.append(measure_variant(name, run, val, effects, progress))
        changes[name] = VARIANTS[name]
    facts = {
        "study": STUDY,
        "start": START,
        "baseline": BASELINE | {"train.steps": steps},
        "overrides": list(overrides),
        "variants": changes,
        "protocol": {"split": "val", "clips": clips, "clips_with_effects": effects, "flip_test": False},
        "seconds": round(time.perf_counter() - began, 1),
    }
    return records.write(into, Measured.join(parts), facts)


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m causalpose.experiments.selection_search", description=__doc__.splitlines()[0])
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), metavar="NAME", help=f"of: {', '.join(VARIANTS)}")
    parser.add_argument("--runs", type=Path, default=Path("runs/selection_search"), help="folder of the resumable runs")
    parser.add_argument("--into", type=Path, default=Path("ablations/results/selection_search"), help="folder of the record")
    parser.add_argument("--steps", type=int, default=BASELINE["train.steps"], help="training steps of each variant")
    parser.add_argument("--clips", type=int, default=VAL_CLIPS, help="val clips to measure on")
    parser.add_argument("--effects", type=int, default=CLIPS_WITH_EFFECTS, help="clips whose effects are measured token by token")
    given = parser.parse_args(arguments)
    try:
        folder = search(given.variants, given.runs, given.into, steps=given.steps, clips=given.clips, effects=given.effects)
    except CausalPoseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    rows = records.read(folder).results
    rows = rows[rows["joint"] == "mean"]
    print(rows.pivot_table(index="variant", columns="metric", values="value", sort=False).round(2).to_string(na_rep="-"))
    print(f"record: {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
