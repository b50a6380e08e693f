"""What the notebooks do, in one call each: train one model and put it beside its start, test a model, or read a study's whole table."""

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from causalpose.config import differing_keys
from causalpose.data.files import read_json
from causalpose.errors import CausalPoseError
from causalpose.evaluation.baselines import MeanPose
from causalpose.experiments import comparisons, grid, provenance, records
from causalpose.experiments.arms import Study, study
from causalpose.experiments.cells import Finished, evaluate, place, portable, train
from causalpose.experiments.grid import Entry, Evaluation, Model
from causalpose.experiments.measure import Measured, TestSet, measure, test_sets
from causalpose.experiments.parameters import EvaluateParameters, Parameters, Plan, StudyParameters
from causalpose.experiments.protocol import Protocol
from causalpose.training import checkpoint
from causalpose.training.sources import training_source

METRICS = ("PCK@0.2", "PCK@0.1", "PCK@0.2 visible", "PCK@0.2 occluded")


def protocol(parameters: Parameters) -> Protocol:
    """How a training notebook's model is tested."""
    sizes = parameters.sizes
    return Protocol((parameters.split,), sizes.conditions, parameters.clips_tested, parameters.severity, sizes.flip_test)


def mean_pose(name: str, keypoints: str, source, sets: Sequence[TestSet]) -> Measured:
    """The predictor to beat first, fitted on the training clips."""
    fitted = MeanPose.fit(source)
    return measure(fitted.predict, keypoints, sets, study=name, variant="mean-pose", seed=0)


def labelled(measured: Measured, name: str, variant: str, seed: int) -> Measured:
    """A cell's rows under the names that they have in a study."""
    labels = {"study": name, "variant": variant, "seed": seed}
    return Measured(measured.results.assign(**labels), measured.clips.assign(**labels))


@dataclass(frozen=True)
class Training:
    """What a training notebook ends with: the cell, and where it was tested, the record of it beside its start and the mean pose."""

    plan: Plan
    finished: Finished
    measured: Measured | None
    sets: tuple[TestSet, ...]
    cells: tuple[Finished, ...]

    @property
    def checkpoint(self) -> Path:
        """The run folder with the trained model."""
        return self.finished.folder


def train_one(parameters: Parameters, progress: bool = True) -> Training:
    """Train the model of a training notebook; test it, what it started from and the mean pose on the same clips unless `tested` is off."""
    plan, tested = parameters.plan(), protocol(parameters)
    model = Model(plan.config, plan.init)
    _expect(parameters.cell, model.key)
    source = training_source(plan.config, progress=progress)
    finished = train(model, parameters.root, source=source, progress=progress)
    if not parameters.tested:
        return Training(plan, finished, None, (), (finished,))
    sets = test_sets(tested, plan.config, progress)
    name, cells = parameters.study, [finished]
    parts = [mean_pose(name, plan.config.model.keypoints, source, sets)]
    if plan.init is not None and _testable(plan):
        start = evaluate(Evaluation(plan.init, tested, parameters.data), parameters.root, sets=sets, progress=progress)
        parts.append(labelled(start.measured, name, "start", 0))
    own = evaluate(Evaluation(model, tested, parameters.data), parameters.root, sets=sets, progress=progress)
    parts.append(labelled(own.measured, name, model.kind, model.seed))
    return Training(plan, finished, Measured.join(parts), tuple(sets), (*cells, own))


def _testable(plan: Plan) -> bool:
    """Whether the starting weights can be tested on the same clips: the same size, keypoints and, above stage 0, frames."""
    _, config, _ = checkpoint.read(plan.init)
    keys = ("height", "width", "keypoints", *(("frames",) if config.model.stage else ()))
    return not any(key in keys for key in differing_keys(config.model, plan.config.model))


def _expect(expected: str | None, found: str) -> None:
    if expected not in (None, found):
        raise CausalPoseError(
            f"this cell comes to {found}, but the grid planned {expected}: code, weights or parameters changed while it ran; start it again"
        )


def evaluate_one(parameters: EvaluateParameters, progress: bool = True) -> Finished:
    """Put the model of the evaluation notebook to its test."""
    evaluation = Evaluation(parameters.checkpoint, parameters.protocol(), parameters.data)
    _expect(parameters.cell, evaluation.key)
    return evaluate(evaluation, parameters.root, progress=progress)


