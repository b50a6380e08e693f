"""Forward kinematics: bones keep their length, feet stand on the ground, angles are the angles asked for."""

import numpy as np
import pytest
import torch

from causalpose.clip import Visibility
from causalpose.scenes import body, motion
from causalpose.scenes.body import ATTACHED, KEYPOINTS, POINTS, SOLE, Part
from causalpose.scenes.causes import Stream
from causalpose.scenes.motion import ANGLES

COUNT = 40
BONES = [("shoulder", "elbow"), ("elbow", "wrist"), ("wrist", "hand"), ("hip", "knee"), ("knee", "ankle"), ("ankle", "toe")]


def at(joints, name):
    return joints[..., POINTS.index(name), :]


def moving(**settings):
    values = motion.assign(Stream(0, np.arange(COUNT), "motion"), "hard")
    values |= {k: torch.full((COUNT,), float(v), dtype=torch.float64) for k, v in settings.items()}
    pose, _ = motion.poses(values, torch.linspace(-1, 1, 9, dtype=torch.float64).expand(COUNT, -1))
    shape = body.assign(Stream(0, np.arange(COUNT), "body"), "default")
    return shape, pose, body.points(shape, pose)


def length(joints, a, b):
    return (at(joints, a) - at(joints, b)).norm(dim=-1)


def test_bones_keep_their_length_over_time():
    _, _, joints = moving()
    pairs = [(f"{side}_{a}", f"{side}_{b}") for side in ("left", "right") for a, b in BONES]
    for a, b in [*pairs, ("left_hip", "right_hip"), ("left_shoulder", "right_shoulder"), ("neck", "pelvis"), ("head_bottom", "head_top")]:
        values = length(joints, a, b)
        assert float((values - values[:, :1]).abs().max()) < 1e-9, (a, b)


def test_lengths_by_hand():
    """Thigh 0.245, factor 1.1, height 0.9 -> 0.245 * 1.1 * 0.9 = 0.24255; left and right alike."""
    shape = {"height": torch.tensor([0.9]).double(), "girth": torch.ones(1).double(), "head": torch.ones(1).double(),
             "lengths": torch.tensor([[1, 1, 1.1, 1, 1, 1]]).double()}  # fmt: skip
    joints = body.points(shape, torch.zeros(1, 1, len(ANGLES), dtype=torch.float64))
    for side in ("left", "right"):
        assert float(length(joints, f"{side}_hip", f"{side}_knee")) == pytest.approx(0.24255, abs=1e-7)
        assert float(length(joints, f"{side}_elbow", f"{side}_wrist")) == pytest.approx(0.150 * 0.9, abs=1e-7)


def test_a_standing_body_is_about_one_body_height_tall():
    """Ankle 0.075 (sole, and the foot's slope), shank 0.240, thigh 0.245, hip 0.010, trunk 0.300, neck 0.022, head 0.160: 1.052 when
    straight, less 0.002 for knees bent by 4 and thighs spread by 4 degrees."""
    shape = {
        "height": torch.ones(1).double(),
        "girth": torch.ones(1).double(),
        "head": torch.ones(1).double(),
        "lengths": torch.ones(1, 6).double(),
    }
    joints = body.points(shape, torch.tensor([[motion._pose()]], dtype=torch.float64))
    assert float(at(joints, "head_top")[..., 1]) == pytest.approx(1.050, abs=0.001)


def test_the_lowest_point_is_on_the_ground():
    """min y = (sole + lift) * height in every frame: nobody floats, nobody sinks."""
    shape, pose, joints = moving()
    lift = pose[..., ANGLES.index("lift")]
    expected = (SOLE + lift) * shape["height"][:, None]
    assert float((joints[..., 1].amin(-1) - expected).abs().max()) < 1e-9


def test_elbows_and_knees_bend_by_the_angle_asked_for():
    _, pose, joints = moving()
    for side in ("left", "right"):
        for upper, middle, lower, angle in (("shoulder", "elbow", "wrist", "elbow"), ("hip", "knee", "ankle", "knee")):
            first = at(joints, f"{side}_{middle}") - at(joints, f"{side}_{upper}")
            second = at(joints, f"{side}_{lower}") - at(joints, f"{side}_{middle}")
            cosine = torch.nn.functional.cosine_similarity(first, second, dim=-1)
            asked = torch.deg2rad(pose[..., ANGLES.index(f"{side[0]}_{angle}")]).cos()
            assert float((cosine - asked).abs().max()) < 1e-7


def test_knees_bend_backward_and_elbows_forward():
    """Standing and facing +z, a bent knee puts the ankle behind the knee and a bent elbow the wrist before the elbow."""
    shape = {
        "height": torch.ones(1).double(),
        "girth": torch.ones(1).double(),
        "head": torch.ones(1).double(),
        "lengths": torch.ones(1, 6).double(),
    }
    joints = body.points(shape, torch.tensor([[motion._pose(knees=60, elbows=60)]], dtype=torch.float64))
    for side in ("left", "right"):
        assert float((at(joints, f"{side}_ankle") - at(joints, f"{side}_knee"))[..., 2]) < -0.1
        assert float((at(joints, f"{side}_wrist") - at(joints, f"{side}_elbow"))[..., 2]) > 0.1
    assert float(at(joints, "left_hip")[..., 0]) > 0 > float(at(joints, "right_hip")[..., 0])  # x is the person's left


def test_the_mirrored_motion_is_the_mirror_image():
    """Reflecting x and swapping left and right turns the body of a motion into the body of the mirrored motion."""
    _, _, plain = moving(mirror=0)
    _, _, mirrored = moving(mirror=1)
    swap = [POINTS.index("right_" + n[5:]) if n.startswith("left_") else POINTS.index("left_" + n[6:]) if n.startswith("right_") else i
            for i, n in enumerate(POINTS)]  # fmt: skip
    reflected = plain[..., swap, :] * torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)
    assert float((reflected - mirrored).abs().max()) < 1e-9


def test_parts_and_points():
    assert POINTS[: len(KEYPOINTS)] == KEYPOINTS.keypoints and len(set(POINTS)) == len(POINTS)
    assert ATTACHED.shape == (15, len(Part)) and bool(ATTACHED.any(1).all())
    wrist = ATTACHED[KEYPOINTS.index("left_wrist")].nonzero()[:, 0].tolist()
    assert wrist == [Part.LEFT_FOREARM]
    assert not ATTACHED[:, Part.BYSTANDER :].any() and not ATTACHED[:, Part.BACKGROUND].any()
    assert {int(p) for p in body.LIMB_PART} == {int(p) for p in body.PERSON_PARTS}
    assert len(Visibility) == 5
