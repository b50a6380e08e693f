"""PoseTrack 2017's and 2018's forms into each other and back: nothing is lost."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from causalpose.cli.main import app
from causalpose.clip import Visibility
from causalpose.data import posetrack17
from causalpose.data.check import check
from causalpose.data.convert import convert
from causalpose.data.formats import open_data
from causalpose.errors import CausalPoseError
from tests.data import makers


@pytest.fixture(scope="module")
def made():
    return makers.videos()


def _sequences(root, split="train"):
    return list(open_data(root).sequences(split))


def _assert_same(first, second):
    assert [s.name for s in first] == [s.name for s in second]
    for a, b in zip((f for s in first for f in s.frames), (f for s in second for f in s.frames), strict=True):
        assert (a.image_id, a.file_name, a.labelled) == (b.image_id, b.file_name, b.labelled)
        assert len(a.ignore) == len(b.ignore) and all(np.array_equal(p, q) for p, q in zip(a.ignore, b.ignore, strict=True))
        for p, q in zip(a.persons, b.persons, strict=True):
            assert p.track_id == q.track_id and np.array_equal(p.visibility, q.visibility)
            assert p.keypoints == pytest.approx(q.keypoints, abs=6e-4) and p.box == pytest.approx(q.box, abs=2e-3)
            assert p.head_box == pytest.approx(q.head_box, abs=1e-9) and np.array_equal(p.scores, q.scores)


def test_2017_to_2018_and_back(made, tmp_path):
    root = makers.posetrack17(tmp_path / "a", made)
    assert convert(root, "posetrack18", tmp_path / "b") == {"train": 2}
    assert convert(tmp_path / "b", "posetrack17", tmp_path / "c") == {"train": 2}
    assert open_data(tmp_path / "b").format.name == "posetrack18" and open_data(tmp_path / "c").format.name == "posetrack17"
    _assert_same(_sequences(root), _sequences(tmp_path / "b"))
    _assert_same(_sequences(root), _sequences(tmp_path / "c"))
    assert check(tmp_path / "b").sound and check(tmp_path / "c").sound, "the images are linked in"


@pytest.mark.parametrize("edition", [18, 21])
def test_2018_to_2017_and_back(edition, made, tmp_path):
    root = makers.posetrack18(tmp_path / "a", made, edition=edition)
    convert(root, "posetrack17", tmp_path / "b")
    convert(tmp_path / "b", "posetrack18", tmp_path / "c")
    _assert_same([s for s in _sequences(root) if edition == 18], [s for s in _sequences(tmp_path / "c") if edition == 18])
    persons = [sum(len(f.persons) for s in _sequences(folder) for f in s.frames) for folder in (root, tmp_path / "b", tmp_path / "c")]
    assert persons == [12 if edition == 21 else 10] * 3, "a person of whom only the box is known stays one"


def test_real_labels_survive(shared_data, tmp_path):
    root = shared_data / "posetrack18_sample"
    convert(root, "posetrack17", tmp_path / "b")
    convert(tmp_path / "b", "posetrack18", tmp_path / "c")
    _assert_same(_sequences(root, "val"), _sequences(tmp_path / "c", "val"))
    assert check(tmp_path / "b").counts["val"]["labels"] == 182


def test_ids_agree_between_the_editions():
    """Frame 00000003.jpg of 2017 is 000002.jpg of 2018: kind mpii (1), sequence 342, frame 2."""
    assert posetrack17._image_id("images/bonn_mpii_test_v2_5sec/000342_mpii", "00000003.jpg", 9) == 10003420002
    assert posetrack17._image_id("images/val/000342_mpii_test", "000002.jpg", 9) == 10003420002
    assert posetrack17._image_id("images/val/000001_mpiinew_test", "000000.jpg", 9) == 30000010000
    others = {posetrack17._image_id(folder, f"{n:06d}.jpg", n) for folder in ("clips/a", "clips/b") for n in range(5)}
    assert len(others) == 10


def test_points_that_matlab_writes_bare(tmp_path):
    """jsonlab writes a list of one as its element where it likes; is_visible may be text or missing, and ids are in any order."""
    point = {"id": 13, "x": 5, "y": 6.5, "is_visible": "0"}
    person = {"track_id": 0, "annopoints": {"point": [point, {"id": [0], "x": [1], "y": [2], "is_visible": []}]}}
    frame = {"image": {"name": "a/b/00000001.jpg"}, "annorect": person}
    file = tmp_path / "x.json"
    file.write_text(json.dumps({"annolist": [frame, {"image": [{"name": "a/b/00000002.jpg"}], "annorect": []}]}))
    (sequence,) = posetrack17.read(file)
    assert [f.labelled for f in sequence.frames] == [True, False]
    (found,) = sequence.frames[0].persons
    assert found.keypoints[0].tolist() == [5, 6.5] and found.visibility[0] == Visibility.OCCLUDED
    assert found.keypoints[16].tolist() == [1, 2] and found.visibility[16] == Visibility.VISIBLE


def test_points_that_are_no_points_are_a_fault(tmp_path):
    """An empty list is a person without joints; text is nothing a person has."""
    file = tmp_path / "x.json"
    for point, fine in (([], True), (None, True), ("junk", False), ([3], False)):
        person = {"track_id": 0, "annopoints": [{"point": point}]}
        file.write_text(json.dumps({"annolist": [{"image": {"name": "a/b/00000001.jpg"}, "annorect": person}]}))
        faults: list[tuple] = []
        (sequence,) = posetrack17.read(file, lambda *fault, into=faults: into.append(fault))
        assert len(sequence.frames[0].persons) == fine
        assert [where for _, where, _ in faults] == ([] if fine else ["annolist[0].annorect[0].annopoints"])


def test_a_group_stays_a_group(made, tmp_path):
    """`iscrowd` marks a box that stands for several people; training leaves those out."""
    root = makers.posetrack18(tmp_path / "a", made, edition=18)
    file = next((root / "annotations" / "train").glob("*.json"))
    content = json.loads(file.read_text())
    content["annotations"][0]["iscrowd"] = True
    file.write_text(json.dumps(content))
    convert(root, "posetrack17", tmp_path / "b")
    convert(tmp_path / "b", "posetrack18", tmp_path / "c")
    for folder in (root, tmp_path / "b", tmp_path / "c"):
        assert sum(person.crowd for s in _sequences(folder) for frame in s.frames for person in frame.persons) == 1


def test_what_cannot_be_converted(made, tmp_path):
    root = makers.posetrack17(tmp_path / "a", made)
    with pytest.raises(CausalPoseError, match="forms to convert to: posetrack17, posetrack18"):
        convert(root, "coco", tmp_path / "b")
    with pytest.raises(CausalPoseError, match="is the data set itself"):
        convert(root, "posetrack18", root)
    with pytest.raises(CausalPoseError, match="only the PoseTrack editions"):
        convert(makers.coco(tmp_path / "coco", made), "posetrack18", tmp_path / "b")
    last = sorted((root / "annotations" / "train").glob("*.json"))[-1]
    last.write_text('{"annolist": [3]}')
    with pytest.raises(CausalPoseError, match=r"annolist\[0\]: must be a table"):
        convert(root, "posetrack18", tmp_path / "b")
    assert not (tmp_path / "b").exists(), "a fault leaves nothing behind"


def test_commands(made, tmp_path):
    root = makers.posetrack17(tmp_path / "a", made)
    run = CliRunner().invoke
    done = run(app, ["data", "convert", str(root), "--to", "posetrack18", "--out", str(tmp_path / "b"), "--quiet"])
    assert done.exit_code == 0 and "2 sequences of train" in done.output, done.output
    done = run(app, ["data", "check", str(tmp_path / "b"), "--quiet"])
    assert done.exit_code == 0 and "PoseTrack 2018" in done.output and "no fault" in done.output
    done = run(app, ["data", "show", str(tmp_path / "b"), "--out", str(tmp_path / "pictures"), "--count", "3"])
    assert done.exit_code == 0 and len(list((tmp_path / "pictures").glob("*.png"))) == 3, done.output
    next((tmp_path / "b" / "annotations" / "train").glob("*.json")).write_text("{}")
    done = run(app, ["data", "check", str(tmp_path / "b"), "--quiet"])
    assert done.exit_code == 1 and "images: missing" in done.output
