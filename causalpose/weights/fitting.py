"""Bring published tensors to the model's shapes: position embedding to its grid, patch kernel to its size, head rows to its keypoints."""

import math

import torch.nn.functional as F
from timm.layers import resample_patch_embed
from torch import Tensor

from causalpose.errors import CausalPoseError
from causalpose.skeletons import KEYPOINT_SETS, KeypointSet


def position_embedding(embedding: Tensor, grid: tuple[int, int], class_slot_is_added: bool) -> tuple[Tensor, list[str]]:
    """A published position embedding `[1, slots + h·w, C]` as ours, `[1, rows·columns, C]`, and notes on what was done.

    class_slot_is_added   ViTPose keeps the slot of a class token that it does not have and adds it to every patch; else leading slots
                          belong to tokens that we do not have and are left out

    Another grid is reached by bicubic interpolation, corners not aligned (ViTPose's).
    """
    if embedding.ndim != 3 or embedding.shape[0] != 1:
        raise CausalPoseError(f"the position embedding has shape {list(embedding.shape)}, not [1, tokens, width]")
    slots, source = _layout(embedding.shape[1], grid)
    embedding, notes = embedding.float(), []
    places = embedding[:, slots:]
    if slots and class_slot_is_added:
        places, notes = places + embedding[:, :1], ["class slot of the position embedding added to every patch"]
    elif slots:
        notes = [f"{slots} leading slot{'s' if slots > 1 else ''} of the position embedding left out"]
    if source != grid:
        image = places.unflatten(1, source).permute(0, 3, 1, 2)
        places = F.interpolate(image, grid, mode="bicubic", align_corners=False).flatten(2).transpose(1, 2)
        notes.append(f"position embedding interpolated from {source[0]}x{source[1]} to {grid[0]}x{grid[1]} patches")
    return places, notes


def _layout(tokens: int, grid: tuple[int, int]) -> tuple[int, tuple[int, int]]:
    """Leading slots and grid of a position embedding: the model's grid, else a square, else people's 4:3, with as few slots as possible."""
    for slots in range(2):  # no more: five slots before 192 places are 14x14 and a class slot in truth
        if tokens - slots == grid[0] * grid[1]:
            return slots, grid
    for slots in range(9):
        places = tokens - slots
        side = math.isqrt(max(places, 0))
        if side > 1 and side * side == places:
            return slots, (side, side)
        unit = math.isqrt(max(places, 0) // 12)
        if unit and unit * unit * 12 == places:
            return slots, (4 * unit, 3 * unit)
    raise CausalPoseError(f"the position embedding has {tokens} places, which is no square or 4:3 grid")


def patch_kernel(kernel: Tensor, patch: int) -> tuple[Tensor, list[str]]:
    """A patch embedding kernel `[C, 3, p, p]` for patches of another size (FlexiViT's pseudo-inverse resize), and notes."""
    if kernel.ndim != 4 or kernel.shape[-1] == patch:
        return kernel, []
    resized = resample_patch_embed(kernel.float(), [patch, patch])
    return resized, [f"patch kernel resized from {kernel.shape[-1]} to {patch} pixels"]


def keypoint_rows(own: Tensor, found: Tensor, dim: int, target: KeypointSet, source: KeypointSet) -> tuple[Tensor, list[str]]:
    """`own` with the slices along `dim` that belong to keypoints of both sets taken from `found`, and the keypoints that stay new.

    By name, never by number: COCO and PoseTrack18 both have 17, and they are others.
    """
    out = own.clone()
    new = []
    for i, name in enumerate(target.keypoints):
        if name in source.keypoints and name not in source.unused:
            out.select(dim, i).copy_(found.select(dim, source.keypoints.index(name)))
        else:
            new.append(name)
    return out, new


def published_set(keypoints: int) -> KeypointSet | None:
    """The keypoint set of a published head by its number of outputs: COCO's 17, also at the front of COCO-WholeBody's 133."""
    return KEYPOINT_SETS["coco17"] if keypoints in (17, 133) else None
