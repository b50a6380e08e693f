"""`python -m causalpose.experiments.real_video ROOT`: does pretraining on scenes help on real video?

On a data set in PoseTrack18 form with the splits train, val and val_other:

    scenes        the scenes-trained stage-1 model as it is, without a look at real video
    fine-tuned    that model trained further on train
    from-nothing  the same architecture trained on train from random weights: same steps, same batch, same clips in the same order
    mean-pose     the mean pose of train

Nothing is chosen on val or val_other. The rates are settled elsewhere: from nothing the preset's own; fine-tuning takes the rate and layer
decay with which the shipped stage 1 was trained on scenes. Both have one schedule and the same augmentation.
"""

import argparse
import sys
import time
from pathlib import Path

from causalpose.config import Config, config_hash, override, preset, to_dict
from causalpose.data import posetrack
from causalpose.errors import CausalPoseError
from causalpose.experiments import comparisons, records
from causalpose.experiments.cells import evaluate, portable, train
from causalpose.experiments.grid import Evaluation, Model
from causalpose.experiments.measure import Measured, test_sets
from causalpose.experiments.protocol import Protocol
from causalpose.experiments.provenance import file_hash
from causalpose.experiments.show import pck_table
from causalpose.experiments.studies import labelled, mean_pose
from causalpose.training import checkpoint
from causalpose.training.sources import training_source

STUDY, TRAIN, HELD_OUT = "real_video", "train", ("val", "val_other")
STEPS, BATCH = 200, 32
# The whole network learns, on augmented views, and both arms alike.
_COMMON = {
    "model.stage": 1, "train.steps": STEPS, "train.batch": BATCH, "train.warmup": 20, "train.precision": "bf16", "train.augment": True,
    "train.checkpoint_every": 50, "data.split": TRAIN,
}  # fmt: skip
# The rate and layer decay of the shipped stage 1's recipe, made for going on from trained weights.
FINE_TUNING = {"train.lr": 5e-4, "train.layer_decay": 0.75}


def cells(
    root: Path, init: str, seeds: tuple[int, ...], steps: int = STEPS, overrides: tuple[str, ...] = ()
) -> list[tuple[str, Evaluation]]:
    """The study's cells by variant: the untouched model once, then both training arms for each seed."""
    protocol = Protocol(HELD_OUT, flip_test=True)
    base = override(override(preset("tiny"), _COMMON | {"data.source": str(root), "train.steps": steps}), overrides)
    out = [("scenes", Evaluation(init, protocol, str(root)))]
    for seed in seeds:
        seeded = override(base, {"train.seed": seed})
        out.append(("fine-tuned", Evaluation(Model(override(seeded, FINE_TUNING), init), protocol, str(root))))
        out.append(("from-nothing", Evaluation(Model(seeded, None), protocol, str(root))))
    return out


def study(root: Path, init: str, seeds: tuple[int, ...], out: Path, into: Path, *, steps: int = STEPS, overrides: tuple[str, ...] = (),
          progress: bool = True) -> Path:  # fmt: skip
    """Run what is not finished and write the record; returns its folder."""
    began = time.perf_counter()
    for split in (TRAIN, *HELD_OUT):
        posetrack.annotation_files(root, split)
    planned = cells(root, init, seeds, steps, overrides)
    protocol = planned[0][1].protocol
    config: Config = override(planned[-1][1].model.config, {"train.seed": 0})
    checkpoint.load(init, expect=config.model)
    source, sets = training_source(config), test_sets(protocol, config)
    parts, done = [mean_pose(STUDY, config.model.keypoints, source, sets)], []
    for number, (variant, cell) in enumerate(planned, 1):
        seed = cell.model.config.train.seed if isinstance(cell.model, Model) else 0
        if progress:
            print(f"[{number}/{len(planned)}] {variant}, seed {seed}", flush=True)
        if isinstance(cell.model, Model):
            done.append(train(cell.model, out, source=source, progress=progress))
        tested = evaluate(cell, out, sets=sets, progress=progress)
        parts.append(labelled(tested.measured, STUDY, variant, seed))
        done.append(tested)
    measured = Measured.join(parts)
    metrics = ("PCK@0.2", "PCK@0.1")
    pairs = (("fine-tuned", "scenes"), ("fine-tuned", "from-nothing"), ("from-nothing", "mean-pose"), ("scenes", "mean-pose"))
    compared = [comparisons.compare(measured.clips, below, variants=[above], metrics=metrics) for above, below in pairs]
    facts = {
        "study": STUDY,
        "data": source.describe() | {"held_out": [test.source.describe() for test in sets]},
        "init": {"name": Path(init).name, "sha256": file_hash(checkpoint.locate(init))},
        "baseline": {"config_hash": config_hash(config), "config": portable(to_dict(config))},
        "fine_tuning": FINE_TUNING,
        "selection": "nothing was chosen on val or val_other; steps by the time there is, rates from the preset and from the scenes recipe",
        "caution": "clips of one video resemble each other, so intervals over clips are too narrow: they speak of these videos only",
        "cells": [cell.provenance for cell in done],
        "seconds": round(time.perf_counter() - began, 1),
    }
    folder = records.write(into, measured, facts, comparisons.corrected(compared))
    if progress:
        for name in (test.dataset for test in sets):
            part = Measured(*(frame[frame["dataset"] == name] for frame in (measured.results, measured.clips)))
            print(pck_table(part, protocol))
    return folder


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m causalpose.experiments.real_video", description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path, help="data set in PoseTrack18 form with splits train, val and val_other")
    parser.add_argument("--init", default="tiny-stage1", help="scenes-trained stage-1 weights (default tiny-stage1)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument(
        "--set", dest="overrides", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change the baseline of all arms"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/real_video"), help="folder of the runs; finished ones are not redone")
    parser.add_argument("--into", type=Path, default=Path("ablations/results/real_video"), help="folder of the record")
    given = parser.parse_args(arguments)
    try:
        folder = study(
            given.root, given.init, tuple(given.seeds), given.out, given.into, steps=given.steps, overrides=tuple(given.overrides)
        )
    except CausalPoseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"record: {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
