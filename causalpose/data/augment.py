"""Training augmentation on whole batches, in torch: one geometric draw a clip, shared by all of its frames.

The ranges are the field's (ViTPose, JM-Pose: flip, rotation, scale, half-body), a little milder because the crop is already
cut: what an enlarged view would show of the image is gone. The border is filled by reflection, or black as beyond an image's edge.
Everything is one affine map and one `grid_sample` with `align_corners=True`, which keeps pixel centres at integers (UDP) and
coordinates exact.

All draws come from one `torch.Generator` on its own device, so a seed gives the same augmentation on CPU and GPU.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from causalpose.clip import Clip, Visibility
from causalpose.errors import CausalPoseError
from causalpose.skeletons import KeypointSet, keypoint_set

_LUMINANCE = (0.299, 0.587, 0.114)
_LOWER_BODY = ("hip", "knee", "ankle", "belly")


@dataclass(frozen=True)
class Augmentation:
    """What is drawn, and how widely.

    flip             probability of mirroring
    rotation         degrees, uniform in ± this
    scale            uniform range of the enlargement
    shift            share of width and height, uniform in ± this
    half_body        probability of zooming on the upper or the lower half (needs 3 labelled joints there), by at most `half_body_zoom`
    black            probability that what lies beyond the crop is black, else it is the crop's reflection
    colour           strength: brightness, contrast and saturation within 1 ± this, each channel's gain within 1 ± this/3
    grey             probability of a grey picture
    erase            probability of covering a block (a coarse occluder) that drifts over the frames
    erase_size       uniform range of the block's sides, share of the crop's height and width
    """

    flip: float = 0.5
    rotation: float = 30.0
    scale: tuple[float, float] = (0.75, 1.25)
    shift: float = 0.06
    half_body: float = 0.1
    half_body_zoom: float = 1.6
    black: float = 0.5
    colour: float = 0.3
    grey: float = 0.05
    erase: float = 0.3
    erase_size: tuple[float, float] = (0.15, 0.4)

    def __post_init__(self):
        for name in ("flip", "half_body", "black", "grey", "erase"):
            if not 0 <= getattr(self, name) <= 1:
                raise CausalPoseError(f"augmentation {name} = {getattr(self, name)} must be a probability: 0 <= {name} <= 1")
        for name in ("scale", "erase_size"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise CausalPoseError(f"augmentation {name} = {(low, high)} must be a range: 0 < low <= high")
        for name in ("rotation", "shift", "colour"):
            if getattr(self, name) < 0:
                raise CausalPoseError(f"augmentation {name} = {getattr(self, name)} must be at least zero")
        if self.colour >= 1:
            raise CausalPoseError(f"augmentation colour = {self.colour} must be below 1: at 1 a picture may turn black")
        if self.half_body_zoom < 1:
            raise CausalPoseError(f"augmentation half_body_zoom = {self.half_body_zoom} must be 1 or more")


# Nothing is changed: for tests, and as a base to turn single kinds on with `dataclasses.replace`.
NO_AUGMENTATION = Augmentation(
    flip=0.0, rotation=0.0, scale=(1.0, 1.0), shift=0.0, half_body=0.0, black=0.0, colour=0.0, grey=0.0, erase=0.0
)


class _Draws:
    """Uniform draws of the generator, moved to the clip's device."""

    def __init__(self, generator: torch.Generator, device: torch.device):
        self.generator, self.device = generator, device

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        draw = torch.rand(*shape, generator=self.generator, device=self.generator.device)
        return (low + (high - low) * draw).to(self.device)

    def chance(self, probability: float, size: int) -> Tensor:
        return self.uniform(size) < probability


