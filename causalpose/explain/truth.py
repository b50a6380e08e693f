"""Where a map ought to look: the person, a joint's limb, a joint's surroundings, token by token.

The part masks that say so exist for rendered scenes only. Real video has labelled joints, hence `near_joint`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from causalpose.clip import Clip, Visibility
from causalpose.errors import CausalPoseError
from causalpose.explain.maps import as_batch
from causalpose.scenes.body import ATTACHED, KEYPOINTS, PERSON_PARTS, Part

# From this share of its pixels a token counts as showing the body: a limb is a third of a `tiny` token wide.
BODY_TOKEN = 0.25


def part_share(clip: Clip, parts: tuple[int, ...], grid: tuple[int, int]) -> Tensor:
    """Share of each token's pixels that show one of the parts, `[B, T, rows, columns]` in [0, 1]."""
    clip = as_batch(clip)
    if clip.parts is None:
        raise CausalPoseError("this clip has no part masks, which only rendered scenes have; on real video score against `near_joint`")
    H, W = clip.parts.shape[-2:]
    if H % grid[0] or W % grid[1]:
        raise CausalPoseError(f"a token grid of {grid[0]} x {grid[1]} does not divide part masks of {H} x {W} pixels")
    shown = torch.isin(clip.parts, torch.tensor(parts, dtype=torch.uint8, device=clip.parts.device)).float()
    return F.avg_pool2d(shown, (H // grid[0], W // grid[1])).cpu()


def body_share(clip: Clip, grid: tuple[int, int]) -> Tensor:
    """Share of each token that shows the person, `[B, T, rows, columns]`; bystanders do not count."""
    return part_share(clip, tuple(int(part) for part in PERSON_PARTS), grid)


def limb_parts(joint: str) -> tuple[int, ...]:
    """The parts that meet in a joint (a left elbow: left upper arm and forearm); the torso counts for no joint, it is too large to tell."""
    attached = ATTACHED[KEYPOINTS.index(joint)]
    return tuple(int(part) for part in PERSON_PARTS if attached[part] and part != Part.TORSO)


def limb_share(clip: Clip, joint: str, grid: tuple[int, int]) -> Tensor:
    """Share of each token that shows the joint's limb, `[B, T, rows, columns]`."""
    return part_share(clip, limb_parts(joint), grid)


def near_joint(clip: Clip, joint: int, grid: tuple[int, int], reach: int = 1) -> Tensor:
    """Tokens at most `reach` tokens away from the one that holds the joint, frame by frame: float `[B, T, rows, columns]`, 0 or 1.

    Frames in which the joint is unlabelled or outside have none.
    """
    clip = as_batch(clip)
    size = clip.frames.shape[-2:]
    rows, columns = (torch.arange(n) for n in grid)
    x, y = clip.keypoints[..., joint, :].cpu().unbind(-1)  # [B, T]
    row = ((y + 0.5) * grid[0] / size[0]).floor()[..., None, None]
    column = ((x + 0.5) * grid[1] / size[1]).floor()[..., None, None]
    states = clip.visibility[..., joint].cpu()
    known = (states != Visibility.UNLABELLED) & (states != Visibility.OUTSIDE)
    near = ((rows[:, None] - row).abs() <= reach) & ((columns - column).abs() <= reach)
    return (near & known[..., None, None]).float()


def keypoint_distance(clip: Clip, grid: tuple[int, int]) -> Tensor:
    """Distance in pixels from each token's centre to each keypoint, float `[B, T, K, rows, columns]`, for any token grid.

    nan where the keypoint is unlabelled; one outside the picture has a distance like any other. The minimum over `K` says how near a token
    is to the pose.
    """
    clip = as_batch(clip)
    H, W = clip.frames.shape[-2:]
    if H % grid[0] or W % grid[1]:
        raise CausalPoseError(f"a token grid of {grid[0]} x {grid[1]} does not divide the picture of {H} x {W} pixels")
    row = (torch.arange(grid[0]) + 0.5) * H / grid[0] - 0.5
    column = (torch.arange(grid[1]) + 0.5) * W / grid[1] - 0.5
    x, y = clip.keypoints.cpu()[..., None, None].unbind(-3)  # [B, T, K, 1, 1]
    away = torch.hypot(column - x, row[:, None] - y)
    return away.masked_fill((clip.visibility.cpu() == Visibility.UNLABELLED)[..., None, None], float("nan"))
