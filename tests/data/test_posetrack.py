"""The PoseTrack18 reader refuses what is wrong, the writer makes what the reader takes, the source cuts clips that fit."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from causalpose.clip import Visibility
from causalpose.config import DataConfig, ModelConfig
from causalpose.data import posetrack
from causalpose.data.crops import to_image
from causalpose.data.formats import open_data
from causalpose.data.labels import Frame, Person, PoseSequence
from causalpose.data.posetrack import FILE_SET
from causalpose.data.source import PersonSource, torso_scale
from causalpose.errors import CausalPoseError
from causalpose.skeletons import keypoint_set

CONFIG, DATA = ModelConfig(), DataConfig(dilation=1)
NAMES = keypoint_set("posetrack15")


def test_reads_persons_frames_and_flags(table, save):
    (sequence,) = open_data(save(table)).sequences("train")
    assert sequence.name == "seq" and len(sequence.frames) == 6
    assert [len(frame.persons) for frame in sequence.frames] == [2, 1, 2, 0, 2, 1]
    assert not sequence.frames[3].labelled
    person = sequence.frames[1].persons[0]
    assert person.visibility[0] == Visibility.OCCLUDED and person.visibility[1] == Visibility.VISIBLE
    assert (person.visibility[3:5] == Visibility.UNLABELLED).all(), "the ears are placeholders"
    assert person.keypoints[0].tolist() == [51.0, 20.0]


def _annotation(key, value):
    return lambda table: table["annotations"][1].__setitem__(key, value)


def _image(key, value):
    return lambda table: table["images"][2].__setitem__(key, value)


def _swap_names(table):
    names = table["categories"][0]["keypoints"]
    names[5], names[6] = names[6], names[5]


def _visibility_two(table):
    table["annotations"][0]["keypoints"][2] = 2


FAULTS = {
    "images missing": (lambda t: t.pop("images"), "images: missing"),
    "annotations not a list": (lambda t: t.__setitem__("annotations", {}), "annotations: must be a list"),
    "categories order": (_swap_names, "slot 5 is 'right_shoulder' but PoseTrack18 has 'left_shoulder'"),
    "categories short": (lambda t: t["categories"][0]["keypoints"].pop(), "slot 16 is 'nothing'"),
    "no person category": (lambda t: t["categories"][0].__setitem__("name", "cat"), "no category named 'person'"),
    "absolute path": (_image("file_name", "/etc/passwd"), r"images\[2\].file_name"),
    "path upwards": (_image("file_name", "images/../../secret.png"), r"images\[2\].file_name"),
    "image id": (_image("id", "102"), r"images\[2\].id"),
    "image id twice": (_image("id", 100), "100 is used twice"),
    "image twice": (_image("file_name", "images/train/seq/000000.png"), "listed twice"),
    "ignore regions": (_image("ignore_regions_x", [[1, 2, 3]]), "ignore_regions_x: 1 polygons"),
    "unknown image": (_annotation("image_id", 7), r"annotations\[1\].image_id: 7"),
    "track id": (_annotation("track_id", None), r"annotations\[1\].track_id"),
    "track twice": (_annotation("track_id", 0), "appears twice in image 100"),
    "keypoints short": (_annotation("keypoints", [1.0] * 50), "must be 51 finite numbers"),
    "keypoints text": (_annotation("keypoints", ["a"] * 51), "must be 51 finite numbers"),
    "keypoints nan": (_annotation("keypoints", [float("nan")] * 51), "must be 51 finite numbers"),
    "visibility": (_visibility_two, "visibility of nose is 2"),
    "box": (_annotation("bbox", [1, 2, 0, 4]), r"annotations\[1\].bbox"),
    "occluded": (_annotation("occluded", [2] * 17), r"annotations\[1\].occluded"),
    "scores": (_annotation("scores", [0.5]), r"annotations\[1\].scores"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_names_file_and_field(fault, table, save):
    break_it, message = FAULTS[fault]
    break_it(table)
    file = save(table) / "annotations" / "train" / "seq.json" if "images" in table else None
    if file is None:
        file = save(table | {"images": []}) / "annotations" / "train" / "seq.json"
        file.write_text(json.dumps(table))
    with pytest.raises(CausalPoseError, match=message) as caught:
        posetrack.read(file)
    assert "seq.json" in str(caught.value) and "\n" not in str(caught.value)


def test_broken_files_and_unknown_splits(table, save):
    root = save(table)
    with pytest.raises(CausalPoseError, match="no split 'test'.*there are: train"):
        list(open_data(root).sequences("test"))
    with pytest.raises(CausalPoseError, match="not a data set that can be recognised"):
        open_data(root / "images")
    file = root / "annotations" / "train" / "seq.json"
    file.write_text(file.read_text()[:500])
    with pytest.raises(CausalPoseError, match="not valid JSON at line 1"):
        posetrack.read(file)
    with pytest.raises(CausalPoseError, match="no such file"):
        posetrack.read(root / "nothing.json")


def test_box_is_derived_where_absent(table, save):
    """Joints span x 36..64 and y 12..72 in frame 0: plus 15 % of 28 and 60 all round, 31.8, 3, 36.4, 78."""
    del table["annotations"][0]["bbox"]
    (sequence,) = open_data(save(table)).sequences("train")
    assert sequence.frames[0].persons[0].box == pytest.approx([31.8, 3.0, 36.4, 78.0])


def test_write_then_read_gives_the_same(tmp_path: Path):
    random = np.random.default_rng(0)
    visibility = np.ones(17, np.uint8)
    visibility[[3, 4, 7]], visibility[9] = Visibility.UNLABELLED, Visibility.OCCLUDED
    points = np.round(random.uniform(0, 90, (17, 2)), 3) * (visibility != 0)[:, None]
    person = Person(4, points, visibility, np.array([1.0, 2.0, 30.0, 40.0]), np.array([1.0, 2.0, 3.0, 4.0]), np.round(random.random(17), 5))
    polygon = np.array([[0.0, 0.0], [5.0, 0.0], [5.0, 5.0]])
    frames = (Frame(7, "clip/000000.jpg", True, (person,), (polygon,), (90, 120)), Frame(8, "clip/000001.jpg", False, ()))
    posetrack.write(tmp_path / "clip.json", PoseSequence("clip", frames), {"fps": 25})
    (back,) = posetrack.read(tmp_path / "clip.json")
    assert [f.image_id for f in back.frames] == [7, 8] and [f.labelled for f in back.frames] == [True, False]
    assert back.frames[0].size == (90, 120) and np.array_equal(back.frames[0].ignore[0], polygon)
    (found,) = back.frames[0].persons
    for name in ("track_id", "keypoints", "visibility", "box", "head_box", "scores"):
        assert np.array_equal(getattr(found, name), getattr(person, name)), name
    assert list(tmp_path.iterdir()) == [tmp_path / "clip.json"], "no temporary file is left"


def test_a_failed_write_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "clip.json"
    path.write_text("old")
    person = Person(0, np.full((17, 2), np.nan), np.ones(17, np.uint8), None)
    with pytest.raises(ValueError):
        posetrack.write(path, PoseSequence("clip", (Frame(0, "a/0.jpg", True, (person,)),)))
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_source_windows_repeat_the_ends_and_keep_unlabelled_frames(table, save):
    """Dilation 1, T = 3. The pictures' red is 10 x the frame's number, so a window shows which frames it holds."""
    source = PersonSource(save(table), "train", CONFIG, DATA)
    assert len(source) == 8  # persons in labelled frames: 2 + 1 + 2 + 2 + 1
    seen = {(e.image_id, e.track_id): source[i].frames[:, 0, 32, 24].tolist() for i, e in enumerate(source.entries)}
    assert seen[100, 0] == [0, 0, 10]
    assert seen[102, 0] == [10, 20, 30]
    assert seen[105, 0] == [40, 50, 50]
    wide = PersonSource(save(table), "train", CONFIG, DataConfig(dilation=2))
    assert wide[0].frames[:, 0, 32, 24].tolist() == [0, 0, 20]
    clip = source[[(e.image_id, e.track_id) for e in source.entries].index((102, 1))]
    # Person 1 is not labelled in frame 1, and frame 3 has no labels at all: only the target frame counts.
    assert [bool(v.any()) for v in clip.visibility] == [False, True, False]
    assert (clip.keypoints[0] == 0).all()


def test_source_labels_fit_the_picture_and_go_back(table, save):
    source = PersonSource(save(table), "train", CONFIG, DATA)
    clip, entry = source[0], source.entries[0]
    points = to_image(clip.keypoints[clip.target].double().numpy(), entry.matrix)
    assert points[NAMES.index("left_wrist")] == pytest.approx([64, 48], abs=1e-3)
    assert points[NAMES.index("nose")] == pytest.approx([50, 20], abs=1e-3)
    # Torso: shoulder (58, 28) to opposite hip (45, 48): sqrt(13^2 + 20^2) = 23.85 image pixels.
    assert clip.scale.item() == pytest.approx(23.8537 * entry.matrix[0, 0], rel=1e-4)
    assert clip.frames.dtype == torch.uint8 and clip.frames.shape == (3, 3, 64, 48)
    assert clip.visibility.dtype == torch.uint8 and clip.keypoints.dtype == torch.float32
    batch = source.batch(torch.tensor([3, 0]))
    assert len(batch) == 2 and batch.index.tolist() == [3, 0]
    assert torch.equal(batch.frames[1], clip.frames), "the cache gives what decoding gave"
    facts = source.describe()
    assert facts["clips"] == 8 and facts["split"] == "train" and "torso" in facts["scale"] and json.dumps(facts)


def test_torso_scale_without_a_torso_and_from_above():
    """Box 40 x 100: 0.3 x 100 = 30 where no torso is labelled; a torso of length 1 is held at 0.15 x 100 = 15."""
    box, points = np.array([0.0, 0, 40, 100]), np.zeros((17, 2))
    assert torso_scale(points, np.zeros(17, np.uint8), box, FILE_SET) == 30
    points[FILE_SET.index("left_shoulder")] = (1, 0)
    assert torso_scale(points, np.ones(17, np.uint8), box, FILE_SET) == 15


def test_joints_outside_of_the_crop_are_marked(table, save):
    table["annotations"][0]["keypoints"][0:2] = [119.0, 89.0]
    source = PersonSource(save(table), "train", CONFIG, DATA)
    assert source[0].visibility[1, 0] == Visibility.OUTSIDE


def test_missing_and_truncated_images_are_errors(table, save):
    root = save(table)
    image = root / "images" / "train" / "seq" / "000001.png"
    whole = image.read_bytes()
    image.unlink()
    with pytest.raises(CausalPoseError, match=r"000001.png: no such image"):
        PersonSource(root, "train", CONFIG, DATA)[0]
    image.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CausalPoseError, match=r"000001.png: cannot be decoded"):
        PersonSource(root, "train", CONFIG, DATA)[0]


def test_a_single_file_is_a_source_too(table, save):
    file = save(table) / "annotations" / "train" / "seq.json"
    assert len(PersonSource(file, "", CONFIG, DATA)) == 8


def test_no_person_is_an_error(table, save):
    table["annotations"] = []
    with pytest.raises(CausalPoseError, match="no labelled person"):
        PersonSource(save(table), "train", CONFIG, DATA)


def test_real_video_counts(shared_data: Path):
    """The figures of the set's own description: 894 train, 298 val and 202 val_other persons."""
    root = shared_data / "pose2sim_video"
    for split, clips in (("train", 894), ("val", 298), ("val_other", 202)):
        source = PersonSource(root, split, CONFIG, DataConfig())
        assert len(source) == clips
    clip = source.batch(range(0, 202, 40))
    labelled = clip.visibility[:, 1] != Visibility.UNLABELLED
    inside = (clip.keypoints[:, 1] > 0).all(-1) & (clip.keypoints[:, 1] < torch.tensor([47.0, 63.0])).all(-1)
    assert inside[labelled].all()
    assert ((clip.scale > 8) & (clip.scale < 30)).all()


def test_human_labels_of_posetrack(shared_data: Path):
    source = PersonSource(shared_data / "posetrack18_sample", "val", CONFIG, DataConfig())
    assert len(source) == 14
    assert len(posetrack.read(shared_data / "posetrack18_sample" / "annotations" / "test_posetrack18_val.json")) == 3
