"""The two programs that record what the book quotes: small versions of both, end to end."""

import numpy as np
import pytest
from PIL import Image

from causalpose.clip import Visibility
from causalpose.config import differing_keys, override, preset
from causalpose.data import posetrack
from causalpose.experiments import real_video, record_weights, records
from causalpose.model.cmpose import CMPose
from causalpose.skeletons import keypoint_set
from causalpose.training import checkpoint

SMALL_BACKBONE = (
    "model.backbone.width=32",
    "model.backbone.depth=1",
    "model.backbone.heads=2",
    "model.encoder.heads=2",
    "model.head.channels=16",
)


@pytest.fixture
def video(tmp_path):
    """A data set of one person in four frames in each of the three splits."""
    names = keypoint_set("posetrack18")
    points = np.stack([np.linspace(30, 60, len(names)), np.linspace(10, 80, len(names))], -1)
    seen = np.array([0 if name in names.unused else int(Visibility.VISIBLE) for name in names.keypoints], np.uint8)
    for split in ("train", "val", "val_other"):
        frames = []
        for t in range(4):
            file = f"images/{split}/{t}.png"
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((90, 90, 3), 40 * t, np.uint8)).save(tmp_path / file)
            person = posetrack.Person(0, points + t, seen, np.array([25.0 + t, 5.0, 45.0, 80.0]))
            frames.append(posetrack.Frame(t, file, True, (person,), size=(90, 90)))
        posetrack.write(tmp_path / "annotations" / split / "one.json", posetrack.PoseSequence("one", tuple(frames)))
    return tmp_path


def test_real_video(video, tmp_path, small_weights):
    small = override(preset("tiny"), SMALL_BACKBONE)
    weights = checkpoint.save(tmp_path / "start.safetensors", CMPose(small.model), small, {})
    arguments = {"steps": 1, "overrides": (*SMALL_BACKBONE, "train.batch=2"), "progress": False}
    into = tmp_path / "results"
    real_video.study(video, str(weights), (0, 1), tmp_path / "runs", into, **arguments)
    record = records.read(into)
    assert set(record.results["variant"]) == {"mean-pose", "scenes", "fine-tuned", "from-nothing"}
    assert {name.rpartition("/")[2] for name in record.results["dataset"]} == {"val", "val_other"}
    pairs = set(zip(record.comparisons["variant"], record.comparisons["against"], strict=True))
    assert ("fine-tuned", "from-nothing") in pairs and ("fine-tuned", "scenes") in pairs
    assert str(tmp_path) not in (into / records.PROVENANCE).read_text()


def test_arms_of_real_video_differ_in_start_and_rate_only(video, small_weights):
    """Equal steps, batch, data and seed; the rates are those the module's docstring states."""
    tuned, nothing = (cell.model for _, cell in real_video.cells(video, str(small_weights[1]), (3,))[1:])
    assert set(differing_keys(nothing.config, tuned.config)) == set(real_video.FINE_TUNING)
    assert tuned.init and nothing.init is None and tuned.seed == nothing.seed == 3


def test_record_weights(tmp_path):
    """Untrained weights of two stages: rows for each, comparisons of each pair that is present, and the share of hidden joints."""
    names = []
    for stage, name in ((0, "tiny-backbone"), (1, "tiny-stage1")):
        config = override(override(preset("tiny"), SMALL_BACKBONE), {"model.stage": stage})
        names.append(f"{name}={checkpoint.save(tmp_path / f'{stage}.safetensors', CMPose(config.model), config, {})}")
    folder = record_weights.record(tuple(names), 3, tmp_path / "results", progress=False)
    record = records.read(folder)
    assert set(record.results["variant"]) == {"mean-pose", "tiny-backbone", "tiny-stage1", "scenes"}
    pairs = set(zip(record.comparisons["variant"], record.comparisons["against"], strict=True))
    assert pairs == {("tiny-backbone", "mean-pose"), ("tiny-stage1", "mean-pose"), ("tiny-stage1", "tiny-backbone")}
    shares = record.results[record.results["metric"] == "occluded joints"].set_index(["dataset", "condition"])["value"]
    assert shares["scenes/test", "occluded"] >= shares["scenes/test", "clean"] and shares.between(0, 100).all()
    assert {f"scenes-level-{level}/test" for level in ("easy", "default", "hard")} < set(record.results["dataset"])
    assert (folder / "intervals.csv").is_file()
