"""Prediction on video: one result a frame, memory of one window, boxes followed, coordinates in image pixels."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from causalpose.data import posetrack, video
from causalpose.data.posetrack import FILE_SET
from causalpose.errors import CausalPoseError
from causalpose.evaluation import predict
from causalpose.evaluation.boxes import read_boxes
from causalpose.model.cmpose import CMPose, Output
from causalpose.plotting.overlay import FrameDrawer
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
        return Finder.forward(self, tokens.expand(-1, -1, 3, -1, -1))


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
        person = posetrack.Person(5, np.zeros((17, 2)), np.zeros(17, np.uint8), np.array([8.0 + 8 * t, 25, 24, 36]))
        frames.append(posetrack.Frame(t, f"walk/{t:06d}.png", True, () if t == 3 else (person,)))
    posetrack.write(tmp_path / "boxes.json", posetrack.PoseSequence("walk", tuple(frames)))
    result = predict.predict_video(Finder(small_config()), folder, tmp_path / "out", boxes=tmp_path / "boxes.json")
    assert "video" not in result and result["persons"] == 6
    (sequence,) = posetrack.read(result["json"])
    assert sequence.frames[3].persons == ()
    for t in (0, 2, 6):
        (person,) = sequence.frames[t].persons
        assert person.track_id == 5 and np.abs(person.keypoints[0] - [20 + 8 * t, 43]).max() < 1
    assert json.loads(result["json"].read_text())["info"]["boxes"] == "boxes.json"


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_tokens_reused_give_what_the_frames_give(stage, folder, tmp_path):
    """Whole-frame prediction reuses backbone tokens; a box of the whole frame takes the other path. Both must agree."""
    config = small_config(stage=stage)
    model = CMPose(config).eval()
    result = predict.predict_video(model, folder, tmp_path / "a")
    (whole,) = posetrack.read(result["json"])
    height, width = 90, 120
    box = np.array([0.0, 0.0, width - 1.0, height - 1.0])
    centre, side = box[:2] + box[2:] / 2, box[2:] / 1.25  # read back enlarged by 1.25
    boxes = [{"image_id": t, "bbox": [*(centre - side / 2), *side], "score": 1.0} for t in range(7)]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    result = predict.predict_video(model, folder, tmp_path / "b", boxes=tmp_path / "boxes.json")
    (boxed,) = posetrack.read(result["json"])
    for a, b in zip(whole.frames, boxed.frames, strict=True):
        assert np.abs(a.persons[0].keypoints - b.persons[0].keypoints).max() < 0.5


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
    person = posetrack.Person(0, np.zeros((17, 2)), np.zeros(17, np.uint8), np.array([0.0, 0, 9, 9]))
    frame = posetrack.Frame(0, "run/elsewhere.png", True, (person,))
    posetrack.write(tmp_path / "boxes.json", posetrack.PoseSequence("run", (frame,)))
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
