"""Few labels, many clips: which clips a step takes, and how the others lose their labels (beyond the paper)."""

from dataclasses import replace

import torch
from torch import Tensor

from causalpose.clip import Clip, Visibility
from causalpose.errors import CausalPoseError
from causalpose.training import randomness


def shard_indices(seed: int, step: int, count: int, shards: int, batch: int, labels: int | None) -> Tensor:
    """Clip numbers of one optimiser step, int64 `[shards, batch]`.

    With `labels` the first half of every shard (rounded up) walks through the labelled clips 0 … labels-1 and the rest through the others,
    so that every arm of a study sees the same labels at the same pace, however many unlabelled clips there are.
    """
    if labels is None:
        return randomness.step_indices(seed, step, count, shards * batch).view(shards, batch)
    half = (batch + 1) // 2
    known = randomness.step_indices(seed, step, labels, shards * half).view(shards, half)
    others = randomness.step_indices(randomness.derive_seed(seed, "unlabelled"), step, count - labels, shards * (batch - half))
    return torch.cat((known, labels + others.view(shards, batch - half)), 1)


def check(labels: int | None, count: int) -> None:
    """`data.labels` must leave something unlabelled."""
    if labels is not None and labels >= count:
        raise CausalPoseError(f"data.labels = {labels}, but there are {count} training clips: with every clip labelled leave it at null")


def hide(clip: Clip, indices: Tensor, labels: int | None) -> Clip:
    """The batch with the labels of clips numbered `labels` and above taken away: every keypoint is unlabelled and at zero."""
    if labels is None:
        return clip
    known = (indices < labels).to(clip.visibility.device)
    return replace(
        clip,
        visibility=torch.where(known[:, None, None], clip.visibility, int(Visibility.UNLABELLED)).to(clip.visibility.dtype),
        keypoints=torch.where(known[:, None, None, None], clip.keypoints, 0.0),
    )
