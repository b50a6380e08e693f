"""The grid: which models a study trains, from what, and which tests they are put to.

    backbone -> stage 1 -> stage 2 -> evaluation -> study

A cell is named by everything that decides its numbers: its configuration, the cell that it starts from, the test protocol, and the
source of the modules that it imports. Change any of them and it is another cell with a folder of its own; leave them and it is never
done twice, whichever study asks for it. Nothing here imports torch: the whole grid is laid out in a moment.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from causalpose import weights
from causalpose.config import TRAINING_CONDITIONS, Config, override, preset, to_dict
from causalpose.errors import CausalPoseError
from causalpose.experiments.arms import Arm, Study, study
from causalpose.experiments.modules import code_hash
from causalpose.experiments.protocol import Protocol
from causalpose.experiments.scale import TRAIN, Scale, scale

SCENES = "scenes"
ROOT = Path("runs/ablations")
CELL = "cell.json"

# What a cell of each kind runs: their code, and what it imports, decides its numbers.
_TRAINING_CODE = ("causalpose.training.loop", "causalpose.training.sources")
_TEST_CODE = ("causalpose.experiments.measure",)
_STUDY_CODE = ("causalpose.experiments.studies", "causalpose.experiments.show", "causalpose.plotting.results")
# Settings that a stage hands down to the stage below: what the two have to share.
_SHARED = (
    "preset", "model.keypoints", "model.height", "model.width", "model.frames", "model.backbone.", "model.encoder.", "model.head.", "data.",
)  # fmt: skip
# What a study decides by itself, seed by seed and stage by stage.
_OWN = ("train.seed", "model.stage", "data.source")


def digest(*facts: object) -> str:
    """Twelve hexadecimal digits of plain facts."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


@lru_cache(maxsize=64)
def _file_digest(path: Path, _stamp: tuple[int, int]) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def weights_key(place: str | None) -> str | None:
    """What names given weights: the key of the cell that trained them, or the digest of the file."""
    if place is None:
        return None
    path = weights.path(place) if place in weights.NAMES and not Path(place).exists() else Path(place)
    if (path / CELL).is_file():
        return json.loads((path / CELL).read_text(encoding="utf-8"))["key"]
    path = path / "model.safetensors" if path.is_dir() else path
    for candidate in (path, path.with_name(path.name + ".safetensors")):
        if candidate.is_file():
            stat = candidate.stat()
            return _file_digest(candidate, (stat.st_mtime_ns, stat.st_size))
    raise CausalPoseError(
        f"weights {place} not found; give a run folder, a .safetensors file or shipped weights: {', '.join(weights.NAMES)}"
    )


@dataclass(frozen=True)
class Model:
    """A model that one cell trains; `init` is the model of the stage below, weights by name or path, or None for nothing."""

    config: Config
    init: "Model | str | None"

    @property
    def kind(self) -> str:
        """`backbone`, `stage1` or `stage2`."""
        return f"stage{self.config.model.stage}" if self.config.model.stage else "backbone"

    @property
    def seed(self) -> int:
        """The training seed."""
        return self.config.train.seed

    @property
    def code(self) -> str:
        """Names the code that trains."""
        return code_hash(*_TRAINING_CODE)

    @cached_property
    def key(self) -> str:
        """Names the model by all that decides it."""
        below = self.init.key if isinstance(self.init, Model) else weights_key(self.init)
        return digest(to_dict(self.config), below, self.code)

    def folder(self, root: Path) -> Path:
        """The cell's folder, in which the run lies; `cell.json` in it is written last."""
        return root / "models" / f"{self.kind}-seed{self.seed}-{self.key}"

    def done(self, root: Path) -> Path:
        """The file that says that the cell is finished."""
        return self.folder(root) / CELL


@dataclass(frozen=True)
class Evaluation:
    """A model (or given weights, as they are) and the test that one cell puts it to."""

    model: Model | str
    protocol: Protocol
    data: str = SCENES

    kind = "evaluation"

    @property
    def code(self) -> str:
        """Names the code that tests."""
        return code_hash(*_TEST_CODE)

    @cached_property
    def key(self) -> str:
        """Names the cell by all that decides its numbers; a path to a trained cell comes to the same as the cell."""
        tested = self.model.key if isinstance(self.model, Model) else weights_key(self.model)
        return digest(tested, asdict(self.protocol), self.data, self.code)

    def folder(self, root: Path) -> Path:
        """The folder of the cell's record; its `provenance.json` is written last."""
        name = self.model.folder(root).name if isinstance(self.model, Model) else Path(self.model).name.removesuffix(".safetensors")
        return root / "evaluations" / f"{name}-{self.key}"

    def done(self, root: Path) -> Path:
        """The file that says that the cell is finished."""
        return self.folder(root) / "provenance.json"


