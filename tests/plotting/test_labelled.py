"""Labels are drawn where they are, and hidden joints fainter than visible ones."""

import numpy as np

from causalpose.clip import Visibility
from causalpose.data.labels import Frame, Person
from causalpose.plotting.labelled import draw_labels
from causalpose.plotting.palette import BOX, LEFT
from causalpose.skeletons import keypoint_set

NAMES = keypoint_set("posetrack18")


def _picture(state: Visibility, box=None, head=None, ignore=()):
    points, visibility = np.zeros((17, 2)), np.zeros(17, np.uint8)
    slot = NAMES.index("left_wrist")
    points[slot], visibility[slot] = (40, 30), state
    frame = Frame(0, "a.jpg", True, (Person(0, points, visibility, box, head),), ignore)
    return draw_labels(np.full((60, 80, 3), 128, np.uint8), frame, NAMES.name).astype(int)


def test_a_joint_lies_on_its_pixel_in_the_enlarged_picture():
    picture = _picture(Visibility.VISIBLE)
    assert picture.shape == (480, 640, 3), "eight times as large"
    where = np.argwhere(np.abs(picture - np.array(LEFT)).sum(-1) < 30).mean(0)
    # The centre of pixel 40 is at 8 * 40.5 - 0.5 in the large picture.
    assert np.abs(where - [8 * 30.5 - 0.5, 8 * 40.5 - 0.5]).max() < 1


def test_hidden_joints_are_fainter():
    far = [np.abs(_picture(state) - 128).max() for state in (Visibility.VISIBLE, Visibility.OCCLUDED, Visibility.UNLABELLED)]
    assert far[0] > 1.5 * far[1] and far[1] > 20 and far[2] == 0


def test_boxes_and_regions_are_drawn_where_they_are():
    picture = _picture(Visibility.UNLABELLED, box=np.array([10.0, 20.0, 30.0, 20.0]))
    rows, columns = np.nonzero(np.abs(picture - np.array(BOX)).sum(-1) < 60)
    found = np.array([columns.min(), columns.max(), rows.min(), rows.max()])
    assert np.abs(found - [83.5, 323.5, 163.5, 323.5]).max() < 4, "pixel centres: 10 is at 8 * 10.5 - 0.5, 40 at 323.5"
    picture = _picture(Visibility.UNLABELLED, ignore=(np.array([[0, 0], [20, 0], [20, 20], [0, 20.0]]),))
    assert (picture[40, 80] != 128).any() and (picture[300, 500] == 128).all()
    picture = _picture(Visibility.UNLABELLED, head=np.array([10, 10, 10, 10.0]))
    assert (picture[80, 120] != 128).any()
