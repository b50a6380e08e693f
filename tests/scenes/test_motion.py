"""Motion: key poses, joint limits, mirror images."""

import numpy as np
import pytest
import torch

from causalpose.scenes import motion
from causalpose.scenes.causes import Stream
from causalpose.scenes.motion import _ACTIONS, _HIGH, _LOW, ACTIONS, ANGLES

TIMES = torch.linspace(-1.5, 1.5, 13, dtype=torch.float64)


def drawn(count: int = 60, level: str = "hard") -> dict[str, torch.Tensor]:
    return motion.assign(Stream(0, np.arange(count), "motion"), level)


def test_joint_limits_hold_for_every_action_level_and_time():
    values = drawn()
    values["action"] = torch.arange(60, dtype=torch.float64) % len(ACTIONS)
    values["amplitude"] = torch.full_like(values["amplitude"], 1.5)
    pose, travel = motion.poses(values, TIMES.expand(60, -1))
    assert pose.shape == (60, 13, len(ANGLES)) and travel.shape == (60, 13)
    assert bool((pose >= _LOW - 1e-9).all()) and bool((pose <= _HIGH + 1e-9).all())


def test_key_poses_lie_inside_the_limits():
    """So that the limits correct a personal style, never the choreography."""
    for name, (_, _, _, keys) in _ACTIONS.items():
        for pose in torch.tensor(keys, dtype=torch.float64):
            assert bool((pose >= _LOW).all()) and bool((pose <= _HIGH).all()), name


def test_at_its_phase_an_action_shows_its_key_pose():
    """Walking at phase 0.25 with no style and amplitude 1 is the second key pose: position 0.25 * 4 = 1."""
    values = drawn(1)
    values |= {"action": torch.zeros(1).double(), "phase": torch.full((1,), 0.25).double(), "amplitude": torch.ones(1).double(),
               "mirror": torch.zeros(1).double(), "style": torch.zeros(1, len(ANGLES)).double()}  # fmt: skip
    pose, travel = motion.poses(values, torch.zeros(1, 1, dtype=torch.float64))
    assert torch.allclose(pose[0, 0], torch.tensor(_ACTIONS["walk"][3][1], dtype=torch.float64))
    assert float(travel) == 0


def test_cyclic_actions_wrap_and_others_hold_their_end():
    values = drawn(len(ACTIONS))
    values["action"] = torch.arange(len(ACTIONS), dtype=torch.float64)
    values["speed"] = torch.ones(len(ACTIONS), dtype=torch.float64)
    period = torch.tensor([1 / _ACTIONS[a][1] for a in ACTIONS], dtype=torch.float64)[:, None]
    now, later = (motion.poses(values, period * turns)[0] for turns in (0.0, 1.0))
    for i, name in enumerate(ACTIONS):
        if _ACTIONS[name][0]:
            assert torch.allclose(now[i], later[i], atol=1e-6), name
    much_later = motion.poses(values, period * 2)[0]
    for i, name in enumerate(ACTIONS):
        if not _ACTIONS[name][0]:
            assert torch.equal(later[i], much_later[i]), name


def test_mirror_of_the_mirror_is_the_motion():
    values = drawn()
    mirror = lambda pose: pose[..., motion._MIRROR_INDEX] * motion._MIRROR_SIGN  # noqa: E731
    pose, _ = motion.poses(values | {"mirror": torch.zeros(60).double()}, TIMES.expand(60, -1))
    other, _ = motion.poses(values | {"mirror": torch.ones(60).double()}, TIMES.expand(60, -1))
    assert torch.equal(mirror(pose), other)
    assert torch.equal(mirror(mirror(pose)), pose)
    assert not torch.equal(pose, other)


def test_mirror_by_hand():
    """Left elbow 90, side +10, lean 5 -> right elbow 90, side -10, lean 5."""
    pose = motion._pose(l_elbow=90, side=10, lean=5)
    mirrored = dict(zip(ANGLES, motion._mirrored(pose), strict=True))
    assert (mirrored["r_elbow"], mirrored["l_elbow"], mirrored["side"], mirrored["lean"]) == (90, 12, -10, 5)


@pytest.mark.parametrize("action", ACTIONS)
def test_poses_move_without_jumps(action):
    """In 1/100 s no angle moves by more than a fast joint does: 0.01 s * 1.6 (speed) * 1.4 Hz * 4 keys * pi/2 * 130 degrees * 1.25
    (amplitude) = 23 degrees."""
    values = drawn(20)
    values["action"] = torch.full((20,), float(ACTIONS.index(action)), dtype=torch.float64)
    times = torch.arange(0, 1.5, 0.01, dtype=torch.float64)
    pose, _ = motion.poses(values, times.expand(20, -1))
    assert float(pose.diff(dim=1).abs().max()) < 23