@dataclass(frozen=True)
class StudyRun:
    """A study's table: what each entry is and what was measured, under the names of the arms, with the differences between them."""

    study: Study
    entries: tuple[Entry, ...]
    cells: tuple[Finished, ...]
    measured: Measured
    compared: pd.DataFrame | None
    root: Path

    def runs(self, seed: int | None = None) -> dict[str, Path]:
        """The run folders of the trained arms at one seed (the first by default), for their curves."""
        seed = self.entries[-1].seed if seed is None else seed
        chosen = [entry for entry in self.entries if entry.seed == seed and entry.arm.trained]
        return {entry.arm.name: Path(place(entry.evaluation.model, self.root)) for entry in chosen}


def run_study(parameters: StudyParameters, progress: bool = True) -> StudyRun:
    """The table of a study. Cells that are not finished are run here, one after the other; the grid has run them before."""
    of, table = study(parameters.study), grid.entries(parameters.study, parameters.asked)
    _expect(parameters.cell, grid.study_key(of.name, table))
    done: dict[str, Finished] = {}
    for number, entry in enumerate(table, 1):
        key = entry.evaluation.key
        if key not in done:
            if progress and not records.finished(entry.evaluation.folder(parameters.root)):
                print(f"[{number}/{len(table)}] {entry.arm.name}, seed {entry.seed}: running", flush=True)
            done[key] = evaluate(entry.evaluation, parameters.root, progress=progress)
    parts = [labelled(done[entry.evaluation.key].measured, of.name, entry.arm.name, entry.seed) for entry in table]
    measured = Measured.join(parts)
    against = {arm.name: of.reference(arm) for arm in of.arms}
    compared = comparisons.compare_pairs(measured.clips, against, metrics=METRICS)
    return StudyRun(of, tuple(table), tuple(done.values()), measured, compared, parameters.root)


def record(parameters: Parameters, training: Training) -> Path:
    """Write a training notebook's record to `results/STUDY/SCALE`."""
    facts = {
        "study": parameters.study,
        "scale": parameters.scale,
        "command": command(parameters),
        "parameters": portable(asdict(parameters)),
    }
    return records.write(parameters.record_folder, training.measured, facts | {"cells": [_cell_facts(cell) for cell in training.cells]})


def record_study(parameters: StudyParameters, run: StudyRun) -> Path:
    """Write a study's record to `results/STUDY/SCALE`: tidy rows, clips, comparisons, and the provenance of every cell.

    A record that holds the very same cells already is left as it is.
    """
    key = grid.study_key(run.study.name, run.entries)
    folder = parameters.record_folder
    if records.finished(folder) and read_json(folder / records.PROVENANCE).get("key") == key:
        return folder
    models = {}
    for entry in run.entries:
        for cell in grid.cells([entry]):
            if isinstance(cell, Model):
                models[cell.key] = train(cell, run.root, progress=False)
    facts = {
        "study": run.study.name, "scale": parameters.scale, "key": key, "command": command(parameters),
        "parameters": portable(asdict(parameters)),
        "protocol": asdict(parameters.asked.protocol()),
        "entries": [{"variant": e.arm.name, "seed": e.seed, "evaluation": e.evaluation.key, "changes": e.arm.changes,
                     "backbone": _backbone(e.evaluation.model)} for e in run.entries],
        "cells": [_cell_facts(cell) for cell in (*models.values(), *run.cells)],
    }  # fmt: skip
    return records.write(folder, run.measured, facts, run.compared)


def command(parameters: Parameters) -> str:
    """The plain command that asks for the same again: the notebook with every parameter that is not the default's.

    Folders are left out: where a record goes is its reader's affair. Of an absolute path the last part stands for the whole.
    """
    words = ["papermill", f"ablations/{parameters.study}.ipynb", "out.ipynb"]
    for name, value in portable(asdict(parameters)).items():
        if name not in ("out", "results", "cell") and value != portable({name: getattr(type(parameters), name)})[name]:
            words += ["-p", name, " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)]
    return shlex.join(words)


def _backbone(model: Model | str) -> str:
    """What is at the bottom of a model."""
    while isinstance(model, Model):
        if model.init is None:
            return f"trained by the grid, seed {model.seed}"
        model = model.init
    return Path(model).name


def _cell_facts(cell: Finished) -> dict:
    """A cell's provenance without what the study's own says once: versions, where they are those of the study."""
    here = provenance.here()
    said = {"files"} | {key for key in ("versions", "python", "causalpose") if cell.provenance.get(key) == here[key]}
    return {key: value for key, value in cell.provenance.items() if key not in said}
