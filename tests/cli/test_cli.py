"""The command line, called as the installed program calls it."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from causalpose import __version__
from causalpose.cli import main
from tests.training.dots import SMALL

SETTINGS = [part for text in (*SMALL, "data.clips=8", "train.steps=2") for part in ("--set", text)]


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    """`call(*arguments) -> (exit code, stdout, stderr)`; rendered scenes go to a folder of the test."""
    monkeypatch.setenv("CAUSALPOSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "140")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["causalpose", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            main.run()
        except SystemExit as end:
            code = end.code or 0
        return (code, *capsys.readouterr())

    return run


@pytest.fixture
def trained(call, tmp_path):
    """Folder of a small trained stage 1."""
    code, _, errors = call("train", "--out", tmp_path / "run", "--init", "none", "--quiet", *SETTINGS)
    assert code == 0, errors
    return tmp_path / "run"


def _one_line(result, text):
    code, _, errors = result
    assert code == 2 and errors.count("\n") == 1 and errors.startswith("error: ") and text in errors, result


def test_module_and_version():
    done = subprocess.run([sys.executable, "-m", "causalpose", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"causalpose {__version__}"


@pytest.mark.parametrize("command", [(), ("train",), ("evaluate",), ("predict",), ("data",), ("data", "check")])
def test_help(call, command):
    code, out, _ = call(*command, "--help")
    assert code == 0 and "Usage: causalpose" in out
    if command and command != ("data",):
        assert call(*command)[1].strip() == out.strip() or call(*command)[0] == 2


def test_train_says_what_it_starts_from_and_resumes(call, tmp_path):
    arguments = ("train", "--out", tmp_path / "run", "--init", "none", "--val", "val", "--val-clips", 4, *SETTINGS)
    code, out, _ = call(*arguments)
    assert code == 0 and "starting from nothing: asked for by --init none" in out and "model.safetensors" in out
    assert {"config.json", "log.csv", "model.json", "model.safetensors"} == {path.name for path in (tmp_path / "run").iterdir()}
    assert json.loads((tmp_path / "run" / "model.json").read_text())["config"]["train"]["steps"] == 2
    code, out, _ = call(*arguments, "--resume")
    assert code == 0 and "finished already" in out
    _one_line(call(*arguments), "--resume")
    _one_line(call(*arguments, "--resume", "--seed", 5), "train.seed was 0 and is now 5")
    _one_line(call(*arguments, "--resume", "--overwrite"), "give one of them")


def test_stage_two_from_stage_one(call, trained, tmp_path):
    code, out, errors = call("train", "--stage", 2, "--init", trained, "--out", tmp_path / "two", *SETTINGS)
    assert code == 0, errors
    assert f"starting from {trained}" in out and "tensors used" in out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--preset", "giant"), "unknown preset 'giant'"),
        (("--set", "train.stepz=3"), "did you mean 'steps'"),
        (("--set", "model.mcl.mask_ratio=1.5"), "mask_ratio = 1.5 must be a share"),
        (("--set", "train.lr"), "section.key=value"),
        (("--init", "nowhere"), "checkpoint nowhere not found"),
        (("--data", "nowhere"), "nowhere"),
        (("--split", "monday"), "no split 'monday'"),
    ],
)
def test_bad_input_is_one_line(call, tmp_path, arguments, text):
    _one_line(call("train", "--out", tmp_path / "run", "--quiet", *SETTINGS, *arguments), text)


def test_wrong_stage_is_a_usage_error(call, tmp_path):
    code, _, errors = call("train", "--stage", 3, "--out", tmp_path / "run")
    assert code == 2 and "Invalid value for '--stage'" in errors


def test_truncated_and_missing_checkpoints(call, trained, tmp_path):
    _one_line(call("evaluate", tmp_path / "nothing"), "not found")
    path = trained / "model.safetensors"
    path.write_bytes(path.read_bytes()[:500])
    _one_line(call("evaluate", trained), "truncated or damaged")
    _one_line(call("predict", trained, tmp_path, "--out", tmp_path / "o"), "truncated or damaged")


def test_evaluate_by_condition(call, trained, tmp_path):
    code, out, errors = call("evaluate", trained, "--clips", 4, "--quiet", "--json", tmp_path / "deep" / "val.json")
    assert code == 0, errors
    for word in (
        "clean",
        "occluded",
        "defocus",
        "motion_blur",
        "low_light",
        "flip test on",
        "boxes: ground truth",
        "scale: torso",
        "severity 3",
    ):
        assert word in out, word
    document = json.loads((tmp_path / "deep" / "val.json").read_text())
    assert set(document) == {"protocol", "provenance", "rows"}
    assert {row["condition"] for row in document["rows"]} == {"clean", "occluded", "defocus", "motion_blur", "low_light"}
    assert {"PCK@0.2", "PCK@0.1"} <= {row["metric"] for row in document["rows"]}
    assert all(0 <= row["value"] <= 100 for row in document["rows"])
    _one_line(call("evaluate", trained, "--device", "cuda:99", "--quiet"), "not available")
    _one_line(call("evaluate", trained, "--decoder", "drak", "--quiet"), "--decoder drak is not one of: dark")


def test_evaluate_real_data_and_predictions(call, trained, shared_data, tmp_path):
    root = shared_data / "posetrack18_sample"
    code, out, errors = call("evaluate", trained, "--data", root, "--quiet", "--json", tmp_path / "real.json")
    assert code == 0, errors
    for word in (
        "PoseTrack AP",
        "Head",
        "Mean",
        "AP (OKS)",
        "PCKh@0.5",
        "no NMS",
        "flip test on",
        "boxes: ground truth",
        "poseval: 14 persons",
    ):
        assert word in " ".join(out.split()), word
    document = json.loads((tmp_path / "real.json").read_text())
    assert {"AP (PoseTrack)", "AP (OKS)", "PCK@0.2"} <= {row["metric"] for row in document["rows"]}
    assert document["protocol"]["metrics"]["PoseTrack AP"].startswith("poseval") and document["protocol"]["sources"][0]["boxes"]
    code, out, errors = call("evaluate", "--predictions", root / "annotations" / "val", "--data", root, "--json", tmp_path / "own.json")
    assert code == 0 and "100.0" in out and "3 of 3 sequences" in " ".join(out.split()), errors
    rows = json.loads((tmp_path / "own.json").read_text())["rows"]
    assert all(row["value"] == 100 for row in rows if row["metric"] == "AP (PoseTrack)")


def test_evaluate_under_corruptions(call, trained, shared_data, tmp_path):
    data = shared_data / "jhmdb_sample" / "test_jhmdb_sub1.json"
    code, out, errors = call("evaluate", trained, "--data", data, "--quiet", "--corruptions", "--no-flip", "--json", tmp_path / "c.json")
    assert code == 0, errors
    assert "ratio to clean" in out and "occluders" in out
    table = json.loads((tmp_path / "c.json").read_text())["corruptions"]
    assert len(table) == 1 + 6 * 6 and {row["corruption"] for row in table} >= {"all", "jpeg", "occluders"}


def test_evaluate_needs_one_thing_to_measure(call, trained, tmp_path):
    _one_line(call("evaluate", trained, "--predictions", tmp_path), "give either a checkpoint or --predictions")
    _one_line(call("evaluate", "--predictions", tmp_path), "--predictions needs --data")
    _one_line(call("evaluate", trained, "--boxes", tmp_path / "b.json"), "--boxes are for real video")


def test_predict_a_folder_of_images(call, trained, tmp_path):
    folder = tmp_path / "clip"
    folder.mkdir()
    for t in range(4):
        Image.fromarray(np.full((48, 40, 3), 40 * t, np.uint8)).save(folder / f"{t:03d}.png")
    code, out, errors = call("predict", trained, folder, "--out", tmp_path / "out", "--quiet")
    assert code == 0, errors
    assert "4 poses in 4 frames" in out
    assert (tmp_path / "out" / "clip.mp4").stat().st_size > 0
    document = json.loads((tmp_path / "out" / "clip.json").read_text())
    assert len(document["images"]) == 4 and len(document["annotations"][0]["keypoints"]) == 51
    _one_line(call("predict", trained, tmp_path / "no.mp4", "--out", tmp_path / "out"), "no.mp4")


def test_data_check(call, tmp_path, shared_data):
    _one_line(call("data", "check", tmp_path / "nothing"), "no such folder")
    (tmp_path / "set" / "annotations" / "val").mkdir(parents=True)
    (tmp_path / "set" / "annotations" / "val" / "a.json").write_text("{")
    code, out, _ = call("data", "check", tmp_path / "set")
    assert code == 1 and "a.json" in out and "1 faults" in out
    code, out, _ = call("data", "check", shared_data / "pose2sim_video", "--no-images")
    assert code == 0 and "sound" in out


def test_train_and_evaluate_on_real_video(call, tmp_path, shared_data):
    root = shared_data / "pose2sim_video"
    code, _, errors = call("train", "--data", root, "--split", "val", "--out", tmp_path / "run", "--init", "none", "--quiet", *SETTINGS)
    assert code == 0, errors
    code, out, errors = call("evaluate", tmp_path / "run", "--data", root, "--split", "val_other", "--quiet")
    assert code == 0, errors
    assert "202 clips" in out and "pose2sim_video/val_other" in out


def test_a_full_disk_is_one_line(call, trained, tmp_path, monkeypatch):
    from causalpose.training import files

    def fail(path, _):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(files, "write_text", fail)
    _one_line(call("evaluate", trained, "--clips", 2, "--quiet", "--json", tmp_path / "x.json"), "No space left on device")
