"""`do` and `resample`: they change what they name, and nothing else."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import max_pool2d

from causalpose.errors import CausalPoseError
from causalpose.scenes import causes, motion
from causalpose.scenes.body import Part
from causalpose.scenes.causes import GRAPH
from causalpose.scenes.world import NAMED, World

few = settings(max_examples=25, deadline=None, derandomize=True, database=None)
fewer = settings(max_examples=8, deadline=None, derandomize=True, database=None)
numbers = st.lists(st.integers(0, 10**6), min_size=1, max_size=4)


@st.composite
def changes(draw, names=tuple(GRAPH)):
    """A cause and a setting for it: off, a name, a table, or another clip's draw."""
    name = draw(st.sampled_from(names))
    node = GRAPH[name]
    parameters = {parameter: st.floats(low, high) for parameter, low, high in node.parameters}
    options = [st.integers(0, 1000), st.fixed_dictionaries({}, optional=parameters)]
    options += [st.none()] if node.optional else []
    options += [st.sampled_from(sorted(NAMED[name]))] if name in NAMED else []
    return name, draw(st.one_of(options))


def differing(a: dict, b: dict) -> set[str]:
    """Causes of which any value differs."""
    return {cause for cause in a if any(not torch.equal(a[cause][name], b[cause][name]) for name in a[cause])}


@few
@given(changes(), numbers, st.integers(0, 99), st.sampled_from(causes.LEVELS))
def test_do_leaves_every_other_cause_exactly_as_it_was(change, clips, seed, level):
    name, setting = change
    world = World(16, 16, 1, level, seed)
    before, after = world.values(clips), world.do(**{name: setting}).values(clips)
    assert differing(before, after) <= {name}
    assert {cause: set(table) for cause, table in before.items()} == {cause: set(table) for cause, table in after.items()}


@few
@given(st.sampled_from(sorted(GRAPH)), numbers, st.integers(1, 9))
def test_resample_draws_that_cause_anew_and_no_other(name, clips, salt):
    world = World(16, 16, 1)
    before, after = world.values(clips), world.resample(name, salt=salt).values(clips)
    assert differing(before, after) == {name} or name == "sensor" and differing(before, after) <= {name}


@pytest.mark.parametrize("name", sorted(GRAPH))
def test_salts_differ_from_each_other(name):
    """Of four salts and the factual draw no two agree."""
    world = World(16, 16, 1)
    draws = [world.values(range(8))[name], *(world.resample(name, salt=salt).values(range(8))[name] for salt in (1, 2, 3, 4))]
    rows = {tuple(torch.cat([v.flatten() for v in draw.values()]).tolist()) for draw in draws}
    assert len(rows) == 5


@few
@given(st.sampled_from(sorted(GRAPH)), numbers, st.integers(0, 1000))
def test_a_transplant_is_that_clips_draw(name, clips, donor):
    """do(motion=5) gives every clip the motion of clip 5."""
    world = World(16, 16, 1)
    given_, own = world.do(**{name: donor}).values(clips)[name], world.values(donor)[name]
    for key, value in given_.items():
        assert torch.equal(value, own[key].expand_as(value)), key


def test_a_table_sets_what_it_names_and_keeps_the_rest_of_the_draw():
    world = World()
    before, after = (w.values(range(5))["motion"] for w in (world, world.do(motion={"speed": 2.0})))
    assert after["speed"].tolist() == [2.0] * 5
    assert all(torch.equal(before[name], after[name]) for name in before if name != "speed")


def test_later_settings_win_and_several_causes_can_be_set_at_once():
    world = World().do(lens="defocus", occluders=None).do(lens={"defocus": 0.01}, occluders="many")
    values = world.values(range(3))
    assert values["lens"]["defocus"].tolist() == [0.01] * 3 and values["lens"]["gain"].tolist() == [1.0] * 3
    assert values["occluders"]["count"].tolist() == [3.0] * 3


@pytest.mark.parametrize("action", motion.ACTIONS)
def test_an_action_is_set_by_its_name(action):
    assert World().do(motion=action).values(range(3))["motion"]["action"].tolist() == [motion.ACTIONS.index(action)] * 3


# -- in the picture --------------------------------------------------------------------------------------------------------


@few
@given(
    changes(("clothing", "skin", "background", "distractors", "occluders", "lens", "sensor")),
    st.lists(st.integers(0, 10**6), min_size=1, max_size=2),
    st.sampled_from([1, 3]),
)
def test_what_is_not_upstream_of_the_pose_leaves_the_keypoints(change, clips, frames):
    """Keypoints and the yardstick follow from body, motion and camera alone (`LAYERS`)."""
    name, setting = change
    assert name not in causes.LAYERS["pose"]
    before, after = World(24, 24, frames).pair(clips, **{name: setting})
    assert torch.equal(before.keypoints, after.keypoints) and torch.equal(before.scale, after.scale)
    if name not in ("distractors", "occluders"):  # nothing moved: what covers what is the same too
        assert torch.equal(before.visibility, after.visibility) and torch.equal(before.parts, after.parts)


