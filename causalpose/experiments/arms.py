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
    pace      steps relative to the baseline's: where a study gives every arm the same minutes, the baseline's seconds a step over the arm's
    """

    name: str
    changes: dict = field(default_factory=dict)
    trained: bool = True
    against: str | None = None
    main: bool = True
    settings: int = 1
    pace: float = 1.0

    def config(self, baseline: Config) -> Config:
        """The arm's configuration."""
        return self.paced(override(baseline, self.changes))

    def paced(self, config: Config) -> Config:
        """A configuration with the baseline's steps turned into the arm's."""
        if self.pace == 1:
            return config
        return override(config, {"train.steps": max(1, round(config.train.steps * self.pace))})


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


_ON, _OFF = {"model.mcl.mask": True}, {"model.mcl.mask": False, "model.mcl.noise": False}
CONTENTS = ("mask", "noise", "foreign", "erased", "clean")
TARGETS = ("tokens", "pose", "heatmap")
# What training sees. In distribution: what the tests are drawn from, bad conditions included. Then: clean scenes only, tested under every
# condition (its backbone, too, must have seen clean scenes only, if the whole model is to be tested on what it never saw); and few labels
# among many clips. (A backbone of the grid's own sees clean scenes alone then, too. The shipped ones have seen every condition: above them
# the shift is that of stage 1 alone.)
REGIMES: dict[str, dict] = {"": {}, "shift-": {"data.condition": "clean"}, "few-": {"data.labels": 300}}


def _corrupted(regime: str) -> tuple[Arm, ...]:
    """The grid that explains the tasks: what half of the tokens are corrupted with, times what is supervised, in one regime.

    Names are CONTENT-TARGET. `mask-tokens` is the paper's task and called `mask`. `clean-…` corrupts nothing: the clean view as an extra
    branch, at the same cost, is what every other content of its row is compared with.
    """
    arms = []
    for target in TARGETS:
        for content in CONTENTS:
            changes = {key: value for key, value, usual in _factors(content, target) if value != usual}
            name = "mask" if (content, target) == ("mask", "tokens") else f"{content}-{target}"
            # `none` is what the paper's task is compared with; the others name the repeated clean branch of their row
            against = None if content == "clean" or name == "mask" else f"{regime}clean-{target}"
            main = regime == "" and (name == "mask" or (target != "tokens" and content in ("foreign", "erased", "clean")))
            settings = 1 if against else 1 + len(changes)
            arms.append(
                Arm(regime + name, REGIMES[regime] | _ON | changes, against=against or f"{regime}none", main=main, settings=settings)
            )
    return tuple(arms)


def _factors(content: str, target: str) -> tuple[tuple[str, str, str], ...]:
    return ("model.mcl.content", content, "mask"), ("model.mcl.target", target, "tokens")


def _regime(name: str) -> tuple[Arm, ...]:
    """The paper's arms and the grid in a regime other than that of the tests."""
    base = REGIMES[name]
    return (
        Arm(f"{name}none", base, main=False),
        *_corrupted(name),
        Arm(f"{name}noise", base | {"model.mcl.noise": True}, against=f"{name}none", main=False),
        Arm(f"{name}both", base | _ON | {"model.mcl.noise": True}, against=f"{name}none", main=False, settings=2),
    )


# Baseline: stage 1 trained on the pose loss alone. *Paper*: both tasks; the comparison of their parts, their ratios and levels are *ours*.
# *Beyond*: the grid of contents, targets and regimes, and the controls. `placebo` computes both branches and stops their gradient before
# the encoder; `more-clips` spends the cost of two branches on two more batches of clips in every step.
AUXILIARY_TASKS = Study(
    name="auxiliary_tasks",
    stage=1,
    baseline=_OFF,
    arms=(
        Arm("none"),
        *_corrupted(""),
        Arm("noise", {"model.mcl.noise": True}),
        Arm("both", _ON | {"model.mcl.noise": True}, settings=2),
        Arm("single-frame", {"model.stage": 0}, trained=False),
        Arm("placebo", _ON | {"model.mcl.noise": True, "model.mcl.placebo": True}, against="both"),
        Arm("more-clips", {"train.accumulate": 3}),
        Arm("mask-0.25", _ON | {"model.mcl.mask_ratio": 0.25}, against="mask", main=False),
        Arm("mask-0.75", _ON | {"model.mcl.mask_ratio": 0.75}, against="mask", main=False),
        Arm("mask-tube", _ON | {"model.mcl.mask_pattern": "tube"}, against="mask", main=False),
        Arm("mask-block", _ON | {"model.mcl.mask_pattern": "block"}, against="mask", main=False),
        Arm("mask-per-frame", _ON | {"model.mcl.scope": "frame"}, against="mask", main=False),
        Arm("mask-smooth-l1", _ON | {"model.mcl.loss": "smooth-l1"}, against="mask", main=False),
        Arm("mask-cosine", _ON | {"model.mcl.loss": "cosine"}, against="mask", main=False),
        Arm("mask-raw", _ON | {"model.mcl.normalise": False}, against="mask", main=False),
        Arm("mask-layer-0", _ON | {"model.mcl.target_layer": 0}, against="mask", main=False),
        Arm("mask-linear", _ON | {"model.mcl.decoder_depth": 0}, against="mask", main=False),
        Arm("noise-0.4", {"model.mcl.noise": True, "model.mcl.noise_std": 0.4}, against="noise", main=False),
        Arm("noise-1.6", {"model.mcl.noise": True, "model.mcl.noise_std": 1.6}, against="noise", main=False),
        Arm(
            "erased-block-pose",
            _ON | {k: v for k, v, _ in _factors("erased", "pose")} | {"model.mcl.mask_pattern": "block"},
            against="erased-pose",
            main=False,
        ),
        *_regime("shift-"),
        *_regime("few-"),
    ),
    against="none",
    smoke=("none", "both"),
)

