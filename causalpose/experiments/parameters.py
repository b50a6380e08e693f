"""Parameters of the notebooks, checked before anything runs.

papermill injects whatever it is given and merely warns about an unknown name, so a misspelt parameter would leave its default in force
without a word. Each template has a frozen dataclass here; `check(Class, globals())` in the cell after the `parameters` cell compares
the namespace with it, and then resolves everything that can be wrong: types, values, checkpoint, data.
"""

import math
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path

import torch

from causalpose.config import Config, override, preset
from causalpose.data import posetrack
from causalpose.errors import CausalPoseError
from causalpose.experiments import arms, grid
from causalpose.experiments.protocol import Protocol
from causalpose.experiments.scale import Scale, scale
from causalpose.model.cmpose import CMPose
from causalpose.training import checkpoint
from causalpose.training.sources import SCENES
from causalpose.training.starting import starting_weights

# Names that IPython itself puts into a notebook's namespace.
_SHELL = {"In", "Out"}
_CHECKED = "_causalpose_parameters_checked"


@dataclass(frozen=True)
class Plan:
    """What parameters come to: the full configuration, the weights it starts from (None: from nothing), and why those."""

    config: Config
    init: str | None
    reason: str


@dataclass(frozen=True)
class Parameters:
    """What every training template takes. `None` leaves a value to the scale.

    scale        smoke, book or paper (`experiments.scale`)
    preset       model size
    init         `auto`: the shipped weights of the stage below; `none`; or a run folder or checkpoint
    data         `scenes`, or a folder in PoseTrack18 form; test_split: `test` for scenes, `val` for a folder
    steps, batch, clips, test_clips   sizes of training and test (clips: scenes only)
    severity     of the test conditions, 1 to 5 (scenes only)
    overrides    further `section.key=value` settings, separated by blanks
    tested       test the model here, beside what it started from; the grid does that in a cell of its own
    out          folder of the runs; results: folder that the tidy record goes to (as results/STUDY/SCALE)
    cell         what the grid calls this cell; it stops when code or weights have changed meanwhile
    """

    scale: str = "smoke"
    preset: str | None = None
    init: str = "auto"
    data: str = SCENES
    test_split: str | None = None
    steps: int | None = None
    batch: int | None = None
    clips: int | None = None
    test_clips: int | None = None
    severity: int = 3
    overrides: tuple[str, ...] = ()
    tested: bool = True
    out: str = "runs/ablations"
    results: str = "runs/ablations/results"
    cell: str | None = None

    study: typing.ClassVar[str] = ""
    stage: typing.ClassVar[int] = 1
    # parameters that are settings of the configuration by another name
    keys: typing.ClassVar[dict[str, str]] = {}

    @property
    def sizes(self) -> Scale:
        """The scale's row of the table."""
        return scale(self.scale)

    @property
    def split(self) -> str:
        """The split that is tested on."""
        return self.test_split or ("test" if self.data == SCENES else "val")

    @property
    def clips_tested(self) -> int:
        """Test clips per condition."""
        return self.test_clips or self.sizes.test_clips

    @property
    def root(self) -> Path:
        """Where the cells lie."""
        return Path(self.out) / self.scale

    @property
    def record_folder(self) -> Path:
        """Where this notebook's record goes."""
        return Path(self.results) / self.study / self.scale

    def changes(self) -> dict:
        """The template's own parameters as dotted configuration keys."""
        return {key: value for name, key in self.keys.items() if (value := getattr(self, name)) is not None}

    def config(self) -> Config:
        """The configuration, before it is known which weights there are."""
        sized = {"train.steps": self.steps, "train.batch": self.batch, "data.clips": self.clips}
        stages = self.sizes.stages.get(self.stage, {})
        values = {"model.stage": self.stage, "data.source": self.data, **self.sizes.training, **stages, **self.changes()}
        values |= {key: value for key, value in sized.items() if value is not None}
        return override(override(preset(self.preset or self.sizes.preset), values), self.overrides)

    def plan(self) -> Plan:
        """The configuration and its start. Without trained weights the backbone cannot stay frozen, so it is trained too."""
        config = self.config()
        init, reason = starting_weights(self.init, config)
        if init is None and config.train.freeze:
            return Plan(
                override(config, {"train.freeze": False, "train.freeze_encoder": False}), None, f"{reason}; so nothing is kept frozen"
            )
        return Plan(config, init, reason)

    def verify(self) -> None:
        """Everything that can be wrong beyond a type: impossible values, a missing, damaged or unfit checkpoint, absent data."""
        _at_least_one(self, "steps", "batch", "clips", "test_clips")
        _severity(self.severity)
        plan = self.plan()
        if plan.init is not None:
            with torch.random.fork_rng(devices=[]):
                checkpoint.initialise(CMPose(plan.config.model), plan.init)
        _held_out(plan.config, (self.split,))
        if self.data != SCENES:
            for split in (plan.config.data.split, self.split):
                posetrack.annotation_files(self.data, split)
        elif self.split not in ("val", "test"):
            raise CausalPoseError(f"parameter test_split = {self.split!r}: scenes are tested on `test` (or `val`)")


