"""Frozen configurations and the presets.

A preset is data, not a code path: `preset("tiny")` and `preset("huge")` are the same dataclasses with other values. Every
field carries the reason for its default where the value is not obvious. Building a config from a dict, a JSON file or
`section.key=value` overrides refuses unknown keys, wrong types and impossible values with one clear line.
"""

import dataclasses
import hashlib
import json
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from difflib import get_close_matches

from causalpose.conditions import CONDITIONS
from causalpose.errors import CausalPoseError
from causalpose.skeletons import KEYPOINT_SETS


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise CausalPoseError(message)


def _one_of(section: str, name: str, value: str, allowed: Sequence[str]) -> None:
    _require(value in allowed, f"{section}.{name} = {value!r} is not one of: {', '.join(allowed)}")


def _share(section: str, name: str, value: float, *, zero: bool = True) -> None:
    low = "0 <=" if zero else "0 <"
    _require((0 <= value if zero else 0 < value) and value <= 1, f"{section}.{name} = {value} must be a share: {low} {name} <= 1")


def _positive(section: str, name: str, value: float, *, zero: bool = False) -> None:
    _require(value >= 0 if zero else value > 0, f"{section}.{name} = {value} must be {'at least zero' if zero else 'positive'}")


@dataclass(frozen=True)
class BackboneConfig:
    """The per-frame ViT.

    name           a timm ViT (`vit_base_patch16_224`, …) or `vit` for one built from the numbers below
    stem           of `vit`. `patch`: one strided convolution (ViT); `conv`: three 3x3 convolutions (learns far faster from nothing at
                   small size)
    padding        zero pixels around the image before the strided convolution; 2 in ViTPose, 0 in ViT
    drop_path      share of residual branches dropped in training, rising from 0 at the first block to this at the last
    checkpointing  forget the activations inside a block and compute them again in the backward pass: memory for time
    """

    name: str = "vit"
    patch: int = 8
    width: int = 128
    depth: int = 6
    heads: int = 4
    mlp_ratio: float = 3.0
    stem: str = "conv"
    padding: int = 0
    drop_path: float = 0.0
    checkpointing: bool = False

    def __post_init__(self):
        _one_of("backbone", "stem", self.stem, ("patch", "conv"))
        for name in ("patch", "width", "depth", "heads", "mlp_ratio"):
            _positive("backbone", name, getattr(self, name))
        _require(self.width % self.heads == 0, f"backbone.width = {self.width} is not divisible by backbone.heads = {self.heads}")
        _require(self.patch >= 4, f"backbone.patch = {self.patch} must be 4 or more: heatmaps have four cells to a token")
        if self.name == "vit" and self.stem == "conv":
            _require(self.patch & (self.patch - 1) == 0, f"backbone.patch = {self.patch} must be a power of two for backbone.stem = 'conv'")
        _require(
            0 <= self.padding < self.patch / 2, f"backbone.padding = {self.padding} must be at least 0 and below half of backbone.patch"
        )
        _require(0 <= self.drop_path < 1, f"backbone.drop_path = {self.drop_path} must be in [0, 1)")


@dataclass(frozen=True)
class EncoderConfig:
    """The spatio-temporal encoder that mixes the `T·N` tokens of all frames.

    checkpointing  as in the backbone
    """

    depth: int = 2
    heads: int = 4
    mlp_ratio: float = 2.0
    checkpointing: bool = False

    def __post_init__(self):
        for name in ("depth", "heads", "mlp_ratio"):
            _positive("encoder", name, getattr(self, name))


@dataclass(frozen=True)
class HeadConfig:
    """The heatmap head.

    kind      `classic`: two deconvolutions (ViTPose's); `simple`: one x4 upsampling and a 3x3 convolution
    channels  of the deconvolutions
    norm      after a deconvolution. `group`: GroupNorm, which has no batch statistics, so training equals evaluation and shards train
              like one batch; `batch`: BatchNorm, as ViTPose has it, which its published heads need
    """

    kind: str = "classic"
    channels: int = 64
    norm: str = "group"

    def __post_init__(self):
        _one_of("head", "kind", self.kind, ("classic", "simple"))
        _one_of("head", "norm", self.norm, ("group", "batch"))
        _positive("head", "channels", self.channels)


