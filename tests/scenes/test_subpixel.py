"""The renderer draws every joint where its keypoint says, to a fraction of a pixel.

Of each clip nothing is shown but the joint's own blob: the end of a limb, white on black, taken from the bars that the scene itself made.
The centroid of such a disc is its centre up to the 8-bit rounding of the picture and the approximate coverage of edge pixels: a few
hundredths of a pixel. The bound of 0.1 px is far below the half pixel by which pixel corners and pixel centres differ.
"""

import pytest
import torch

from causalpose.scenes import world as module
from causalpose.scenes.body import KEYPOINTS, LIMBS, PERSON_PARTS
from causalpose.scenes.world import World

HEIGHT, WIDTH, CLIPS = 144, 108, 6
BARE = {"background": None, "distractors": None, "occluders": None, "sensor": None}
BOUND = 0.1


def ends(joint):
    """(limb, 0 or 1) of the limb ends that are drawn at a joint."""
    return [(n, end) for n, row in enumerate(LIMBS) for end in (0, 1) if row[end] == joint and (end == 0 or row[0] != joint)]


def blob(monkeypatch, world, numbers, limb, end):
    """The clips with only one end of one of the person's limbs, a white disc on black, and the disc's radius `[clips]`."""
    rasterise, seen = module.rasterise, []

    def alone(bars, background, light):
        own = torch.isin(bars.part[0], torch.tensor([float(p) for p in PERSON_PARTS], dtype=bars.part.dtype)).nonzero()[:, 0]
        assert len(own) == len(LIMBS)
        bars = bars.map(lambda v: v[:, own[limb] : own[limb] + 1].clone())
        place, radius = (bars.start, bars.end)[end], bars.radius[..., end : end + 1].expand_as(bars.radius)
        seen.append(radius[:, 0, 0])
        bars.start, bars.end, bars.radius = place, place, radius
        bars.colour, bars.second = torch.ones_like(bars.colour), torch.ones_like(bars.second)
        bars.round, bars.stripes = torch.zeros_like(bars.round), torch.zeros_like(bars.stripes)
        return rasterise(bars, torch.zeros_like(background), light)

    with monkeypatch.context() as patch:
        patch.setattr(module, "rasterise", alone)
        patch.setattr(module.lens, "expose", lambda pictures, _: pictures)  # no vignette, tint or gain: they would weigh the pixels
        clip = world.render(numbers)
    return clip, torch.cat(seen)


def centroid(frames):
    """Brightness-weighted mean place (x, y) of frames `[B, 3, H, W]`."""
    weight = frames.double().mean(1)
    y, x = torch.arange(weight.shape[1]).double()[:, None], torch.arange(weight.shape[2]).double()
    total = weight.sum((1, 2)).clamp(min=1e-9)
    return torch.stack([(weight * x).sum((1, 2)) / total, (weight * y).sum((1, 2)) / total], -1)


@pytest.mark.parametrize("joint", [name for name in KEYPOINTS.keypoints if name != "head_top"])
def test_a_joints_blob_lies_on_its_keypoint(monkeypatch, joint):
    world = World(HEIGHT, WIDTH, 1, seed=8).do(lens={"shutter": 0.0, "defocus": 0.0}, **BARE)
    drawn = ends(joint)
    assert drawn, joint
    for limb, end in drawn:
        clip, radius = blob(monkeypatch, world, range(CLIPS), limb, end)
        at = clip.keypoints[:, 0, KEYPOINTS.index(joint)].double()
        whole = ((at > radius[:, None] + 1) & (at < torch.tensor([WIDTH, HEIGHT]) - 2 - radius[:, None])).all(-1)
        assert int(whole.sum()) >= 2, (joint, LIMBS[limb][:2])
        error = (centroid(clip.frames[:, 0]) - at)[whole].norm(dim=-1)
        assert float(error.max()) < BOUND, (joint, LIMBS[limb][:2], error)


def test_the_top_of_the_head_is_where_the_hair_ends(monkeypatch):
    """No limb ends at the head's top: it is the outermost place of the head, along the line from the head's bottom. At 64x48, the size
    that `tiny` sees, the hair's far edge is less than half a pixel away for people of average height whose head is seen from the side, the
    front or the back; seen end-on, or on a person a tenth taller, the edge is the hair's own and not the joint's."""
    limb = next(n for n, row in enumerate(LIMBS) if row[0] == "hair")
    world = World(64, 48, 1, seed=8).do(lens={"shutter": 0.0, "defocus": 0.0}, body={"height": 1.0, "head": 1.0}, **BARE)
    clip, radius = blob(monkeypatch, world, range(24), limb, 0)
    top, bottom = (clip.keypoints[:, 0, KEYPOINTS.index(name)].double() for name in ("head_top", "head_bottom"))
    middle = centroid(clip.frames[:, 0])
    axis = torch.nn.functional.normalize(top - bottom, dim=-1)
    edge = ((middle - bottom) * axis).sum(-1) + radius
    long = (top - bottom).norm(dim=-1)
    upright = long > 0.97 * 0.160 / 0.066 * radius  # as long as it is in the body
    whole = ((middle > radius[:, None] + 1) & (middle < torch.tensor([48, 64]) - 2 - radius[:, None])).all(-1) & upright
    assert int(whole.sum()) > 10
    error = (edge - long)[whole].abs()
    assert float(error.max()) < 0.5, error


def test_half_a_pixel_would_be_noticed(monkeypatch):
    """The bound can fail: keypoints that counted from the pixel's corner would miss it."""
    world = World(HEIGHT, WIDTH, 1, seed=8).do(lens={"shutter": 0.0, "defocus": 0.0}, **BARE)
    limb, end = ends("left_hip")[0]
    clip, _ = blob(monkeypatch, world, range(2), limb, end)
    at = clip.keypoints[:, 0, KEYPOINTS.index("left_hip")].double()
    assert float((centroid(clip.frames[:, 0]) - (at + 0.5)).norm(dim=-1).min()) > BOUND
