"""The attribution study: its tasks in order, run one by one, each finished for good, until all are or the time is up.

A task is one part on one model and one block of clips. Its folder is named by everything that decides its numbers (model, clips, question,
code), so an interrupted study goes on where it stopped, and more clips or seeds cost only themselves.
"""

import gzip
import hashlib
import io
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import pandas as pd
from tqdm.auto import tqdm

from causalpose.data.files import read_json, replacing
from causalpose.errors import CausalPoseError
from causalpose.experiments.attribution import maps, models, occlusion, real_video, sanity, selection, shortcut
from causalpose.experiments.attribution.models import Training
from causalpose.experiments.attribution.subject import COLUMNS, Question, Subject
from causalpose.experiments.modules import code_hash
from causalpose.experiments.provenance import file_hash, here
from causalpose.explain.attributions import FULL, LIGHT
from causalpose.explain.methods import NAMES
from causalpose.explain.tokenmaps import CONTROLS, TOKEN_MAPS

STUDY = "attribution"
SCORES, DONE = "scores.csv.gz", "done.json"
MAIN = ("stage1", "stage2")
# Measured beside the main models with the maps that cost next to nothing: the paper's selector, and the one taught by measured effects.
ASIDE = ("stage2-tcis", "stage2-effects")
QUICK = (*TOKEN_MAPS, *CONTROLS, "saliency", "grad_x_token")
PLACEBOS = ("untrained", "shuffled")
TWINS = ("biased", "unbiased")
TASKS_OF_MCL = ("stage1-none", "stage1-mask", "stage1-noise")


@dataclass(frozen=True)
class Sizes:
    """How much of each part: clips a model, but for `block` (clips a task of the main part) and `training`.

    A part of size zero is left out. `main` are the models that every score is measured on; placebos, checks and trials take their turn
    after the first block, so that every table has its first rows early.
    """

    training: Training
    clips: int
    block: int
    placebo: int
    outside: int
    sanity: int
    selection: int
    shortcut: int
    occluded: int
    real: int
    question: Question
    seeds: tuple[int, ...] = (0, 1, 2)
    main: tuple[str, ...] = MAIN
    aside: tuple[str, ...] = ASIDE

    @property
    def measured(self) -> tuple[str, ...]:
        """The models of the main part."""
        return (*self.main, *(arm for arm in self.aside if arm not in self.main))


