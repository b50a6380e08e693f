"""The truth of a scene: boxes, masks and depth order, against the labels and on hand-made scenes."""

from dataclasses import fields

import pytest
import torch

from causalpose.clip import Visibility
from causalpose.errors import CausalPoseError
from causalpose.scenes.body import KEYPOINTS, PERSON_PARTS, Part
from causalpose.scenes.render import join, make
from causalpose.scenes.truth import MASKS, SceneTruth, truth_of
from causalpose.scenes.world import World

CROWDED = World(48, 36, 3, level="hard", seed=2).do(distractors={"bystander": 1.0, "bars": 4.0})


@pytest.fixture(scope="module")
def crowded():
    return CROWDED.truth(range(12))


def capsule(start, end, radius, depth, part, opacity=1.0):
    ends = (torch.tensor([[point]]).double() for point in (start, end))
    return make(*ends, torch.tensor([[radius]]).double(), depth, torch.zeros(3), int(part), opacity=opacity)


def hand_made(*bars, height=32, width=40):
    """The truth of one frame that shows the given bars."""
    return truth_of(join(list(bars)), 1, height, width, torch.zeros(1, 1, 15, 2), torch.ones(1, 1, 15, dtype=torch.uint8))


def extent(mask):
    """Outer edges of a mask's pixels, in plain Python."""
    places = mask.nonzero().tolist()
    if not places:
        return None
    rows, columns = zip(*places, strict=True)
    return [min(columns) - 0.5, min(rows) - 0.5, max(columns) + 0.5, max(rows) + 0.5]


def test_truth_is_that_of_the_rendered_clips(crowded):
    """Bit for bit, also where motion blur mixes five times into a frame; and the same in portions, alone and under an intervention."""
    clip = CROWDED.render(range(12))
    assert float((CROWDED.values(range(12))["lens"]["shutter"] > 0.05).float().mean()) > 0
    for name in ("keypoints", "visibility", "parts"):
        assert torch.equal(getattr(crowded, name), getattr(clip, name)), name
    portions, alone = CROWDED.truth(range(12), chunk=5), CROWDED.truth([7])
    for f in fields(SceneTruth):
        whole, again, one = (getattr(truth, f.name) for truth in (crowded, portions, alone))
        assert torch.equal(whole.nan_to_num(-9), again.nan_to_num(-9)), f.name
        assert torch.equal((whole if f.name == "piece_parts" else whole[7:8]).nan_to_num(-9), one.nan_to_num(-9)), f.name
    bare = CROWDED.do(occluders=None)
    assert torch.equal(bare.truth([0]).parts, bare.render([0]).parts)


def test_the_five_masks_share_out_the_crop(crowded):
    masks = torch.stack([crowded.mask(name) for name in MASKS])
    assert bool((masks.sum(0) == 1).all()) and all(bool(mask.any()) for mask in masks)
    assert torch.equal(crowded.mask("person"), (crowded.parts >= Part.HEAD) & (crowded.parts <= Part.RIGHT_SHANK))
    with pytest.raises(CausalPoseError, match="unknown mask 'limb'; masks: person, bystander, occluder, distractor, background"):
        crowded.mask("limb")


def test_visible_boxes_are_the_extent_of_the_labels(crowded):
    for boxes, name in ((crowded.person_visible_box, "person"), (crowded.bystander_visible_box, "bystander")):
        seen = 0
        for box, mask in zip(boxes.flatten(0, 1), crowded.mask(name).flatten(0, 1), strict=True):
            expected = extent(mask)
            seen += expected is not None
            assert box.tolist() == expected if expected else bool(box.isnan().all())
        assert seen > 20


def test_a_visible_box_lies_in_the_amodal_one(crowded):
    """To half a pixel: a pixel whose centre is on the edge reaches that far beyond."""
    for amodal, visible in (
        (crowded.person_box, crowded.person_visible_box),
        (crowded.bystander_box, crowded.bystander_visible_box),
    ):
        there = ~visible.isnan().any(-1)
        assert bool((visible[there][:, :2] >= amodal[there][:, :2] - 0.51).all())
        assert bool((visible[there][:, 2:] <= amodal[there][:, 2:] + 0.51).all())


