"""PCK on hand-worked cases and at its limits."""

import numpy as np
import pytest

from causalpose.clip import Visibility as V
from causalpose.errors import CausalPoseError
from causalpose.evaluation.pck import clip_scores, distances, pck, pck_by_size, person_sizes
from causalpose.evaluation.people import People
from causalpose.skeletons import keypoint_set


def value(table, metric, joint="mean"):
    (found,) = table[(table.metric == metric) & (table.joint == joint)].value
    return found


def test_hand_worked():
    """Two clips of three joints, scale 10 and 20, threshold 0.2: tolerances 2 and 4 pixels.

    Distances: clip 0: 2 (right, exactly), 3 (wrong), 0 (right); clip 1: 3 (right), 5 (wrong), 100 (unlabelled: not counted).
    Joint 0: 2/2 = 100; joint 1: 0/2 = 0; joint 2: 1/1 = 100; mean over joints 66.67.
    Visible: joint 0 of clip 0 and joint 1 of clip 1 are hidden, so joint 0: 1/1, joint 1: 0/1, joint 2: 1/1 -> 66.67.
    Occluded: joint 0: 1/1, joint 1: 0/1; joint 2 never -> mean 50.
    """
    truth = np.zeros((2, 3, 2))
    pred = np.zeros((2, 3, 2))
    pred[..., 0] = [[2, 3, 0], [3, 5, 100]]
    visibility = np.array([[V.SELF_OCCLUDED, V.VISIBLE, V.VISIBLE], [V.VISIBLE, V.OCCLUDED, V.UNLABELLED]])
    table = pck(pred, truth, visibility, np.array([10.0, 20.0]), 0.2)
    assert [value(table, "PCK@0.2", j) for j in "012"] == [100, 0, 100]
    assert value(table, "PCK@0.2") == pytest.approx(200 / 3)
    assert value(table, "PCK@0.2 visible") == pytest.approx(200 / 3)
    assert value(table, "PCK@0.2 occluded") == 50
    assert not ((table.metric == "PCK@0.2 occluded") & (table.joint == "2")).any(), "a joint that is never counted is no row"
    assert table[(table.metric == "PCK@0.2") & (table.joint == "mean")]["count"].item() == 5
    # Clip 0: 2 of 3 right; clip 1: 1 of 2.
    assert clip_scores(pred, truth, visibility, np.array([10.0, 20.0]), 0.2) == pytest.approx([200 / 3, 50])
    occluded = clip_scores(pred, truth, visibility, np.array([10.0, 20.0]), 0.2, "occluded")
    assert occluded == pytest.approx([100, 0])


def test_truth_scores_100_and_far_off_scores_0():
    truth = np.random.default_rng(0).uniform(0, 60, (7, 15, 2))
    visibility, scale = np.ones((7, 15)), np.full(7, 20.0)
    names = keypoint_set("posetrack15")
    assert (pck(truth, truth, visibility, scale, 0.01, names).value == 100).all()
    assert (pck(truth + 1000, truth, visibility, scale, 0.5, names).value == 0).all()
    assert (pck(np.full_like(truth, np.nan), truth, visibility, scale, 0.5, names).value == 0).all(), "nan is never right"


def test_unlabelled_and_outside_joints_do_not_matter():
    random = np.random.default_rng(1)
    truth, pred = random.uniform(0, 60, (2, 5, 15, 2))
    visibility = random.integers(0, 5, (5, 15))
    ignored = (visibility == V.UNLABELLED) | (visibility == V.OUTSIDE)
    other = np.where(ignored[..., None], 1e6, pred)
    scale = np.full(5, 20.0)
    assert pck(pred, truth, visibility, scale, 0.5).equals(pck(other, truth, visibility, scale, 0.5))


def test_nothing_counted():
    truth, scale = np.zeros((2, 15, 2)), np.ones(2)
    assert pck(truth, truth, np.zeros((2, 15)), scale, 0.2).empty
    assert np.isnan(clip_scores(truth, truth, np.zeros((2, 15)), scale, 0.2)).all()


@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan, np.inf])
def test_a_scale_that_is_no_length_is_an_error(scale):
    truth = np.zeros((2, 15, 2))
    with pytest.raises(CausalPoseError, match="scale of clip 1"):
        pck(truth, truth, np.ones((2, 15)), np.array([1.0, scale]), 0.2)