def augment(
    clip: Clip,
    keypoints: KeypointSet | str,
    generator: torch.Generator,
    settings: Augmentation = Augmentation(),
) -> Clip:
    """Augment a batch: `Clip` of frames `[B, T, 3, H, W]` in, `Clip` of the same shapes and types out.

    Joints that leave the image become `OUTSIDE` (and stay so); visible joints under the erased block become `OCCLUDED`; `scale` grows
    with the picture. `parts` are warped to the nearest pixel and zero where a block covers them; a mirrored left arm keeps the left arm's
    code, for what is asked of them is only whether a pixel shows the body.
    """
    names = keypoint_set(keypoints) if isinstance(keypoints, str) else keypoints
    if clip.keypoints.shape[-2] != len(names):
        raise CausalPoseError(f"augment: the clips hold {clip.keypoints.shape[-2]} keypoints, but {names.name} has {len(names)}")
    draws = _Draws(generator, clip.frames.device)
    # The order of the draws is fixed, so that turning one kind off never depends on the data.
    flip, linear, centre, shift, enlargement = _draw_geometry(clip, names, draws, settings)
    black = draws.chance(settings.black, len(clip))
    colour = _draw_colour(clip, draws, settings)
    block = _draw_block(clip, draws, settings)

    clip, beyond = _warp(clip, names, flip, linear, centre, shift, enlargement)
    beyond = (beyond & black[:, None, None])[:, None]
    frames = _recolour(clip.frames, *colour).masked_fill_(beyond[:, :, None], 0.0)
    frames, covered = _cover(frames, block)
    parts = clip.parts
    if parts is not None:
        parts = parts.masked_fill(beyond, 0).masked_fill(covered, 0)
    visibility = _occlude(clip.keypoints, clip.visibility, block)
    return replace(clip, frames=frames.clamp_(0, 255).round_().to(torch.uint8), visibility=visibility, parts=parts)


def _draw_geometry(clip: Clip, names: KeypointSet, draws: _Draws, settings: Augmentation):
    """Flip `[B]`, linear part `[B, 2, 2]`, centre `[B, 2]`, shift `[B, 2]`, enlargement `[B]`.

    A point goes to linear (point - centre) + middle of the crop + shift.
    """
    size, device = len(clip), clip.frames.device
    height, width = clip.frames.shape[-2:]
    extent = torch.tensor([width - 1.0, height - 1.0], device=device)
    flip = draws.chance(settings.flip, size)
    angle = torch.deg2rad(draws.uniform(size, low=-settings.rotation, high=settings.rotation))
    enlargement = draws.uniform(size, low=settings.scale[0], high=settings.scale[1])
    shift = draws.uniform(size, 2, low=-settings.shift, high=settings.shift) * extent
    halve, lower_half = draws.chance(settings.half_body, size), draws.chance(0.5, size)

    middle = (extent / 2).expand(size, 2)
    lower = torch.tensor([any(part in name for part in _LOWER_BODY) for name in names.keypoints], device=device)
    chosen = lower[None] == lower_half[:, None]
    visibility, points = clip.visibility[:, clip.target], clip.keypoints[:, clip.target]
    chosen = chosen & (visibility != Visibility.UNLABELLED) & (visibility != Visibility.OUTSIDE)
    halve = halve & (chosen.sum(1) >= 3)
    low = torch.where(chosen[..., None], points, torch.inf).amin(1)
    high = torch.where(chosen[..., None], points, -torch.inf).amax(1)
    # 1.5: the half's joints with the margin that the field's half-body transform leaves around them.
    zoom = (extent / ((high - low) * 1.5).clamp_min(1)).amin(1).clamp(1, settings.half_body_zoom)
    centre = torch.where(halve[:, None], (low + high) / 2, middle)
    enlargement = torch.where(halve, enlargement * zoom, enlargement)

    cosine, sine = angle.cos() * enlargement, angle.sin() * enlargement
    mirror = 1 - 2 * flip.float()
    linear = torch.stack([torch.stack([cosine * mirror, -sine], -1), torch.stack([sine * mirror, cosine], -1)], -2)
    return flip, linear, centre, shift, enlargement


