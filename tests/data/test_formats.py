"""Every format is recognised by what lies in the folder, and gives the same persons and the same clips."""

import json

import numpy as np
import pytest
import torch

from causalpose.clip import Visibility
from causalpose.config import DataConfig, ModelConfig
from causalpose.data.check import check
from causalpose.data.formats import open_data
from causalpose.data.source import PersonSource
from causalpose.errors import CausalPoseError
from causalpose.skeletons import keypoint_set
from tests.data import makers

DATA = DataConfig(dilation=1)
MADE = {
    "posetrack17": (makers.posetrack17, "train"),
    "posetrack18": (makers.posetrack18, "train"),
    "posetrack21": (lambda root, made: makers.posetrack18(root, made, edition=21), "train"),
    "coco": (makers.coco, "val2017"),
    "jhmdb-mat": (makers.jhmdb_mat, "sub1_train"),
    "jhmdb-json": (makers.jhmdb_json, "sub1_train"),
}


@pytest.fixture(scope="module")
def made():
    return makers.videos()


@pytest.fixture(scope="module")
def roots(made, tmp_path_factory):
    return {name: make(tmp_path_factory.mktemp(name), made) for name, (make, _) in MADE.items()}


@pytest.mark.parametrize("name", MADE)
def test_labels_are_those_that_were_written(name, roots, made):
    data = open_data(roots[name])
    assert data.format.name == name.split("-")[0]
    names = keypoint_set(data.format.keypoints)
    found = [frame for sequence in data.sequences(MADE[name][1]) for frame in sequence.frames]
    chosen = made[:1] if name.startswith("jhmdb") else made
    assert len(found) == sum(len(video.frames) for video in chosen)
    labels = [video.labels(names) for video in chosen]
    points, state = (np.concatenate([pair[i] for pair in labels]) for i in (0, 1))
    for number, frame in enumerate(found):
        if not frame.labelled:
            assert name == "posetrack17" and number % 5 == 0 and not frame.persons
            continue
        person = frame.persons[0]
        labelled = person.visibility != Visibility.UNLABELLED
        assert np.array_equal(labelled, state[number] > 0)
        assert person.keypoints[labelled] == pytest.approx(points[number][labelled], abs=1e-9)
        if name in ("posetrack17", "coco"):  # they also know which joints are hidden
            assert np.array_equal(person.visibility == Visibility.VISIBLE, state[number] == 2)


@pytest.mark.parametrize("name", MADE)
def test_all_formats_give_the_same_clips(name, roots, made):
    """The same video, box rule and dilation: crops may differ by the JPEG's loss, joints by nothing."""
    source = PersonSource(roots[name], MADE[name][1], ModelConfig(frames=3), DATA)
    clip, entry = source[2], source.entries[2]
    number = 3 if name == "posetrack17" else 2  # its first frame is unlabelled
    truth = made[0].keypoints[number] @ entry.matrix[:, :2].T + entry.matrix[:, 2]
    shared = (clip.visibility[1] != Visibility.UNLABELLED).numpy()
    assert shared.sum() >= 12 and clip.keypoints[1].numpy()[shared] == pytest.approx(truth[shared], abs=1e-3)
    assert clip.frames.shape == (3, 3, 64, 48) and clip.frames.dtype == torch.uint8
    if name == "coco":
        assert (clip.frames[0] == clip.frames[1]).all(), "a still is a static clip"
    else:
        assert not (clip.frames[0] == clip.frames[1]).all()
    facts = source.describe()
    assert facts["source"] == name.split("-")[0] and json.dumps(facts)
    unlabelled = {"coco": ["head_bottom", "head_top"], "jhmdb": ["nose", "head_bottom", "head_top"]}
    assert facts.get("unlabelled") == unlabelled.get(name.split("-")[0])


@pytest.mark.parametrize("name", MADE)
def test_a_model_in_the_data_sets_own_keypoints(name, roots):
    own = open_data(roots[name]).format.keypoints
    clip = PersonSource(roots[name], MADE[name][1], ModelConfig(frames=1, keypoints=own), DATA)[0]
    assert clip.keypoints.shape == (1, len(keypoint_set(own)), 2) and clip.visibility.any()


