"""A small PoseTrack18 data set on disk: one sequence of 6 frames of 120x90 pixels, two persons, one unlabelled frame."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from causalpose.skeletons import keypoint_set

NAMES = keypoint_set("posetrack18").keypoints


def figure(shift: float = 0.0) -> np.ndarray:
    """A standing person `[17, 3]` about 60 pixels tall, x shifted; the ears are the empty placeholders."""
    places = {
        "nose": (50, 20), "head_bottom": (50, 25), "head_top": (50, 12),
        "left_shoulder": (58, 28), "right_shoulder": (42, 28), "left_elbow": (62, 38), "right_elbow": (38, 38), "left_wrist": (64, 48),
        "right_wrist": (36, 48), "left_hip": (55, 48), "right_hip": (45, 48), "left_knee": (56, 60), "right_knee": (44, 60),
        "left_ankle": (57, 72), "right_ankle": (43, 72),
    }  # fmt: skip
    table = np.zeros((17, 3))
    for slot, name in enumerate(NAMES):
        if name in places:
            table[slot] = (places[name][0] + shift, places[name][1], 1)
    return table


def contents(split: str = "train", name: str = "seq", frames: int = 6) -> dict:
    """The annotation table; frame 3 is unlabelled, person 1 is there in even frames only, frame 1's nose is flagged occluded."""
    images = [
        {"id": 100 + t, "file_name": f"images/{split}/{name}/{t:06d}.png", "is_labeled": t != 3, "height": 90, "width": 120}
        for t in range(frames)
    ]
    annotations = []
    for t in range(frames):
        for track, shift in ((0, 1.0 * t), (1, 40.0)):
            if t != 3 and (track == 0 or t % 2 == 0):
                annotations.append({
                    "id": 10 * t + track, "image_id": 100 + t, "track_id": track, "keypoints": figure(shift).ravel().tolist(),
                    "bbox": [30 + shift, 8, 40, 68], "occluded": [int(t == 1 and slot == 0) for slot in range(17)],
                })  # fmt: skip
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person", "keypoints": list(NAMES)}]}


@pytest.fixture
def table() -> dict:
    """The annotation table, to be broken by a test."""
    return contents()


@pytest.fixture
def save(tmp_path: Path):
    """Write a table (and images whose red channel is 10 x the frame's number) as a data set; returns its root."""

    def write(table: dict, split: str = "train", name: str = "seq") -> Path:
        for t in range(len(table["images"])):
            path = tmp_path / "images" / split / name / f"{t:06d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.full((90, 120, 3), (10 * t, 100, 200), np.uint8)
            Image.fromarray(pixels).save(path)
        file = tmp_path / "annotations" / split / f"{name}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(table))
        return tmp_path

    return write
