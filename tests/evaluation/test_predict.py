"""Prediction on video: one result a frame, memory of one window, boxes followed, coordinates in image pixels."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from causalpose.data import posetrack, video
from causalpose.data.labels import Frame, Person, PoseSequence
from causalpose.data.posetrack import FILE_SET
from causalpose.errors import CausalPoseError
from causalpose.evaluation import poseval, predict, submissions
from causalpose.evaluation.boxes import read_boxes
from causalpose.model.cmpose import CMPose, Output
from causalpose.plotting.overlay import FrameDrawer
from causalpose.scenes.world import World
from causalpose.training import checkpoint
from tests.evaluation.fakes import small_config


@pytest.fixture
def folder(tmp_path):
    """Seven frames of 120x90 pixels with a bright square that moves right by 8 pixels a frame, from x = 20."""
    root = tmp_path / "walk"
    root.mkdir()
    for t in range(7):
        image = np.zeros((90, 120, 3), np.uint8)
        image[40:47, 17 + 8 * t : 24 + 8 * t] = 255
        Image.fromarray(image).save(root / f"{t:06d}.png")
    return root


class Finder(CMPose):
    """A model whose every joint is the brightest place of the target frame: its predictions can be checked by eye."""

    def forward(self, frames, **_):
        self.passes = getattr(self, "passes", 0) + 1
        grey = frames[:, frames.shape[1] // 2].float().mean(1, keepdim=True)
        maps = torch.nn.functional.interpolate(grey, self.config.heatmap_size, mode="bilinear", align_corners=True)
        return Output(maps.expand(-1, 15, -1, -1) / 4)

    def embed(self, frames):
        self.embedded = getattr(self, "embedded", 0) + len(frames) * frames.shape[1]
        return frames[:, :, :1].float()

    def forward_tokens(self, tokens, **_):
        return self.forward(tokens.expand(-1, -1, 3, -1, -1))


def test_windows_by_hand():
    """Five frames, T = 3, dilation 2: the ends are repeated."""
    frames = [np.full((1, 1, 3), n, np.uint8) for n in range(5)]
    seen = [[int(held.image[0, 0, 0]) for held in window] for window in predict._windows(frames, 3, 2)]
    assert seen == [[0, 0, 2], [0, 1, 3], [0, 2, 4], [1, 3, 4], [2, 4, 4]]
    assert [len(window) for window in predict._windows(frames, 1, 2)] == [1] * 5
    assert list(predict._windows([], 3, 1)) == []


def test_windows_hold_no_more_than_they_need():
    """Frames are asked for one by one: before frame t is yielded, at most t + reach + 1 have been read."""
    read = []

    def frames():
        for n in range(50):
            read.append(n)
            yield np.zeros((1, 1, 3), np.uint8)

    for t, _ in enumerate(predict._windows(frames(), 5, 2)):
        assert len(read) <= t + 4 + 1


def test_whole_frame_finds_the_square_and_embeds_each_frame_once(folder, tmp_path):
    model = Finder(small_config())
    result = predict.predict_video(model, folder, tmp_path / "out", draw=FrameDrawer(FILE_SET, shorter=90), dilation=1)
    assert result["frames"] == 7 and result["persons"] == 7
    assert model.embedded == 14, "7 frames, each straight and mirrored, once"
    (sequence,) = posetrack.read(result["json"])
    nose = np.array([frame.persons[0].keypoints[0] for frame in sequence.frames])
    assert np.abs(nose - [[20 + 8 * t, 43] for t in range(7)]).max() < 2
    person = sequence.frames[0].persons[0]
    assert (person.visibility[3:5] == 0).all() and (person.visibility[5:] == 1).all()
    assert (person.scores[5:] > 0).all() and (person.scores <= 1).all()
    assert len(list(video.read_frames(result["video"]))) == 7


def test_boxes_follow_the_person(folder, tmp_path):
    """Boxes from a PoseTrack18 file, matched by file name: frame 3 has none; the crop follows, the result is in image pixels."""
    frames = []
    for t in range(7):
        person = Person(5, np.zeros((17, 2)), np.zeros(17, np.uint8), np.array([8.0 + 8 * t, 25, 24, 36]))
        frames.append(Frame(t, f"walk/{t:06d}.png", True, () if t == 3 else (person,)))
    posetrack.write(tmp_path / "boxes.json", PoseSequence("walk", tuple(frames)))
    result = predict.predict_video(Finder(small_config()), folder, tmp_path / "out", boxes=tmp_path / "boxes.json")
    assert "video" not in result and result["persons"] == 6
    (sequence,) = posetrack.read(result["json"])
    assert sequence.frames[3].persons == ()
    for t in (0, 2, 6):
        (person,) = sequence.frames[t].persons
        assert person.track_id == 5 and np.abs(person.keypoints[0] - [20 + 8 * t, 43]).max() < 1
    assert json.loads(result["json"].read_text())["info"]["boxes"] == "boxes.json"


@pytest.fixture
def walker(tmp_path):
    """Seven frames of 96x72 pixels with an easily seen person."""
    clip = World(height=96, width=72, frames=7, level="easy", seed=3).under("clean").render([0])[0]
    root = tmp_path / "frames"
    root.mkdir()
    for t, frame in enumerate(clip.frames):
        Image.fromarray(frame.permute(1, 2, 0).numpy()).save(root / f"{t:03d}.png")
    return root


class Anew(CMPose):
    """A model whose "tokens" are the pictures: every clip passes another model whole, so nothing of that is ever used twice."""

    def __init__(self, model: CMPose):
        super().__init__(model.config)
        self.whole = model

    def embed(self, frames, keep_rate=None):
        return frames

    def forward_tokens(self, tokens, **_):
        return self.whole(tokens)


def staying_boxes(path):
    """A box that stays for four frames, then another one."""
    boxes = [{"image_id": t, "bbox": [5.0 if t < 4 else 12.0, 4.0, 56.0, 80.0], "score": 1.0} for t in range(7)]
    path.write_text(json.dumps(boxes))
    return path


@pytest.mark.parametrize("boxed", [False, True])
@pytest.mark.parametrize("name", ["tiny-backbone", "tiny-stage1", "tiny-stage2"])
def test_tokens_reused_give_what_whole_clips_give(name, boxed, walker, tmp_path):
    """Joint by joint, with the whole frame as the crop and with boxes that stay for a while.

    With trained models on a person: the maps of an untrained one are nearly flat, and a joint there has two peaks of the same height.
    """
    model, _, _ = checkpoint.load(name)
    model.eval()
    boxes = staying_boxes(tmp_path / "boxes.json") if boxed else None
    results = [predict.predict_video(m, walker, tmp_path / n, boxes=boxes) for m, n in ((model, "reused"), (Anew(model), "anew"))]
    reused, anew = (posetrack.read(result["json"])[0] for result in results)
    for a, b in zip(reused.frames, anew.frames, strict=True):
        assert np.abs(a.persons[0].keypoints - b.persons[0].keypoints).max() < 0.05


def test_a_box_of_the_whole_frame_gives_what_no_box_gives(walker, tmp_path):
    """Joint by joint; the box is read back enlarged by 1.25."""
    model, _, _ = checkpoint.load("tiny-stage2")
    (whole,) = posetrack.read(predict.predict_video(model.eval(), walker, tmp_path / "a")["json"])
    box = np.array([0.0, 0.0, 71.0, 95.0])
    centre, side = box[:2] + box[2:] / 2, box[2:] / 1.25
    boxes = [{"image_id": t, "bbox": [*(centre - side / 2), *side], "score": 1.0} for t in range(7)]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    (boxed,) = posetrack.read(predict.predict_video(model, walker, tmp_path / "b", boxes=tmp_path / "boxes.json")["json"])
    for a, b in zip(whole.frames, boxed.frames, strict=True):
        assert np.abs(a.persons[0].keypoints - b.persons[0].keypoints).max() < 0.5


def test_a_frame_passes_the_backbone_once_for_every_box(folder, tmp_path):
    """T = 3, dilation 1. The first box is for frames 0 to 3, whose windows hold frames 0 to 4; the second for 4 to 6, with 3 to 6."""
    model = Finder(small_config())
    result = predict.predict_video(model, folder, tmp_path / "a", boxes=staying_boxes(tmp_path / "boxes.json"), dilation=1)
    assert result["crops"] == 5 + 4 and model.embedded == 2 * 9
    assert predict.predict_video(Finder(small_config()), folder, tmp_path / "b", dilation=1)["crops"] == 7


def test_detections_are_linked_to_tracks(tmp_path):
    """Two boxes drift; in frame 1 they are listed the other way round; in frame 3 a third appears. Low scores and other classes go."""
    table = []
    for t, order in enumerate(([0, 1], [1, 0], [0, 1], [0, 1, 2])):
        table += [
            {"image_id": 10128340000 + t, "bbox": [100 * person + 3 * t, 0, 40, 80], "score": 0.9, "category_id": 1} for person in order
        ]
    table += [
        {"image_id": 10128340000, "bbox": [0, 0, 9, 9], "score": 0.1},
        {"image_id": 10128340000, "bbox": [0, 0, 9, 9], "category_id": 3},
    ]
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(table))
    boxes = read_boxes(path)
    assert [[(track, int(box[0])) for track, box in sorted(boxes.at(t), key=lambda item: item[0])] for t in range(4)] == [
        [(0, 0), (1, 100)], [(0, 3), (1, 103)], [(0, 6), (1, 106)], [(0, 9), (1, 109), (2, 209)],
    ]  # fmt: skip
    assert boxes.at(9) == []


@pytest.mark.parametrize(
    "content", ['[{"bbox": [0, 0, 1, 1]}]', '[{"image_id": 0, "bbox": [0, 0, 0, 1]}]', "[3]", '[{"image_id": "a", "bbox": [0, 0, 1, 1]}]']
)
def test_wrong_detections_are_named(tmp_path, content):
    path = tmp_path / "boxes.json"
    path.write_text(content)
    with pytest.raises(CausalPoseError, match=r"boxes.json: \[0\]: a detection needs"):
        read_boxes(path)


def test_boxes_of_other_images_are_refused(folder, tmp_path):
    person = Person(0, np.zeros((17, 2)), np.zeros(17, np.uint8), np.array([0.0, 0, 9, 9]))
    frame = Frame(0, "run/elsewhere.png", True, (person,))
    posetrack.write(tmp_path / "boxes.json", PoseSequence("run", (frame,)))
    with pytest.raises(CausalPoseError, match="elsewhere.png, but the folder holds 000000.png"):
        predict.predict_video(Finder(small_config()), folder, tmp_path / "out", boxes=tmp_path / "boxes.json")


def test_the_oracle_selector_cannot_predict(folder, tmp_path):
    with pytest.raises(CausalPoseError, match="oracle"):
        predict.predict_video(CMPose(small_config(stage=2, fte__selector="oracle")), folder, tmp_path)


def test_nothing_is_left_after_a_failure(folder, tmp_path):
    (folder / "000004.png").write_bytes(b"broken")
    with pytest.raises(CausalPoseError, match="000004.png: cannot be decoded"):
        predict.predict_video(Finder(small_config()), folder, tmp_path / "out", draw=FrameDrawer(FILE_SET))
    assert not any((tmp_path / "out").iterdir())


class Skeleton(Finder):
    """Its joints stand around the brightest place over 0.62 of the crop: the share that a box with its margins gives back."""

    def forward(self, frames, **_):
        maps = super().forward(frames).heatmaps
        moved = [torch.roll(maps[:, k], ((k % 3 - 1) * 10, (k // 5 - 1) * 7), (-2, -1)) for k in range(maps.shape[1])]
        return Output(torch.stack(moved, 1))


def test_following_the_previous_pose(folder, tmp_path):
    """A box for the first frame only: each next one is the last pose's, and the track stays the same person to the end."""
    (tmp_path / "boxes.json").write_text(json.dumps([{"image_id": 0, "bbox": [-10, -2, 60, 90], "score": 1.0}]))
    alone = predict.predict_video(Skeleton(small_config()), folder, tmp_path / "a", boxes=tmp_path / "boxes.json", dilation=1)
    assert alone["persons"] == 1
    result = predict.predict_video(
        Skeleton(small_config()), folder, tmp_path / "b", boxes=tmp_path / "boxes.json", follow=True, dilation=1, flip_test=False
    )
    (sequence,) = posetrack.read(result["json"])
    assert [len(frame.persons) for frame in sequence.frames] == [1] * 7
    middle = np.array([frame.persons[0].keypoints[FILE_SET.index("left_hip")] for frame in sequence.frames])
    assert np.abs(middle[:, 0] - [20 + 8 * t for t in range(7)]).max() < 15 and len({f.persons[0].track_id for f in sequence.frames}) == 1
    boxes = np.array([frame.persons[0].box for frame in sequence.frames])
    assert (np.diff(boxes[1:, 0]) > 2).all(), "the box moves with the square"
    assert json.loads(result["json"].read_text())["info"]["boxes"] == "boxes.json, then the pose of the frame before"


