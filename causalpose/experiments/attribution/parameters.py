"""Parameters of `attribution.ipynb`, checked before anything runs (`experiments.parameters.check`)."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from causalpose.config import override
from causalpose.errors import CausalPoseError
from causalpose.experiments.attribution import models
from causalpose.experiments.attribution.study import SIZES, STUDY, Sizes, Study
from causalpose.explain.attributions import EFFORTS
from causalpose.explain.methods import NAMES
from causalpose.training import checkpoint
from causalpose.training.sources import training_source


@dataclass(frozen=True)
class AttributionParameters:
    """What the notebook takes. `None` leaves a value to the scale.

    scale       smoke, book or paper (`study.SIZES`)
    methods     `every`, or names of methods
    models      models of the main part; seeds: training seeds
    clips       test clips of the main part at most; block: clips a task, the grain of resuming
    minutes     no new task is begun after so many; None: until all is done
    effort      light or full; resamples: draws of every measured effect
    steps, train_clips   sizes of the study's own trainings
    backbone, stage1     weights that they start from: shipped names, run folders or checkpoints
    trained     a folder of models that other studies have trained (`runs/ablations/book/models`), taken where they fit; `none`: train all
    real        a folder of real video with a split `val`; `none` leaves that part out
    overrides   further `section.key=value` settings of every model, separated by blanks
    out         folder of models and finished tasks; results: the record goes to RESULTS/attribution/SCALE
    """

    scale: str = "smoke"
    methods: tuple[str, ...] = ("every",)
    models: tuple[str, ...] | None = None
    seeds: tuple[int, ...] | None = None
    clips: int | None = None
    block: int | None = None
    minutes: float | None = None
    effort: str | None = None
    resamples: int | None = None
    steps: int | None = None
    train_clips: int | None = None
    backbone: str = "tiny-backbone"
    stage1: str = "tiny-stage1"
    trained: str = "none"
    real: str = "none"
    overrides: tuple[str, ...] = ()
    out: str = "runs/ablations"
    results: str = "runs/ablations/results"

    study_name: ClassVar[str] = STUDY

    @property
    def record_folder(self) -> Path:
        """Where the record goes."""
        return Path(self.results) / STUDY / self.scale

    @property
    def chosen_methods(self) -> tuple[str, ...]:
        """The methods by name."""
        return NAMES if self.methods == ("every",) else tuple(dict.fromkeys(self.methods))

    def sizes(self) -> Sizes:
        """The scale's sizes with what was asked for."""
        if self.scale not in SIZES:
            raise CausalPoseError(f"scale = {self.scale!r} is not one of: {', '.join(SIZES)}")
        s = SIZES[self.scale]
        given = {"steps": self.steps, "clips": self.train_clips, "overrides": self.overrides or None}
        training = replace(s.training, **{name: value for name, value in given.items() if value is not None})
        asked = {
            "methods": self.chosen_methods,
            "effort": None if self.effort is None else EFFORTS.get(self.effort),
            "resamples": self.resamples,
        }
        question = replace(s.question, **{name: value for name, value in asked.items() if value is not None})
        rest = {"clips": self.clips, "block": self.block, "seeds": self.seeds, "main": self.models}
        return replace(s, training=training, question=question, **{name: value for name, value in rest.items() if value is not None})

    def study(self) -> Study:
        """The study that these parameters ask for."""
        sizes = self.sizes()
        starts = {"tiny-backbone": self.backbone, "tiny-stage1": self.stage1}
        if self.trained != "none":
            starts |= models.given(Path(self.trained), sizes.training, sizes.seeds)
        return Study(sizes, Path(self.out) / STUDY / self.scale, starts, None if self.real == "none" else self.real)

    def verify(self) -> None:
        """Everything that can be wrong beyond a type: unknown names, impossible sizes, missing weights or data."""
        for name in ("clips", "block", "resamples", "steps", "train_clips"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise CausalPoseError(f"parameter {name} = {value} must be at least 1")
        if self.minutes is not None and self.minutes <= 0:
            raise CausalPoseError(f"parameter minutes = {self.minutes} must be positive")
        if self.effort is not None and self.effort not in EFFORTS:
            raise CausalPoseError(f"parameter effort = {self.effort!r} is not one of: {', '.join(EFFORTS)}")
        unknown = [name for name in self.chosen_methods if name not in NAMES]
        if unknown or not self.chosen_methods:
            raise CausalPoseError(
                f"parameter methods: unknown method {', '.join(map(repr, unknown)) or 'of no name'}; methods: every, {', '.join(NAMES)}"
            )
        sizes = self.sizes()
        if not sizes.seeds or not sizes.main or len(set(sizes.seeds)) < len(sizes.seeds):
            raise CausalPoseError("parameters seeds and models must each name at least one, and none twice")
        for name in sizes.main:
            models.arm_of(name)
        for weights in (self.backbone, self.stage1):
            checkpoint.locate(weights)
        config = sizes.training.config("stage1", sizes.seeds[0])
        if self.trained != "none":
            models.given(Path(self.trained), sizes.training, sizes.seeds)
        if self.real != "none":
            training_source(override(config, {"data.source": self.real}), split="val")
