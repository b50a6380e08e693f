"""The rasteriser against hand-worked bars and against a slow reference that knows only the definition."""

import math

import pytest
import torch

from causalpose.scenes.body import Part
from causalpose.scenes.render import covering, join, make, rasterise
from causalpose.scenes.world import World

GREY = torch.full((3,), 0.5)


def bar(start, end, radius, depth=0.0, part=1, colour=(1.0, 0.0, 0.0), **settings):
    """One bar in one picture."""
    return make(
        torch.tensor([[start]]).double(),
        torch.tensor([[end]]).double(),
        torch.tensor([[radius]]).double(),
        depth,
        torch.tensor(colour).double(),
        part,
        **settings,
    )


def paint(bars, height=32, width=40, light=(0.0, 0.0)):
    picture, label = rasterise(bars, torch.full((1, 3, height, width), 0.5), torch.tensor([light]).double())
    return picture[0], label[0]


def test_a_disc_covers_its_area():
    """Radius 6.5: pi * 6.5² = 132.7 pixels; antialiasing keeps the sum of coverage within 1 %, and the label holds the pixels up to 6.5
    away."""
    picture, label = paint(bar((20.0, 15.0), (20.0, 15.0), 6.5))
    coverage = ((picture[0] - 0.5) / 0.5).sum()  # red goes from 0.5 to 1 with the coverage
    assert float(coverage) == pytest.approx(math.pi * 6.5**2, rel=0.01)
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(40.0), indexing="ij")
    assert torch.equal(label == 1, ((x - 20) ** 2 + (y - 15) ** 2).sqrt() <= 6.5)


def test_a_rounded_box_by_hand():
    """From (10, 10) to (30, 10), half-width 4, radius 1: pixels |y - 10| <= 5 along the axis; (20, 15) is in, (20, 16) is out."""
    picture, label = paint(bar((10.0, 10.0), (30.0, 10.0), 1.0, width=4.0))
    assert label[15, 20] == 1 and label[16, 20] == 0 and label[5, 20] == 1 and label[4, 20] == 0
    assert label[10, 9] == 1 and label[10, 8] == 0  # the end cap reaches the radius, not the width
    assert picture[:, 10, 20].tolist() == [1.0, 0.0, 0.0] and picture[:, 20, 20].tolist() == [0.5, 0.5, 0.5]
    assert picture[0, 15, 20].item() == pytest.approx(0.75)  # exactly on the edge: half covered


def test_a_taper_runs_from_end_to_end():
    """Radius 6.25 at x = 8 to 2.25 at x = 32: at the middle, x = 20, the limb reaches 4.25 to each side, i.e. 9 pixels."""
    bars = make(
        torch.tensor([[[8.0, 16.0]]]).double(),
        torch.tensor([[[32.0, 16.0]]]).double(),
        torch.tensor([[[6.25, 2.25]]]).double(),
        0.0,
        GREY,
        3,
    )
    _, label = paint(bars)
    assert [int((label[:, x] == 3).sum()) for x in (8, 20, 32)] == [13, 9, 5]


def test_nearer_bars_cover_further_ones_in_whatever_order_they_come():
    far, near = (
        bar((20.0, 16.0), (20.0, 16.0), 8.0, depth=5.0, part=2),
        bar((20.0, 16.0), (20.0, 16.0), 4.0, depth=-5.0, part=7, colour=(0.0, 0.0, 1.0)),
    )
    for order in ([far, near], [near, far]):
        picture, label = paint(join(order))
        assert label[16, 20] == 7 and label[16, 26] == 2
        assert picture[:, 16, 20].tolist() == [0.0, 0.0, 1.0] and picture[:, 16, 26].tolist() == [1.0, 0.0, 0.0]


def test_shadows_and_absent_things_leave_the_labels():
    shadow, absent = bar((20.0, 16.0), (20.0, 16.0), 5.0, part=-1, opacity=0.5), bar((8.0, 8.0), (8.0, 8.0), 5.0, part=4, opacity=0.0)
    picture, label = paint(join([shadow, absent]))
    assert int(label.max()) == 0
    assert picture[:, 16, 20].tolist() == pytest.approx([0.75, 0.25, 0.25])
    assert picture[:, 8, 8].tolist() == [0.5, 0.5, 0.5]


def test_stripes_alternate_and_shading_follows_the_light():
    """One stripe in 8 pixels: along 24 pixels the second colour shows three times."""
    striped = bar((8.0, 16.0), (32.0, 16.0), 4.0, stripes=1 / 8, second=torch.tensor([0.0, 0.0, 1.0]).double())
    picture, _ = paint(striped)
    blue = picture[2, 16, 8:33] > 0.9
    assert int((blue[1:] & ~blue[:-1]).sum() + blue[0]) in (3, 4)
    lit, _ = paint(bar((8.0, 16.0), (32.0, 16.0), 5.0, colour=(0.6, 0.6, 0.6), round=1.0), light=(0.0, -1.0))
    assert float(lit[0, 13, 20]) > float(lit[0, 16, 20]) * 1.1 > float(lit[0, 19, 20]) * 1.1  # light from above (y down)