MASK_PATTERNS = ("random", "tube", "block")
CONTENTS = ("mask", "noise", "foreign", "erased", "clean")
MCL_TARGETS = ("tokens", "pose", "heatmap")
TOKEN_LOSSES = ("mse", "smooth-l1", "cosine")


@dataclass(frozen=True)
class MCLConfig:
    """Stage 1's auxiliary tasks (Multitask Coarse Learning).

    The paper's public text gives no ratio, level or weight. The defaults are AuxFormer's (ICCV 2023), the nearest published
    pair of the same two tasks: mask ratio 0.5, Gaussian noise of std 0.8 on 25 % of the entries, all weights 1.

    mask, noise    the paper's two tasks; each is one more branch through the encoder
    mask_pattern   `random`: tokens drawn one by one; `tube`: the same places in every frame; `block`: one rectangle a frame
    scope          `joint`: a ratio counts over all frames of the clip together; `frame`: over every frame for itself (tube and block do
                   so anyway)
    noise_std      in units of the clean tokens' own standard deviation, so that it means the same at every layer and scale
    decoder_depth  blocks of the decoder; 0 leaves its norm and linear layer

    What a token is restored to:

    target_layer     -1: the backbone's output, which is what the encoder takes; i >= 0: the output of backbone block i
    target_gradient  the target carries gradient too. Off, for with it both ends of the loss can agree on nothing: a collapse
    normalise        targets are normalised per token (MAE), which also makes a collapsed target visible
    loss             `mse`, `smooth-l1` (quadratic below a difference of 1), or `cosine` (1 - cosine, blind to length)

    Beyond the paper, the two factors that explain the tasks, and their control:

    content        what the places that `mask` draws hold: `mask` a learned mask token (the paper's); `noise` their own content under
                   Gaussian noise; `foreign` the tokens that another clip has there; `erased` the tokens of the picture with those patches
                   painted over in one colour; `clean` what they held (a repeated clean branch: the compute-matched control)
    target         what every branch is asked for: `tokens` the clean ones at the corrupted places (the paper's); `pose` the joints;
                   `heatmap` the clean branch's heatmaps without gradient
    placebo        branches are computed and scored, but their gradient stops before the encoder
    """

    mask: bool = True
    noise: bool = True
    mask_ratio: float = 0.5
    mask_pattern: str = "random"
    scope: str = "joint"
    noise_std: float = 0.8
    noise_share: float = 0.25
    weight_mask: float = 1.0
    weight_noise: float = 1.0
    decoder_depth: int = 1
    target_layer: int = -1
    target_gradient: bool = False
    normalise: bool = True
    loss: str = "mse"
    content: str = "mask"
    target: str = "tokens"
    placebo: bool = False

    def __post_init__(self):
        _share("mcl", "mask_ratio", self.mask_ratio, zero=False)
        _require(
            self.mask_ratio < 1,
            f"mcl.mask_ratio = {self.mask_ratio} must be below 1: with every token masked there is nothing to restore from",
        )
        _share("mcl", "noise_share", self.noise_share, zero=False)
        _one_of("mcl", "mask_pattern", self.mask_pattern, MASK_PATTERNS)
        _one_of("mcl", "scope", self.scope, ("joint", "frame"))
        _one_of("mcl", "loss", self.loss, TOKEN_LOSSES)
        _one_of("mcl", "content", self.content, CONTENTS)
        _one_of("mcl", "target", self.target, MCL_TARGETS)
        _positive("mcl", "noise_std", self.noise_std)
        _require(
            not (self.placebo and self.target_gradient),
            "mcl.placebo stops the tasks' gradient before the model, but mcl.target_gradient lets it in by the targets: set one only",
        )
        _positive("mcl", "weight_mask", self.weight_mask, zero=True)
        _positive("mcl", "weight_noise", self.weight_noise, zero=True)
        _positive("mcl", "decoder_depth", self.decoder_depth, zero=True)
        _require(
            self.target_layer >= -1, f"mcl.target_layer = {self.target_layer} must be -1 (the backbone's output) or a block, 0 the first"
        )


SELECTORS = ("attention", "heatmap", "random", "norm", "all", "bottom", "oracle")
CLUSTERINGS = ("dpc-knn", "kmeans", "tome", "drop", "keep")
SUPERVISIONS = ("none", "joints", "effects")
READOUTS = ("grid", "keypoints", "both")