@pytest.mark.parametrize("name", MADE)
def test_check_counts_and_finds_nothing_wrong(name, roots):
    report = check(roots[name])
    assert report.sound, str(report)
    counts = report.counts[MADE[name][1]]
    wanted = {"posetrack17": (2, 10, 8), "coco": (10, 10, 11), "posetrack21": (2, 10, 12)}.get(name, (1, 5, 5))
    if name == "posetrack18":
        wanted = (2, 10, 10)
    assert (counts["sequences"], counts["frames"], counts["persons"]) == wanted
    assert counts["labelled persons"] == {"posetrack17": 8, "jhmdb-mat": 5, "jhmdb-json": 5}.get(name, 10)
    assert "published" in str(report), "a sample says what the whole would hold"


def test_label_version_is_told_by_the_count(made, tmp_path):
    root = makers.posetrack18(tmp_path, made[:1], "val")
    file = next((root / "annotations" / "val").glob("*.json"))
    table = json.loads(file.read_text())
    for number in range(2, 75):
        copy = json.loads(file.read_text().replace("000001_bonn_train", f"{number:06d}_bonn_train"))
        (file.parent / f"{number:06d}.json").write_text(json.dumps(copy | {"annotations": [], "categories": table["categories"]}))
    assert "val: 74 sequences, as label version 0.2" in str(check(root, images=False))


def test_jhmdb_masks_are_boxes_and_splits_are_three(made, tmp_path):
    root = makers.jhmdb_mat(tmp_path, made, masks=True)
    data = open_data(root)
    assert data.splits() == [f"sub{n}_{side}" for n in (1, 2, 3) for side in ("test", "train")]
    (sequence,) = data.sequences("sub2_train")
    assert sequence.name == made[1].name, "split 2 has the sides exchanged"
    assert sequence.frames[0].persons[0].box.tolist() == [10, 20, 19, 39]
    with pytest.raises(CausalPoseError, match="no split 'train'; there are: sub1_test"):
        data.files("train")


@pytest.mark.parametrize(
    "line", ["../../secret.avi 1", "clip.avi 3", "clip.avi", "/etc/passwd 1"], ids=["upwards", "side", "no side", "absolute"]
)
def test_jhmdb_split_files_are_checked(line, made, tmp_path):
    root = makers.jhmdb_mat(tmp_path, made)
    (root / "sub_splits" / "walk_test_split_1.txt").write_text(line + "\n")
    with pytest.raises(CausalPoseError, match="line 1: must be CLIP.avi"):
        open_data(root).splits()


def test_missing_frames_and_files_are_reported(made, tmp_path):
    root = makers.jhmdb_mat(tmp_path, made)
    clip = root / "Rename_Images" / "walk" / made[0].name
    (clip / "00006.png").write_bytes((clip / "00005.png").read_bytes())  # a frame without labels
    (root / "joint_positions" / "walk" / made[1].name / "joint_positions.mat").unlink()
    report = check(root)
    assert f"sequence {made[0].name} lists 5 of its 6 frames" in str(report)
    assert any(fault.message == "no such file" for fault in report.faults)
    (clip / "00002.png").unlink()
    assert "00002.png is missing" in str(check(root))


def test_a_gap_in_the_frames_repeats_the_nearest(made, tmp_path):
    """Frame 2 of 0..4 is not listed: at distance 1 the window of frame 1 ends in 1 itself, never in 3."""
    root = makers.posetrack18(tmp_path, made[:1])
    file = next((root / "annotations" / "train").glob("*.json"))
    table = json.loads(file.read_text())
    gone = table["images"].pop(2)["id"]
    table["annotations"] = [row for row in table["annotations"] if row["image_id"] != gone]
    file.write_text(json.dumps(table))
    source = PersonSource(root, "train", ModelConfig(frames=3), DATA)
    assert [source._window(0, position) for position in range(4)] == [[0, 0, 1], [0, 1, 1], [2, 2, 3], [2, 3, 3]]
    assert source.describe()["missing_frames"] == 1
    wide = PersonSource(root, "train", ModelConfig(frames=3), DataConfig(dilation=2))
    assert wide._window(0, 1) == [0, 1, 2], "frame 3 is two after frame 1"


def test_formats_can_be_named(roots, made):
    assert open_data(f"coco:{roots['coco']}").format.name == "coco"
    with pytest.raises(CausalPoseError, match="formats are: posetrack17"):
        open_data(f"mpii:{roots['coco']}")
    with pytest.raises(CausalPoseError, match="no such folder"):
        open_data("nowhere")
    file = roots["coco"] / "annotations" / "person_keypoints_val2017.json"
    assert open_data(file).splits() == ["val2017"] and len(PersonSource(file, "", ModelConfig(), DATA)) == 10
    assert open_data(roots["coco"]).files("val") == [file], "val stands for val2017 where nothing else begins so"