def test_the_box_of_a_person_in_full_view_is_the_body_with_its_girth():
    """Nothing in front, all inside: both boxes agree to a pixel and hold every joint, with 0.2 body heights to spare at most (a foot or a
    hand beyond the ankle or wrist). The head's top may be a hundredth of the height outside: it is a place on a tall person's hair, not in
    the head."""
    world = World(96, 96, 1).do(occluders=None, distractors=None, lens=None)
    truth = world.truth(range(40))
    inside = (truth.visibility != int(Visibility.OUTSIDE)).all(-1) & (truth.person_box > 1).all(-1) & (truth.person_box < 94).all(-1)
    assert int(inside.sum()) > 30
    box, visible, joints = (v[inside] for v in (truth.person_box, truth.person_visible_box, truth.keypoints))
    assert float((box - visible).abs().max()) < 0.75
    height = (joints.amax(1) - joints.amin(1)).amax(-1)  # at most a standing body's height
    slack = torch.cat([joints - box[:, None, :2], box[:, None, 2:] - joints], -1).amin(-1)  # [frames, K], negative outside
    top = KEYPOINTS.index("head_top")
    assert float(slack[:, [k for k in range(15) if k != top]].min()) > 0
    assert float((slack[:, top] / height).min()) > -0.012
    reach = torch.cat([joints.amin(1) - box[:, :2], box[:, 2:] - joints.amax(1)], -1)
    assert float((reach / height[:, None]).max()) < 0.20


def test_a_bystander_has_boxes_where_there_is_one(crowded):
    assert not bool(crowded.bystander_box.isnan().any())
    nobody = CROWDED.do(distractors=None).truth([0, 1])
    assert bool(nobody.bystander_box.isnan().all()) and bool(nobody.bystander_visible_box.isnan().all())
    assert not bool(nobody.person_box.isnan().any()) and not bool(nobody.mask("bystander").any())
    codes = nobody.piece_parts
    assert bool(nobody.depth[..., (codes == Part.BYSTANDER) | (codes == Part.DISTRACTOR)].isinf().all())


def test_boxes_by_hand():
    """A forearm of radius 2 from (10, 8) to (20, 8): x 8 to 22, y 6 to 10; a thing over its right half leaves columns 8 to 13."""
    forearm = capsule((10.0, 8.0), (20.0, 8.0), 2.0, 0.0, Part.LEFT_FOREARM)
    truth = hand_made(forearm, capsule((18.0, 0.0), (18.0, 20.0), 4.4, -500.0, Part.OCCLUDER))
    assert truth.person_box[0, 0].tolist() == [8.0, 6.0, 22.0, 10.0]
    assert truth.person_visible_box[0, 0].tolist() == [7.5, 5.5, 13.5, 10.5]
    hidden = hand_made(forearm, capsule((15.0, 8.0), (15.0, 8.0), 12.0, -500.0, Part.OCCLUDER))
    assert hidden.person_box[0, 0].tolist() == [8.0, 6.0, 22.0, 10.0] and bool(hidden.person_visible_box.isnan().all())