@dataclass(frozen=True)
class FTEConfig:
    """Stage 2 (Fine Token Enhancement): keypoint tokens, TCIS, clustering of the non-causal tokens.

    keep_rate        share ρ of the tokens kept as causal (PPT, ECCV 2022, keeps 70 % at each of three layers: 0.34 in all)
    ranking          `joint`: one ranking over all `T·N` tokens; `frame`: the top share of every frame
    gate             how selection gets its gradient: `straight-through` (hard selection forward, soft backward) or `soft`
    supervision      what importance is taught beside the pose loss: `none` (TCIS as the paper's text has it), `joints` (cross-entropy
                     against the cells of the labelled joints) or `effects` (regression on measured effects, after FastSHAP, ICLR 2022)
    train_selection  `hard`: training keeps the top share, as inference does; `all`: training keeps every token
    keep_anneal      share of the training steps over which the keep rate falls by a cosine from 1 to `keep_rate` (PPT); 0: at once
    clusters         number `M` of merged tokens
    neighbours       `k` of DPC-kNN (5 in TCFormer)
    merge_weight     a token's weight in its cluster's mean: its `importance` (TCFormer's score), or `plain`: all alike
    residual         True: what comes back from selection is added to stage 1's tokens, so the pose can pass it by; False: the head sees
                     only what went through selection and merging, and a dropped place holds a learned empty token
    readout          the heatmaps come from the restored `grid`, from the `keypoints` tokens alone (TokenPose's MLP), or from `both` (sum)
    """

    selector: str = "attention"
    keep_rate: float = 0.3
    ranking: str = "joint"
    gate: str = "straight-through"
    supervision: str = "joints"
    supervision_weight: float = 0.3
    train_selection: str = "hard"
    keep_anneal: float = 0.0
    clustering: str = "dpc-knn"
    clusters: int = 16
    neighbours: int = 5
    merge_weight: str = "importance"
    residual: bool = False
    readout: str = "grid"
    depth: int = 2
    heads: int = 4
    mlp_ratio: float = 2.0

    def __post_init__(self):
        _one_of("fte", "selector", self.selector, SELECTORS)
        _one_of("fte", "clustering", self.clustering, CLUSTERINGS)
        _one_of("fte", "ranking", self.ranking, ("joint", "frame"))
        _one_of("fte", "gate", self.gate, ("straight-through", "soft"))
        _one_of("fte", "supervision", self.supervision, SUPERVISIONS)
        _one_of("fte", "train_selection", self.train_selection, ("hard", "all"))
        _one_of("fte", "merge_weight", self.merge_weight, ("importance", "plain"))
        _one_of("fte", "readout", self.readout, READOUTS)
        _share("fte", "keep_rate", self.keep_rate, zero=False)
        _share("fte", "keep_anneal", self.keep_anneal)
        _positive("fte", "supervision_weight", self.supervision_weight)
        _require(
            not (self.keep_anneal and self.train_selection == "all"),
            f"fte.keep_anneal = {self.keep_anneal} has no effect with fte.train_selection = 'all', which keeps every token in training",
        )
        for name in ("clusters", "neighbours", "depth", "heads", "mlp_ratio"):
            _positive("fte", name, getattr(self, name))


# The stages at which each method exists.
METHOD_STAGES = {"cm-pose": (0, 1, 2), "ppt": (0,), "tar": (1,)}


