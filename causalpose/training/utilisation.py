"""How much of the machine a run uses: floating-point operations of a training step, the machine's peak, and their ratio (MFU).

Model FLOPs utilisation (PaLM, Chowdhery et al., 2022) counts what the model needs, forward and backward, and not what is computed again
for gradient checkpointing. Operations are counted by PyTorch's own counter (matrix products, convolutions, attention; a multiplication and
an addition are two) on the meta device, which has shapes and no numbers, so the run itself is not touched.
"""

import time
from contextlib import nullcontext
from dataclasses import replace
from functools import lru_cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from causalpose.clip import Clip, Visibility
from causalpose.config import Config, ModelConfig, TrainConfig
from causalpose.model.cmpose import CMPose
from causalpose.skeletons import keypoint_set
from causalpose.training.objective import Objective

_CLIPS = 2  # counted together, since one auxiliary task takes tokens from another clip


def training_flops(config: Config, tokens_known: bool = False) -> int:
    """Floating-point operations that one training clip takes, forward and backward.

    tokens_known   the backbone's tokens come from the cache (`causalpose.training.tokens`), so it does not run at all
    """
    train = config.train
    return _count(config.model, TrainConfig(freeze=train.freeze, freeze_encoder=train.freeze_encoder, loss=train.loss), tokens_known)


@lru_cache(maxsize=64)
def _count(model: ModelConfig, train: TrainConfig, tokens_known: bool) -> int:
    model = replace(model, backbone=replace(model.backbone, checkpointing=False), encoder=replace(model.encoder, checkpointing=False))
    config = Config(model=model, train=train)
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        net = CMPose(model)
        if train.freeze:
            net.backbone.requires_grad_(False)
        if train.freeze_encoder:
            net.encoder.requires_grad_(False)
        mixed = net.encoder.passing() if train.freeze_encoder and tokens_known else nullcontext()
        objective = Objective(net, config).train()
        clip = _blank(config)
        rows, columns = model.grid
        known = torch.zeros(_CLIPS, clip.frames.shape[1], rows * columns, model.backbone.width) if tokens_known else None
        truth = torch.zeros(_CLIPS, clip.frames.shape[1], rows * columns) if _needs_truth(config) else None
        with mixed, FlopCounterMode(display=False) as counter:
            total, _, _ = objective(clip, tokens=known, truth=truth)
            total.backward()
    return counter.get_total_flops() // _CLIPS


def _needs_truth(config: Config) -> bool:
    return config.model.stage == 2 and config.model.fte.selector == "oracle"


def _blank(config: Config) -> Clip:
    joints, T = len(keypoint_set(config.model.keypoints)), 1 if config.model.stage == 0 else config.model.frames
    return Clip(
        frames=torch.zeros(_CLIPS, T, 3, config.model.height, config.model.width, dtype=torch.uint8),
        keypoints=torch.zeros(_CLIPS, T, joints, 2),
        visibility=torch.full((_CLIPS, T, joints), int(Visibility.VISIBLE), dtype=torch.uint8),
        scale=torch.ones(_CLIPS),
        condition=torch.zeros(_CLIPS, dtype=torch.uint8),
        index=torch.arange(_CLIPS),
    )


@lru_cache(maxsize=8)
def measured_peak(device: torch.device, precision: str) -> float:
    """Floating-point operations a second of a large matrix product on a device (`no`: float32, `bf16`: bfloat16), the best of a few."""
    size = 8192 if device.type == "cuda" else 1024
    a = torch.ones(size, size, device=device, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)
    best = float("inf")
    for _ in range(6):
        _wait(device)
        start = time.perf_counter()
        a @ a
        _wait(device)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
