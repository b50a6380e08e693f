"""The models that the attribution study explains, each trained here from the shipped weights, and where they lie.

    stage1       multitask coarse learning, both tasks; stage1-none, -mask, -noise: with neither or one of the tasks
    stage2       the default selector, from that seed's stage1; stage2-tcis: the paper's selector, taught by the pose alone;
                 stage2-effects: its attention taught by measured effects instead of the joints' places
    untrained    stage 2 with fresh weights
    shuffled     stage 2 from nothing on shuffled labels
    biased       stage 2 in a world with a planted shortcut; unbiased: its twin, the same picture with nothing to learn from it. Both are
                 trained on the shortcut's joint alone, backbone and all (`-backbone`), from nothing: among fifteen joints a shortcut is
                 learned late, and a backbone that finds a wrist already has little use for one

A model is trained once: its folder is named by configuration, starting weights and the code that trains. Models that other studies have
trained already (`given`) are taken as they are.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from causalpose.config import Config, config_hash, differing_keys, override, preset
from causalpose.data.placebo import OneJoint
from causalpose.errors import CausalPoseError
from causalpose.experiments.modules import code_hash
from causalpose.experiments.provenance import file_hash
from causalpose.model.cmpose import CMPose
from causalpose.skeletons import keypoint_set
from causalpose.training import checkpoint, loop
from causalpose.training.sources import training_source

# A stick whose tip is at the right wrist in nineteen of twenty training clips, and never in the twin's.
SHORTCUT, NO_SHORTCUT, SHORTCUT_JOINT = "distractors<-pose:0.95", "distractors<-pose:0", "right_wrist"
PLAIN_TCIS = {
    "model.fte.selector": "attention", "model.fte.supervision": "none", "model.fte.train_selection": "hard", "model.fte.keep_anneal": 0.0,
}  # fmt: skip


@dataclass(frozen=True)
class Arm:
    """A model of the study: stage, what it changes in the preset, the arm or shipped weights it starts from, whether it is trained."""

    stage: int
    changes: dict = field(default_factory=dict)
    start: str | None = None
    trained: bool = True
    steps: float = 1.0  # in units of the study's steps; clips likewise
    clips: int = 1
    frozen: bool = True
    joint: str | None = None  # the one joint that is labelled


ARMS: dict[str, Arm] = {
    "stage1": Arm(1, start="tiny-backbone"),
    "stage1-none": Arm(1, {"model.mcl.mask": False, "model.mcl.noise": False}, "tiny-backbone"),
    "stage1-mask": Arm(1, {"model.mcl.noise": False}, "tiny-backbone"),
    "stage1-noise": Arm(1, {"model.mcl.mask": False}, "tiny-backbone"),
    "stage2": Arm(2, start="stage1"),
    "stage2-tcis": Arm(2, PLAIN_TCIS, "stage1"),
    "stage2-effects": Arm(2, {"model.fte.supervision": "effects"}, "stage1"),
    "untrained": Arm(2, trained=False),
    "shuffled": Arm(2, {"data.shuffled": True}, frozen=False, steps=0.5),
    "biased-backbone": Arm(0, {"data.bias": SHORTCUT}, steps=6, clips=6, frozen=False, joint=SHORTCUT_JOINT),
    "unbiased-backbone": Arm(0, {"data.bias": NO_SHORTCUT}, steps=6, clips=6, frozen=False, joint=SHORTCUT_JOINT),
    "biased": Arm(2, {"data.bias": SHORTCUT}, "biased-backbone", joint=SHORTCUT_JOINT),
    "unbiased": Arm(2, {"data.bias": NO_SHORTCUT}, "unbiased-backbone", joint=SHORTCUT_JOINT),
}


@dataclass(frozen=True)
class Training:
    """Sizes of the study's trainings; `overrides` are settings of every model."""

    steps: int
    clips: int
    batch: int = 32
    preset: str = "tiny"
    overrides: tuple[str, ...] = ()

    def config(self, name: str, seed: int) -> Config:
        """An arm's whole configuration."""
        arm = arm_of(name)
        steps = max(2, round(self.steps * arm.steps))
        values = {
            "model.stage": arm.stage, "train.steps": steps, "train.batch": self.batch, "train.warmup": max(1, steps // 10),
            "train.checkpoint_every": max(1, steps // 2), "train.augment": False, "train.precision": "bf16", "train.seed": seed,
            "train.lr": 2e-3 if arm.frozen else 1e-3, "train.freeze": arm.frozen and arm.start is not None,
            "data.clips": self.clips * arm.clips,
        }  # fmt: skip
        return override(override(preset(self.preset), values | arm.changes), self.overrides)


def arm_of(name: str) -> Arm:
    """Look an arm up by name."""
    if name not in ARMS:
        raise CausalPoseError(f"unknown model {name!r} of the attribution study; known: {', '.join(ARMS)}")
    return ARMS[name]


def start_of(name: str, seed: int, training: Training, root: Path, starts: dict[str, str]) -> str | None:
    """The weights an arm starts from: another arm's run, or a checkpoint; `starts` replaces shipped names, and arms by `NAME-seedN`."""
    start = arm_of(name).start
    if start is None:
        return None
    return str(folder(start, seed, training, root, starts)) if start in ARMS else starts.get(start, start)


def key(name: str, seed: int, training: Training, starts: dict[str, str]) -> str:
    """Twelve hexadecimal digits of everything that decides a model's weights."""
    if f"{name}-seed{seed}" in starts:
        return file_hash(checkpoint.locate(starts[f"{name}-seed{seed}"]))
    start = arm_of(name).start
    below = None
    if start in ARMS:
        below = key(start, seed, training, starts)
    elif start is not None:
        below = file_hash(checkpoint.locate(starts.get(start, start)))
    code = code_hash("causalpose.training.loop", "causalpose.training.sources")
    text = json.dumps([config_hash(training.config(name, seed)), arm_of(name).joint, below, code])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def folder(name: str, seed: int, training: Training, root: Path, starts: dict[str, str]) -> Path:
    """The run folder of an arm with a seed."""
    if f"{name}-seed{seed}" in starts:
        return Path(starts[f"{name}-seed{seed}"])
    return root / "models" / f"{name}-seed{seed}-{key(name, seed, training, starts)}"


def train(name: str, seed: int, training: Training, root: Path, starts: dict[str, str], progress: bool = True) -> None:
    """Train an arm and what it starts from, going on where it was interrupted; a finished one is left as it is."""
    arm, where = arm_of(name), folder(name, seed, training, root, starts)
    if not arm.trained or (where / "model.safetensors").is_file():
        return
    if arm.start in ARMS:
        train(arm.start, seed, training, root, starts, progress)
    config = training.config(name, seed)
    init, source = start_of(name, seed, training, root, starts), training_source(config, progress=progress)
    source = source if arm.joint is None else OneJoint(source, keypoint_set(config.model.keypoints).index(arm.joint))
    loop.train(config, source, where, init=init, resume=True, progress=progress)


def load(name: str, seed: int, training: Training, root: Path, starts: dict[str, str], progress: bool = True) -> tuple[CMPose, Config]:
    """The model of an arm in eval mode, trained first where it is missing, and its configuration."""
    if not arm_of(name).trained:
        config = training.config(name, seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return CMPose(config.model).eval(), config
    train(name, seed, training, root, starts, progress)
    model, config, _ = checkpoint.load(folder(name, seed, training, root, starts))
    return model, config


def given(root: Path, training: Training, seeds: Sequence[int]) -> dict[str, str]:
    """Models in a folder of run folders that are arms of this study, by `NAME-seedN`.

    A run counts when its model, its seed and its data are the arm's; how long it was trained may differ, and its provenance says so.
    """
    if not root.is_dir():
        raise CausalPoseError(f"{root} is no folder of trained models")
    out: dict[str, str] = {}
    runs = [(run, checkpoint.read(run)[1]) for run in sorted(root.iterdir()) if (run / "model.safetensors").is_file()]
    for name in ARMS:
        if not ARMS[name].trained or not ARMS[name].frozen or ARMS[name].joint is not None:
            continue
        for seed in seeds:
            wanted = training.config(name, seed)
            for run, config in runs:
                differing = [key for key in differing_keys(config, wanted) if not key.startswith("train.") and key != "data.clips"]
                ignored = "model.mcl." if ARMS[name].stage == 2 else "model.fte."
                if config.train.seed == seed and all(key.startswith(ignored) for key in differing):
                    out.setdefault(f"{name}-seed{seed}", str(run))
    return out


def describe(name: str, seed: int, training: Training, root: Path, starts: dict[str, str]) -> dict:
    """What a record says of a model: its key, its training and where that was done."""
    facts = {"key": key(name, seed, training, starts), "of": "another study" if f"{name}-seed{seed}" in starts else "this study"}
    if not arm_of(name).trained:
        return facts | {"steps": 0}
    config = checkpoint.read(folder(name, seed, training, root, starts))[1]
    return facts | {"steps": config.train.steps, "clips": config.data.clips, "config_hash": config_hash(config)}
