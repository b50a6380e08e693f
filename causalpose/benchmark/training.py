"""Training steps against plain `nn.TransformerEncoder`s of the same size, and the choices that make them fast on a CPU.

A step here is forward and backward; the update is the same for all and left out, and the heatmaps' squares stand for the pose loss. The
plain model has the same patch embedding and head, and PyTorch's encoder layers in place of the backbone's and the encoder's blocks.
"""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from causalpose.benchmark.timing import COLUMNS, alternate, faster
from causalpose.config import ModelConfig, preset
from causalpose.model.backbone import Backbone
from causalpose.model.cmpose import CMPose
from causalpose.model.heads import Head
from causalpose.training.memory import keep_large_blocks

CLEAN = ("model.mcl.mask=false", "model.mcl.noise=false")


class Plain(nn.Module):
    """Patch embedding, one `nn.TransformerEncoder` over every frame, one over the clip, head."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        b, e = config.backbone, config.encoder
        self.embed = Backbone(config)
        self.embed.vit.blocks, self.embed._attentions = nn.Sequential(), []
        self.frame = _encoder(b.width, b.heads, b.mlp_ratio, b.depth)
        self.clip = _encoder(b.width, e.heads, e.mlp_ratio, e.depth)
        self.head = Head(config)

    def forward(self, frames: Tensor) -> Tensor:
        """frames `[B, T, 3, H, W]` -> the target frame's logits `[B, K, h, w]`."""
        tokens = self.embed(frames)
        B, T = tokens.shape[:2]
        mixed = self.clip(self.frame(tokens.flatten(0, 1)).unflatten(0, (B, T)).flatten(1, 2))
        return self.head(mixed.unflatten(1, (T, -1))[:, T // 2])


def _encoder(width: int, heads: int, mlp_ratio: float, depth: int) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(width, heads, int(width * mlp_ratio), 0.0, "gelu", batch_first=True, norm_first=True)
    return nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)


def stepper(model: nn.Module, frames: Tensor) -> Callable[[], None]:
    """A function that does one training step's forward and backward pass."""
    model.train()
    generator = torch.Generator().manual_seed(0)

    def step() -> None:
        model.zero_grad(set_to_none=True)
        if isinstance(model, CMPose):
            output = model(frames, generator=generator)
            losses = [output.heatmaps.square().mean(), *(loss for name, loss in output.losses.items() if name != "target_variance")]
            torch.stack(losses).sum().backward()
        else:
            model(frames).square().mean().backward()

    return step


def training_benchmark(*, cases: tuple[tuple[str, int], ...] = (("tiny", 32), ("base", 1)), turns: int = 3, progress=None) -> pd.DataFrame:
    """Steps of stage 1, clean branch alone and all three branches, beside the plain model's, as a frame of `COLUMNS`.

    cases   presets with their batch in clips; drop path is off, for PyTorch's layers have none
    A ratio says how many times as fast as the plain model.
    """
    rows = []
    keep_large_blocks()
    for name, batch in cases:
        off = "model.backbone.drop_path=0.0"
        clean, three = (preset(name, ["model.stage=1", off, *more]).model for more in (CLEAN, ()))
        frames = torch.rand(batch, clean.frames, 3, clean.height, clean.width)
        work = {
            "plain": stepper(Plain(clean), frames),
            "clean branch": stepper(CMPose(clean), frames),
            "three branches": stepper(CMPose(three), frames),
        }
        seconds = alternate(work, turns, progress)
        case = f"{name} {clean.height}x{clean.width}, T={clean.frames}, batch {batch}"
        rows += [faster("training", case, f"step, {what}", seconds[what], seconds["plain"]) for what in ("clean branch", "three branches")]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def choices_benchmark(
    *,
    width: int = 768,
    heads: int = 12,
    images: int = 5,
    tokens: int = 192,
    steps: int = 10,
    rounds: int = 2,
    turns: int = 5,
    progress=None,
) -> pd.DataFrame:
    """What was chosen by measurement, as a frame of `COLUMNS`: written-out against fused attention, and glibc's allocator settings.

    width, heads, images, tokens   of the attention whose forward and backward pass is timed
    steps   training steps of `tiny` in a fresh process with the allocator's settings and one without; rounds: pairs of them, one or two
    """
    rows = []
    for dtype in (torch.float32, torch.bfloat16):
        q, k, v = (torch.randn(images, heads, tokens, width // heads).to(dtype).requires_grad_() for _ in range(3))
        seconds = alternate(
            {
                "explicit": lambda q=q, k=k, v=v: _backward(((q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)).softmax(-1) @ v),
                "fused": lambda q=q, k=k, v=v: _backward(F.scaled_dot_product_attention(q, k, v)),
            },
            turns,
            progress,
        )
        case = f"attention of {images} x {tokens} tokens, {str(dtype).removeprefix('torch.')}"
        rows.append(faster("choices", case, "written out, forward and backward", seconds["explicit"], seconds["fused"]))
    found: dict[bool, list[float]] = {True: [], False: []}
    for keep in (True, False, False, True)[: 2 * rounds]:
        if progress is not None:
            progress("allocator")
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            found[keep].append(pool.submit(_steps, keep, steps, torch.get_num_threads()).result())
    kept, given_back = (min(found[keep]) for keep in (True, False))
    rows.append(faster("choices", "training step of tiny, batch 32", "freed memory kept", kept, given_back))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _backward(out: Tensor) -> None:
    out.float().sum().backward()


def _steps(keep: bool, steps: int, threads: int) -> float:
    """Fewest seconds of a training step of `tiny` in this process, with or without the allocator's settings."""
    torch.set_num_threads(threads)
    if keep:
        keep_large_blocks()
    config = preset("tiny").model
    step = stepper(CMPose(config), torch.rand(32, config.frames, 3, config.height, config.width))
    return alternate({"step": step}, steps)["step"]