# The paper's tasks once more, with more steps and as many times more clips (by how much, the scale says): 200 steps cannot exclude a
# gain that comes slowly. The arms are those of `auxiliary_tasks`.
PAPER_TASKS = Study(
    name="paper_tasks",
    stage=1,
    baseline=_OFF,
    arms=tuple(AUXILIARY_TASKS.arm(name) for name in ("none", "mask", "noise", "both", "placebo", "single-frame")),
    against="none",
    smoke=("none", "both"),
)

# Baseline: stage 1 on three frames without auxiliary tasks, so that time is all that changes. All *ours*; the paper says no T. With
# `shuffled` the target frame stays and the others change places; with `repeated` it stands in for the others, training being the same:
# what a second look at the same frame, and more training, are worth.
TEMPORAL = Study(
    name="temporal",
    stage=1,
    baseline=_OFF | {"model.frames": 3},
    arms=(
        Arm("frames-3"),
        Arm("frames-1", {"model.frames": 1}),
        Arm("frames-5", {"model.frames": 5}),
        Arm("shuffled-3", {"model.frame_order": "shuffled"}),
        Arm("repeated-3", {"model.frame_order": "repeated"}),
        Arm("shuffled-5", {"model.frames": 5, "model.frame_order": "shuffled"}, against="frames-5", main=False),
        Arm("repeated-5", {"model.frames": 5, "model.frame_order": "repeated"}, against="frames-5", main=False),
        Arm("single-frame", {"model.stage": 0}, trained=False),
    ),
    against="frames-3",
    smoke=("frames-3", "shuffled-3"),
)

# Baseline: stage 1 with both tasks (*paper*). Everything is trained end to end from the same single-frame weights on the same clips, and
# `pace` gives every arm the same minutes: twice those of the scale's steps of stage 1, as stage 2 leaves half to the stage 1 below it.
# The paces are ratios of seconds a step, measured at `tiny` on one thread in bfloat16 by `benchmark.mcl`. `single-frame` is the start as
# it is and `vitpose` the same model trained on, on target frames alone. `ppt` and `tar` are *ours* after the papers that `model/baselines`
# names. The clips are of a seed that no shipped weights were trained on.
WHOLE_METHOD = Study(
    name="whole_method",
    stage=1,
    baseline={"train.freeze": False, "train.lr": 2e-4, "data.seed": 2},
    arms=(
        Arm("stage-1", pace=2.0),
        Arm("stage-1-no-tasks", _OFF, settings=2, pace=3.4),
        Arm("stage-1-and-2", {"model.stage": 2}, pace=1.3),
        Arm("single-frame", {"model.stage": 0}, trained=False),
        Arm("vitpose", {"model.stage": 0}, pace=8.9),
        Arm("ppt", {"model.stage": 0, "model.method": "ppt"}, settings=2, pace=8.1),
        Arm("tar", {"model.method": "tar"}, pace=3.3),
    ),
    against="stage-1",
    below={"train.freeze": False, "train.lr": 2e-4},
    smoke=("stage-1", "tar"),
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

STUDIES: dict[str, Study] = {study.name: study for study in (AUXILIARY_TASKS, PAPER_TASKS, TCIS, CLUSTERING, TEMPORAL, WHOLE_METHOD)}


def study(name: str) -> Study:
    """Look a study up by name."""
    try:
        return STUDIES[name]
    except (KeyError, TypeError):
        raise CausalPoseError(f"study = {name!r} is not one of: {', '.join(STUDIES)}") from None