@dataclass(frozen=True)
class Entry:
    """One arm with one seed, as it stands in a study's table."""

    arm: Arm
    seed: int
    evaluation: Evaluation


@dataclass(frozen=True)
class Asked:
    """What is asked of a study. `None` leaves a value to the scale; sizes are those of the stage that the study is about.

    backbones   shipped names, paths, or `train`; the seeds take them in turn, so that pretraining varies along with training
    main        only the arms of the study's short form, where `arms` names none
    """

    scale: str = "smoke"
    preset: str | None = None
    backbones: tuple[str, ...] | None = None
    data: str = SCENES
    test_split: str | None = None
    steps: int | None = None
    batch: int | None = None
    clips: int | None = None
    test_clips: int | None = None
    severity: int = 3
    seeds: tuple[int, ...] | None = None
    arms: tuple[str, ...] | None = None
    main: bool = False
    overrides: tuple[str, ...] = ()

    @property
    def sizes(self) -> Scale:
        """The scale's row of the table."""
        return scale(self.scale)

    @property
    def chosen_seeds(self) -> tuple[int, ...]:
        """The training seeds, each once."""
        return tuple(dict.fromkeys(self.sizes.seeds if self.seeds is None else self.seeds))

    def chosen_arms(self, of: Study) -> tuple[Arm, ...]:
        """The arms, each once, in the study's order."""
        if self.arms is not None:
            wanted = [of.arm(name) for name in self.arms]
            return tuple(arm for arm in of.arms if arm in wanted)
        if self.scale == "smoke" and of.smoke:
            return tuple(of.arm(name) for name in of.smoke)
        return tuple(arm for arm in of.arms if arm.main or not self.main)

    @property
    def chosen_backbones(self) -> tuple[str, ...]:
        """The backbones that are there; the scale's second one may be missing, a named one may not."""
        if self.backbones is not None:
            return self.backbones
        if self.preset not in (None, self.sizes.preset):
            return (TRAIN,)
        present = tuple(name for name in self.sizes.backbones if name == TRAIN or name in weights.available())
        return present or (TRAIN,)

    def protocol(self) -> Protocol:
        """How the cells are tested."""
        split = self.test_split or ("test" if self.data == SCENES else "val")
        return Protocol((split,), self.sizes.conditions, self.test_clips or self.sizes.test_clips, self.severity, self.sizes.flip_test)

    def base(self, stage: int, name: str) -> Config:
        """The scale's configuration of a stage in the study `name`."""
        values = {"model.stage": stage, "data.source": self.data, **self.sizes.training, **self.sizes.stages.get(stage, {})}
        if stage:  # backbones serve all studies
            values |= self.sizes.studies.get(name, {})
        if self.clips is not None and stage:
            values["data.clips"] = self.clips
        return override(preset(self.preset or self.sizes.preset), values)


def entries(name: str, asked: Asked) -> list[Entry]:
    """The table of a study: arms that are not trained first, then seed by seed, so that an interrupted study has whole seeds."""
    of = study(name)
    arms, seeds = asked.chosen_arms(of), asked.chosen_seeds
    if not arms or not seeds:
        raise CausalPoseError("seeds and arms must each name at least one")
    _leaves_arms_apart(of, arms, asked.overrides)
    if asked.data != SCENES:
        _can_do_without_scenes(of, arms)
    protocol, out = asked.protocol(), []
    backbones = asked.chosen_backbones
    for arm in arms:
        if not arm.trained:
            # An untrained arm is the start of the others: one row a start, for the seeds that begin from it.
            for seed in seeds:
                out.append(Entry(arm, seed, Evaluation(_start(of, arm, asked, seed, backbones), protocol, asked.data)))
    for seed in seeds:
        for arm in arms:
            if arm.trained:
                out.append(Entry(arm, seed, Evaluation(model(of, arm, asked, seed, backbones), protocol, asked.data)))
    return out


def _leaves_arms_apart(of: Study, arms: Sequence[Arm], overrides: Iterable[str]) -> None:
    """Settings for every arm alike may not replace what arms or seeds differ in: the table would compare a model with itself."""
    for key in (text.partition("=")[0].strip() for text in overrides):
        if key in _OWN:
            raise CausalPoseError(f"override {key}: a study sets it by its own parameters (seeds, data, arms); leave the override out")
        replaced = [arm.name for arm in arms if key in arm.changes]
        if replaced:
            raise CausalPoseError(
                f"override {key} would replace what these arms of study {of.name} are about: {', '.join(replaced)}; "
                "leave it out, or choose arms"
            )


