"""`Clip`: the one sample type that every data source yields and every model takes.

Shape letters, here and everywhere: batch `B`, frames `T = 2δ+1` (the target frame is the middle one), keypoints `K`,
image height `H` and width `W`, tokens per frame `N`, width `C`.

Coordinates are in pixels of the crop, `(x, y)`, with the *centre* of the top-left pixel at `(0, 0)` (the UDP convention).
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from enum import IntEnum

import torch
from torch import Tensor

from causalpose.conditions import CONDITION_CODES as CONDITION_CODES
from causalpose.conditions import CONDITIONS as CONDITIONS
from causalpose.errors import CausalPoseError


class Visibility(IntEnum):
    """State of a keypoint. Everything above `UNLABELLED` has a trusted position."""

    UNLABELLED = 0
    VISIBLE = 1
    SELF_OCCLUDED = 2  # hidden by the person's own body
    OCCLUDED = 3  # hidden by another person or a thing
    OUTSIDE = 4  # outside the image


@dataclass(frozen=True)
class Clip:
    """One clip, or a batch of clips where every tensor has a leading `B`.

    frames      uint8 `[T, 3, H, W]`, RGB
    keypoints   float32 `[T, K, 2]`, crop pixels (x, y)
    visibility  uint8 `[T, K]`, values of `Visibility`
    scale       float32 `[]`: the length in crop pixels that PCK normalises by at the target frame (torso or head; the source says which)
    parts       uint8 `[T, H, W]` or None: what each pixel shows (scenes only; codes in `causalpose.scenes.render.Part`)
    condition   uint8 `[]`: index into `CONDITION_CODES`
    index       int64 `[]`: number of the clip in its data set, for pairing
    """

    frames: Tensor
    keypoints: Tensor
    visibility: Tensor
    scale: Tensor
    condition: Tensor
    index: Tensor
    parts: Tensor | None = None

    @property
    def length(self) -> int:
        """Number of frames `T`."""
        return self.frames.shape[-4]

    @property
    def target(self) -> int:
        """Position of the target frame."""
        return self.length // 2

    def __len__(self) -> int:
        if self.frames.ndim != 5:
            raise CausalPoseError("this Clip is a single clip; only a batch (frames of 5 dimensions) has a length")
        return self.frames.shape[0]

    def __getitem__(self, item) -> "Clip":
        """Select clips of a batch: an integer gives one clip, a slice or index tensor gives a batch."""
        len(self)
        return self.map(lambda tensor: tensor[item])

    def map(self, function) -> "Clip":
        """Apply a function to every tensor."""
        present = {f.name: getattr(self, f.name) for f in fields(self)}
        return Clip(**{name: None if tensor is None else function(tensor) for name, tensor in present.items()})

    def to(self, device) -> "Clip":
        """Move every tensor to a device."""
        return self.map(lambda tensor: tensor.to(device, non_blocking=True))

    def at_frames(self, frames: Sequence[int]) -> "Clip":
        """The clip restricted to the given frame positions, in that order."""
        positions = torch.as_tensor(list(frames), device=self.frames.device)
        return replace(
            self,
            frames=self.frames.index_select(-4, positions),
            keypoints=self.keypoints.index_select(-3, positions),
            visibility=self.visibility.index_select(-2, positions),
            parts=None if self.parts is None else self.parts.index_select(-3, positions),
        )


def stack(clips: Sequence[Clip]) -> Clip:
    """Make a batch of single clips (also the `collate_fn` of every loader)."""
    if not clips:
        raise CausalPoseError("cannot make a batch of no clips")
    return Clip(
        **{f.name: None if getattr(clips[0], f.name) is None else torch.stack([getattr(c, f.name) for c in clips]) for f in fields(Clip)}
    )


def concatenate(batches: Sequence[Clip]) -> Clip:
    """Join batches along `B`."""
    if not batches:
        raise CausalPoseError("cannot join no batches")
    return Clip(
        **{f.name: None if getattr(batches[0], f.name) is None else torch.cat([getattr(b, f.name) for b in batches]) for f in fields(Clip)}
    )