def test_depth_order_says_who_covers_whom():
    """Three discs over one another, in any order of drawing: the nearest is what the common pixel shows."""
    discs = [
        capsule((20.0, 16.0), (20.0, 16.0), radius, depth, part)
        for radius, depth, part in ((9.0, 300.0, Part.BYSTANDER), (6.0, 0.1, Part.TORSO), (3.0, -0.2, Part.LEFT_FOREARM))
    ]
    for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0)):
        truth = hand_made(*(discs[n] for n in order))
        ranked = truth.piece_parts[truth.order[0, 0]].tolist()
        assert ranked == [Part.LEFT_FOREARM, Part.TORSO, Part.BYSTANDER]
        assert [int(truth.parts[0, 0, 16, x]) for x in (20, 25, 28, 35)] == [*ranked, Part.BACKGROUND]
        assert truth.depth_map[0, 0, 16, [20, 25, 28, 35]].tolist() == pytest.approx([-0.2, 0.1, 300.0, float("inf")])
    tie = hand_made(*(capsule((20.0, 16.0), (20.0, 16.0), 4.0, 1.0, part) for part in (Part.LEFT_THIGH, Part.RIGHT_THIGH)))
    assert tie.order[0, 0].tolist() == [1, 0] and int(tie.parts[0, 0, 16, 20]) == Part.RIGHT_THIGH
    absent = hand_made(discs[1], capsule((20.0, 16.0), (20.0, 16.0), 4.0, -9.0, Part.OCCLUDER, opacity=0.0))
    assert absent.order[0, 0].tolist() == [0, 1] and absent.depth[0, 0].isinf().tolist() == [False, True]


def test_depth_order_says_who_covers_whom_in_rendered_scenes(drawn_bars):
    """At every pixel the front-most piece is the first, in the truth's order, of those whose shape holds the pixel."""
    world = World(40, 30, 1, level="hard", seed=3).do(lens=None, distractors={"bystander": 2.0, "bars": 3.0}, occluders={"count": 2.0})
    truth = world.truth(range(4))
    _, bars = drawn_bars(world, range(4))
    bars = bars.map(lambda v: v[:, bars.part[0] >= 0])
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(30.0), indexing="ij")
    points = torch.stack([x, y], -1).flatten(0, 1).double()  # [pixels, 2]
    compared = 0
    for b in range(4):
        start, axis = bars.start[b], bars.end[b] - bars.start[b]
        length = axis.norm(dim=-1).clamp(min=1e-6)
        unit = torch.where(length[:, None] > 1e-3, axis / length[:, None], torch.tensor([0.0, 1.0]).double())
        offset = points[:, None] - start
        along, across = (offset * unit).sum(-1), (offset[..., 1] * unit[:, 0] - offset[..., 0] * unit[:, 1]).abs()
        place = torch.minimum(along.clamp(min=0), length)
        radius = bars.radius[b].clamp(min=0.35)
        reach = radius[:, 0] + (radius[:, 1] - radius[:, 0]) * place / length
        gap = torch.hypot(along - place, (across - bars.width[b]).clamp(min=0)) - reach  # [pixels, pieces]
        gap = torch.where(bars.opacity[b] > 0, gap, torch.inf)
        order = truth.order[b, 0]
        held = gap[:, order] < 0
        first = torch.where(held.any(1), order[held.int().argmax(1)] + 1, 0)
        sure = gap.abs().amin(1) > 0.01  # an edge through the pixel's very centre is left out
        compared += int(sure.sum())
        assert torch.equal(truth.pieces[b, 0].flatten()[sure].long(), first[sure])
        assert len(set(truth.piece_parts[truth.pieces[b, 0].flatten()[truth.pieces[b, 0].flatten() > 0].long() - 1].tolist())) > 3
    assert compared > 0.9 * 4 * 40 * 30


def test_an_own_limb_in_front_is_nearer_than_what_it_covers(crowded):
    """The person's depths lie within two body heights of the middle, between what is in front and what is behind."""
    codes = crowded.piece_parts
    own = torch.isin(codes, torch.tensor([int(p) for p in PERSON_PARTS], dtype=torch.uint8))
    assert float(crowded.depth[..., own].abs().max()) < 2.0
    things = crowded.depth[..., codes == Part.OCCLUDER]
    assert float(things[things.isfinite()].max()) < -2.0 and bool(things.isfinite().any())


def test_bad_input_is_one_clear_line():
    with pytest.raises(CausalPoseError, match="chunk = 0 must be at least 1"):
        World(16, 16, 1).truth([0], chunk=0)
    with pytest.raises(CausalPoseError, match="clips must be whole numbers"):
        World(16, 16, 1).truth([-1])
