"""The arms of each study, in one readable place: short lists of modifications of one baseline, one factor an arm.

An arm changes its study's baseline, or the arm that `against` names, in one factor; everything else stays the same, the starting weights
and the order of the clips included. Each table says what its arms change; sizes (steps, clips, seeds) are those of `experiments.scale`.
"""

from dataclasses import dataclass, field

from causalpose.config import Config, override
from causalpose.errors import CausalPoseError


@dataclass(frozen=True)
class Arm:
    """One arm.

    name      as it stands in tables, without blanks
    changes   what it changes in the study's baseline (dotted key -> value)
    trained   False: the weights that the other arms start from, tested as they are
    against   the arm that it differs from in one factor, and that it is compared with; None: the study's own reference
    main      belongs to the short form of the study
    settings  how many settings its factor consists of (two for an arm that turns two things on together)
    """

    name: str
    changes: dict = field(default_factory=dict)
    trained: bool = True
    against: str | None = None
    main: bool = True
    settings: int = 1

    def config(self, baseline: Config) -> Config:
        """The arm's configuration."""
        return override(baseline, self.changes)


@dataclass(frozen=True)
class Study:
    """A study.

    stage      of its arms, unless an arm changes `model.stage`
    baseline   modifications of the scale's configuration that all its arms share
    against    the arm that differences are taken against
    below      modifications of the stage that its arms start from (stage 1 below stage 2), beyond those that follow from the arm itself
    smoke      the arms that scale `smoke` runs
    """

    name: str
    stage: int
    baseline: dict
    arms: tuple[Arm, ...]
    against: str
    below: dict = field(default_factory=dict)
    smoke: tuple[str, ...] = ()

    def arm(self, name: str) -> Arm:
        """Look an arm up by name."""
        for arm in self.arms:
            if arm.name == name:
                return arm
        raise CausalPoseError(f"arms = {name!r}: study {self.name} has no such arm; arms: {', '.join(arm.name for arm in self.arms)}")

    def reference(self, arm: Arm) -> str:
        """The name of the arm that an arm is compared with."""
        return arm.against or self.against


# Baseline: stage 1 trained on the pose loss alone. Paper: both tasks; the comparison of their parts is *ours*.
AUXILIARY_TASKS = Study(
    name="auxiliary_tasks",
    stage=1,
    baseline={"model.mcl.mask": False, "model.mcl.noise": False},
    arms=(
        Arm("none"),
        Arm("mask", {"model.mcl.mask": True}),
        Arm("noise", {"model.mcl.noise": True}),
        Arm("both", {"model.mcl.mask": True, "model.mcl.noise": True}, settings=2),
        Arm("single-frame", {"model.stage": 0}, trained=False),
    ),
    against="none",
    smoke=("none", "both"),
)


def _shares(selector: str, against: str) -> tuple[Arm, ...]:
    """The share rho of tokens kept as causal, for one selector."""
    chosen = {} if selector == "attention" else {"model.fte.selector": selector}
    return tuple(
        Arm(f"{selector}-rho-{share}", chosen | {"model.fte.keep_rate": share}, against=against, main=False)
        for share in (0.1, 0.5, 0.7, 0.9)
    )


# Stage 2 as the studies of its parts need it: the head sees nothing but what went through selection and merging. With a residual path
# a pose can pass them by, and every selector would look alike.
_BOTTLENECK = {"model.fte.residual": False}

# Baseline: TCIS as the paper's text has it (attention that only the pose loss teaches; keep rate 0.3, joint ranking), the rest merged by
# DPC-kNN. The other ways to rank tokens, and the supervision of attention, are *ours*. `supervised-all` is supervision's control: the
# same lesson, but nothing is selected.
TCIS = Study(
    name="tcis",
    stage=2,
    baseline=_BOTTLENECK | {"model.fte.supervision": "none"},
    arms=(
        Arm("attention"),
        Arm("supervised", {"model.fte.supervision": "joints"}),
        Arm("all", {"model.fte.selector": "all"}),
        Arm("supervised-all", {"model.fte.selector": "all", "model.fte.supervision": "joints"}, against="all"),
        Arm("random", {"model.fte.selector": "random"}),
        Arm("norm", {"model.fte.selector": "norm"}),
        Arm("heatmap", {"model.fte.selector": "heatmap"}),
        Arm("oracle", {"model.fte.selector": "oracle"}),
        Arm("bottom", {"model.fte.selector": "bottom"}),
        Arm("effects", {"model.fte.supervision": "effects"}, main=False),
        Arm("trained-with-all", {"model.fte.train_selection": "all"}, main=False),
        Arm("annealed", {"model.fte.keep_anneal": 0.5}, main=False),
        Arm("soft-gate", {"model.fte.gate": "soft"}, main=False),
        Arm("per-frame", {"model.fte.ranking": "frame"}, main=False),
        Arm("keypoint-readout", {"model.fte.readout": "keypoints"}, main=False),
        Arm("both-readouts", {"model.fte.readout": "both"}, main=False),
        Arm("residual", {"model.fte.residual": True}, main=False),
        *_shares("attention", "attention"),
        *_shares("random", "random"),
    ),
    against="attention",
    smoke=("attention", "random"),
)

# Baseline: the default selector (attention that the joints teach too), 16 clusters. What becomes of the tokens that are not causal.
CLUSTERING = Study(
    name="clustering",
    stage=2,
    baseline=_BOTTLENECK | {"model.fte.supervision": "joints"},
    arms=(
        Arm("dpc-knn-16"),
        Arm("keep", {"model.fte.clustering": "keep"}),
        Arm("drop", {"model.fte.clustering": "drop"}),
        Arm("dpc-knn-8", {"model.fte.clusters": 8}),
        Arm("dpc-knn-32", {"model.fte.clusters": 32}),
        Arm("dpc-knn-48", {"model.fte.clusters": 48}, main=False),
        Arm("kmeans-16", {"model.fte.clustering": "kmeans"}),
        Arm("tome-16", {"model.fte.clustering": "tome"}),
        Arm("plain-weights", {"model.fte.merge_weight": "plain"}),
    ),
    against="dpc-knn-16",
    smoke=("dpc-knn-16", "drop"),
)

STUDIES: dict[str, Study] = {study.name: study for study in (AUXILIARY_TASKS, TCIS, CLUSTERING)}


def study(name: str) -> Study:
    """Look a study up by name."""
    try:
        return STUDIES[name]
    except (KeyError, TypeError):
        raise CausalPoseError(f"study = {name!r} is not one of: {', '.join(STUDIES)}") from None