def test_a_lost_person_is_dropped_and_searched_again():
    """By hand: joints around (50, 40) give their box and 15 % all round; few joints, a speck, or a place outside give none."""
    visibility, scores = np.ones(17, np.uint8), np.ones(17)
    points = np.tile([[50.0, 40.0]], (17, 1))
    points[0], points[1] = (30, 20), (70, 60)
    person = Person(0, points, visibility, None, None, scores)
    assert predict._next_box(person, (90, 120)).tolist() == [24, 14, 52, 52]
    assert predict._next_box(person, (90, 45)) is None, "its middle (50, 40) is outside of 45 x 90"
    weak = np.where(np.arange(17) < 3, 1.0, 0.4)
    assert predict._next_box(Person(0, points, visibility, None, None, weak), (90, 120)) is None
    speck = Person(0, points * 0.05 + 40, visibility, None, None, scores)
    assert predict._next_box(speck, (90, 120)) is None


def test_predictions_bear_the_ids_of_the_boxes_file_and_can_be_scored(folder, tmp_path):
    """Labels of a folder as the boxes: the result is joined to them by poseval's rules without a change."""
    frames = []
    for t in range(7):
        places = np.tile([[20.0 + 8 * t, 43.0]], (17, 1))
        person = Person(5, places, np.ones(17, np.uint8), np.array([8.0 + 8 * t, 25, 24, 36]), np.array([0.0, 0, 30, 40]))
        frames.append(Frame(10_000_070_000 + t, f"images/val/walk/{t:06d}.png", True, (person,)))
    truth = PoseSequence("walk", tuple(frames))
    posetrack.write(tmp_path / "boxes.json", truth)
    result = predict.predict_video(Finder(small_config()), folder, tmp_path / "out", boxes=tmp_path / "boxes.json")
    assert poseval.average_precision([truth], submissions.read(result["json"])).mean == 100