def _warp(clip, names, flip, linear, centre, shift, enlargement) -> tuple[Clip, Tensor]:
    """Apply the affine map to frames (returned as float, 0..255), parts, keypoints, visibility and scale.

    Also returns where the picture lies beyond the crop by half a pixel or more, bool `[B, H, W]`.
    """
    batch, frames = clip.frames.shape[:2]
    height, width = clip.frames.shape[-2:]
    half = torch.tensor([(width - 1) / 2, (height - 1) / 2], device=clip.frames.device)
    inverse = torch.linalg.inv(linear)
    # grid_sample wants the map from output to input in units where the corner pixels' centres are at ±1.
    theta_linear = inverse * half[None, None, :] / half[None, :, None]
    theta_offset = ((centre - half) - (inverse @ shift[..., None])[..., 0]) / half
    grid = F.affine_grid(torch.cat([theta_linear, theta_offset[..., None]], -1), [batch, 1, height, width], align_corners=True)
    beyond = (grid.abs() > 1 + 0.5 / half).any(-1)
    # The frames of a clip share one map: they go through as channels of one picture.
    options = {"padding_mode": "reflection", "align_corners": True}
    pictures = F.grid_sample(clip.frames.flatten(1, 2).float(), grid, mode="bilinear", **options).view_as(clip.frames)
    parts = clip.parts
    if parts is not None:
        parts = F.grid_sample(parts.float(), grid, mode="nearest", **options).to(clip.parts.dtype)

    order = torch.tensor(names.flip_order, device=clip.frames.device)
    points = torch.where(flip[:, None, None, None], clip.keypoints[:, :, order], clip.keypoints)
    visibility = torch.where(flip[:, None, None], clip.visibility[:, :, order], clip.visibility)
    points = torch.einsum("bij,btkj->btki", linear, points - centre[:, None, None]) + (half + shift)[:, None, None]
    labelled = visibility != Visibility.UNLABELLED
    outside = (points < -0.5).any(-1) | (points[..., 0] > width - 0.5) | (points[..., 1] > height - 0.5)
    visibility = torch.where(outside & labelled, torch.full_like(visibility, Visibility.OUTSIDE), visibility)
    return replace(clip, frames=pictures, keypoints=points, visibility=visibility, scale=clip.scale * enlargement, parts=parts), beyond


def _draw_colour(clip: Clip, draws: _Draws, settings: Augmentation) -> tuple[Tensor, Tensor]:
    """The recolouring as one affine map of RGB: matrix `[B, 3, 3]` and, for the contrast, the weight `[B, 3]` of the clip's mean."""
    size, device = len(clip), clip.frames.device
    low, high = 1 - settings.colour, 1 + settings.colour
    brightness, contrast, saturation = (draws.uniform(size, low=low, high=high) for _ in range(3))
    gains = draws.uniform(size, 3, low=1 - settings.colour / 3, high=1 + settings.colour / 3)
    saturation = torch.where(draws.chance(settings.grey, size), torch.zeros_like(saturation), saturation)
    luminance = torch.tensor(_LUMINANCE, device=device)
    saturate = saturation[:, None, None] * torch.eye(3, device=device) + (1 - saturation)[:, None, None] * luminance.expand(3, 3)
    gains = gains * brightness[:, None]
    return gains[..., None] * contrast[:, None, None] * saturate, gains * (1 - contrast)[:, None]


def _recolour(frames: Tensor, matrix: Tensor, mean_weight: Tensor) -> Tensor:
    """Frames `[B, T, 3, H, W]` (float, 0..255) through the colour map; every frame of a clip alike."""
    mean = frames.mean(dim=(1, 2, 3, 4))
    frame_matrix = matrix.repeat_interleave(frames.shape[1], 0)
    offset = (mean_weight * mean[:, None]).repeat_interleave(frames.shape[1], 0)[..., None]
    return torch.baddbmm(offset, frame_matrix, frames.flatten(0, 1).flatten(2)).view_as(frames)