SIZES: dict[str, Sizes] = {
    "smoke": Sizes(
        Training(4, 32, 8), clips=2, block=1, placebo=1, outside=1, sanity=1, selection=4, shortcut=2, occluded=2, real=1,
        question=Question(NAMES, replace(LIGHT, steps=2, samples=2), resamples=2, samples=4), seeds=(0,),
    ),
    "book": Sizes(
        Training(100, 1024), clips=200, block=2, placebo=12, outside=12, sanity=4, selection=96, shortcut=32, occluded=16, real=2,
        question=Question(NAMES, LIGHT, content=0),
    ),
    "paper": Sizes(
        Training(2000, 65_536, preset="base"), clips=1000, block=20, placebo=200, outside=200, sanity=20, selection=2000, shortcut=200,
        occluded=200, real=200, question=Question(NAMES, FULL, resamples=4, samples=128),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Task:
    """One part on one model and some clips."""

    part: str
    arm: str
    seed: int
    clips: tuple[int, ...]


@dataclass(frozen=True)
class Study:
    """Everything a run of the study is given.

    root     folder of models and finished tasks; starts: replaces shipped weights by checkpoints; real: a data set's folder, or None
    """

    sizes: Sizes
    root: Path
    starts: dict[str, str] = field(default_factory=dict)
    real: str | None = None

    def subject(self, task: Task, progress: bool) -> Subject:
        """The task's model, trained where that is missing."""
        model, config = models.load(task.arm, task.seed, self.sizes.training, self.root, self.starts, progress)
        return Subject(task.arm, task.seed, model, config)

    def key(self, task: Task) -> str:
        """What names the task's folder."""
        model = models.key(task.arm, task.seed, self.sizes.training, self.starts)
        module = measure_of(task.part).__module__
        question = asdict(self.question(task))
        text = json.dumps([asdict(task), model, question, self.real if task.part == "real_video" else None, code_hash(module)])
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def question(self, task: Task) -> Question:
        """What the task's model is asked: models aside are asked for quick maps only."""
        question = self.sizes.question
        if task.arm not in self.sizes.aside or task.part != "maps":
            return question
        return replace(question, methods=tuple(name for name in question.methods if name in QUICK), content=0)

    def folder(self, task: Task) -> Path:
        """Where a task's rows lie."""
        return self.root / "tasks" / f"{task.part}-{task.arm}-seed{task.seed}-from{task.clips[0]}-{self.key(task)}"


MEASURES: dict[str, Callable] = {
    "maps": maps.maps, "outside": maps.outside, "sanity": sanity.sanity_checks, "selection": selection.selection,
    "shortcut": shortcut.shortcut, "occluded": occlusion.occluded, "real_video": real_video.real_video,
}  # fmt: skip


def measure_of(part: str) -> Callable:
    """The function that measures a part."""
    if part not in MEASURES:
        raise CausalPoseError(f"unknown part {part!r} of the attribution study; parts: {', '.join(MEASURES)}")
    return MEASURES[part]


def plan(study: Study) -> list[Task]:
    """All tasks in the order they are run: block by block, each on every main model and seed; the other parts take turns with the first."""
    s = study.sizes
    blocks = [tuple(range(first, min(first + s.block, s.clips))) for first in range(0, s.clips, s.block)]

    def on(part: str, arms: Sequence[str], clips: Sequence[int], seeds: Sequence[int] = s.seeds) -> list[Task]:
        return [Task(part, arm, seed, tuple(clips)) for seed in seeds for arm in arms] if len(clips) else []

    stage2 = [arm for arm in s.measured if models.arm_of(arm).stage == 2]
    first = s.seeds[:1]
    others = [
        on("selection", stage2, range(s.selection)) + on("shortcut", TWINS, range(s.shortcut)),
        on("maps", PLACEBOS, range(s.placebo)) + on("outside", s.main, range(s.outside)),
        on("sanity", s.main, range(s.sanity)) + on("occluded", s.main, range(s.occluded))
        + (on("real_video", s.main, range(s.real), first) if study.real is not None else []),
        on("occluded", TASKS_OF_MCL, range(s.occluded)),
    ]  # fmt: skip
    tasks = []
    for block in blocks:
        tasks += on("maps", s.measured, block) + (others.pop(0) if others else [])
    return tasks + [task for part in others for task in part]


def finished(folder: Path) -> bool:
    """Whether a task's rows are there and as they were written."""
    try:
        return read_json(folder / DONE)["scores"] == file_hash(folder / SCORES)
    except (CausalPoseError, OSError, KeyError, TypeError):
        return False


def run_task(study: Study, task: Task, progress: bool = True) -> pd.DataFrame:
    """The rows of a task, measured where they are missing."""
    folder = study.folder(task)
    if not finished(folder):
        began = time.perf_counter()
        subject, extra = study.subject(task, progress), {}
        if task.part == "real_video":
            extra = {"source": real_video.source(subject, study.real)}
        rows = measure_of(task.part)(subject, list(task.clips), study.question(task), **extra)
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / SCORES) as temporary:
            temporary.write_bytes(packed(rows))
        document = {**asdict(task), "seconds": round(time.perf_counter() - began, 1), "scores": file_hash(folder / SCORES), **here()}
        with replacing(folder / DONE) as temporary:
            temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return unpacked(folder / SCORES)


@dataclass(frozen=True)
class Answers:
    """What a run of the study has: its rows, the tasks that gave them, and those that the time did not reach."""

    rows: pd.DataFrame
    tasks: tuple[dict, ...]
    left: tuple[Task, ...]


def run(study: Study, minutes: float | None = None, progress: bool = True) -> Answers:
    """Run what is not finished; after `minutes` no new task is begun (finished ones are still read).

    A block of the main part counts only when all main models and seeds have it: otherwise methods would be compared on other clips.
    """
    began, parts, done, left = time.perf_counter(), [], [], []
    tasks = plan(study)
    with tqdm(tasks, desc="attribution study", unit="task", disable=not progress) as bar:
        for task in bar:
            late = minutes is not None and time.perf_counter() - began > 60 * minutes
            if late and not finished(study.folder(task)):
                left.append(task)
                continue
            bar.set_postfix_str(f"{task.part}, {task.arm}, seed {task.seed}", refresh=not late)
            parts.append((task, run_task(study, task, progress=False)))
            done.append(read_json(study.folder(task) / DONE))
    counted = study.sizes.measured
    missing = {task.clips for task in left if task.part == "maps" and task.arm in counted}
    kept = [rows for task, rows in parts if not (task.part == "maps" and task.arm in counted and task.clips in missing)]
    if not kept:
        raise CausalPoseError("the study has no finished task yet: give it more minutes")
    return Answers(pd.concat(kept, ignore_index=True), tuple(done), tuple(left))


def packed(rows: pd.DataFrame) -> bytes:
    """Rows as gzip CSV whose bytes depend on the content alone."""
    text = io.StringIO()
    rows.to_csv(text, index=False, float_format="%.6g")
    return gzip.compress(text.getvalue().encode(), mtime=0)


def unpacked(path: Path) -> pd.DataFrame:
    """Rows as written by `packed`."""
    rows = pd.read_csv(path, keep_default_na=False, na_values={"value": ["", "nan"]})
    if tuple(rows.columns) != COLUMNS:
        raise CausalPoseError(f"{path} is no score file of the attribution study: its columns are {', '.join(rows.columns)}")
    return rows.astype({"value": float, "seed": int, "clip": int})
