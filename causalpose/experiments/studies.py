"""What the notebooks do, in one call each: train one model and put it beside its start, or run every cell of a study."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from causalpose.config import differing_keys, override
from causalpose.errors import CausalPoseError
from causalpose.evaluation.baselines import MeanPose
from causalpose.experiments import comparisons, records
from causalpose.experiments.arms import AUXILIARY_TASKS, Arm, Study
from causalpose.experiments.cells import Cell, Finished, portable, run
from causalpose.experiments.measure import Measured, Protocol, TestSet, measure
from causalpose.experiments.parameters import AuxiliaryTasksParameters, Parameters, Plan
from causalpose.training import checkpoint
from causalpose.training.sources import training_source


def protocol(parameters: Parameters) -> Protocol:
    """How a notebook's cells are tested."""
    sizes = parameters.sizes
    return Protocol((parameters.split,), sizes.conditions, parameters.clips_tested, parameters.severity, sizes.flip_test)


def mean_pose(study: str, keypoints: str, source, sets: Sequence[TestSet]) -> Measured:
    """The predictor to beat first, fitted on the training clips."""
    fitted = MeanPose.fit(source)
    return measure(fitted.predict, keypoints, sets, study=study, variant="mean-pose", seed=0)


@dataclass(frozen=True)
class Training:
    """What a training notebook ends with: the cell, its run, and the record of it beside its start and the mean pose."""

    plan: Plan
    finished: Finished
    measured: Measured
    sets: tuple[TestSet, ...]


def train_one(parameters: Parameters, progress: bool = True) -> Training:
    """Train and test the one cell of a training notebook, and test what it started from and the mean pose on the same clips."""
    plan, tested = parameters.plan(), protocol(parameters)
    source = training_source(plan.config, progress=progress)
    sets = tested.sets(plan.config, progress)
    cell = Cell(parameters.study, f"stage{parameters.stage}", plan.config, plan.init, tested)
    finished = run(cell, parameters.run_folder, source, sets, progress)
    parts = [mean_pose(parameters.study, plan.config.model.keypoints, source, sets)]
    if plan.init is not None and _testable(plan):
        start = Cell(parameters.study, "start", plan.config, plan.init, tested, trained=False)
        parts.append(run(start, parameters.run_folder, source, sets, progress).measured)
    return Training(plan, finished, Measured.join([*parts, finished.measured]), tuple(sets))


def _testable(plan: Plan) -> bool:
    """Whether the starting weights can be tested on the same clips: the same size, keypoints and, above stage 0, frames."""
    _, config, _ = checkpoint.read(plan.init)
    keys = ("height", "width", "keypoints", *(("frames",) if config.model.stage else ()))
    return not any(key in keys for key in differing_keys(config.model, plan.config.model))


def study_cells(parameters: AuxiliaryTasksParameters, study: Study = AUXILIARY_TASKS) -> list[Cell]:
    """Every cell of the study: first the reference that is not trained, then seed by seed, so that an interrupted study has whole seeds."""
    plan, tested = parameters.plan(), protocol(parameters)
    cells = [
        Cell(study.name, arm.name, plan.config, plan.init, tested, trained=False)
        for arm in parameters.chosen_arms
        if not arm.trained and plan.init is not None
    ]
    for seed in parameters.chosen_seeds:
        cells += [_trained_cell(study, arm, seed, plan, tested) for arm in parameters.chosen_arms if arm.trained]
    if not cells:
        raise CausalPoseError(
            f"the arms {', '.join(parameters.arms)} need trained weights to start from, and there are none: {plan.reason}"
        )
    return cells


def _trained_cell(study: Study, arm: Arm, seed: int, plan: Plan, tested: Protocol) -> Cell:
    config = override(arm.config(plan.config), {"train.seed": seed})
    return Cell(study.name, arm.name, config, plan.init, tested)


def run_study(parameters: AuxiliaryTasksParameters, progress: bool = True) -> list[Finished]:
    """Run every cell that is not finished; training and test clips are loaded once."""
    cells = study_cells(parameters)
    source = training_source(cells[0].config, progress=progress)
    sets = cells[0].protocol.sets(cells[0].config, progress)
    done = []
    for number, cell in enumerate(cells, 1):
        if progress:
            state = "finished before" if records.finished(cell.folder(parameters.run_folder)) else "running"
            print(f"[{number}/{len(cells)}] {cell.variant}, seed {cell.seed}: {state}", flush=True)
        done.append(run(cell, parameters.run_folder, source, sets, progress))
    return done


def runs_of_seed(done: Sequence[Finished], seed: int) -> dict[str, Path]:
    """The run folders of the trained arms at one seed, for their curves."""
    chosen = [cell for cell in done if cell.provenance["trained"] and cell.provenance["seed"] == seed]
    return {cell.provenance["variant"]: cell.checkpoint for cell in chosen}


def compare_arms(done: Sequence[Finished], study: Study = AUXILIARY_TASKS) -> pd.DataFrame | None:
    """Paired differences of every arm against the study's baseline; None where the baseline or every other arm is absent."""
    clips = Measured.join([cell.measured for cell in done]).clips
    names = set(clips["variant"])
    if study.against not in names or len(names) < 2:
        return None
    return comparisons.compare(clips, study.against, metrics=("PCK@0.2", "PCK@0.1", "PCK@0.2 occluded"))


def record(parameters: Parameters, measured: Measured, cells: Sequence[Finished], compared: pd.DataFrame | None = None) -> Path:
    """Write the notebook's record to `results/STUDY/SCALE`."""
    given = portable(asdict(parameters))
    cells_facts = [{key: value for key, value in cell.provenance.items() if key not in ("files", "versions", "python")} for cell in cells]
    facts = {"study": parameters.study, "scale": parameters.scale, "parameters": given, "cells": cells_facts}
    return records.write(parameters.record_folder, measured, facts, compared)