@dataclass(frozen=True)
class _Block:
    """The erased rectangle: corners `[B, T, 2]`, whether it is there `[B]`, its colour `[B, 3]`, whether another clip fills it `[B]`."""

    low: Tensor
    high: Tensor
    present: Tensor
    colour: Tensor
    foreign: Tensor


def _draw_block(clip: Clip, draws: _Draws, settings: Augmentation) -> _Block:
    size, frames = clip.frames.shape[:2]
    height, width = clip.frames.shape[-2:]
    extent = torch.tensor([float(width), float(height)], device=clip.frames.device)
    present = draws.chance(settings.erase, size)
    sides = draws.uniform(size, 2, low=settings.erase_size[0], high=settings.erase_size[1]) * extent
    place = draws.uniform(size, 2) * extent
    drift = draws.uniform(size, 2, low=-0.05, high=0.05) * extent
    colour, foreign = draws.uniform(size, 3, high=255.0), draws.chance(0.5, size)
    time = torch.arange(frames, device=clip.frames.device) - clip.target
    middle = place[:, None] + drift[:, None] * time[None, :, None]
    return _Block(middle - sides[:, None] / 2, middle + sides[:, None] / 2, present, colour, foreign)


def _cover(frames: Tensor, block: _Block) -> tuple[Tensor, Tensor]:
    """Draw the block into the frames (in place); returns them and the covered pixels `[B, T, H, W]`.

    Half of the blocks are one colour, half show what the neighbouring clip of the batch shows there: an occluder with real edges.
    """
    height, width = frames.shape[-2:]
    columns, rows = torch.arange(width, device=frames.device), torch.arange(height, device=frames.device)
    across = (columns >= block.low[..., :1]) & (columns <= block.high[..., :1])
    down = (rows >= block.low[..., 1:]) & (rows <= block.high[..., 1:])
    covered = across[..., None, :] & down[..., :, None] & block.present[:, None, None, None]
    chosen = block.present.nonzero()[:, 0]  # only these clips are touched: the fill is the dearest step otherwise
    if frames.device.type == "cpu":
        return _cover_rectangles(frames, block, chosen.tolist()), covered
    neighbour = (chosen - 1) % len(frames)
    fill = torch.where(block.foreign[chosen, None, None, None, None], frames[neighbour], block.colour[chosen, None, :, None, None])
    frames[chosen] = torch.where(covered[chosen, :, None], fill, frames[chosen])
    return frames, covered


def _cover_rectangles(frames: Tensor, block: _Block, chosen: list[int]) -> Tensor:
    """`_cover` on a CPU: only the blocks' own pixels are moved, an order of magnitude fewer (a GPU would rather move them all at once)."""
    height, width = frames.shape[-2:]
    low, high = block.low.ceil().long().clamp_min(0).tolist(), block.high.floor().long().tolist()
    patches = []
    for clip in chosen:
        for time in range(frames.shape[1]):
            (left, top), (right, bottom) = low[clip][time], high[clip][time]
            place = (clip, time, slice(None), slice(top, max(min(bottom + 1, height), top)), slice(left, max(min(right + 1, width), left)))
            # Taken before any is laid down: a neighbour shows its own picture, not its block.
            fill = frames[((clip - 1) % len(frames), *place[1:])].clone() if block.foreign[clip] else block.colour[clip, :, None, None]
            patches.append((place, fill))
    for place, fill in patches:
        frames[place] = fill
    return frames


def _occlude(points: Tensor, visibility: Tensor, block: _Block) -> Tensor:
    """Visible joints inside the block become `OCCLUDED`; hidden ones keep their own reason."""
    inside = ((points >= block.low[:, :, None]) & (points <= block.high[:, :, None])).all(-1) & block.present[:, None, None]
    return torch.where(inside & (visibility == Visibility.VISIBLE), torch.full_like(visibility, Visibility.OCCLUDED), visibility)
