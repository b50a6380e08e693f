"""Biased worlds: the edge is there as often as it says, changes its child alone, and is gone after an intervention on the child."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from causalpose.clip import CONDITIONS
from causalpose.config import BackboneConfig, DataConfig, ModelConfig, preset
from causalpose.errors import CausalPoseError
from causalpose.scenes import bias, motion
from causalpose.scenes.body import KEYPOINTS, Part
from causalpose.scenes.causes import GRAPH, LEVELS
from causalpose.scenes.dataset import SPLITS, SceneSource
from causalpose.scenes.world import World

few = settings(max_examples=20, deadline=None, derandomize=True, database=None)
numbers = st.lists(st.integers(0, 10**6), min_size=1, max_size=4)
edges = st.sampled_from([*(f"{name}<-motion" for name in GRAPH if name != "motion"), "distractors<-pose"])


def equal(a: dict, b: dict) -> bool:
    return set(a) == set(b) and all(torch.equal(a[name], b[name]) for name in a)


def action(world, clips):
    return world.values(clips)["motion"]["action"].long()


@few
@given(edges, st.floats(0, 1), numbers, st.integers(0, 99), st.sampled_from(LEVELS))
def test_no_cause_but_the_child_changes(edge, probability, clips, seed, level):
    world = World(16, 16, 1, level, seed)
    before, after = world.values(clips), world.biased(f"{edge}:{probability}").values(clips)
    child = edge.split("<-")[0]
    assert all(equal(before[name], after[name]) for name in GRAPH if name != child)
    assert list(before) == list(after) and set(before[child]) == set(after[child])


@few
@given(edges, numbers, st.sampled_from(["resample", "clip", "table", "off"]))
def test_an_intervention_on_the_child_cuts_the_edge(edge, clips, how):
    """Bit for bit: the intervened biased world has the values of the intervened world that never had the edge."""
    child = edge.split("<-")[0]
    change = {
        "resample": lambda world: world.resample(child),
        "clip": lambda world: world.do(**{child: 7}),
        "table": lambda world: world.do(**{child: {GRAPH[child].parameters[0][0]: GRAPH[child].parameters[0][2]}}),
        "off": lambda world: world.do(**{child: None}) if GRAPH[child].optional else world.do(**{child: 3}),
    }[how]
    plain, biased = World(16, 16, 1, seed=3), World(16, 16, 1, seed=3).biased(f"{edge}:1")
    assert biased.edges and not change(biased).edges
    cut, never = change(biased).values(clips), change(plain).values(clips)
    assert all(equal(cut[name], never[name]) for name in GRAPH)


def test_pixels_of_the_cut_world_are_those_of_the_world_without_the_edge():
    world = World(24, 24, 3, seed=2)
    biased = world.biased("background<-motion:1, distractors<-pose:1")
    assert not torch.equal(biased.render(range(4)).frames, world.render(range(4)).frames)
    twin, never = (w.do(background=5, distractors=None).render(range(4)) for w in (biased, world))
    assert torch.equal(twin.frames, never.frames) and torch.equal(twin.parts, never.parts)


def test_an_intervention_on_another_cause_keeps_the_edge_and_the_child_answers_its_parent():
    """do(motion="jump") gives every clip the background of jumping; do(lens=None) changes the lens alone."""
    world = World(16, 16, 1, seed=1).biased("background<-motion:1")
    jumps = world.do(motion="jump").values(range(9))
    assert world.do(motion="jump").edges == world.edges
    assert all(torch.equal(value, value[:1].expand_as(value)) for value in jumps["background"].values())
    before, after = world.values(range(9)), world.do(lens=None).values(range(9))
    assert all(equal(before[name], after[name]) for name in GRAPH if name != "lens")


def test_a_later_edge_replaces_an_earlier_one_and_settings_before_it_stay():
    world = World(16, 16, 1).do(distractors={"bystander": 0.0}).biased("distractors<-motion:1").biased("distractors<-pose:1")
    assert [str(edge) for edge in world.edges] == ["distractors<-pose:1"]
    values = world.values(range(20))["distractors"]
    assert values["bystander"].tolist() == [0.0] * 20 and values["prop"].tolist() == [bias.PROP] * 20


@pytest.mark.parametrize("probability", [0.0, 0.3, 0.9, 1.0])
def test_the_background_follows_the_action_as_often_as_stated(probability):
    """Shares of 2 000 coins have a standard error below 0.0112: 0.045 is four of those. And the coin knows nothing of the action."""
    clips = np.arange(2000)
    world = World(16, 16, 1, seed=5)
    plain, biased = world.values(clips), world.biased(f"background<-motion:{probability}").values(clips)
    follows = (plain["background"]["wall"] != biased["background"]["wall"]).any(-1)
    assert float(follows.double().mean()) == pytest.approx(probability, abs=0.045)
    actions = plain["motion"]["action"].long()
    for a in range(len(motion.ACTIONS)):
        mine = follows[actions == a]
        assert float(mine.double().mean()) == pytest.approx(probability, abs=4.5 * (0.25 / len(mine)) ** 0.5)
        assert len(set(map(tuple, biased["background"]["wall"][follows & (actions == a)].tolist()))) == min(1, int(follows.any()))


def test_each_action_has_a_background_of_its_own_and_it_is_the_same_in_every_split_and_world():
    walls = {}
    for seed in range(len(SPLITS)):
        world = World(16, 16, 1, seed=seed).biased("background<-motion:1")
        for a, wall in zip(action(world, range(80)).tolist(), world.values(range(80))["background"]["wall"].tolist(), strict=True):
            walls.setdefault(a, set()).add(tuple(wall))
    assert set(walls) == set(range(len(motion.ACTIONS)))
    assert all(len(found) == 1 for found in walls.values()) and len(set.union(*walls.values())) == len(walls)


def test_a_higher_probability_keeps_the_clips_of_a_lower_one():
    low, high = (bias.listening(bias.Edge("background", "motion", p), 0, np.arange(500)) for p in (0.4, 0.7))
    assert bool((high | ~low).all()) and int(high.sum()) > int(low.sum())


# -- the stick ---------------------------------------------------------------------------------------------------------------

WRIST = KEYPOINTS.index("right_wrist")


def bare(frames=1, **settings):
    return World(128, 96, frames, seed=4, **settings).do(
        background=None, occluders=None, lens=None, sensor=None, distractors={"bars": 0.0, "chair": 0.0, "bystander": 0.0}
    )


def miss(bars, clip):
    """Distance in pixels from the true right wrist to the stick's axis, and from there to its tip, at the target frame `[B]`."""
    stick = (bars.part[0] == int(Part.DISTRACTOR)).nonzero()[-1, 0]
    b, t = len(clip), clip.target
    tip, end = (v.view(b, clip.length, -1, 2)[:, t, stick] for v in (bars.start, bars.end))
    along = (end - tip) / (end - tip).norm(dim=-1, keepdim=True)
    off = clip.keypoints[:, t, WRIST].double() - tip
    return (off[:, 0] * along[:, 1] - off[:, 1] * along[:, 0]).abs(), off.norm(dim=-1)


