"""Augmentation: coordinates and pixels move together, one draw a clip, exact flips, honest visibility."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from causalpose.clip import Clip, Visibility
from causalpose.data.augment import NO_AUGMENTATION, Augmentation, augment
from causalpose.errors import CausalPoseError
from causalpose.skeletons import keypoint_set

NAMES = keypoint_set("posetrack15")
H, W = 64, 48


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blob_clip(points: torch.Tensor, frames: int = 1) -> Clip:
    """Clips `[B]` with one Gaussian blob at `points [B, 2]` in every frame; every joint sits on it."""
    batch = len(points)
    y, x = torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij")
    blob = 250 * torch.exp(-((x - points[:, :1, None]) ** 2 + (y - points[:, 1:, None]) ** 2) / (2 * 2.0**2))
    pixels = blob.round().to(torch.uint8)[:, None, None].expand(batch, frames, 3, H, W).contiguous()
    return Clip(
        frames=pixels,
        keypoints=points[:, None, None].expand(batch, frames, len(NAMES), 2).clone(),
        visibility=torch.ones(batch, frames, len(NAMES), dtype=torch.uint8),
        scale=torch.full((batch,), 20.0),
        condition=torch.zeros(batch, dtype=torch.uint8),
        index=torch.arange(batch),
        parts=(blob > 100).to(torch.uint8)[:, None].expand(batch, frames, H, W).contiguous(),
    )


def centroid(pictures: torch.Tensor) -> torch.Tensor:
    """Centre of mass (x, y) of pictures `[B, H, W]`, above a floor that keeps rounding out."""
    weight = (pictures.double() - 8).clamp_min(0)
    x = (weight.sum(1) * torch.arange(W)).sum(1)
    y = (weight.sum(2) * torch.arange(H)).sum(1)
    return torch.stack([x, y], -1) / weight.sum((1, 2))[:, None]


def test_nothing_turned_on_changes_nothing():
    clip = blob_clip(torch.tensor([[20.0, 30.0], [11.0, 40.0]]), frames=3)
    out = augment(clip, NAMES, generator(), NO_AUGMENTATION)
    assert torch.equal(out.frames, clip.frames)
    assert torch.equal(out.visibility, clip.visibility)
    assert torch.equal(out.parts, clip.parts)
    assert torch.allclose(out.keypoints, clip.keypoints, atol=1e-4)
    assert torch.allclose(out.scale, clip.scale)


def test_picture_and_keypoints_move_together_to_a_tenth_of_a_pixel():
    """A blob is moved by flip, rotation, scale and shift; its centre of mass must be where its keypoint went."""
    points = torch.rand(32, 2, generator=generator(1)) * torch.tensor([16.0, 24.0]) + torch.tensor([16.0, 20.0])
    settings = replace(NO_AUGMENTATION, flip=0.5, rotation=30.0, scale=(0.75, 1.25), shift=0.06, black=1.0)
    out = augment(blob_clip(points), "posetrack15", generator(2), settings)
    error = (centroid(out.frames[:, 0, 0]) - out.keypoints[:, 0, 0].double()).norm(dim=-1)
    assert error.max() < 0.1
    assert (out.keypoints[:, 0, 0] - points).norm(dim=-1).max() > 5, "the draw moved nothing"
    # Parts are moved the same way, to the nearest pixel.
    assert (centroid(out.parts[:, 0] * 200) - out.keypoints[:, 0, 0].double()).norm(dim=-1).max() < 0.6


def test_flip_is_exact_and_swaps_left_and_right():
    """x goes to W - 1 - x = 47 - x, the left wrist's place becomes the right wrist's, pixels are mirrored bit for bit."""
    clip = blob_clip(torch.tensor([[20.0, 30.0]]))
    left, right = NAMES.index("left_wrist"), NAMES.index("right_wrist")
    clip.keypoints[0, 0, left] = torch.tensor([5.0, 7.0])
    clip.visibility[0, 0, left] = Visibility.OCCLUDED
    out = augment(clip, NAMES, generator(), replace(NO_AUGMENTATION, flip=1.0))
    assert torch.equal(out.frames, clip.frames.flip(-1))
    assert torch.allclose(out.keypoints[0, 0, right], torch.tensor([42.0, 7.0]), atol=1e-4)
    assert out.visibility[0, 0, right] == Visibility.OCCLUDED
    assert out.visibility[0, 0, left] == Visibility.VISIBLE
    assert torch.equal(out.parts, clip.parts.flip(-1))


def test_all_frames_of_a_clip_share_one_draw():
    clip = blob_clip(torch.full((8, 2), 24.0), frames=3)
    out = augment(clip, NAMES, generator(3), replace(Augmentation(), erase=0.0))
    assert torch.equal(out.frames[:, 0], out.frames[:, 1]) and torch.equal(out.frames[:, 0], out.frames[:, 2])
    assert torch.equal(out.keypoints[:, 0], out.keypoints[:, 2])
    assert not torch.equal(out.frames[0], out.frames[1]), "clips must differ"


def test_a_seed_gives_the_same_augmentation():
    clip = blob_clip(torch.full((4, 2), 24.0))
    a, b, c = (augment(clip, NAMES, generator(seed)) for seed in (5, 5, 6))
    assert torch.equal(a.frames, b.frames) and torch.equal(a.keypoints, b.keypoints)
    assert not torch.equal(a.frames, c.frames)


def test_scale_grows_with_the_picture():
    clip = blob_clip(torch.full((2, 2), 24.0))
    out = augment(clip, NAMES, generator(), replace(NO_AUGMENTATION, scale=(1.5, 1.5)))
    assert torch.allclose(out.scale, torch.tensor([30.0, 30.0]))


def test_joints_that_leave_become_outside_and_unlabelled_ones_stay():
    """At twice the size, (4, 30) goes to 23.5 + 2 (4 - 23.5) = -15.5: outside. (24, 32) stays inside."""
    clip = blob_clip(torch.tensor([[24.0, 32.0]]))
    clip.keypoints[0, 0, 0] = torch.tensor([4.0, 30.0])
    clip.keypoints[0, 0, 1] = torch.tensor([4.0, 30.0])
    clip.visibility[0, 0, 1] = Visibility.UNLABELLED
    clip.visibility[0, 0, 2] = Visibility.OUTSIDE
    out = augment(clip, NAMES, generator(), replace(NO_AUGMENTATION, scale=(2.0, 2.0)))
    assert out.keypoints[0, 0, 0, 0] == pytest.approx(-15.5, abs=1e-3)
    expected = [Visibility.OUTSIDE, Visibility.UNLABELLED, Visibility.OUTSIDE, Visibility.VISIBLE]
    assert out.visibility[0, 0, :4].tolist() == expected


def test_erased_block_hides_visible_joints_only_and_covers_parts():
    batch = 64
    clip = blob_clip(torch.full((batch, 2), 24.0))
    clip.visibility[:, :, 1] = Visibility.SELF_OCCLUDED
    out = augment(clip, NAMES, generator(4), replace(NO_AUGMENTATION, erase=1.0, erase_size=(0.4, 0.6)))
    hidden = out.visibility[:, 0, 0] == Visibility.OCCLUDED
    assert 0.1 < hidden.float().mean() < 0.9
    assert torch.equal(out.parts[torch.arange(batch), 0, 24, 24] == 0, hidden), (
        "the block covers the joint's pixel exactly where it says so"
    )
    assert (out.visibility[:, 0, 1] == Visibility.SELF_OCCLUDED).all()
    changed = (out.frames != clip.frames).any(2)[:, 0].float().mean((1, 2))
    assert changed.max() < 0.4, "a block of at most 0.6 x 0.6 covers at most 0.36 of the picture"


def test_half_body_zooms_on_the_chosen_half():
    """Upper joints fill x 14..34, lower ones lie at y 60: with the zoom, either half's joints get further apart and centred."""
    clip = blob_clip(torch.full((32, 2), 24.0))
    for k, name in enumerate(NAMES.keypoints):
        low = any(part in name for part in ("hip", "knee", "ankle"))
        clip.keypoints[:, :, k] = torch.tensor([14.0 + 1.5 * k, 52.0 if low else 12.0])
    out = augment(clip, NAMES, generator(), replace(NO_AUGMENTATION, half_body=1.0, half_body_zoom=1.5))
    assert torch.allclose(out.scale, torch.full((32,), 30.0))
    heights = out.keypoints[:, 0, NAMES.index("nose"), 1]
    upper = heights > 0
    assert 4 < upper.sum() < 28, "both halves are chosen"
    assert torch.allclose(heights[upper], torch.tensor(31.5), atol=1e-3), "the upper half's middle is the crop's middle"
    few = replace(clip, visibility=torch.zeros_like(clip.visibility))
    assert torch.allclose(augment(few, NAMES, generator(), replace(NO_AUGMENTATION, half_body=1.0)).scale, few.scale), "no joints, no zoom"


