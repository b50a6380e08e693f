"""OKS by hand, against pycocotools, and in its two uses: AP and suppression."""

import math

import numpy as np
import pytest

from causalpose.clip import Visibility
from causalpose.errors import CausalPoseError
from causalpose.evaluation import oks
from causalpose.evaluation.people import People
from causalpose.skeletons import KEYPOINT_SETS, keypoint_set

COCO17 = keypoint_set("coco17")


def group(frame, keypoints, visibility=None, area=None, crowd=None, names=COCO17) -> People:
    keypoints = np.asarray(keypoints, float)
    count, joints = len(keypoints), len(names)
    visibility = np.full((count, joints), Visibility.VISIBLE, np.uint8) if visibility is None else np.asarray(visibility, np.uint8)
    low, high = keypoints.min(1), keypoints.max(1)
    box = np.concatenate([low, high - low], 1)
    return People(
        frame=np.asarray(frame),
        keypoints=keypoints,
        present=visibility > 0,
        visibility=visibility,
        scores=np.ones((count, joints)),
        box=box,
        head_box=np.full((count, 4), np.nan),
        area=box[:, 2] * box[:, 3] if area is None else np.asarray(area, float),
        crowd=np.zeros(count, bool) if crowd is None else np.asarray(crowd),
    )


def test_by_hand():
    """Area 2500. Nose (sigma 0.026) off by 2.6 pixels: exp(-2.6^2 / (2 x (2 x 0.026)^2 x 2500)) = exp(-0.5).

    Two joints labelled, the other exact: OKS = (exp(-0.5) + 1) / 2. A joint that is not labelled may be anywhere.
    """
    truth, labelled = np.zeros((1, 17, 2)), np.zeros((1, 17), bool)
    labelled[0, [0, 5]] = True
    pose = truth + 1000
    pose[0, 0], pose[0, 5] = (2.6, 0), (0, 0)
    value = oks.similarity(pose, truth, labelled, [2500.0], COCO17)
    assert value.item() == pytest.approx((math.exp(-0.5) + 1) / 2)
    assert np.isnan(oks.similarity(pose, truth, labelled & False, [2500.0], COCO17)).all()
    with pytest.raises(CausalPoseError, match="jhmdb15 has 15"):
        oks.similarity(pose, truth, labelled, [1.0], keypoint_set("jhmdb15"))


def test_the_constants_of_each_set():
    """COCO's own; PoseTrack's head points stand in the eyes' slots; JHMDB as the toolboxes take it."""
    body = [0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089]
    for name, expected in {
        "coco17": [0.026, 0.025, 0.025, 0.035, 0.035, *body],
        "posetrack18": [0.026, 0.025, 0.025, 0.035, 0.035, *body],
        "jhmdb15": [0.025, 0.107, 0.025, 0.079, 0.079, 0.107, 0.107, 0.072, 0.072, 0.087, 0.087, 0.062, 0.062, 0.089, 0.089],
    }.items():  # fmt: skip
        assert list(KEYPOINT_SETS[name].sigmas) == expected, name


def random_people(seed, persons=12, frames=5, names=COCO17):
    random = np.random.default_rng(seed)
    places = random.uniform(0, 300, (persons, 1, 2)) + random.normal(0, 40, (persons, len(names), 2))
    frame = np.sort(random.integers(0, frames, persons))
    visibility = random.choice([0, 1, 3], (persons, len(names)), p=[0.2, 0.6, 0.2])
    return group(frame, places, visibility, names=names), random


