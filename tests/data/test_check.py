"""The check finds every fault, by file and field, and goes on after each."""

import json

import pytest

from causalpose.data.check import check
from causalpose.errors import CausalPoseError


def test_a_sound_set_is_counted(table, save):
    """8 persons of 15 joints are 120 labels; one nose is flagged occluded; two persons are two tracks."""
    report = check(save(table))
    assert report.sound and "no fault" in str(report)
    counts = report.counts["train"]
    assert (counts["sequences"], counts["frames"], counts["labelled frames"]) == (1, 6, 5)
    assert (counts["persons"], counts["tracks"], counts["labels"], counts["occluded"]) == (8, 2, 120, 1)


def test_every_fault_is_reported_not_only_the_first(table, save):
    table["annotations"][1]["track_id"] = "x"
    table["annotations"][2]["keypoints"] = [0]
    table["images"][5]["width"] = 640
    root = save(table)
    folder = root / "images" / "train" / "seq"
    (folder / "000000.png").unlink()
    whole = (folder / "000002.png").read_bytes()
    (folder / "000002.png").write_bytes(whole[:-60])
    (root / "annotations" / "train" / "broken.json").write_text('{"images": [')
    report = check(root)
    text = [str(fault) for fault in report.faults]
    wanted = (
        "annotations[1].track_id",
        "annotations[2].keypoints",
        "000000.png is missing",
        "000002.png: cannot be decoded",
        "640x90",
        "broken.json: not valid JSON",
    )
    for part in wanted:
        assert sum(part in line for line in text) == 1, part
    assert len(text) == len(wanted) and not report.sound
    assert "6 faults" in str(report)


def test_labels_of_another_resolution_and_of_unlabelled_frames(table, save):
    table["annotations"][0]["keypoints"][:2] = [900.0, 20.0]
    table["images"][1]["is_labeled"] = False
    text = str(check(save(table), images=False))
    assert "image 100: track 0 has a joint more than half an image outside of 120x90" in text
    assert "image 101: has persons but is_labeled is false" in text


def test_a_sequence_in_two_splits(table, save):
    root = save(table)
    other = root / "annotations" / "val" / "copy.json"
    other.parent.mkdir()
    other.write_text(json.dumps(table))
    assert "sequence seq is also in split train" in str(check(root))


def test_nothing_there(tmp_path):
    with pytest.raises(CausalPoseError, match="no such folder"):
        check(tmp_path / "none")
    with pytest.raises(CausalPoseError, match="no annotation file of a known form"):
        check(tmp_path)


def test_the_real_sets_are_sound(shared_data):
    seen = []
    report = check(shared_data / "posetrack18_sample", progress=seen.append)
    assert report.sound, str(report)
    assert report.counts["val"]["persons"] == 14 and len(seen) == 3
    report = check(shared_data / "pose2sim_video", images=False)
    assert report.sound and sum(counts["persons"] for counts in report.counts.values()) == 1394