def test_the_stick_points_at_the_right_wrist_of_the_target_frame(drawn_bars):
    """Its axis runs through the wrist and its tip is 0.025 crop heights short of it; the camera's shift moves both alike."""
    clip, bars = drawn_bars(bare(3).biased("distractors<-pose:1"), range(12))
    off, short = miss(bars, clip)
    assert float(off.max()) < 1e-3 and torch.allclose(short, torch.full_like(short, 0.025 * 128), atol=1e-3)


def test_a_stray_stick_knows_nothing_of_the_wrist(drawn_bars):
    clip, bars = drawn_bars(bare(1).biased("distractors<-pose:0"), range(60))
    off, short = miss(bars, clip)
    assert float(short.median()) > 0.15 * 128 and float((short < 0.05 * 128).double().mean()) < 0.1


def test_the_stick_follows_the_pose_and_can_be_set_by_hand(drawn_bars):
    """do(motion=…) moves the wrist, and the stick with it; do(distractors={"prop": 1}) plants it without an edge."""
    world = bare(1)
    for changed in (world.biased("distractors<-pose:1").do(motion="wave"), world.do(distractors={"prop": 1.0}).resample("camera")):
        clip, bars = drawn_bars(changed, range(6))
        assert float(miss(bars, clip)[0].max()) < 1e-3