def _can_do_without_scenes(of: Study, arms: Sequence[Arm]) -> None:
    """Refuse arms that need what only a renderer has: part masks, a choice of conditions."""
    scenes = {"model.fte.selector": ("oracle",), "data.condition": TRAINING_CONDITIONS}
    needing = [arm.name for arm in arms if any(arm.changes.get(key) in values for key, values in scenes.items())]
    if needing:
        others = " ".join(arm.name for arm in arms if arm.name not in needing)
        raise CausalPoseError(
            f"study {of.name}: only rendered scenes can train the arms {', '.join(needing)}; on real video name arms: {others}"
        )


def model(of: Study, arm: Arm, asked: Asked, seed: int, backbones: Sequence[str]) -> Model:
    """The model of an arm with a seed, with all that it starts from."""
    changes = of.baseline | arm.changes
    stage = changes.get("model.stage", of.stage)
    sized = {"train.steps": asked.steps, "train.batch": asked.batch}
    values = {key: value for key, value in sized.items() if value is not None} | changes | {"train.seed": seed}
    # the sizes are those of the study's stage, also for an arm of another: all train as long, or at their own pace as many minutes
    config = arm.paced(override(override(asked.base(of.stage, of.name), values), _fitting(asked.overrides, stage)))
    # a single frame that is trained on, as an arm, starts where stage 1 does
    return Model(config, _below(of, stage or min(1, of.stage), changes, asked, seed, backbones))


def _start(of: Study, arm: Arm, asked: Asked, seed: int, backbones: Sequence[str]) -> Model | str:
    """What the arms of the study start from: the stage below its own."""
    found = _below(of, of.stage, of.baseline | {k: v for k, v in arm.changes.items() if k != "model.stage"}, asked, seed, backbones)
    if found is None:
        raise CausalPoseError(f"arm {arm.name} of study {of.name} is what the others start from, and they start from nothing")
    return found


def _below(of: Study, stage: int, changes: dict, asked: Asked, seed: int, backbones: Sequence[str]) -> Model | str | None:
    """The model that a stage starts from."""
    backbone = backbones[seed % len(backbones)]
    if stage == 0:
        return None if backbone == TRAIN else backbone
    shared = {key: value for key, value in changes.items() if key.startswith(_SHARED)}
    if stage == 2:
        config = override(override(asked.base(1, of.name), of.below | shared | {"train.seed": seed}), _fitting(asked.overrides, 1))
        return Model(config, _below(of, 1, shared, asked, seed, backbones))
    if backbone != TRAIN:
        return backbone
    # A backbone of the grid's own: as many as there are seeds would cost more than the study, so two serve all.
    inherited = {
        key: value
        for key, value in shared.items()
        if key == "data.condition" or not key.startswith(("model.frames", "model.encoder.", "data."))
    }
    # It keeps its own training and clips, whatever is asked of the stages above; an arm that trains a single frame on does not.
    asked_for = [text for text in _fitting(asked.overrides, 0) if not text.strip().startswith(("train.", "data."))]
    config = override(override(asked.base(0, of.name), inherited | {"train.seed": seed % 2}), asked_for)
    return Model(config, None)


def _fitting(overrides: Iterable[str], stage: int) -> list[str]:
    """The asked-for settings that concern a stage: none hears of another's parts."""
    foreign = {0: ("model.mcl.", "model.fte.", "model.encoder.", "model.frames"), 1: ("model.fte.",), 2: ("model.mcl.",)}
    return [text for text in overrides if not text.strip().startswith(foreign[stage])]


def study_key(name: str, table: Sequence[Entry]) -> str:
    """Names a study's table by its cells and by the code that makes it."""
    return digest(name, [[entry.arm.name, entry.seed, entry.evaluation.key] for entry in table], code_hash(*_STUDY_CODE))


def cells(table: Iterable[Entry]) -> list[Model | Evaluation]:
    """Every cell behind the entries, once each, what a cell starts from before it."""
    found: dict[str, Model | Evaluation] = {}

    def add(cell: Model | Evaluation | str | None) -> None:
        if cell is None or isinstance(cell, str) or cell.key in found:
            return
        add(cell.init if isinstance(cell, Model) else cell.model)
        found[cell.key] = cell

    for entry in table:
        add(entry.evaluation)
    return list(found.values())