def test_a_folder_of_two_data_sets_must_be_named(roots, tmp_path):
    for name in ("coco", "jhmdb-json"):
        for file in (roots[name] / "annotations").glob("*.json"):
            (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(CausalPoseError, match="files of coco, jhmdb"):
        open_data(tmp_path)
    assert open_data(f"coco:{tmp_path}").splits() == ["val2017"]


def test_detected_boxes_carry_the_labels_of_the_person_they_show(roots, made, tmp_path):
    box = made[0].box(2).tolist()
    image = 20000010002
    near = [box[0] + 2, box[1] + 1, box[2], box[3]]
    file = makers.detections(
        tmp_path / "found.json", [(image, near, 0.9), (image, box, 0.5), (image, [60, 80, 10, 12], 0.4), (image, box, 0.1), (5, box, 0.9)]
    )
    data = DataConfig(dilation=1, boxes=str(file), box_score=0.3)
    source = PersonSource(roots["posetrack18"], "train", ModelConfig(), data)
    assert [entry.score for entry in source.entries] == [0.9, 0.5, 0.4]
    assert [entry.track_id for entry in source.entries] == [3, -1, -1], "a person is found once, by the best box"
    assert source.entries[0].box.tolist() == pytest.approx(near)
    clips = source.batch(range(3))
    assert clips.visibility[0].any() and not clips.visibility[1:].any()
    assert len(PersonSource(roots["posetrack18"], "train", ModelConfig(), data, labelled_only=True)) == 1
    facts = source.describe()
    assert "detected (found.json, score at least 0.3)" in facts["boxes"] and facts["boxes_on_no_labelled_person"] == 2


def test_detections_of_another_data_set_fail_loudly(roots, tmp_path):
    file = makers.detections(tmp_path / "found.json", [(5, [1, 1, 9, 9], 0.9)])
    with pytest.raises(CausalPoseError, match="of another data set, or renumbered"):
        PersonSource(roots["posetrack18"], "train", ModelConfig(), DataConfig(boxes=str(file)))


def test_faulty_annotations_can_be_left_out_and_are_counted(roots, made, tmp_path):
    root = makers.posetrack18(tmp_path, made[:1])
    file = next((root / "annotations" / "train").glob("*.json"))
    table = json.loads(file.read_text())
    table["annotations"][1]["bbox"] = [1, 2, 0, 4]
    file.write_text(json.dumps(table))
    with pytest.raises(CausalPoseError, match=r"annotations\[1\].bbox"):
        PersonSource(root, "train", ModelConfig(), DATA)
    source = PersonSource(root, "train", ModelConfig(), DataConfig(dilation=1, faults="leave-out"))
    assert len(source) == 4 and source.describe()["faults_left_out"] == 1


def test_a_reduced_jpeg_gives_nearly_the_same_crop(made, tmp_path):
    """The reduced picture is used only where the crop is at most half as fine as it: the crops differ by a grey level or two."""
    from PIL import Image

    from causalpose.data.crops import crop_matrix, cut, cut_reduced, reduction
    from causalpose.data.files import read_image

    large = Image.fromarray(made[0].frames[0]).resize((575, 769), Image.Resampling.BICUBIC)
    large.save(tmp_path / "large.jpg", quality=95)
    whole = read_image(tmp_path / "large.jpg")
    for box, factor in (([100, 60, 350, 600], 4), ([200, 60, 120, 240], 2)):
        matrix = crop_matrix(np.array(box, float), 64, 48)
        assert reduction(matrix) == factor
        smaller = read_image(tmp_path / "large.jpg", factor)
        assert smaller.shape[0] == -(-769 // factor)
        difference = np.abs(cut(whole, matrix, 64, 48).astype(int) - cut_reduced(smaller, matrix, 64, 48, factor))
        assert difference.mean() < 1 and difference.max() < 12
    assert reduction(crop_matrix(np.array([0, 0, 60, 100.0]), 64, 48)) == 1


def test_every_sample_loads(shared_data):
    """All files of the real samples: (source, split, clips, joints of the model)."""
    for source, split, clips, keypoints in (
        ("posetrack18_sample", "val", 14, "posetrack15"),
        ("posetrack18_sample/annotations/test_posetrack18_val.json", "", 14, "posetrack18"),
        ("coco_sample", "test_coco", 12, "coco17"),
        ("coco_sample/test_coco_wholebody.json", "", 12, "coco17"),
        ("coco_sample/test_keypoint_partition_metric.json", "", 12, "coco17"),
        ("jhmdb_sample", "test_jhmdb_sub1", 3, "jhmdb15"),
        ("pose2sim_video", "val", 298, "posetrack15"),
    ):
        found = PersonSource(shared_data / source, split, ModelConfig(keypoints=keypoints), DataConfig())
        assert len(found) == clips, source
        clip = found.batch([0, len(found) - 1])
        assert clip.visibility[:, 1].any(1).all() and clip.frames.float().std() > 10


def test_the_samples_detections(shared_data):
    for folder, split, file, threshold in (
        ("posetrack18_sample", "val", "annotations/test_posetrack18_human_detections.json", 0.4),
        ("coco_sample", "test_coco", "test_coco_det_AP_H_56.json", 0.5),
    ):
        boxes = str(shared_data / folder / file)
        source = PersonSource(shared_data / folder, split, ModelConfig(), DataConfig(boxes=boxes, box_score=threshold))
        matched = sum(entry.track_id >= 0 for entry in source.entries)
        assert min(entry.score for entry in source.entries) >= threshold and matched >= 8


@pytest.mark.parametrize("threads", [1, 2])
def test_working_ahead_and_in_threads_changes_no_pixel(threads, roots):
    alone = PersonSource(roots["posetrack18"], "train", ModelConfig(), DATA)
    truth = [alone.batch(batch) for batch in ([0, 3, 3], [7, 1], [2, 9])]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        source = PersonSource(roots["posetrack18"], "train", ModelConfig(), DATA)
        source.prefetch(torch.tensor([0, 3, 3]))
        first = source.batch([0, 3, 3])
        source.prefetch([5])  # not what is asked for next
        found = [first, source.batch([7, 1]), source.batch([2, 9])]
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a.frames, b.frames) and torch.equal(a.keypoints, b.keypoints) for a, b in zip(truth, found, strict=True))