def test_black_border_and_reflection():
    clip = blob_clip(torch.full((1, 2), 24.0))
    white = replace(clip, frames=torch.full_like(clip.frames, 200))
    shrink = replace(NO_AUGMENTATION, scale=(0.5, 0.5))
    assert (augment(white, NAMES, generator(), shrink).frames == 200).all()
    black = augment(white, NAMES, generator(), replace(shrink, black=1.0)).frames[0, 0, 0]
    assert black[0, 0] == 0 and black[H // 2, W // 2] == 200
    assert (black == 0).float().mean() == pytest.approx(0.75, abs=0.05), "half the size leaves three quarters empty"


def test_grey_keeps_luminance():
    """Pure red 200 has luminance 0.299 x 200 = 59.8."""
    clip = blob_clip(torch.full((1, 2), 24.0))
    clip.frames.zero_()
    clip.frames[:, :, 0] = 200
    out = augment(clip, NAMES, generator(), replace(NO_AUGMENTATION, grey=1.0))
    assert np.allclose(out.frames.unique(), [60])


@pytest.mark.parametrize(
    "values",
    [{"flip": 1.5}, {"scale": (1.2, 0.8)}, {"colour": 1.0}, {"rotation": -1.0}, {"half_body_zoom": 0.5}, {"erase_size": (0.0, 0.1)}],
)
def test_impossible_settings_are_refused_by_name(values):
    with pytest.raises(CausalPoseError, match=next(iter(values))):
        Augmentation(**values)


def test_wrong_keypoint_set_is_refused():
    with pytest.raises(CausalPoseError, match="coco17 has 17"):
        augment(blob_clip(torch.full((1, 2), 24.0)), "coco17", generator())


def test_the_block_is_the_same_on_every_device():
    """A CPU moves only the blocks' pixels, a GPU all at once: the reference is the GPU's way, run here."""
    from causalpose.data import augment as module

    clip = blob_clip(torch.rand(8, 2, generator=generator(3)) * 40, frames=3)
    draws = module._Draws(generator(4), torch.device("cpu"))
    block = module._draw_block(clip, draws, replace(NO_AUGMENTATION, erase=0.9, erase_size=(0.05, 0.6)))
    start = torch.rand(clip.frames.shape, generator=generator(5)) * 255
    found, covered = module._cover(start.clone(), block)
    neighbour = start[(torch.arange(8) - 1) % 8]
    fill = torch.where(block.foreign[:, None, None, None, None], neighbour, block.colour[:, None, :, None, None])
    assert block.foreign[block.present].any() and not block.foreign[block.present].all()
    assert torch.equal(found, torch.where(covered[:, :, None], fill, start)) and covered.any()