@pytest.mark.parametrize("name", causes.LAYERS["pose"])
def test_what_is_upstream_of_the_pose_moves_the_keypoints(name):
    world = World(24, 24, 1)
    assert not torch.equal(world.render(range(2)).keypoints, world.resample(name).render(range(2)).keypoints)


def bare(level="default", **settings):
    return World(64, 48, 1, level, **settings).do(lens=None, sensor=None)


@fewer
@given(st.integers(0, 10**6))
def test_without_occluders_only_pixels_at_an_occluder_change(clip):
    """A changed pixel is labelled OCCLUDER or touches one: the soft edge is one pixel wide, half of it outside the label.

    The outermost ring of pixels is left out, as the thing whose edge shows there may itself lie outside the picture.
    """
    world = bare("hard").do(occluders={"count": 2.0})
    before, after = world.pair([clip], occluders=None)
    changed = (before.frames != after.frames).any(2)[0]
    occluder = (before.parts[0] == int(Part.OCCLUDER)).float()
    near = max_pool2d(occluder, 3, 1, 1) > 0
    assert not bool((changed & ~near)[:, 1:-1, 1:-1].any())
    assert not bool((after.parts == int(Part.OCCLUDER)).any())
    untouched = (before.parts != int(Part.OCCLUDER)) & (before.parts == after.parts)
    assert bool((untouched | (before.parts == int(Part.OCCLUDER))).all())  # all other labels stay
    assert torch.equal(before.parts == after.parts, before.parts != int(Part.OCCLUDER))


@fewer
@given(st.integers(0, 10**6), st.sampled_from([{"background": None}, {"background": "busy"}, {"background": 7}]))
def test_another_background_changes_no_pixel_inside_the_person(clip, change):
    """Inside: every pixel within two shows the same body part, so the pixel is farther than the soft edge from where that part ends."""
    before, after = World(96, 72, 1).do(lens=None, sensor=None, occluders=None, distractors=None).pair([clip], **change)
    parts = before.parts[0].float()
    one_part = max_pool2d(parts, 5, 1, 2) == -max_pool2d(-parts, 5, 1, 2)
    inside = one_part & (parts >= Part.HEAD) & (parts <= Part.RIGHT_SHANK)
    changed = (before.frames != after.frames).any(2)[0]
    assert int(inside.sum()) > 20
    assert not bool((changed & inside).any())
    assert bool(changed[parts == Part.BACKGROUND].any())


@fewer
@given(st.integers(0, 10**6), st.sampled_from(["clothing", "skin"]))
def test_other_clothes_or_skin_change_only_pixels_at_the_person(clip, name):
    world = bare().do(occluders=None, distractors=None)
    before, after = world.render([clip]), world.resample(name).render([clip])
    parts = before.parts[0]
    person = ((parts >= Part.HEAD) & (parts <= Part.RIGHT_SHANK)).float()
    changed = (before.frames != after.frames).any(2)[0]
    assert not bool((changed & (max_pool2d(person, 3, 1, 1) == 0))[:, 1:-1, 1:-1].any())
    assert bool(changed.any())


def test_named_interventions_change_the_picture():
    """Every name of every cause makes another picture of some clip (none is an empty name)."""
    world = World(24, 18, 3)
    clips = range(4)
    factual = world.render(clips).frames
    for name, tables in NAMED.items():
        for setting in tables:
            assert not torch.equal(world.do(**{name: setting}).render(clips).frames, factual), (name, setting)


def test_a_later_draw_replaces_an_earlier_setting():
    """do(motion="jump") then clip 5's motion is clip 5's motion; a background set plain and then resampled is a new background."""
    world = World(16, 16, 1)
    assert torch.equal(world.do(motion="jump").do(motion=5).values(1)["motion"]["action"], world.values(5)["motion"]["action"])
    again = world.do(background=None).resample("background").values(1)["background"]
    assert torch.equal(again["wall"], world.resample("background").values(1)["background"]["wall"])
    assert world.do(motion=5).do(motion="jump").values(1)["motion"]["action"].item() == 2  # and a later setting wins over the draw


@pytest.mark.parametrize(
    "ask",
    [
        lambda: World(16, 16, 1, seed="a"),
        lambda: World(16, 16, 1).do(motion=-5),
        lambda: World(16, 16, 1).do(motion=2**70),
        lambda: World(16, 16, 1).render(None),
        lambda: World(16, 16, 1).render([0], chunk=0),
        lambda: World(16, 16, 1).local([0], torch.ones(3, 1, 2, 2), background=None),
    ],
)
def test_bad_input_is_one_clear_error(ask):
    with pytest.raises(CausalPoseError):
        ask()