def _keys(section: str, *names: str) -> dict[str, str]:
    return {"seed": "train.seed"} | {name: f"{section}.{name}" for name in names}


@dataclass(frozen=True)
class BackboneParameters(Parameters):
    """`train_backbone.ipynb`: the single-frame model that stage 1 starts from."""

    seed: int = 0

    study: typing.ClassVar[str] = "train_backbone"
    stage: typing.ClassVar[int] = 0
    keys: typing.ClassVar[dict[str, str]] = _keys("")


@dataclass(frozen=True)
class Stage1Parameters(Parameters):
    """`train_stage1.ipynb`: Multitask Coarse Learning. The meanings and units are those of `config.MCLConfig`."""

    seed: int = 0
    mask: bool = True
    mask_ratio: float = 0.5
    mask_pattern: str = "random"
    weight_mask: float = 1.0
    noise: bool = True
    noise_std: float = 0.8
    noise_share: float = 0.25
    weight_noise: float = 1.0

    study: typing.ClassVar[str] = "train_stage1"
    keys: typing.ClassVar[dict[str, str]] = _keys(
        "model.mcl", "mask", "mask_ratio", "mask_pattern", "weight_mask", "noise", "noise_std", "noise_share", "weight_noise"
    )


@dataclass(frozen=True)
class Stage2Parameters(Parameters):
    """`train_stage2.ipynb`: Fine Token Enhancement. The meanings and units are those of `config.FTEConfig`; `clusters` None
    takes the preset's."""

    seed: int = 0
    selector: str = "attention"
    keep_rate: float = 0.3
    ranking: str = "joint"
    gate: str = "straight-through"
    clustering: str = "dpc-knn"
    clusters: int | None = None
    neighbours: int = 5

    study: typing.ClassVar[str] = "train_stage2"
    stage: typing.ClassVar[int] = 2
    keys: typing.ClassVar[dict[str, str]] = _keys(
        "model.fte", "selector", "keep_rate", "ranking", "gate", "clustering", "clusters", "neighbours"
    )


@dataclass(frozen=True)
class EvaluateParameters:
    """`evaluate.ipynb`: put a model to its test. Names and units are those of `Parameters`; `checkpoint`: a run folder, a checkpoint, or
    the name of shipped weights."""

    checkpoint: str = "tiny-stage1"
    scale: str = "smoke"
    data: str = SCENES
    test_split: str | None = None
    test_clips: int | None = None
    severity: int = 3
    out: str = "runs/ablations"
    cell: str | None = None

    @property
    def root(self) -> Path:
        """Where the cells lie."""
        return Path(self.out) / self.scale

    def protocol(self) -> Protocol:
        """How the model is tested."""
        asked = grid.Asked(scale=self.scale, data=self.data, test_split=self.test_split, test_clips=self.test_clips, severity=self.severity)
        return asked.protocol()

    def verify(self) -> None:
        """A missing or damaged checkpoint, absent data, impossible values."""
        _at_least_one(self, "test_clips")
        _severity(self.severity)
        checkpoint.read(self.checkpoint)
        for split in self.protocol().splits:
            _split(self.data, split)


@dataclass(frozen=True)
class StudyParameters(grid.Asked):
    """What every study template takes: what is asked of the grid, and where the cells and the record lie.

    `arms` None: all of the study (two at scale smoke); `main` True: those of its short form. out, results, cell: as in `Parameters`.
    """

    out: str = "runs/ablations"
    results: str = "runs/ablations/results"
    cell: str | None = None

    study: typing.ClassVar[str] = ""

    @property
    def root(self) -> Path:
        """Where the cells lie."""
        return Path(self.out) / self.scale

    @property
    def record_folder(self) -> Path:
        """Where this notebook's record goes."""
        return Path(self.results) / self.study / self.scale

    @property
    def asked(self) -> grid.Asked:
        """The same for the grid."""
        return grid.Asked(**{f.name: getattr(self, f.name) for f in fields(grid.Asked)})

    def verify(self) -> None:
        """Everything that can be wrong beyond a type: impossible values, unknown arms, missing weights, absent data."""
        _at_least_one(self, "steps", "batch", "clips", "test_clips")
        _severity(self.severity)
        for split in self.asked.protocol().splits:
            _split(self.data, split)
        table = grid.entries(self.study, self.asked)
        for cell in grid.cells(table):
            if isinstance(cell, grid.Model):
                _held_out(cell.config, self.asked.protocol().splits)
        for cell in grid.cells(table):
            if isinstance(cell, grid.Model) and isinstance(cell.init, str):
                with torch.random.fork_rng(devices=[]):
                    checkpoint.initialise(CMPose(cell.config.model), cell.init)
                if self.data != SCENES:
                    _split(self.data, cell.config.data.split)
                break


