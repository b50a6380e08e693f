"""`python -m causalpose.experiments.record_weights`: what the shipped weights are worth, as a record.

The mean pose and the three shipped models on the scenes' *test* split, which no choice was made on: by condition at severity 3, and by
level of difficulty. Writes results.csv.gz, clips.csv.gz, comparisons.csv (paired differences from the stage below), intervals.csv (each
model's own interval over clips) and provenance.json. Each model has one training seed, so an interval speaks of clips, not of training.

The control `single-frame-continued` (made by `python -m causalpose.weights.make --control`) is measured too where it is given:
`--weights tiny-backbone single-frame-continued=runs/weights/single-frame-continued.safetensors tiny-stage1 tiny-stage2`.

Where only some weights are new, `--keep --weights tiny-stage2` measures these and keeps the record's other rows: the clips are the same,
and weights whose file has changed are refused. The provenance says which code measured what was kept.
"""

import argparse
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from causalpose import weights
from causalpose.clip import CONDITIONS, Visibility
from causalpose.config import Config, DataConfig, preset
from causalpose.data.files import replacing
from causalpose.errors import CausalPoseError
from causalpose.evaluation import tables
from causalpose.evaluation.baselines import MeanPose
from causalpose.experiments import comparisons, records
from causalpose.experiments.measure import Measured, TestSet, measure, measure_model
from causalpose.experiments.provenance import file_hash
from causalpose.scenes.dataset import SceneSource
from causalpose.training import checkpoint

STUDY, SEVERITY, LEVELS = "weights", 3, ("easy", "default", "hard")
# Each model is compared with what it started from, and the last also with the first.
PAIRS = (
    ("tiny-backbone", "mean-pose"),
    ("tiny-stage1", "mean-pose"),
    ("tiny-stage1", "tiny-backbone"),
    ("tiny-stage1", "single-frame-continued"),
    ("single-frame-continued", "tiny-backbone"),
    ("tiny-stage2", "tiny-stage1"),
    ("tiny-stage2", "tiny-backbone"),
)
METRICS = ("PCK@0.2", "PCK@0.1", "PCK@0.2 visible", "PCK@0.2 occluded")


def condition_sets(config: Config, clips: int, progress: bool) -> list[TestSet]:
    """The default level under each condition; the same scenes each time."""
    data = replace(config.data, split="test", clips=clips)
    return [TestSet("scenes/test", SceneSource(config.model, data, condition, SEVERITY, progress=progress)) for condition in CONDITIONS]


def level_sets(config: Config, clips: int, progress: bool) -> list[TestSet]:
    """Each level of difficulty, clean and as it comes (`mixed`: occluders, blur and darkness as the level draws them)."""
    out = []
    for level in LEVELS:
        data = replace(config.data, split="test", clips=clips, level=level)
        for condition in ("clean", "mixed"):
            source = SceneSource(config.model, data, condition, SEVERITY, progress=progress)
            out.append(TestSet(f"scenes-level-{level}/test", source, condition))
    return out


def occluded_share(test: TestSet) -> float:
    """Percentage of the labelled joints at the target frame that are hidden, by the body itself or by something else."""
    clips = test.source.batch(range(len(test.source)))
    states = clips.visibility[:, clips.target].numpy()
    counted = (states != Visibility.UNLABELLED) & (states != Visibility.OUTSIDE)
    hidden = (states == Visibility.SELF_OCCLUDED) | (states == Visibility.OCCLUDED)
    return 100 * float((hidden & counted).sum() / counted.sum())


def evaluate_all(sets: list[TestSet], fitted_on: SceneSource | None, names: tuple[str, ...], progress: bool) -> Measured:
    """The mean pose (if there is something to fit it on) and the named weights (shipped names or checkpoints by `NAME=PATH`) on all test
    sets, with flip test."""
    parts = []
    if fitted_on is not None:
        parts.append(measure(MeanPose.fit(fitted_on).predict, "posetrack15", sets, study=STUDY, variant="mean-pose", seed=0))
    for name in names:
        label, _, path = name.partition("=")
        model, config, _ = checkpoint.load(path or label)
        labels = {"study": STUDY, "variant": label, "seed": config.train.seed}
        parts.append(measure_model(model, config, sets, flip_test=True, progress=progress, **labels))
    return Measured.join(parts)


@dataclass(frozen=True)
class Kept:
    """What is taken over from an earlier record: its rows but for those measured anew, and where they come from."""

    measured: Measured
    weights: dict
    origin: dict