def test_similarity_is_pycocotools_own():
    """The matrix that COCOeval computes inside, for the same poses."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    true, random = random_people(0, frames=1)
    poses = true.keypoints[:5] + random.normal(0, 8, (5, 17, 2))
    rows = [
        {"id": i + 1, "image_id": 0, "category_id": 1, "area": true.area[i], "bbox": true.box[i].tolist(), "iscrowd": 0, "num_keypoints": 1}
        | {"keypoints": np.concatenate([true.keypoints[i], 2 * true.present[i][:, None]], 1).flatten().tolist()}
        for i in range(len(true))
    ]
    coco = COCO()
    coco.dataset = {"images": [{"id": 0}], "categories": [{"id": 1}], "annotations": rows}
    coco.createIndex()
    results = [
        {"image_id": 0, "category_id": 1, "score": 1 - i / 10, "keypoints": np.pad(p, ((0, 0), (0, 1))).flatten().tolist()}
        for i, p in enumerate(poses)
    ]
    scoring = COCOeval(coco, coco.loadRes(results), "keypoints")
    scoring._prepare()
    np.testing.assert_allclose(scoring.computeOks(0, 1), oks.similarity(poses, true.keypoints, true.present, true.area, COCO17), atol=1e-9)


@pytest.mark.parametrize("name", ["coco17", "posetrack15", "jhmdb15"])
def test_truth_scores_100_and_noise_less(name):
    names = keypoint_set(name)
    true, random = random_people(1, names=names)
    perfect = oks.average_precision(true, true, np.linspace(1, 0.5, len(true)), names)
    assert perfect["AP"] == perfect["AR"] == perfect["AP50"] == pytest.approx(100)
    noisy = group(true.frame, true.keypoints + random.normal(0, 6, true.keypoints.shape), names=names)
    assert 5 < oks.average_precision(true, noisy, np.ones(len(true)), names)["AP"] < 99
    for subset in ("visible", "occluded"):
        assert oks.average_precision(true, true, np.linspace(1, 0.5, len(true)), names, subset)["AR"] == pytest.approx(100)


def test_ap_by_hand():
    """Two persons in one image, one found exactly, at the first rank, and a pose far off at the second: recall 1/2 at precision 1.

    COCO interpolates at 101 recalls, of which 0, 0.01, …, 0.50 are reached: AP = 51 / 101. AR = 1/2.
    """
    true = group([0, 0], np.stack([np.random.default_rng(2).uniform(0, 100, (17, 2)), np.random.default_rng(3).uniform(200, 300, (17, 2))]))
    found = group([0, 0], np.stack([true.keypoints[0], true.keypoints[1] + 5000]))
    stats = oks.average_precision(true, found, np.array([0.9, 0.8]), COCO17)
    assert stats["AP"] == pytest.approx(100 * 51 / 101) and stats["AR"] == pytest.approx(50)
    nobody = oks.average_precision(true, found.select(np.zeros(2, bool)), np.zeros(0), COCO17)
    assert nobody["AP"] == 0


def test_crowds_and_persons_without_labels_are_ignored():
    """Predictions on them are neither right nor wrong, so the AP stays 100."""
    true, _ = random_people(4, persons=3, frames=1)
    true.visibility[2] = 0
    true.present[2] = False
    assert oks.average_precision(true, true, np.array([0.5, 0.6, 0.9]), COCO17)["AP"] == pytest.approx(100)
    crowd = group(true.frame, true.keypoints, true.visibility, crowd=[False, True, False])
    assert oks.average_precision(crowd, true, np.array([0.5, 0.6, 0.9]), COCO17)["AP"] == pytest.approx(100)


def test_suppression_by_hand():
    """Poses A (0.9), A moved by a pixel (0.8), B (0.7) elsewhere: the second goes. At a threshold of 1 nothing goes."""
    a = np.random.default_rng(5).uniform(0, 200, (17, 2))
    poses = np.stack([a + 1, a, a + 400])
    area = np.full(3, 40_000.0)
    assert oks.nms(poses, [0.8, 0.9, 0.7], area, COCO17).tolist() == [1, 2]
    assert oks.nms(poses, [0.8, 0.9, 0.7], area, COCO17, 1.0).tolist() == [1, 0, 2]
    assert oks.nms(poses[:0], [], area[:0], COCO17).size == 0
    with pytest.raises(CausalPoseError, match="threshold = 0"):
        oks.nms(poses, [1, 1, 1], area, COCO17, 0)


def test_wrong_input():
    true, _ = random_people(6)
    with pytest.raises(CausalPoseError, match="unknown subset"):
        oks.average_precision(true, true, np.ones(len(true)), COCO17, "hidden")
    with pytest.raises(CausalPoseError, match="no person"):
        oks.average_precision(true.select(np.zeros(len(true), bool)), true, np.ones(len(true)), COCO17)
    with pytest.raises(CausalPoseError, match="not finite"):
        oks.average_precision(true, true, np.full(len(true), np.nan), COCO17)
    true.area[0] = np.nan
    with pytest.raises(CausalPoseError, match="neither an area nor a box"):
        oks.average_precision(true, true, np.ones(len(true)), COCO17)
