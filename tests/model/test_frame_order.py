"""Controls of the use of time."""

import pytest
import torch

from causalpose.config import override, preset
from causalpose.errors import CausalPoseError
from causalpose.model.auxiliary import Views
from causalpose.model.cmpose import CMPose
from causalpose.model.frame_order import reorder, restore_order

SMALL = override(
    preset("tiny").model,
    {"height": 32, "width": 32, "backbone.width": 32, "backbone.depth": 1, "backbone.heads": 2, "head.channels": 16, "frames": 5},
)


def test_the_target_frame_stays_and_the_others_move():
    tokens = torch.arange(5.0).view(1, 5, 1, 1).expand(64, 5, 2, 3)
    moved, views, order = reorder("shuffled", tokens, Views(erased=tokens), True, torch.Generator().manual_seed(0))
    assert torch.equal(moved[..., 0, 0].long(), order) and torch.equal(views.erased, moved) and views.chosen is None
    assert set(order[:, 2].tolist()) == {2} and torch.equal(order.sort(1).values, torch.arange(5).expand(64, 5))
    assert len({tuple(row) for row in order.tolist()}) > 15  # of 24
    fixed = reorder("shuffled", tokens, None, False)[2]
    assert fixed.tolist() == [[3, 4, 2, 0, 1]] * 64
    assert reorder("repeated", tokens, None, False)[2].tolist() == [[2] * 5] * 64


def test_attention_returns_to_the_frames_it_came_from():
    order = torch.tensor([[2, 1, 0]])
    attention = torch.tensor([0.5, 0.3, 0.2]).view(1, 1, 3, 1, 1)
    assert restore_order({"encoder_attention": attention}, order)["encoder_attention"].flatten().tolist() == pytest.approx([0.2, 0.3, 0.5])
    repeated = restore_order({"encoder_attention": attention}, torch.tensor([[1, 1, 1]]))["encoder_attention"]
    assert repeated.flatten().tolist() == pytest.approx([0, 1, 0])


def test_repeated_sees_the_target_frame_alone():
    model = CMPose(override(SMALL, {"frame_order": "repeated"})).eval()
    torch.nn.init.normal_(model.encoder.blocks[0].attention.out.weight)
    clip = torch.rand(2, 5, 3, 32, 32)
    other = clip.clone()
    other[:, [0, 1, 3, 4]] = torch.rand(2, 4, 3, 32, 32)
    assert torch.equal(model(clip).heatmaps, model(other).heatmaps)
    natural = CMPose(SMALL).eval()
    natural.load_state_dict(model.state_dict())
    assert not torch.allclose(natural(clip).heatmaps, natural(other).heatmaps)


def test_only_stage_1_has_the_controls():
    with pytest.raises(CausalPoseError, match="is a control of stage 1"):
        override(SMALL, {"frame_order": "shuffled", "stage": 2})