def test_the_stick_stands_behind_the_person_and_changes_no_other_pixel(drawn_bars):
    """Keypoints and states stay, labels change from background alone, and no pixel does whose centre is half a pixel off the stick."""
    world = bare(1)
    before = world.render(range(20))
    after, bars = drawn_bars(world.do(distractors={"prop": 1.0}), range(20))
    stick = after.parts == int(Part.DISTRACTOR)
    assert torch.equal(before.keypoints, after.keypoints) and torch.equal(before.visibility, after.visibility)
    assert torch.equal(before.parts[~stick], after.parts[~stick]) and bool((before.parts[stick] == int(Part.BACKGROUND)).all())
    (which,) = (bars.part[0] == int(Part.DISTRACTOR)).nonzero()[-1].tolist()
    y, x = (axis.double() for axis in torch.meshgrid(torch.arange(128), torch.arange(96), indexing="ij"))
    changed = (before.frames != after.frames).any(2)[:, 0]
    for n in range(20):
        start, end = bars.start[n, which], bars.end[n, which]
        axis = end - start
        place = (((x - start[0]) * axis[0] + (y - start[1]) * axis[1]) / axis.square().sum()).clamp(0, 1)
        apart = ((x - start[0] - place * axis[0]).square() + (y - start[1] - place * axis[1]).square()).sqrt()
        radius = torch.lerp(bars.radius[n, which, 0], bars.radius[n, which, 1], place)
        assert not bool((changed[n] & (apart > radius + 0.51)).any())
    assert int(changed.flatten(1).any(1).sum()) >= 18


# -- as a data set -----------------------------------------------------------------------------------------------------------

MODEL = ModelConfig(height=16, width=16, frames=1, backbone=BackboneConfig(patch=8))


def test_training_clips_are_biased_and_the_test_conditions_are_not():
    text = "background<-motion:0.9, distractors<-pose:0.5"
    data = DataConfig(clips=6, seed=2, bias=text)
    source = SceneSource(MODEL, data)
    expected = World(16, 16, 1, seed=2 * 3).biased(text).render(range(6))
    assert torch.equal(source.batch(range(6)).frames, expected.frames)
    assert source.describe()["bias"] == text.replace(" ", "").replace(",", ", ")
    for condition in CONDITIONS:
        test, plain = (SceneSource(MODEL, d, condition, cache=False) for d in (data, DataConfig(clips=6, seed=2)))
        assert torch.equal(test.batch(range(6)).frames, plain.batch(range(6)).frames) and test.describe()["bias"] is None
    planted = SceneSource(MODEL, data, "clean", world=World(16, 16, 1, seed=6).biased(text).under("clean"), cache=False)
    assert planted.describe()["bias"] == source.describe()["bias"]


def test_a_configuration_names_the_bias():
    config = preset("tiny", ["data.bias=background<-motion:0.9"])
    assert config.data.bias == "background<-motion:0.9" and preset("tiny").data.bias == ""
    with pytest.raises(CausalPoseError, match="needs data.source = 'scenes'"):
        preset("tiny", ["data.bias=background<-motion:0.9", "data.source=somewhere"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("background", "must have the form child<-parent:probability, e.g."),
        ("background<-motion", "must have the form"),
        ("background<-motion:often", "must have the form"),
        ("background->motion:0.5", "must have the form"),
        ("background<-motion:0.5,", "bias '' must have the form"),
        ("weather<-motion:0.5", "unknown cause 'weather'"),
        ("background<-camera:0.5", "nothing can depend on 'camera'; parents: motion, pose"),
        ("motion<-motion:0.5", "no such dependence; known: body<-motion, camera<-motion"),
        ("motion<-pose:0.5", "no such dependence"),
        ("background<-pose:0.5", "no such dependence; known: .*distractors<-pose"),
        ("background<-motion:1.5", "the probability must be from 0 to 1"),
        ("background<-motion:nan", "the probability must be from 0 to 1"),
        ("distractors<-motion:0.5, distractors<-pose:0.5", "gives distractors two parents"),
    ],
)
def test_bad_input_is_one_clear_line(text, message):
    for make in (lambda: World().biased(text), lambda: SceneSource(MODEL, DataConfig(clips=1, bias=text))):
        with pytest.raises(CausalPoseError, match=message) as caught:
            make()
        assert "\n" not in str(caught.value)
    assert World().biased("") == World() and World().edges == ()