def test_an_error_ahead_comes_out_of_its_batch(made, tmp_path):
    root = makers.posetrack18(tmp_path, made[:1])
    source = PersonSource(root, "train", ModelConfig(frames=1), DATA)
    next(root.glob("images/train/*/000002.jpg")).unlink()
    source.prefetch([2])
    assert len(source.batch([0, 1])) == 2, "the error belongs to another batch"
    source.prefetch([2])
    with pytest.raises(CausalPoseError, match="000002.jpg: no such image"):
        source.batch([2])


def test_train_and_evaluate_take_any_format(roots, made, tmp_path):
    """The commands, on a data set whose keypoints are its own: two steps of training, then PCK with detected boxes."""
    from typer.testing import CliRunner

    from causalpose.cli.main import app

    run = CliRunner().invoke
    small = [
        "backbone.depth=1",
        "backbone.width=32",
        "backbone.heads=2",
        "encoder.depth=1",
        "encoder.heads=2",
        "frames=3",
        "keypoints=coco17",
    ]
    settings = [part for text in small for part in ("--set", f"model.{text}")]
    source = ["--data", str(roots["coco"]), "--split", "val", "--init", "none", "--steps", "2", "--set", "train.batch=4", "--quiet"]
    done = run(app, ["train", "--stage", "1", *source, *settings, "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    box = [round(v, 2) for v in made[0].box(0).tolist()]
    file = makers.detections(tmp_path / "found.json", [(1, box, 0.8), (2, [1, 1, 30, 40], 0.6)])
    scored = ["evaluate", str(tmp_path / "run"), "--data", f"coco:{roots['coco']}", "--split", "val2017", "--boxes", str(file), "--quiet"]
    done = run(app, [*scored, "--json", str(tmp_path / "score.json")])
    assert done.exit_code == 0, done.output
    assert "detected (found.json, score at least 0.3)" in " ".join(done.output.split())
    protocol = json.loads((tmp_path / "score.json").read_text())["protocol"]["sources"][0]
    assert protocol["clips"] == 2 and protocol["source"] == "coco" and protocol["boxes_on_no_labelled_person"] <= 1
