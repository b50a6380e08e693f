"""Overlays: strokes are where the joints are, in the side's colour, as strong as the confidence."""

from types import SimpleNamespace

import numpy as np
import pytest

from causalpose.errors import CausalPoseError
from causalpose.plotting import overlay, palette
from causalpose.skeletons import keypoint_set

NAMES = keypoint_set("posetrack15")


def pose() -> np.ndarray:
    points = np.full((15, 2), np.nan)
    for name, place in {"left_elbow": (20, 20), "left_wrist": (60, 20), "right_elbow": (20, 60), "right_wrist": (60, 60)}.items():
        points[NAMES.index(name)] = place
    return points


def test_sides_have_their_colours_and_unknown_joints_are_left_out():
    canvas = overlay.draw_pose(np.zeros((80, 80, 3), np.uint8), pose(), NAMES, thickness=3)
    assert tuple(canvas[20, 40]) == palette.LEFT and tuple(canvas[60, 40]) == palette.RIGHT
    assert canvas[35:45].max() == 0, "nothing is drawn between the arms"
    hidden = overlay.draw_pose(
        np.zeros((80, 80, 3), np.uint8), pose(), NAMES, shown=np.arange(15) != NAMES.index("left_wrist"), thickness=3
    )
    assert hidden[20, 40].max() == 0 and tuple(hidden[60, 40]) == palette.RIGHT


def test_confidence_is_opacity():
    blank = np.zeros((80, 80, 3), np.uint8)
    sure, unsure = (overlay.draw_pose(blank, pose(), NAMES, confidence=np.full(15, c), thickness=3)[60, 40].astype(int) for c in (1.0, 0.5))
    assert unsure == pytest.approx(sure / 2, abs=6)
    assert overlay.draw_pose(blank, pose(), NAMES, confidence=np.zeros(15), thickness=3).max() > 20, "a doubtful joint is faint, not gone"


def test_the_picture_itself_is_left_alone_and_strokes_may_leave_it():
    image = np.zeros((80, 80, 3), np.uint8)
    overlay.draw_pose(image, pose() * 100 - 500, NAMES, box=np.array([-50, -50, 900, 900]))
    assert image.max() == 0


def test_limbs_between_sides_are_neutral():
    assert palette.side_colour("left_hip", "right_hip") == palette.MIDDLE
    assert palette.side_colour("left_hip", "left_knee") == palette.LEFT
    assert palette.side_colour("head_bottom", "right_shoulder") == palette.RIGHT


def test_small_pictures_are_enlarged_large_ones_are_not():
    large, factor = overlay.enlarge(np.zeros((64, 48, 3), np.uint8), 480)
    assert large.shape == (640, 480, 3) and factor == 10
    assert overlay.enlarge(np.zeros((900, 800, 3), np.uint8))[1] == 1


def test_drawer_keeps_trails_by_track():
    """A wrist moves from x = 20 to 40; the trail between is drawn on the second frame, and only for the same track."""

    def frame(x, track):
        points = np.zeros((15, 2))
        points[NAMES.index("left_wrist")] = (x, 40)
        shown = (np.arange(15) == NAMES.index("left_wrist")).astype(np.uint8)
        return SimpleNamespace(persons=(SimpleNamespace(track_id=track, keypoints=points, visibility=shown, scores=None, box=None),))

    blank = np.zeros((80, 80, 3), np.uint8)
    same, other = overlay.FrameDrawer(NAMES, shorter=80), overlay.FrameDrawer(NAMES, shorter=80)
    same(blank, frame(20, 1)), other(blank, frame(20, 2))
    assert same(blank, frame(40, 1))[40, 30].max() > 0
    assert other(blank, frame(40, 1))[40, 30].max() == 0


def test_wrong_input():
    with pytest.raises(CausalPoseError, match="RGB uint8"):
        overlay.draw_pose(np.zeros((8, 8, 3)), pose(), NAMES)
    with pytest.raises(CausalPoseError, match=r"\[15, 2\]"):
        overlay.draw_pose(np.zeros((8, 8, 3), np.uint8), np.zeros((17, 2)), NAMES)