@dataclass(frozen=True)
class ModelConfig:
    """A whole model. `stage` 0 is the single-frame backbone with a head, 1 adds the encoder (MCL), 2 adds FTE.

    method        `cm-pose`, or a re-implementation to compare with, on the same backbone and head: `ppt`, single frames with token pruning
                  inside the backbone (stage 0), and `tar`, a joint-query temporal decoder (stage 1)
    frame_order   a control of the use of time (stage 1): `natural`; `shuffled`: the target frame stays and the others change places;
                  `repeated`: the target frame stands in for all the others
    """

    stage: int = 1
    method: str = "cm-pose"
    keypoints: str = "posetrack15"
    height: int = 64
    width: int = 48
    frames: int = 3
    frame_order: str = "natural"
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    mcl: MCLConfig = field(default_factory=MCLConfig)
    fte: FTEConfig = field(default_factory=FTEConfig)

    def __post_init__(self):
        _require(self.stage in (0, 1, 2), f"model.stage = {self.stage} must be 0 (single frame), 1 or 2")
        _one_of("model", "keypoints", self.keypoints, tuple(KEYPOINT_SETS))
        _require(
            self.frames >= 1 and self.frames % 2 == 1, f"model.frames = {self.frames} must be odd: T = 2δ+1 with the target in the middle"
        )
        _one_of("model", "method", self.method, tuple(METHOD_STAGES))
        stages = METHOD_STAGES[self.method]
        _require(
            self.stage in stages, f"model.method = {self.method!r} exists at stage {', '.join(map(str, stages))} only, not at {self.stage}"
        )
        _one_of("model", "frame_order", self.frame_order, ("natural", "shuffled", "repeated"))
        _require(
            self.frame_order == "natural" or self.stage == 1,
            f"model.frame_order = {self.frame_order!r} is a control of stage 1; stage {self.stage} takes natural",
        )
        _require(
            self.mcl.target_layer < self.backbone.depth,
            f"mcl.target_layer = {self.mcl.target_layer}, but the last of the backbone's blocks is {self.backbone.depth - 1}",
        )
        for name in ("height", "width"):
            size = getattr(self, name)
            _require(
                size > 0 and size % self.backbone.patch == 0,
                f"model.{name} = {size} is not a positive multiple of backbone.patch = {self.backbone.patch}",
            )
        for name in ("encoder", "fte"):
            heads = getattr(self, name).heads
            _require(self.backbone.width % heads == 0, f"backbone.width = {self.backbone.width} is not divisible by {name}.heads = {heads}")

    @property
    def grid(self) -> tuple[int, int]:
        """Token grid (rows, columns) of one frame; `N` is their product."""
        return self.height // self.backbone.patch, self.width // self.backbone.patch

    @property
    def heatmap_size(self) -> tuple[int, int]:
        """Heatmap (rows, columns): both heads enlarge the grid by four, so a cell is patch/4 pixels."""
        rows, columns = self.grid
        return rows * 4, columns * 4


TRAINING_CONDITIONS = ("mixed", *CONDITIONS)


@dataclass(frozen=True)
class DataConfig:
    """Where clips come from.

    source      `scenes`, or real video: a data set's folder, one of its annotation files, or `format:path` (`causalpose.data.formats`)
    clips       number of training clips (scenes: rendered ahead into the cache)
    level       difficulty of the scenes: easy, default, hard
    condition   of the training clips (scenes): `mixed`, everything the level contains, or one test condition, such as `clean`
    labels      the first so many training clips are labelled and half of every batch is theirs; the rest lose their labels and feed the
                auxiliary losses alone. None: all are labelled
    shuffled    a placebo: every training clip carries the labels of another clip
    dilation    frames between two frames of a clip (real video)
    bias        shortcuts planted in the scenes that training sees, as `child<-parent:probability`, several with commas between, e.g.
                `background<-motion:0.9`, `distractors<-pose:0.9` (`causalpose.scenes.bias`); the test conditions stay without
    boxes       a detection file in COCO's form whose boxes are used; empty takes the labelled boxes (real video)
    box_score   detections below this score are left out
    faults      `refuse`: a faulty annotation is an error; `leave-out`: it is left out and counted in the protocol (real video)
    """

    source: str = "scenes"
    clips: int = 4096
    level: str = "default"
    condition: str = "mixed"
    labels: int | None = None
    shuffled: bool = False
    split: str = "train"
    seed: int = 0
    dilation: int = 2
    bias: str = ""
    boxes: str = ""
    box_score: float = 0.3
    faults: str = "refuse"

    def __post_init__(self):
        _positive("data", "clips", self.clips)
        _positive("data", "dilation", self.dilation)
        _share("data", "box_score", self.box_score)
        _one_of("data", "faults", self.faults, ("refuse", "leave-out"))
        _one_of("data", "level", self.level, ("easy", "default", "hard"))
        _require(
            not self.bias or self.source == "scenes",
            f"data.bias = {self.bias!r} needs data.source = 'scenes': only rendered clips have causes to bias, {self.source!r} has none",
        )
        _one_of("data", "condition", self.condition, TRAINING_CONDITIONS)
        _positive("data", "seed", self.seed, zero=True)
        if self.labels is not None:
            _positive("data", "labels", self.labels)


