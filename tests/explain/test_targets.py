"""The target is the log-probability of a fixed cell."""

import math

import pytest
import torch

from causalpose.errors import CausalPoseError
from causalpose.explain import targets
from causalpose.explain.targets import EveryJointScore, JointScore, TokenScore
from tests.explain.models import random_model


def test_hand_worked():
    """Logits 0, 0, log 2, 0: the probabilities are 1/5, 1/5, 2/5, 1/5; the likeliest cell is number 2, and its log-probability log 2/5."""
    logits = torch.tensor([[0.0, 0.0], [math.log(2), 0.0]])
    assert targets.predicted_cells(logits) == 2
    assert targets.log_probability(logits, torch.tensor(2)).item() == pytest.approx(math.log(0.4))
    assert targets.log_probability(logits, torch.tensor(3)).item() == pytest.approx(math.log(0.2))


def test_the_score_is_the_models(clips):
    model, _ = random_model(2)
    score = JointScore(model, "right_knee")
    frames = targets.inputs(model, clips)
    cells = score.cells(frames)
    logits = model(clips.frames).heatmaps[:, 12].flatten(1)
    assert cells.tolist() == logits.argmax(1).tolist()
    assert torch.allclose(score(frames, cells), logits.log_softmax(1).amax(1), atol=1e-5)
    assert score.passes == 4


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_the_probe_changes_nothing(clips, stage):
    model, _ = random_model(stage)
    plain = JointScore(model, "nose")
    probed = TokenScore(plain)
    frames = targets.inputs(model, clips)
    cells = plain.cells(frames)
    shapes = []
    probed.probe.register_forward_hook(lambda module, args, output: shapes.append(tuple(output.shape)))
    assert torch.allclose(plain(frames, cells), probed(probed.tokens(frames), cells), atol=1e-5)
    assert shapes == [(2, 32, 3, 4, 4)]


def test_another_joint_a_clip_and_all_joints_at_once(clips):
    model, _ = random_model(1)
    frames = targets.inputs(model, clips)
    cells = targets.predicted_cells(model(frames).heatmaps)
    every = EveryJointScore(model)(frames, cells)
    mixed = JointScore(model, "nose")(frames, cells[[0, 1], [3, 8]], None, torch.tensor([3, 8]))
    assert torch.allclose(mixed, every[[0, 1], [3, 8]], atol=1e-6)


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_a_remembered_clip_changes_the_cost_and_not_the_value(clips, stage):
    """Only frames that differ are embedded again: 2 of the 6 here."""
    model, _ = random_model(stage)
    plain, quick = JointScore(model, "nose"), JointScore(model, "nose")
    clean = targets.inputs(model, clips[0])
    changed = clean.repeat(2, 1, 1, 1, 1)
    changed[0, 2, :, :9] = 0.4
    changed[1, 1, :, 20:] = 0.1
    cells = plain.cells(changed)
    quick.remember(clean)
    seen = []
    handle = model.backbone.register_forward_hook(lambda module, args, output: seen.append(args[0].shape[0]))
    with torch.no_grad():
        found = quick(changed, cells)
        handle.remove()
        assert torch.allclose(found, plain(changed, cells), atol=1e-5) and seen == [2]


def test_wrong_joint_and_length(clips):
    model, _ = random_model(1)
    with pytest.raises(CausalPoseError, match="posetrack15 has no keypoint 'left_hand'; it has: nose"):
        JointScore(model, "left_hand")
    with pytest.raises(CausalPoseError, match="1 frames, but this model takes 3"):
        targets.inputs(model, clips.at_frames([1]))
