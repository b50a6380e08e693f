"""Backbone tokens computed once: with a frozen backbone and no augmentation they never change (ours, a speed path)."""

import torch
from torch import Tensor
from tqdm.auto import tqdm

from causalpose.model.cmpose import CMPose

LIMIT_BYTES = 4 << 30


def cacheable(model: CMPose, count: int, frames: int) -> bool:
    """Whether the tokens of `count` clips fit the cache; those of a pruned backbone change as its keypoint tokens learn."""
    if model.pruner is not None:
        return False
    rows, columns = model.config.grid
    return count * frames * rows * columns * model.config.backbone.width * 2 <= LIMIT_BYTES


@torch.no_grad()
def embed_all(model: CMPose, source, device: torch.device, batch: int = 64, progress: bool = True) -> Tensor:
    """Tokens of every clip, float16 `[n, T, N, C]`, on the CPU.

    Batches are cut the same way whenever this runs, so a resumed run recomputes the very same tokens.
    """
    training = model.training
    model.eval()
    out: Tensor | None = None
    for start in tqdm(range(0, len(source), batch), desc="backbone tokens", disable=not progress, leave=False):
        indices = torch.arange(start, min(start + batch, len(source)))
        tokens = model.embed(source.batch(indices).frames.to(device)).half().cpu()
        if out is None:
            out = torch.empty(len(source), *tokens.shape[1:], dtype=torch.float16)
        out[indices] = tokens
    model.train(training)
    return out