@dataclass(frozen=True)
class TrainConfig:
    """Optimisation.

    loss           `ce`: softmax cross-entropy over the heatmap, which learns far faster than `mse` at small scale; `mse`: ViTPose's
    sigma          width of the target Gaussian in heatmap cells
    layer_decay    learning-rate factor per backbone layer below the top (ViTPose: 0.75); 1 trains all layers alike
    freeze         the backbone is not trained
    freeze_encoder stage 2: the encoder that stage 1 trained is kept too, so the cell trains what stage 2 adds, and the head
    ema            decay of the exponential moving average whose weights are saved; 0 turns it off
    checkpoint_every  steps between resumable checkpoints, each with a validation where the run has clips for it
    workers        threads that read the next batches while a step is computed; 0 reads them in the loop. Worth it for real video and for
                   scenes rendered on the fly
    deterministic  only kernels that give the same bits every time (on a GPU some are slower); an operation without one is an error
    peak_tflops    peak rate of one device in 10^12 floating-point operations a second, against which the log's MFU is taken; 0 measures
                   the rate of a matrix product in `train.precision` when the run starts
    """

    steps: int = 300
    batch: int = 32
    lr: float = 1e-3
    weight_decay: float = 0.05
    warmup: int = 20
    layer_decay: float = 1.0
    freeze: bool = False
    freeze_encoder: bool = False
    grad_clip: float = 1.0
    ema: float = 0.0
    loss: str = "ce"
    sigma: float = 1.0
    augment: bool = True
    precision: str = "no"
    accumulate: int = 1
    checkpoint_every: int = 200
    log_every: int = 10
    workers: int = 0
    deterministic: bool = False
    peak_tflops: float = 0.0
    seed: int = 0

    def __post_init__(self):
        for name in ("steps", "batch", "lr", "sigma", "accumulate", "checkpoint_every", "log_every"):
            _positive("train", name, getattr(self, name))
        for name in ("weight_decay", "warmup", "grad_clip", "workers", "peak_tflops", "seed"):
            _positive("train", name, getattr(self, name), zero=True)
        _require(
            self.freeze or not self.freeze_encoder,
            "train.freeze_encoder keeps what lies above the backbone, so train.freeze must be set too",
        )
        _one_of("train", "loss", self.loss, ("ce", "mse"))
        _one_of("train", "precision", self.precision, ("no", "bf16"))
        _share("train", "layer_decay", self.layer_decay, zero=False)
        _require(0 <= self.ema < 1, f"train.ema = {self.ema} must be in [0, 1)")


@dataclass(frozen=True)
class Config:
    """Everything that decides a run."""

    preset: str = "tiny"
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self):
        mcl = self.model.mcl
        _require(
            not (mcl.mask and mcl.content == "foreign" and self.model.stage == 1) or self.train.batch > 1,
            "mcl.content = 'foreign' takes tokens from another clip of the batch: train.batch must be at least 2",
        )
        _require(
            self.data.labels is None or self.train.batch > 1,
            "data.labels gives half of every batch to labelled clips: train.batch must be at least 2",
        )


_VIT_SCALE = {"height": 256, "width": 192, "frames": 5}
_GPU_TRAIN = {
    "steps": 40_000,
    "batch": 32,
    "lr": 5e-4,
    "weight_decay": 0.1,
    "warmup": 500,
    "layer_decay": 0.75,
    "precision": "bf16",
    "sigma": 2.0,
    "workers": 4,
    "checkpoint_every": 2_000,  # a state of `base` is over a gigabyte, and validation follows the same beat
}


def _vit(name: str, width: int, depth: int, heads: int, drop_path: float, fte_heads: int) -> dict:
    return {
        "model": {
            **_VIT_SCALE,
            "backbone": {
                "name": name,
                "patch": 16,
                "width": width,
                "depth": depth,
                "heads": heads,
                "mlp_ratio": 4.0,
                "stem": "patch",
                "padding": 2,
                "drop_path": drop_path,
            },
            "encoder": {"depth": 2, "heads": fte_heads, "mlp_ratio": 4.0},
            "head": {"kind": "classic", "channels": 256, "norm": "batch"},
            "fte": {"clusters": 48, "depth": 2, "heads": fte_heads, "mlp_ratio": 4.0},
        },
        "train": _GPU_TRAIN,
    }