def _of_study(name: str) -> type[StudyParameters]:
    return type(f"{name}Parameters", (StudyParameters,), {"study": name, "__doc__": f"Parameters of `{name}.ipynb`."})


# The parameters of every study's template, by the study's name.
STUDIES: dict[str, type[StudyParameters]] = {name: _of_study(name) for name in arms.STUDIES}


def _held_out(config: Config, splits: Sequence[str]) -> None:
    if config.data.split in splits:
        raise CausalPoseError(
            f"split {config.data.split!r} is both trained and tested on: name another as test_split, or leave data.split to the template"
        )


def _at_least_one(parameters: object, *names: str) -> None:
    for name in names:
        value = getattr(parameters, name)
        if value is not None and value < 1:
            raise CausalPoseError(f"parameter {name} = {value} must be at least 1")


def _severity(severity: int) -> None:
    if not 1 <= severity <= 5:
        raise CausalPoseError(f"parameter severity = {severity} must be 1 to 5")


def _split(data: str, split: str) -> None:
    """A split to test on is there; of a folder, one to train on as well."""
    if data != SCENES:
        posetrack.annotation_files(data, split)
    elif split not in ("val", "test"):
        raise CausalPoseError(f"parameter test_split = {split!r}: scenes are tested on `test` (or `val`)")


Checked = typing.TypeVar("Checked", bound=Parameters | StudyParameters | EvaluateParameters)


def check(cls: type[Checked], namespace: dict) -> Checked:
    """The parameters of a notebook from its `globals()`, or one line that says what is wrong with them.

    Unknown names: every plain value (text, number, list, …) that is not a parameter counts as a misspelt one. In a session where
    this cell is run again, later cells may have defined plain values of their own, so only names close to a parameter's count then.
    """
    one_line_errors()
    hints = {f.name: typing.get_type_hints(cls)[f.name] for f in fields(cls)}
    for name in namespace:
        if name.startswith("_") or name in _SHELL or name in hints or not _plain(namespace[name]):
            continue
        near = get_close_matches(name, hints, n=1)
        if near or _CHECKED not in namespace:
            hint = f"did you mean {near[0]!r}?" if near else f"parameters: {', '.join(hints)}"
            raise CausalPoseError(f"unknown parameter {name!r}; {hint}")
    parameters = cls(**{name: _coerce(name, namespace[name], hint) for name, hint in hints.items() if name in namespace})
    parameters.verify()
    namespace[_CHECKED] = True
    return parameters


def one_line_errors() -> None:
    """In a notebook, show a `CausalPoseError` as its one line, so that it is also what papermill's report consists of."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is None:
        return

    def show(shell, kind, error, trace, tb_offset=None):
        # The handler has to report by itself; what it returns goes nowhere.
        shell._showtraceback(kind, error, [f"{kind.__name__}: {error}"])

    shell.set_custom_exc((CausalPoseError,), show)


def _plain(value: object) -> bool:
    return value is None or isinstance(value, (str, int, float, list, tuple, set, Mapping))


def _coerce(name: str, value: object, hint: object) -> object:
    """A value as its declared type. papermill hands over numbers as numbers and everything else as text, so text is parsed where a
    sequence or a truth value is wanted; a number never becomes text, nor a fraction an integer."""
    if isinstance(hint, types.UnionType):
        if value is None:
            return None
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    if typing.get_origin(hint) is tuple:
        return _sequence(name, value, typing.get_args(hint)[0])
    if hint is bool and isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if hint is float and type(value) is int:
        value = float(value)
    if type(value) is not hint:
        wanted = {int: "a whole number", float: "a number", bool: "True or False", str: "text"}[hint]
        raise CausalPoseError(f"parameter {name} = {value!r} must be {wanted}")
    if hint is float and not math.isfinite(value):
        raise CausalPoseError(f"parameter {name} = {value} is not a finite number")
    return value


def _sequence(name: str, value: object, element: type) -> tuple:
    """A tuple from a list, from one element, or from text such as `0 1 2` or `0,1,2`."""
    if isinstance(value, str):
        value = value.replace(",", " ").split() if element is int else value.split()
    elif not isinstance(value, (list, tuple)):
        value = [value]
    out = []
    for part in value:
        if element is int and isinstance(part, str):
            try:
                part = int(part)
            except ValueError:
                raise CausalPoseError(f'parameter {name}: {part!r} is not a whole number; write {name} as "0 1 2"') from None
        out.append(_coerce(name, part, element))
    return tuple(out)
