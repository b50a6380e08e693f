"""A world's clips: the same every time, in any batch, chunk and number of threads; local re-rendering; conditions; bad input."""

from dataclasses import FrozenInstanceError, fields

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from causalpose.clip import CONDITION_CODES, Clip, Visibility
from causalpose.errors import CausalPoseError
from causalpose.scenes import blocks
from causalpose.scenes.body import Part
from causalpose.scenes.world import SEVERITIES, World

few = settings(max_examples=8, deadline=None, derandomize=True, database=None)
worlds = st.builds(
    World,
    st.sampled_from([16, 32, 40]),
    st.sampled_from([16, 24, 30]),
    st.sampled_from([1, 3]),
    st.sampled_from(["easy", "default", "hard"]),
    st.integers(0, 99),
)
numbers = st.lists(st.integers(0, 10**6), min_size=1, max_size=5)


def same(a: Clip, b: Clip) -> bool:
    return all(torch.equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(Clip))


@few
@given(worlds, numbers)
def test_shapes_types_and_ranges(world, clips):
    clip = world.render(clips)
    B, T, H, W = len(clips), world.frames, world.height, world.width
    expected = {
        "frames": ((B, T, 3, H, W), torch.uint8),
        "keypoints": ((B, T, 15, 2), torch.float32),
        "visibility": ((B, T, 15), torch.uint8),
        "scale": ((B,), torch.float32),
        "condition": ((B,), torch.uint8),
        "index": ((B,), torch.int64),
        "parts": ((B, T, H, W), torch.uint8),
    }
    for name, (shape, dtype) in expected.items():
        tensor = getattr(clip, name)
        assert tuple(tensor.shape) == shape and tensor.dtype == dtype, name
    assert clip.index.tolist() == clips and bool(torch.isfinite(clip.keypoints).all())
    assert (
        int(clip.parts.max()) <= Part.OCCLUDER
        and int(clip.visibility.min()) >= Visibility.VISIBLE
        and int(clip.visibility.max()) <= Visibility.OUTSIDE
    )
    assert bool((clip.scale >= 0.1 * H - 1e-4).all()) and bool((clip.scale <= H * 1.5).all())
    person = (clip.parts >= int(Part.HEAD)) & (clip.parts <= int(Part.RIGHT_SHANK))
    assert bool(person[:, T // 2].flatten(1).any(1).all())  # somebody is there


@few
@given(worlds, numbers)
def test_the_same_call_gives_the_same_clip(world, clips):
    assert same(world.render(clips), world.render(clips))


@few
@given(worlds, numbers, st.integers(1, 5), st.data())
def test_a_clip_alone_is_the_clip_in_any_batch_and_chunk(world, clips, chunk, data):
    """Bit for bit, whatever stands beside it: blurred and sharp clips are drawn in groups of their own, which must not show."""
    together = world.render(clips, chunk=chunk)
    place = data.draw(st.integers(0, len(clips) - 1))
    assert same(world.render(clips[place]), together[place : place + 1])


def test_a_blurred_clip_alone_is_the_clip_in_a_batch():
    """The heavy lenses of level hard, all forty clips at once and one by one (defocus groups, sub-frames)."""
    world = World(24, 18, 3, "hard", seed=5)
    together = world.render(range(40))
    assert float((world.values(range(40))["lens"]["shutter"] > 0).float().mean()) > 0.1
    for n in range(40):
        assert same(world.render([n]), together[n : n + 1]), n


def test_the_size_of_a_portion_does_not_show(monkeypatch):
    """One clip's pixels at a time or all at once (`blocks`): the same bits."""
    world = World(48, 36, 3, "hard", seed=6)
    expected = world.render(range(10))
    for elements in (1, 1 << 24):
        monkeypatch.setattr(blocks, "ELEMENTS", elements)
        assert same(world.render(range(10)), expected)


def test_the_number_of_threads_does_not_show():
    world = World(48, 36, 3, "hard", seed=1)
    one = world.render(range(12))
    try:
        torch.set_num_threads(2)
        two = world.render(range(12))
    finally:
        torch.set_num_threads(1)
    assert same(one, two)


def test_clip_numbers_may_come_in_any_form():
    world = World(16, 16, 1)
    expected = world.render([3, 4])
    assert all(same(expected, world.render(form)) for form in ((3, 4), range(3, 5), torch.tensor([3, 4]), torch.tensor([3, 4]).numpy()))
    assert same(world.render(3), expected[:1])


def test_seeds_differ_and_a_world_is_immutable():
    first, second = (World(24, 24, 1, seed=seed).render([0]) for seed in (0, 1))
    assert not torch.equal(first.keypoints, second.keypoints)
    world = World()
    world.do(background=None)
    assert world == World() and world.interventions == ()
    with pytest.raises(FrozenInstanceError):
        world.seed = 3


# -- local re-rendering ----------------------------------------------------------------------------------------------------


@few
@given(
    st.integers(0, 10**4), st.integers(0, 2**12 - 1), st.sampled_from([{"background": "busy"}, {"lens": "low_light"}, {"motion": "jump"}])
)
def test_local_touches_only_the_pixels_under_its_tokens(clip, bits, change):
    """A 4 x 3 grid on 32 x 24 pixels: tokens of 8 x 8. Outside them the clip is the factual one, inside the counterfactual one."""
    world = World(32, 24, 1)
    tokens = torch.tensor([bool(bits >> i & 1) for i in range(12)]).view(1, 1, 4, 3)
    factual, other = world.pair([clip], **change)
    mixed = world.local([clip], tokens, **change)
    for row in range(4):
        for column in range(3):
            window = (..., slice(8 * row, 8 * row + 8), slice(8 * column, 8 * column + 8))
            source = other if bool(tokens[0, 0, row, column]) else factual
            assert torch.equal(mixed.frames[window], source.frames[window])
    assert torch.equal(mixed.keypoints, factual.keypoints) and torch.equal(mixed.visibility, factual.visibility)


def test_local_takes_tokens_of_one_frame_for_all():
    world = World(32, 24, 3)
    everywhere = world.local([1, 2], torch.ones(1, 1, 4, 3, dtype=torch.bool), background=None)
    assert torch.equal(everywhere.frames, world.do(background=None).render([1, 2]).frames)
    nowhere = world.local([1, 2], torch.zeros(2, 3, 4, 3, dtype=torch.bool), background=None)
    assert torch.equal(nowhere.frames, world.render([1, 2]).frames)


def test_local_refuses_a_grid_that_does_not_fit():
    with pytest.raises(CausalPoseError, match="grid of 5 x 3 does not divide the picture of 32 x 24"):
        World(32, 24, 1).local([0], torch.ones(1, 1, 5, 3), background=None)


# -- conditions --------------------------------------------------------------------------------------------------------------


def test_clean_has_nothing_in_front_and_a_sharp_lens():
    values = World(level="hard").under("clean").values(range(50))
    assert float(values["occluders"]["count"].max()) == 0
    for name, neutral in (("defocus", 0), ("shutter", 0), ("gain", 1), ("tint", 0), ("vignette", 0)):
        assert set(values["lens"][name].tolist()) == {neutral}


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("condition", CONDITION_CODES[1:])
def test_a_condition_is_clean_with_one_thing_wrong(condition, severity):
    world = World()
    clean, wrong = world.under("clean").values(range(6)), world.under(condition, severity).values(range(6))
    changed = {(cause, name) for cause in clean for name in clean[cause] if not torch.equal(clean[cause][name], wrong[cause][name])}
    cause = "occluders" if condition.startswith("occluded") else "lens"
    assert changed == {(cause, name) for name in SEVERITIES[condition]}
    for name, steps in SEVERITIES[condition].items():
        assert wrong[cause][name].tolist() == [steps[severity - 1]] * 6


def test_occluded_target_is_occluded_at_the_target_frame_and_clean_at_the_others():
    clean, occluded, both = (World().under(name, 4).render(range(8)) for name in ("clean", "occluded", "occluded_target"))
    for frame in range(3):
        other = occluded if frame == 1 else clean
        for name in ("frames", "visibility", "parts"):
            assert torch.equal(getattr(both, name)[:, frame], getattr(other, name)[:, frame])
    assert not torch.equal(clean.frames[:, 1], occluded.frames[:, 1]) and not torch.equal(clean.frames[:, 0], occluded.frames[:, 0])


def test_occluded_hides_more_joints_the_more_severe():
    """The first and the last severity hide 16 and 62 % of the joints of 40 clips at 64x48."""
    world = World(64, 48, 1)
    hidden = [
        float((world.under("occluded", s).render(range(40)).visibility == int(Visibility.OCCLUDED)).float().mean()) for s in (1, 3, 5)
    ]
    clean = world.under("clean").render(range(40))
    assert 0.1 < hidden[0] < hidden[1] < hidden[2] < 0.75
    assert not bool((clean.parts == int(Part.OCCLUDER)).any())


# -- bad input ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: World(height=15), "height = 15 must be a whole number of at least 16"),
        (lambda: World(width=24.0), "width = 24.0 must be a whole number"),
        (lambda: World(frames=2), "frames = 2 must be odd"),
        (lambda: World(frames=17), "1 to 15"),
        (lambda: World(frames=-1), "frames = -1"),
        (lambda: World(level="brutal"), "unknown level 'brutal'; levels: easy, default, hard"),
        (lambda: World().do(weather="rain"), "unknown cause 'weather'; causes: body, motion"),
        (lambda: World().do(body=None), r"do\(body=None\): a scene always has a body"),
        (lambda: World().do(motion=None), "always has a motion"),
        (lambda: World().do(motion="fly"), "unknown name; known: walk, run"),
        (lambda: World().do(body="tall"), "none, give a table of numbers"),
        (lambda: World().do(lens={"zoom": 2}), "no such parameter; known: defocus, shutter, gain, tint"),
        (lambda: World().do(lens={"gain": 9}), "must be a number from 0.02 to 1.5"),
        (lambda: World().do(lens={"gain": float("nan")}), "must be a number from 0.02 to 1.5"),
        (lambda: World().do(lens={"gain": "dark"}), "must be a number from"),
        (lambda: World().do(lens={"gain": True}), "must be a number from"),
        (lambda: World().do(lens=True), "give None, a name, a table of numbers or a clip's number"),
        (lambda: World().do(motion=1.5), "give None, a name, a table"),
        (lambda: World().resample("weather"), "unknown cause 'weather'"),
        (lambda: World().resample("lens", salt=0), "salt = 0 must be a whole number of at least 1"),
        (lambda: World().under("fog"), "unknown condition 'fog'; conditions: clean, occluded"),
        (lambda: World().under("defocus", 6), "severity = 6 must be 1, 2, 3, 4 or 5"),
        (lambda: World().under("clean", 0), "severity = 0"),
        (lambda: World().render(-1), "whole numbers of at least 0"),
        (lambda: World().render([3, -2]), "whole numbers of at least 0"),
        (lambda: World().render([]), "one or more"),
        (lambda: World().render([0.5]), "whole numbers"),
        (lambda: World().render([[1, 2]]), "whole numbers"),
        (lambda: World().render("all"), "whole numbers"),
    ],
)  # fmt: skip
def test_bad_input_is_one_clear_line(make, message):
    with pytest.raises(CausalPoseError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
