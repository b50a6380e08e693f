"""The objective, its PCK proxy and the oracle's truth."""

from dataclasses import replace

import pytest
import torch

from causalpose.clip import Visibility
from causalpose.errors import CausalPoseError
from causalpose.model import heatmaps
from causalpose.model.cmpose import CMPose, Output
from causalpose.training.objective import Objective, correct_share
from causalpose.training.truth import body_share
from tests.training.dots import Dots, config


@pytest.fixture
def clip():
    return Dots(config().model).batch(torch.arange(4))


def test_total_is_the_sum_of_the_parts_that_are_minimised(clip):
    settings = config("model.stage=1")
    objective = Objective(CMPose(settings.model), settings).train()
    loss, parts, _ = objective(clip, generator=torch.Generator().manual_seed(0))
    assert set(parts) == {"loss", "pose", "mask", "noise", "target_variance"}
    assert loss.item() == pytest.approx(sum(parts[name].item() for name in ("pose", "mask", "noise")), rel=1e-5)
    objective.eval()
    assert set(objective(clip)[1]) == {"loss", "pose"}


def test_a_frozen_backbone_gets_no_gradient_and_stays_in_eval_mode(clip):
    settings = config("model.stage=1", "train.freeze=true")
    model = CMPose(settings.model)
    objective = Objective(model, settings).train()
    assert model.encoder.training and not model.backbone.training
    objective(clip, generator=torch.Generator().manual_seed(0))[0].backward()
    assert all(parameter.grad is None for parameter in model.backbone.parameters())
    assert model.head.layers.out.weight.grad is not None


def test_given_tokens_equal_embedded_ones(clip):
    settings = config("model.stage=1", "train.freeze=true")
    model = CMPose(settings.model)
    objective = Objective(model, settings).eval()
    assert torch.allclose(objective(clip)[0], objective(clip, tokens=model.embed(clip.frames))[0])


def test_pck_proxy_by_hand(clip):
    """Perfect maps: 100. Half the clips' truth moved by 5 pixels, with 0.2 of the scale 20 = 4 pixels allowed: 50. Unlabelled: out."""
    settings = config()
    logits = 50 * heatmaps.encode(clip.keypoints[:, 1], clip.visibility[:, 1], settings.model, 1.0)[0]
    assert correct_share(Output(logits), clip, settings).item() == 100
    moved = clip.keypoints.clone()
    moved[:2, :, :, 0] = torch.where(moved[:2, :, :, 0] > 16, moved[:2, :, :, 0] - 5, moved[:2, :, :, 0] + 5)
    assert correct_share(Output(logits), replace(clip, keypoints=moved), settings).item() == pytest.approx(50)
    hidden = clip.visibility.clone()
    hidden[:2] = Visibility.UNLABELLED
    assert correct_share(Output(logits), replace(clip, keypoints=moved, visibility=hidden), settings).item() == 100


def test_body_share_by_hand(clip):
    """Patch 8: a body of 4x8 pixels in the first patch is half of it; an occluder (code 13) is no body."""
    parts = torch.zeros(4, 3, 32, 32, dtype=torch.uint8)
    parts[:, :, :4, :8] = 1
    parts[:, :, 8:16] = 13
    share = body_share(replace(clip, parts=parts), config().model)
    assert share.shape == (4, 3, 16)
    assert share[0, 0, 0] == 0.5 and share[..., 1:].sum() == 0
    with pytest.raises(CausalPoseError, match="part masks"):
        body_share(clip, config().model)
