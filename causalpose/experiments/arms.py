"""The arms of each study: short lists of modifications of one baseline.

`auxiliary_tasks` (paper: both tasks; the comparison of their parts is *ours*), baseline = stage 1 trained on the pose loss alone:

    none           nothing: the baseline itself
    mask           + masked-token reconstruction
    noise          + token denoising
    both           + both, which is the paper's multitask coarse learning
    single-frame   not trained: the stage-0 model that every other arm starts from, as it is
"""

from dataclasses import dataclass, field

from causalpose.config import Config, override
from causalpose.errors import CausalPoseError


@dataclass(frozen=True)
class Arm:
    """One arm: its name, what it changes in the baseline (dotted key -> value), and whether it is trained at all."""

    name: str
    changes: dict = field(default_factory=dict)
    trained: bool = True

    def config(self, baseline: Config) -> Config:
        """The arm's configuration."""
        return override(baseline, self.changes)


@dataclass(frozen=True)
class Study:
    """A study: its baseline's modifications of the preset, its arms, and the arm that differences are taken against."""

    name: str
    stage: int
    baseline: dict
    arms: tuple[Arm, ...]
    against: str

    def arm(self, name: str) -> Arm:
        """Look an arm up by name."""
        for arm in self.arms:
            if arm.name == name:
                return arm
        raise CausalPoseError(f"arms = {name!r}: study {self.name} has no such arm; arms: {', '.join(arm.name for arm in self.arms)}")


AUXILIARY_TASKS = Study(
    name="auxiliary_tasks",
    stage=1,
    baseline={"model.mcl.mask": False, "model.mcl.noise": False},
    arms=(
        Arm("none"),
        Arm("mask", {"model.mcl.mask": True}),
        Arm("noise", {"model.mcl.noise": True}),
        Arm("both", {"model.mcl.mask": True, "model.mcl.noise": True}),
        Arm("single-frame", {"model.stage": 0}, trained=False),
    ),
    against="none",
)