def test_wrong_shapes_and_thresholds():
    truth, scale = np.zeros((2, 15, 2)), np.ones(2)
    with pytest.raises(CausalPoseError, match=r"\[M, K, 2\]"):
        pck(truth, truth[:, :3], np.ones((2, 15)), scale, 0.2)
    with pytest.raises(CausalPoseError, match="threshold"):
        pck(truth, truth, np.ones((2, 15)), scale, 0)
    with pytest.raises(CausalPoseError, match="coco17 has 17"):
        pck(truth, truth, np.ones((2, 15)), scale, 0.2, keypoint_set("coco17"))
    with pytest.raises(CausalPoseError, match="unknown subset"):
        clip_scores(truth, truth, np.ones((2, 15)), scale, 0.2, "hidden")


def persons_of(keypoints, visibility, box, head_box) -> People:
    count = len(keypoints)
    empty = np.zeros((count, keypoints.shape[1]))
    return People(
        np.arange(count), keypoints, visibility > 0, visibility, empty, box, head_box, box[:, 2] * box[:, 3], np.zeros(count, bool)
    )  # fmt: skip


def test_sizes_by_hand():
    """Sub-JHMDB's joints: shoulder (10, 10), right hip (10, 60): torso 50. Box 40 x 100: 100. Head box 30 x 40: 0.6 x 50 = 30.

    Everything is predicted 15 pixels off: within 0.2 x 100 = 20, not within 0.1 x 100 = 10; not within 0.2 x 50 = 10; within 0.5 x 30 = 15.
    Person 2 has no head box, and its hip is not labelled: 2 persons have a box, 1 has each of the others.
    """
    names = keypoint_set("jhmdb15")
    points = np.zeros((2, 15, 2))
    points[:, names.index("left_shoulder")], points[:, names.index("right_hip")] = (10, 10), (10, 60)
    visibility = np.full((2, 15), V.VISIBLE, np.uint8)
    visibility[0, 0] = V.OCCLUDED
    visibility[1, names.index("right_hip")] = V.UNLABELLED
    persons = persons_of(points, visibility, np.array([[0, 0, 40.0, 100]] * 2), np.array([[0, 0, 30.0, 40], [np.nan] * 4]))
    assert person_sizes(persons, names, "torso")[0] == 50 and np.isnan(person_sizes(persons, names, "torso")[1])
    table = pck_by_size(points + [15.0, 0], persons, names)
    found = {metric: value(table, metric) for metric in table.metric.unique()}
    assert found["PCK@0.2 of box"] == 100 and found["PCK@0.1 of box"] == 0 and found["PCK@0.2 of torso"] == 0 and found["PCKh@0.5"] == 100
    assert found["PCK@0.2 of box occluded"] == 100
    counts = {metric: int(table[table.metric == metric].persons.iloc[0]) for metric in found}
    assert (counts["PCK@0.2 of box"], counts["PCK@0.2 of torso"], counts["PCKh@0.5"]) == (2, 1, 1)


def test_sizes_that_nobody_has_give_no_rows():
    names = keypoint_set("coco17")
    persons = persons_of(np.ones((1, 17, 2)), np.ones((1, 17), np.uint8), np.full((1, 4), np.nan), np.full((1, 4), np.nan))
    assert pck_by_size(np.ones((1, 17, 2)), persons, names).empty, "the torso is a point: no length"
    with pytest.raises(CausalPoseError, match="unknown size 'arm'"):
        person_sizes(persons, names, "arm")


def test_distances_by_hand():
    """3-4-5 triangles: 5 pixels are half of a torso of 10 and a quarter of one of 20; what is not finite is infinitely far."""
    pred = np.array([[[3.0, 4.0], [np.nan, 0.0]], [[3.0, 4.0], [0.0, 0.0]]])
    assert distances(pred, np.zeros((2, 2, 2)), np.array([10.0, 20.0])).tolist() == [[0.5, np.inf], [0.25, 0.0]]
    with pytest.raises(CausalPoseError, match="scale of clip 1"):
        distances(pred, np.zeros((2, 2, 2)), np.array([10.0, 0.0]))
