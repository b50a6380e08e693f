"""What a training step of stage 1 costs: its encoder beside PyTorch's own, its branches beside the clean one, other methods beside it.

Everything runs in this process on one thread, in turns. A second is one of the process's own on its core, so that a busy machine does not
count; a time is the median over the turns.
"""

import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from torch import nn

from causalpose.benchmark.timing import COLUMNS
from causalpose.clip import Clip, Visibility
from causalpose.config import Config, ModelConfig, override
from causalpose.config import preset as build
from causalpose.experiments.arms import WHOLE_METHOD
from causalpose.model.attention import Attention
from causalpose.model.cmpose import CMPose
from causalpose.model.encoder import Encoder
from causalpose.skeletons import keypoint_set
from causalpose.training import optimiser
from causalpose.training.objective import Objective

_NONE = {"model.mcl.mask": False, "model.mcl.noise": False}
BRANCHES: dict[str, dict] = {
    "clean": _NONE,
    "clean, mask": {"model.mcl.noise": False},
    "clean, noise": {"model.mcl.mask": False},
    "clean, mask, noise": {},
    "clean, erased pixels": {"model.mcl.noise": False, "model.mcl.content": "erased"},
}


def mcl_benchmark(*, preset: str = "tiny", batch: int = 16, turns: int = 5, overrides: tuple[str, ...] = (), seed: int = 0) -> pd.DataFrame:
    """CPU seconds of training steps as a tidy frame of `COLUMNS`, in single precision and in bfloat16.

    `reference` is what a row is held against and `ratio` is value over reference: the cost of a step in the reference's.

    encoder      forward and backward pass of stage 1's encoder; reference: `nn.TransformerEncoder` of the same size
    attention    the same of one attention layer as it is written out here; reference: the layer on PyTorch's fused kernel
    branches     a whole training step of stage 1 by its branches, the backbone trained (`end to end`) or its tokens known (`cached`);
                 reference: the clean branch alone
    methods      a whole training step, end to end, of the arms of `experiments.arms.WHOLE_METHOD`; reference: that of stage 1. The paces
                 there are twice the inverse of the ratio in bfloat16, and once that of stage 2, below which stage 1 takes the other half
    """
    config = build(preset, overrides)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rows = []
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for precision in ("no", "bf16"):
                name = {"no": "fp32", "bf16": "bf16"}[precision]
                rows += _encoder(config.model, batch, turns, name) + _attention(config.model, batch, turns, name)
                numbered = override(config, {"train.precision": precision, "train.freeze": False})
                for frozen in (False, True):
                    case = f"{name}, {'cached' if frozen else 'end to end'}"
                    steps = {key: _step(override(numbered, {"train.freeze": frozen, **change}), batch) for key, change in BRANCHES.items()}
                    rows += _rows("branches", case, _times(steps, turns), "clean")
                arms = {arm.name: _step(override(numbered, arm.changes), batch) for arm in WHOLE_METHOD.arms if arm.trained}
                rows += _rows("methods", f"{name}, end to end", _times(arms, turns), WHOLE_METHOD.against)
        return pd.DataFrame(rows, columns=list(COLUMNS))
    finally:
        torch.set_num_threads(threads)


def _encoder(config: ModelConfig, batch: int, turns: int, precision: str) -> list[tuple]:
    """Stage 1's encoder and PyTorch's, on the tokens of a clip."""
    width, e = config.backbone.width, config.encoder
    tokens = torch.randn(batch, config.frames, config.grid[0] * config.grid[1], width)
    layer = nn.TransformerEncoderLayer(width, e.heads, int(width * e.mlp_ratio), 0.0, "gelu", batch_first=True, norm_first=True)
    plain, ours = nn.TransformerEncoder(layer, e.depth, enable_nested_tensor=False), Encoder(config)
    steps = {
        "ours": _forward_backward(lambda: ours(tokens)[0], precision),
        "plain": _forward_backward(lambda: plain(tokens.flatten(1, 2)), precision),
    }
    times = _times(steps, turns)
    case = f"{precision}, {batch} clips of {config.frames * tokens.shape[2]} tokens"
    return [("encoder", case, "training step", times["ours"], "s", times["plain"], times["ours"] / times["plain"])]


def _attention(config: ModelConfig, batch: int, turns: int, precision: str) -> list[tuple]:
    """One attention layer, written out and on the fused kernel."""
    width, heads = config.backbone.width, config.encoder.heads
    tokens = torch.randn(batch, config.frames * config.grid[0] * config.grid[1], width, requires_grad=True)
    layer = Attention(width, heads)

    def fused() -> torch.Tensor:
        q, k, v = layer.qkv(tokens).unflatten(2, (3, heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return layer.out(nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))

    written = _forward_backward(lambda: layer(tokens)[0], precision)
    times = _times({"written": written, "fused": _forward_backward(fused, precision)}, turns)
    case = f"{precision}, {batch} clips of {tokens.shape[1]} tokens"
    return [("attention", case, "training step", times["written"], "s", times["fused"], times["written"] / times["fused"])]


def _forward_backward(forward: Callable[[], torch.Tensor], precision: str) -> Callable[[], None]:
    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = forward().float().square().mean()
        loss.backward()

    return step


def _step(config: Config, batch: int) -> Callable[[], None]:
    """A training step as the loop takes it, on one batch of noise."""
    model = CMPose(config.model)
    model.backbone.requires_grad_(not config.train.freeze)
    objective, adam = Objective(model, config).train(), optimiser.build(model, config.train, config.model.backbone.depth)
    clip = noise(config.model, batch)
    known = model.embed(clip.frames).detach() if config.train.freeze and model.pruner is None else None

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=config.train.precision == "bf16"):
            loss = objective(clip, tokens=known, generator=torch.Generator().manual_seed(0))[0]
        loss.backward()
        adam.step()
        adam.zero_grad(set_to_none=True)

    return step


def noise(config: ModelConfig, batch: int) -> Clip:
    """A batch of noise frames in which every joint is labelled; one frame where the model takes no more."""
    T, K = (config.frames if config.stage else 1), len(keypoint_set(config.keypoints))
    return Clip(
        torch.randint(0, 256, (batch, T, 3, config.height, config.width), dtype=torch.uint8),
        torch.rand(batch, T, K, 2) * torch.tensor([config.width - 1.0, config.height - 1.0]),
        torch.full((batch, T, K), int(Visibility.VISIBLE), dtype=torch.uint8),
        torch.full((batch,), config.height / 4),
        torch.zeros(batch, dtype=torch.uint8),
        torch.arange(batch),
    )


def _times(steps: dict[str, Callable[[], None]], turns: int) -> dict[str, float]:
    """CPU seconds of each step, in turns, after one that warms up."""
    spent: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(turns + 1):
        for name, step in steps.items():
            began = time.process_time()
            step()
            spent[name].append(time.process_time() - began)
    return {name: float(np.median(seconds[1:])) for name, seconds in spent.items()}


def _rows(section: str, case: str, times: dict[str, float], against: str) -> list[tuple]:
    return [
        (section, f"{name} ({case})", "training step", seconds, "s", times[against], seconds / times[against])
        for name, seconds in times.items()
    ]