@pytest.mark.parametrize("boxed", [False, True])
def test_few_pictures_are_held_however_long_the_video(monkeypatch, folder, tmp_path, boxed):
    """120 frames go through; never are more than the window of 2 x 2 + 1 and two in passing alive."""
    alive, most = 0, 0

    class Picture(np.ndarray):
        def __del__(self):
            nonlocal alive
            if getattr(self, "counted", False):
                alive -= 1

    def frames(_):
        nonlocal alive, most
        for t in range(120):
            picture = np.full((90, 120, 3), t, np.uint8).view(Picture)
            picture.counted = True
            alive += 1
            most = max(most, alive)
            yield picture
            del picture

    monkeypatch.setattr(video, "read_frames", frames)
    boxes = None
    if boxed:
        boxes = tmp_path / "boxes.json"
        boxes.write_text(json.dumps([{"image_id": t, "bbox": [8, 25, 24, 36], "score": 1.0} for t in range(120)]))
    monkeypatch.setattr(video, "probe", lambda _: video.VideoInfo(120, 25.0))
    result = predict.predict_video(
        Finder(small_config()), folder, tmp_path / "out", boxes=boxes, draw=lambda image, frame: np.asarray(image).copy()
    )
    assert result["frames"] == 120 and alive <= 1 and 5 <= most <= 7
