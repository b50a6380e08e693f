"""The two programs that record what the book quotes: small versions of both, end to end."""

import numpy as np
import pytest
from PIL import Image

from causalpose.clip import Visibility
from causalpose.config import differing_keys, override, preset
from causalpose.data import posetrack
from causalpose.errors import CausalPoseError
from causalpose.experiments import real_video, record_weights, records, selection_search
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


def test_record_weights(tmp_path, monkeypatch):
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

    # New weights of one stage: its rows change, the others stay, and every comparison is there again.
    other = CMPose(config.model)
    names[1] = f"tiny-stage1={checkpoint.save(tmp_path / 'new.safetensors', other, config, {})}"
    with pytest.raises(CausalPoseError, match="tiny-backbone are not those"):  # measured above: other weights than the shipped ones
        record_weights.record((names[1],), 3, folder, progress=False, keep=True)
    monkeypatch.setattr(record_weights.weights, "NAMES", ())
    again = records.read(record_weights.record((names[1],), 3, folder, progress=False, keep=True))
    assert not again.results.equals(record.results) and len(again.results) == len(record.results)
    for variant in ("mean-pose", "tiny-backbone", "scenes"):
        before, after = (r.results[r.results["variant"] == variant].reset_index(drop=True) for r in (record, again))
        assert before.equals(after)
    assert set(zip(again.comparisons["variant"], again.comparisons["against"], strict=True)) == pairs
    (facts,) = again.provenance
    assert facts["kept"]["variants"] == ["mean-pose", "tiny-backbone", "scenes"] and set(facts["weights"]) == {
        "tiny-backbone",
        "tiny-stage1",
    }
    with pytest.raises(CausalPoseError, match="cannot be mixed with another protocol"):
        record_weights.record((names[1],), 4, folder, progress=False, keep=True)


def test_selection_search(tmp_path):
    """Two variants for one step: rows of the model as trained, of swapped selectors, and of importance; a second call trains nothing."""
    overrides = ("data.clips=8", "train.batch=4", "train.precision=no")
    arguments = {"steps": 1, "clips": 4, "effects": 1, "overrides": overrides, "progress": False}
    folder = selection_search.search(("strict", "joints 1"), tmp_path / "runs", tmp_path / "results", **arguments)
    record = records.read(folder)
    rows = record.results[record.results["joint"] == "mean"].pivot_table(index="variant", columns="metric", values="value")
    assert set(rows.index) == {"strict", "joints 1"}
    assert {"PCK@0.2", "ROC-AUC", "agreement", "PCK@0.2 with random", "PCK@0.2 with all"} <= set(rows.columns)
    assert rows["ROC-AUC"].between(0, 1).all() and rows["agreement"].between(-1, 1).all()
    weights = (tmp_path / "runs" / "strict" / "model.safetensors").stat().st_mtime_ns
    selection_search.search(("strict",), tmp_path / "runs", tmp_path / "results", **arguments)
    assert (tmp_path / "runs" / "strict" / "model.safetensors").stat().st_mtime_ns == weights
    with pytest.raises(CausalPoseError, match=r"another train\.steps"):
        selection_search.search(("strict",), tmp_path / "runs", tmp_path / "results", **arguments | {"steps": 2})


def test_variants_of_the_search_differ_from_the_baseline_in_what_they_say():
    baseline = selection_search.variant_config("strict", 10)
    for name, changes in selection_search.VARIANTS.items():
        differing = differing_keys(baseline, selection_search.variant_config(name, 10))
        assert set(differing) <= set(changes) and (bool(differing) or name == "strict")
