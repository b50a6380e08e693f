"""Camera: which way the person faces, perspective, and a crop that holds the person."""

import pytest
import torch

from causalpose.clip import Visibility
from causalpose.scenes import camera
from causalpose.scenes.body import KEYPOINTS
from causalpose.scenes.world import World

K = KEYPOINTS.index


def eye(**settings):
    values = {"yaw": 0.0, "pitch": 0.0, "distance": 4.0, "roll": 0.0, "pan": 0.0, "shake": 0.0, "zoom": 1.0, "follow": 1.0} | settings
    out = {name: torch.tensor([float(value)], dtype=torch.float64) for name, value in values.items()}
    return out | {"offset": torch.zeros(1, 2).double(), "jolts": torch.ones(1, 16, 2).double()}


def look(point, travel=0.0, **settings):
    joints = torch.tensor(point, dtype=torch.float64).view(1, 1, 1, 3)
    xy, depth, nearness = camera.look(eye(**settings), joints, torch.full((1, 1), travel, dtype=torch.float64))
    return xy.flatten().tolist(), float(depth), float(nearness)


def test_perspective_by_hand():
    """A point 0.5 up from the middle (y = 1) and 1 nearer than it, seen from 4: nearness 4 / (4 - 1) = 4/3, y = -0.5 * 4/3."""
    xy, depth, nearness = look((0.0, 1.0, 1.0))
    assert nearness == pytest.approx(4 / 3) and depth == pytest.approx(-1.0)
    assert xy == pytest.approx([0.0, -2 / 3])


def test_yaw_turns_the_person():
    """The nose (0, 0.5, 0.1) points at the camera at yaw 0, to the picture's left at -90, right at 90, away at 180."""
    nose = (0.0, 0.5, 0.1)
    assert look(nose, yaw=0)[1] < 0 < look(nose, yaw=180)[1]
    assert look(nose, yaw=-90)[0][0] < -0.05 and look(nose, yaw=90)[0][0] > 0.05


def test_roll_turns_the_picture_and_a_camera_that_follows_fully_does_not_travel():
    xy, _, _ = look((0.0, 1.5, 0.0), roll=90)  # straight up by 1 -> to the side by 1
    assert abs(xy[0]) == pytest.approx(1.0) and xy[1] == pytest.approx(0.0, abs=1e-12)
    assert look((0.1, 0.5, 0.0), travel=3.0, yaw=90)[0] == look((0.1, 0.5, 0.0), travel=0.0, yaw=90)[0]
    assert look((0.1, 0.5, 0.0), travel=0.5, yaw=90, follow=0.5)[0][0] - look((0.1, 0.5, 0.0), yaw=90)[0][0] > 0.2


def test_left_and_right_are_the_persons():
    """Seen from the front the person's left shoulder is on the picture's right; from behind it is on the left."""
    world = World(frames=1).do(motion={"action": 3, "phase": 0.0}, camera="front")  # a squat at its start: standing
    for name, sign in (("front", 1), ("back", -1)):
        points = world.do(camera=name).render(range(12)).keypoints[:, 0]
        assert bool((sign * (points[:, K("left_shoulder"), 0] - points[:, K("right_shoulder"), 0]) > 0).all())
    for name, sign in (("left", -1), ("right", 1)):
        points = world.do(camera=name).render(range(12)).keypoints[:, 0]
        assert float((sign * (points[:, K("nose"), 0] - points[:, K("head_bottom"), 0]) > 0).float().mean()) > 0.9


def test_drift_is_zero_at_the_target_and_pans_steadily():
    values = eye(pan=0.1)
    drift = camera.drift(values, torch.tensor([[-2.0, 0.0, 2.0]], dtype=torch.float64))
    assert drift[0].tolist() == [pytest.approx([-0.2, 0.0]), [0.0, 0.0], pytest.approx([0.2, 0.0])]
    shaken = eye(shake=0.01) | {"jolts": torch.arange(32.0, dtype=torch.float64).view(1, 16, 2)}
    assert camera.drift(shaken, torch.zeros(1, 1, dtype=torch.float64)).abs().max() == 0
    assert camera.drift(shaken, torch.ones(1, 1, dtype=torch.float64)).abs().max() > 0


def test_crop_by_hand():
    """Keypoints span 2 x 1 units: box 2.6 x 1.3. At 64 x 48 the width asks for 2.6 * 64/48 = 3.467, times 1.25 = 4.333 units of height:
    64 / 4.333 = 14.77 pixels a unit."""
    target = torch.tensor([[[-1.0, 0.0], [1.0, 1.0]]], dtype=torch.float64).repeat(1, 8, 1)[:, :15]
    scale, centre = camera.crop(eye(), target, 64, 48)
    assert float(scale) == pytest.approx(64 / (2 * 1.3 * 64 / 48 * 1.25))
    assert centre[0].tolist() == pytest.approx([0.0, 0.5])


def test_the_box_is_centred_on_average():
    """The camera's offset has a standard deviation of 0.03 * 32 = 0.96 pixels: the mean of 300 is within 5 * 0.96 / sqrt(300) = 0.28."""
    points = World(32, 24, 1).do(camera={"shake": 0.0}).render(range(300)).keypoints[:, 0]
    middle = ((points.amin(1) + points.amax(1)) / 2).mean(0)
    assert middle.tolist() == pytest.approx([11.5, 15.5], abs=0.28)


@pytest.mark.parametrize("level", ["easy", "default", "hard"])
def test_the_target_frame_holds_every_keypoint(level):
    """The keypoints take at most 1 / (1.3 * 1.25 * 0.86) = 0.716 of the crop, half of that is 0.358, and the offset is at most
    0.03 * 3.46 = 0.104 heights = 0.139 widths of a 4:3 crop: 0.358 + 0.139 < 0.5, so none can leave it."""
    clip = World(32, 24, 1, level=level).render(range(100))
    assert not bool((clip.visibility == int(Visibility.OUTSIDE)).any())
    assert bool((clip.keypoints > -0.5).all()) and bool((clip.keypoints < torch.tensor([23.5, 31.5])).all())
