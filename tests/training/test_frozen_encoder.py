"""Stage 2 on a frozen stage 1: kept tokens, what learns, and that evaluation from kept tokens is the plain evaluation."""

import numpy as np
import pytest
import torch

from causalpose.config import override, preset
from causalpose.errors import CausalPoseError
from causalpose.evaluation.evaluate import predict_source
from causalpose.model.cmpose import CMPose
from causalpose.training import checkpoint, loop, tokens
from causalpose.training.sources import training_source

SMALL = (
    "model.stage=2", "model.height=32", "model.width=24", "model.backbone.width=32", "model.backbone.depth=1", "model.backbone.heads=2",
    "model.encoder.depth=1", "model.encoder.heads=2", "model.head.channels=16", "model.fte.depth=1", "model.fte.heads=2",
    "train.steps=2", "train.batch=4", "train.freeze=true", "train.freeze_encoder=true", "train.augment=false", "data.clips=8",
)  # fmt: skip


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setenv("CAUSALPOSE_CACHE", str(tmp_path / "cache"))
    return preset("tiny", SMALL)


@pytest.fixture
def stage_1(config, tmp_path):
    below = override(config, {"model.stage": 1, "train.freeze_encoder": False})
    model = CMPose(below.model)
    with torch.no_grad():  # encoder blocks start as the identity; here they have to do something
        for parameter in model.encoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return checkpoint.save(tmp_path / "stage1.safetensors", model, below, {})


@pytest.mark.parametrize("augment", [False, True])
def test_stage_1_stays_and_the_rest_learns(config, stage_1, tmp_path, augment):
    """From kept tokens, and where augmentation forbids to keep any."""
    config = override(config, {"train.augment": augment})
    run = loop.train(config, training_source(config), tmp_path / "run", init=stage_1, progress=False)
    before, _, _ = checkpoint.read(stage_1)
    after, _, _ = checkpoint.read(run)
    kept = [name for name in after if name.startswith(("backbone.", "encoder."))]
    assert kept and all(torch.equal(before[name], after[name]) for name in kept)
    learnt = [name for name in after if name.startswith("head.") and before[name].is_floating_point()]
    assert any(not torch.equal(before[name], after[name]) for name in learnt)


def test_kept_tokens_give_the_plain_predictions(config, stage_1, tmp_path):
    run = loop.train(config, training_source(config), tmp_path / "run", init=stage_1, progress=False)
    model, config, _ = checkpoint.load(run)
    source = training_source(config, split="test")
    known = tokens.embed_all(model, source, torch.device("cpu"), progress=False, mixed=True)
    kept = predict_source(model, source, flip_test=False, tokens=known, mixed=True)
    plain = predict_source(model, source, flip_test=False)
    assert np.abs(kept.keypoints - plain.keypoints).max() < 0.1  # pixels; tokens are kept in half precision
    assert not np.allclose(predict_source(model, source, flip_test=False, tokens=known).scores, plain.scores, rtol=1e-3)
    with pytest.raises(CausalPoseError, match="flip test"):
        predict_source(model, source, flip_test=True, tokens=known)


def test_the_file_is_used_until_the_weights_change(config, stage_1, tmp_path, monkeypatch):
    model, _, _ = checkpoint.load(stage_1)
    source = training_source(config)
    first = tokens.embed_all(model, source, torch.device("cpu"), progress=False)
    calls = []
    embed = model.embed
    monkeypatch.setattr(model, "embed", lambda frames: calls.append(len(frames)) or embed(frames))
    assert torch.equal(tokens.embed_all(model, source, torch.device("cpu"), progress=False), first)
    assert calls == [4], "only the probe was computed"
    (path,) = (tmp_path / "cache" / "tokens").iterdir()
    path.write_bytes(path.read_bytes()[:-64] + bytes(64))  # the last clip's tokens, out of the probe's sight
    calls.clear()
    assert torch.equal(tokens.embed_all(model, source, torch.device("cpu"), progress=False), first) and sum(calls) > 4
    with torch.no_grad():
        next(model.backbone.parameters()).add_(1.0)
    assert not torch.equal(tokens.embed_all(model, source, torch.device("cpu"), progress=False), first)


def test_the_encoder_cannot_stay_alone(config):
    with pytest.raises(CausalPoseError, match=r"train\.freeze must be set"):
        override(config, {"train.freeze": False})


def test_only_stage_2_has_an_encoder_to_keep(config, stage_1, tmp_path):
    with pytest.raises(CausalPoseError, match="is for stage 2"):
        loop.train(override(config, {"model.stage": 1}), training_source(config), tmp_path / "run", init=stage_1, progress=False)
