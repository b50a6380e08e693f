"""Clips' predictions back in their images: every metric that fits the data set, on real samples and on made-up boxes."""

import json
from dataclasses import replace

import numpy as np
import pytest

from causalpose.config import preset
from causalpose.data.corruptions import CorruptedSource
from causalpose.data.source import PersonSource
from causalpose.errors import CausalPoseError
from causalpose.evaluation.images import figures, locate
from causalpose.evaluation.predictions import Predictions
from causalpose.evaluation.scoring import score

CONFIG = preset("tiny")


def perfect(source) -> Predictions:
    """The truth of every clip, with full confidence."""
    clip = source.batch(range(len(source)))
    points = clip.keypoints[:, clip.target].numpy()
    return Predictions.of(clip, points, np.ones(points.shape[:2]))


def means(figures) -> dict[str, float]:
    rows = figures.rows[figures.rows.joint == "mean"]
    return dict(zip(rows.metric, rows.value, strict=True))


def source_of(path, split="val", **data) -> PersonSource:
    return PersonSource(path, split, CONFIG.model, replace(CONFIG.data, **data))


@pytest.mark.parametrize(
    ("name", "split", "metrics"),
    [
        ("posetrack18_sample", "val", {"AP (OKS)", "AR (OKS)", "PCK@0.2 of box", "PCK@0.2 of torso", "PCKh@0.5"}),
        ("pose2sim_video", "val", {"AP (OKS)", "AP (OKS) occluded", "PCKh@0.5", "PCK@0.2 of box occluded"}),
        ("jhmdb_sample/test_jhmdb_sub1.json", "val", {"AP (OKS)", "PCK@0.2 of box", "PCK@0.2 of torso"}),
        ("coco_sample/test_coco.json", "val", {"AP (OKS)", "AP (OKS) occluded", "PCK@0.2 of box"}),
    ],
)
def test_the_truth_scores_100_in_every_metric(shared_data, name, split, metrics):
    """Predicted through crops and back. (In PoseTrack's AP joints that nobody labelled are false positives of any whole pose.)"""
    source = source_of(shared_data / name, split)
    result = figures(locate(source, perfect(source), CONFIG.model.keypoints), source.data_set.format.name)
    found = means(result)
    assert metrics <= found.keys() and set(result.protocol) <= {"PoseTrack AP", "OKS AP", "PCK@0.2 of box", "PCK@0.2 of torso", "PCKh@0.5"}
    for metric in metrics - {"AP (OKS) occluded"}:
        assert found[metric] == pytest.approx(100), metric
    assert ("AP (PoseTrack)" in found) == ("posetrack" in source.data_set.format.name)
    if "AP (PoseTrack)" in found:
        assert 70 < found["AP (PoseTrack)"] <= 100
    if "jhmdb" in name:
        assert "no person has it" in result.left_out["PCKh@0.5"]


def test_detected_boxes_are_suppressed_and_ranked(shared_data, tmp_path):
    """Every labelled box twice, the second moved by a pixel and scored lower: the better of the two stays, and its box is the person's."""
    sample = shared_data / "coco_sample" / "test_coco.json"
    rows = []
    for annotation in json.loads(sample.read_text())["annotations"]:
        x, y, w, h = annotation["bbox"]
        place = {"image_id": annotation["image_id"], "category_id": 1}
        rows += [place | {"bbox": [x + 1, y, w, h], "score": 0.6}, place | {"bbox": [x, y, w, h], "score": 0.9}]
    (tmp_path / "boxes.json").write_text(json.dumps(rows))
    source = source_of(sample, boxes=str(tmp_path / "boxes.json"))
    clip = source.batch(range(len(source)))
    pose = np.random.default_rng(0).uniform(5, 40, (1, 15, 2)).repeat(len(source), 0)  # the same place in every crop
    predictions = Predictions.of(clip, pose, np.ones((len(source), 15)))
    located, kept = (locate(source, predictions, CONFIG.model.keypoints, nms) for nms in (0.9, None))
    assert len(source) == len(kept.found) == len(rows) and len(located.found) == len(rows) / 2
    assert set(located.scores) == {0.9} and set(kept.scores) == {0.6, 0.9}
    assert f"OKS-NMS at 0.9 removed {len(rows) // 2} of {len(rows)}" in located.nms and kept.nms == "no NMS"
    assert (np.diff(located.found.frame) >= 0).all()
    person, found = located.pairs.T
    assert np.abs(located.true.box[person] - located.found.box[found]).max() < 0.01 and len(person) > 5


def test_a_corrupted_source_is_located_too(shared_data):
    source = CorruptedSource(source_of(shared_data / "posetrack18_sample"), "noise", 1)
    assert len(locate(source, perfect(source), CONFIG.model.keypoints).true) == 14


def test_all_clips_are_needed(shared_data):
    source = source_of(shared_data / "posetrack18_sample")
    part = perfect(source).select(np.arange(3))
    with pytest.raises(CausalPoseError, match="predictions of 3 clips do not cover the source's 14"):
        locate(source, part, CONFIG.model.keypoints)


def test_scoring_a_folder_and_a_file(shared_data):
    root = shared_data / "pose2sim_video"
    scored = score(root / "annotations" / "val", str(root), "val")
    assert means(scored.figures)["AP (PoseTrack)"] == 100 and "2 of 2 sequences" in scored.coverage
    scored = score(root / "annotations" / "val" / "p2s_single_cam04.json", str(root), "val")
    assert means(scored.figures)["AP (PoseTrack)"] == 100 and "1 of 2 sequences" in scored.coverage
    with pytest.raises(CausalPoseError, match="not in the ground truth, which has p2s_multi_cam04"):
        score(root / "annotations" / "train" / "p2s_single_cam01.json", str(root), "val")
    with pytest.raises(CausalPoseError, match="scored on PoseTrack data, but"):
        score(root / "annotations" / "val", str(shared_data / "coco_sample" / "test_coco.json"), "val")


def test_labels_without_heads_have_no_posetrack_ap(shared_data):
    root = shared_data / "pose2sim_video"
    scored = score(root / "annotations" / "val_other", str(root), "val_other")
    assert "has no bbox_head" in scored.figures.left_out["PoseTrack AP"] and means(scored.figures)["AP (OKS)"] > 99
