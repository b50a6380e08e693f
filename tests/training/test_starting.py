"""Which weights a run starts from."""

import pytest

from causalpose import weights
from causalpose.config import preset
from causalpose.errors import CausalPoseError
from causalpose.model.cmpose import CMPose
from causalpose.training import checkpoint
from causalpose.training.starting import starting_weights


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """Freshly initialised stand-ins for the shipped weights of stage 0 and 1."""
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    for stage, name in ((0, "tiny-backbone"), (1, "tiny-stage1")):
        settings = preset("tiny", [f"model.stage={stage}"])
        checkpoint.save(tmp_path / f"{name}.safetensors", CMPose(settings.model), settings, {})


def test_the_stage_below(shipped):
    assert starting_weights("auto", preset("tiny", ["model.stage=0"]))[0] is None
    assert starting_weights("auto", preset("tiny"))[0] == "tiny-backbone"
    assert starting_weights("auto", preset("tiny", ["model.stage=2"]))[0] == "tiny-stage1"
    assert starting_weights("auto", preset("tiny", ["model.frames=5", "train.lr=0.1"]))[0] == "tiny-backbone"


def test_what_does_not_fit_is_said(shipped):
    start, reason = starting_weights("auto", preset("tiny", ["model.backbone.depth=2"]))
    assert start is None and "model.backbone.depth differ" in reason
    start, reason = starting_weights("auto", preset("tiny", ["model.stage=2", "model.frames=5"]))
    assert start is None and "model.frames" in reason


def test_how_a_part_is_trained_is_no_matter_of_weights(shipped):
    training = ["model.backbone.drop_path=0.1", "model.backbone.checkpointing=true", "model.encoder.checkpointing=true"]
    assert starting_weights("auto", preset("tiny", ["model.stage=2", *training]))[0] == "tiny-stage1"


def test_other_presets(shipped):
    assert starting_weights("auto", preset("base"))[0] is None
    with pytest.raises(CausalPoseError, match="no stage 1 is shipped for preset base"):
        starting_weights("auto", preset("base", ["model.stage=2"]))


def test_named(shipped, tmp_path):
    assert starting_weights("none", preset("tiny"))[0] is None
    assert starting_weights("tiny-stage1", preset("tiny"))[0] == "tiny-stage1"
    with pytest.raises(CausalPoseError, match="not found"):
        starting_weights(str(tmp_path / "nothing"), preset("tiny"))


def test_absent_weights_mean_nothing_and_say_so(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    start, reason = starting_weights("auto", preset("tiny"))
    assert start is None and "make weights" in reason
