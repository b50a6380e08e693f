"""`causalpose explain`, as the installed program calls it."""

import json
import sys

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from causalpose.cli import main
from causalpose.training import checkpoint
from tests.explain.models import random_model


@pytest.fixture
def call(monkeypatch, capsys):
    """`call(*arguments) -> (exit code, stdout, stderr)`."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["causalpose", "explain", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            main.run()
        except SystemExit as end:
            code = end.code or 0
        return (code, *capsys.readouterr())

    return run


@pytest.fixture
def stage(tmp_path):
    """`stage(n)`: a checkpoint of a random model of stage n."""

    def make(number):
        model, config = random_model(number)
        return checkpoint.save(tmp_path / f"s{number}.safetensors", model, config, {})

    return make


def test_stage_two_on_a_scene(call, stage, tmp_path):
    arguments = (stage(2), "--clip", 5, "--joint", "right_knee", "--methods", "tcis,saliency,uniform", "--resamples", 1, "--quiet")
    code, out, errors = call(*arguments, "--out", tmp_path / "a")
    assert code == 0, errors
    stem = tmp_path / "a" / "clip-5-right_knee"
    assert np.asarray(Image.open(stem.with_suffix(".png"))).shape[0] > 300
    document = json.loads(stem.with_suffix(".json").read_text())
    assert [row["method"] for row in document["methods"]] == ["tcis", "saliency", "uniform"]
    for row in document["methods"]:
        assert set(row["scores"]) == {
            "body_mass", "body_pointing", "body_auc", "limb_mass", "joint_mass", "joint_pointing", "agreement", "agreement_target",
            "top_overlap",
        }  # fmt: skip
        assert row["seconds"] >= 0 and row["forward_passes"] >= 0
    assert document["methods"][2]["scores"]["body_mass"] == document["chance"]["body_mass"]
    assert document["methods"][2]["scores"]["agreement"] is None, "a constant map ranks nothing"
    assert "log-probability" in document["protocol"]["target"] and document["protocol"]["effect"]["resamples"] == 1
    maps = load_file(stem.with_suffix(".safetensors"))
    assert maps["tcis"].shape == (3, 4, 4) and maps["effect_change"].shape == (15, 3, 4, 4)
    assert {path.suffix for path in (tmp_path / "a").iterdir()} == {".png", ".json", ".safetensors"}, "no temporary file stays"
    assert "tcis" in out and "chance" in out and "wrote" in out
    call(*arguments, "--out", tmp_path / "b")
    again = json.loads((tmp_path / "b" / "clip-5-right_knee.json").read_text())
    assert [row["scores"] for row in again["methods"]] == [row["scores"] for row in document["methods"]]


def test_all_joints_and_no_effect(call, stage, tmp_path):
    code, _, errors = call(
        stage(1), "--clip", 0, "--joint", "all", "--methods", "heatmap_mass,grad_cam", "--resamples", 0, "--out", tmp_path / "o"
    )
    assert code == 0, errors
    document = json.loads((tmp_path / "o" / "clip-0-all.json").read_text())
    assert set(document["methods"][0]["scores"]) == {"body_mass", "body_pointing", "body_auc"}
    assert document["methods"][1]["forward_passes"] == 16, "one target for all, and a gradient for each of 15 joints"
    assert document["protocol"]["effect"] is None


def test_every_method_of_a_stage(call, stage, tmp_path):
    code, _, errors = call(
        stage(1), "--clip", 3, "--joint", "nose", "--methods", "every", "--effort", "light", "--causes", "background,clothing",
        "--resamples", 1, "--quiet", "--out", tmp_path / "o",
    )  # fmt: skip
    assert code == 0, errors
    document = json.loads((tmp_path / "o" / "clip-3-nose.json").read_text())
    names = [row["method"] for row in document["methods"]]
    assert "tcis" not in names and {"shapley_sampling", "gradient_attention", "edges"} <= set(names)
    assert document["protocol"]["effect"]["causes"] == ["background", "clothing"]


def test_real_video(call, stage, tmp_path, shared_data):
    data = ("--data", shared_data / "pose2sim_video", "--out", tmp_path / "o", "--quiet")
    code, _, errors = call(stage(1), "--clip", 2, "--methods", "heatmap_mass,saliency,centre", *data)
    assert code == 0, errors
    document = json.loads((tmp_path / "o" / "clip-2-left_wrist.json").read_text())
    assert set(document["methods"][0]["scores"]) == {"joint_mass", "joint_pointing"}
    code, _, errors = call(stage(1), "--clip", 10**6, *data)
    assert code == 2 and errors.startswith("error: ") and "must be 0 to" in errors


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--methods", "tcis"), "a stage-1 model has no TCIS map"),
        (("--methods", "lime"), "unknown method 'lime'"),
        (("--joint", "left_hand"), "no keypoint 'left_hand'"),
        (("--condition", "fog"), "fog"),
        (("--split", "monday"), "no split 'monday'"),
        (("--data", "nowhere"), "nowhere"),
        (("--effort", "some"), "--effort some is not one of: full, light"),
        (("--resamples", 1, "--causes", "wind"), "unknown causes ['wind']"),
    ],
)
def test_bad_input_is_one_line(call, stage, tmp_path, arguments, text):
    code, _, errors = call(stage(1), "--clip", 0, "--resamples", 0, "--quiet", "--out", tmp_path / "o", *arguments)
    assert code == 2 and errors.count("\n") == 1 and errors.startswith("error: ") and text in errors, errors


def test_help_names_every_method(call, monkeypatch):
    from causalpose.explain.methods import NAMES

    monkeypatch.setenv("COLUMNS", "200")
    code, out, _ = call("--help")
    assert code == 0 and all(name in out for name in NAMES)