@pytest.mark.parametrize(("height", "width"), [(32, 40), (29, 37)])
def test_sizes_that_tiles_do_not_divide(height, width):
    bars = bar((3.0, 27.0), (36.0, 2.0), 2.5, part=9)
    picture, label = paint(bars, height, width)
    assert picture.shape == (3, height, width) and label.shape == (height, width)
    whole = paint(bars, 40, 40)
    assert torch.equal(picture, whole[0][:, :height, :width]) and torch.equal(label, whole[1][:height, :width])


def test_covering_agrees_with_the_label():
    """At pixel centres what covers a point is what the label says; a shadow covers nothing."""
    bars = join(
        [
            bar((10.0, 10.0), (30.0, 20.0), 3.0, depth=1.0, part=3),
            bar((20.0, 5.0), (20.0, 25.0), 2.2, depth=-1.0, part=5),
            bar((20.0, 15.0), (20.0, 15.0), 9.0, depth=-2.0, part=-1),
        ]
    )
    _, label = paint(bars)
    points = torch.tensor([[[12.0, 11.0], [20.0, 15.0], [20.0, 8.0], [2.0, 2.0]]])
    part, depth = covering(bars, points)
    assert part.tolist() == [[3, 5, 5, 0]] and depth.tolist() == [[1.0, -1.0, -1.0, math.inf]]
    assert part[0].tolist() == [int(label[int(y), int(x)]) for x, y in points[0]]


# -- a slow reference ----------------------------------------------------------------------------------------------------


def distance(x, y, start, end, radii, width):
    """Signed distance of a point to a bar in plain floats: to the segment's nearest place, less the half-width and the radius there."""
    (ax, ay), (bx, by) = start, end
    length = math.hypot(bx - ax, by - ay)
    if length < 1e-3:
        ux, uy, length = 0.0, 1.0, 0.0
    else:
        ux, uy = (bx - ax) / length, (by - ay) / length
    along = (x - ax) * ux + (y - ay) * uy
    across = abs((y - ay) * ux - (x - ax) * uy)
    place = min(max(along, 0.0), length)
    radius = radii[0] + (radii[1] - radii[0]) * (place / length if length else 0.5)
    return math.hypot(along - place, max(across - width, 0.0)) - radius


def reference_label(bars, frame, x, y):
    """Part code of a pixel by going through the bars back to front, or None where an edge passes so near that rounding decides."""
    order = sorted(range(bars.depth.shape[1]), key=lambda n: -float(bars.depth[frame, n]))  # Python's sort is stable, reversed or not
    code = 0
    for n in order:
        if float(bars.part[frame, n]) < 0:
            continue
        radii = [max(r, 0.35) for r in bars.radius[frame, n].tolist()]
        gap = distance(x, y, bars.start[frame, n].tolist(), bars.end[frame, n].tolist(), radii, float(bars.width[frame, n]))
        alpha = min(max(0.5 - gap / max(float(bars.soft[frame, n]), 0.5), 0.0), 1.0) * float(bars.opacity[frame, n])
        if abs(alpha - 0.5) < 4e-3:  # geometry is rounded to 1/1024 pixel
            return None
        if alpha > 0.5:
            code = int(bars.part[frame, n])
    return code


def test_labels_agree_with_the_slow_reference(drawn_bars):
    """Exact part codes on 1 200 pixels of crowded scenes; fewer than 2 % lie so near an edge that they are left out."""
    world = World(48, 36, 1, level="hard", seed=2).do(lens=None, distractors={"bystander": 2.0, "bars": 4.0}, occluders={"count": 2.0})
    clip, bars = drawn_bars(world, range(6))
    generator = torch.Generator().manual_seed(0)
    compared, seen = 0, set()
    for frame in range(6):
        for _ in range(200):
            x, y = int(torch.randint(36, (), generator=generator)), int(torch.randint(48, (), generator=generator))
            code = reference_label(bars, frame, x, y)
            if code is not None:
                compared += 1
                seen.add(code)
                assert int(clip.parts[frame, 0, y, x]) == code, (frame, x, y, Part(code))
    assert compared > 1200 * 0.98
    assert {Part.BACKGROUND, Part.TORSO, Part.HEAD, Part.BYSTANDER, Part.OCCLUDER} <= seen


def test_part_codes_are_fixed():
    """Label maps on disk depend on these numbers."""
    assert [p.name for p in Part] == [
        "BACKGROUND", "HEAD", "TORSO", "LEFT_UPPER_ARM", "RIGHT_UPPER_ARM", "LEFT_FOREARM", "RIGHT_FOREARM", "LEFT_THIGH", "RIGHT_THIGH",
        "LEFT_SHANK", "RIGHT_SHANK", "BYSTANDER", "DISTRACTOR", "OCCLUDER",
    ]  # fmt: skip
    assert [int(p) for p in Part] == list(range(14))