# `tiny` is the defaults above: the book, minutes on two CPU cores. The others are the paper's scale, each as its ViTPose, so that published
# weights fit: patch 16 also in huge, padding, drop path, BatchNorm in the head, and twelve heads in small (the usual ViT-S has six).
PRESETS: dict[str, dict] = {
    "tiny": {},
    "small": _vit("vit", 384, 12, 12, 0.1, 6),
    "base": _vit("vit_base_patch16_224", 768, 12, 12, 0.3, 12),
    "large": _vit("vit_large_patch16_224", 1024, 24, 16, 0.5, 16),
    "huge": _vit("vit_huge_patch14_224", 1280, 32, 16, 0.55, 16),
}


def preset(name: str, overrides: Sequence[str] = ()) -> Config:
    """The configuration of a preset, with `section.key=value` overrides applied."""
    if name not in PRESETS:
        raise CausalPoseError(f"unknown preset {name!r}; known: {', '.join(PRESETS)}")
    return override(from_dict(Config, {"preset": name, **PRESETS[name]}), overrides)


def from_dict(cls, values: Mapping, where: str = "config"):
    """Build a (nested) frozen config from a mapping; unknown keys and wrong types are errors that name the place."""
    if not isinstance(values, Mapping):
        raise CausalPoseError(f"{where} must be a table of keys and values, not {type(values).__name__}")
    hints = typing.get_type_hints(cls)
    for key in values:
        if key not in hints:
            near = get_close_matches(str(key), hints, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(hints)}"
            raise CausalPoseError(f"unknown key {key!r} in {where}{hint}")
    return cls(**{key: _coerce(value, hints[key], f"{where}.{key}") for key, value in values.items()})


def _coerce(value, hint, where: str):
    if is_dataclass(hint):
        return value if isinstance(value, hint) else from_dict(hint, value, where)
    if isinstance(hint, types.UnionType):
        hint = next(a for a in typing.get_args(hint) if a is not type(None))
        if value is None:
            return None
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not hint:
        raise CausalPoseError(f"{where} = {value!r} must be of type {hint.__name__}, not {type(value).__name__}")
    if hint is float and value != value:
        raise CausalPoseError(f"{where} is not a number (nan)")
    return value


def override(config, assignments: Sequence[str] | Mapping[str, object]):
    """A copy with dotted keys replaced.

    `assignments` is a list of `section.key=value` strings (values are parsed as JSON, else taken as text) or a mapping from
    dotted key to value.
    """
    if not isinstance(assignments, Mapping):
        pairs = {}
        for text in assignments:
            key, separator, value = text.partition("=")
            if not separator:
                raise CausalPoseError(f"override {text!r} must have the form section.key=value")
            try:
                pairs[key.strip()] = json.loads(value)
            except json.JSONDecodeError:
                pairs[key.strip()] = value.strip()
        assignments = pairs
    values = to_dict(config)
    for key, value in assignments.items():
        *path, last = key.split(".")
        table = values
        for depth, part in enumerate(path):
            if not isinstance(table.get(part), dict):
                raise CausalPoseError(
                    f"override {key!r}: there is no section {'.'.join(path[: depth + 1])!r}; sections: "
                    + ", ".join(k for k, v in table.items() if isinstance(v, dict))
                )
            table = table[part]
        if isinstance(table.get(last), dict):
            raise CausalPoseError(f"override {key!r} names a section, not a key; its keys: {', '.join(table[last])}")
        table[last] = value
    return from_dict(type(config), values)


def to_dict(config) -> dict:
    """The configuration as plain nested dicts, ready for JSON."""
    return dataclasses.asdict(config)


def config_hash(config) -> str:
    """Twelve hexadecimal digits that name a configuration; equal configs, equal digits."""
    return hashlib.sha256(json.dumps(to_dict(config), sort_keys=True).encode()).hexdigest()[:12]


def differing_keys(a, b, prefix: str = "") -> dict[str, tuple]:
    """Dotted keys in which two configs of the same type differ, with both values: what an ablation arm changes."""
    out = {}
    for f in fields(a):
        left, right = getattr(a, f.name), getattr(b, f.name)
        if is_dataclass(left):
            out |= differing_keys(left, right, f"{prefix}{f.name}.")
        elif left != right:
            out[prefix + f.name] = (left, right)
    return out