def kept_from(into: Path, labels: list[str], clips: int) -> Kept:
    """The rows of the record in `into` that stay when `labels` are measured again.

    Errors: another number of clips or another protocol; shipped weights among the kept whose file is not the one that was measured.
    """
    old = records.read(into)
    (facts,) = old.provenance
    if facts["clips"] != clips or facts["protocol"] != _protocol():
        raise CausalPoseError(
            f"{into} was recorded with {facts['clips']} clips, {facts['protocol']}; it cannot be mixed with another protocol"
        )
    sums = {name: entry for name, entry in facts["weights"].items() if name not in labels}
    changed = [name for name, entry in sums.items() if name in weights.NAMES and file_hash(checkpoint.locate(name)) != entry["sha256"]]
    if changed:
        raise CausalPoseError(f"the weights {', '.join(changed)} are not those that {into} measured; measure them again too (--weights)")
    staying = [name for name in dict.fromkeys(old.results["variant"]) if name not in labels]
    origin = {"variants": staying} | {key: facts[key] for key in ("commit", "source_hash", "date")}
    return Kept(records.select(old, variants=staying), sums, origin)


def _protocol() -> dict:
    return {"split": "test", "severity": SEVERITY, "flip_test": True, "data": DataConfig().seed, "fitted_on": "train (mean pose)"}


def record(names: tuple[str, ...], clips: int, into: Path, progress: bool = True, keep: bool = False) -> Path:
    """Measure, compare and write the record; returns its folder. `keep`: the other rows of the record that is there stay."""
    began = time.perf_counter()
    labels = [name.partition("=")[0] for name in names]
    kept = kept_from(into, labels, clips) if keep else None
    config = preset("tiny")
    fitted_on = None if keep else SceneSource(config.model, replace(config.data, split="train", clips=clips), progress=progress)
    sets = [*condition_sets(config, clips, progress), *level_sets(config, clips, progress)]
    measured = evaluate_all(sets, fitted_on, names, progress)
    shares = [] if keep else [
        {"study": STUDY, "variant": "scenes", "seed": 0, "dataset": test.dataset, "condition": test.condition or test.source.condition,
         "joint": "all", "metric": "occluded joints", "value": occluded_share(test)}
        for test in sets
    ]  # fmt: skip
    if kept is not None:  # the occluded shares are among the kept rows: they belong to the clips
        measured = Measured.join([kept.measured, measured])
    else:
        measured = replace(measured, results=tables.tidy(pd.concat([measured.results, tables.tidy(shares)], ignore_index=True)))
    present = set(measured.clips["variant"])
    scenes = measured.clips[measured.clips["dataset"] == "scenes/test"]
    compared = [
        comparisons.compare(scenes, below, variants=[above], metrics=METRICS) for above, below in PAIRS if {above, below} <= present
    ]
    located = [checkpoint.locate(name.partition("=")[2] or name) for name in names]
    facts = {
        "study": STUDY,
        "clips": clips,
        "protocol": _protocol(),
        "weights": ({} if kept is None else kept.weights)
        | {label: {"sha256": file_hash(path)} for label, path in zip(labels, located, strict=True)},
        **({} if kept is None else {"kept": kept.origin}),
        "selection": "nothing was chosen on the test split; recipes were settled on val",
        "seconds": round(time.perf_counter() - began, 1),
    }
    joined = comparisons.corrected(compared) if compared else None
    folder = records.write(into, measured, facts, joined)
    with replacing(folder / "intervals.csv") as temporary:
        comparisons.intervals(measured.clips, metrics=METRICS[:1]).to_csv(temporary, index=False, float_format="%.6g")
    return folder


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m causalpose.experiments.record_weights", description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=2000, help="test clips per condition and level (default 2000)")
    parser.add_argument("--into", type=Path, default=Path("ablations/results/weights"), help="folder of the record")
    parser.add_argument(
        "--weights", nargs="+", default=["tiny-backbone", "tiny-stage1", "tiny-stage2"], help="shipped names, or NAME=CHECKPOINT"
    )
    parser.add_argument("--keep", action="store_true", help="keep the rows of the record in --into that are not measured now")
    given = parser.parse_args(arguments)
    try:
        folder = record(tuple(given.weights), given.clips, given.into, keep=given.keep)
    except CausalPoseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    rows = records.read(folder).results
    rows = rows[(rows["joint"] == "mean") & (rows["metric"] == "PCK@0.2")]
    print(rows.pivot_table(index=["dataset", "variant"], columns="condition", values="value", sort=False).round(1).to_string(na_rep="-"))
    print(f"record: {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
