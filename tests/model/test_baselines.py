"""The methods to compare with, on the same backbone and head."""

import pytest
import torch

from causalpose.config import override, preset
from causalpose.errors import CausalPoseError
from causalpose.model.baselines.ppt import KEEP_RATE, annealed
from causalpose.model.cmpose import CMPose

SMALL = override(
    preset("tiny").model,
    {"height": 32, "width": 32, "backbone.width": 32, "backbone.depth": 4, "backbone.heads": 2, "head.channels": 16, "encoder.heads": 2},
)
PPT = override(SMALL, {"stage": 0, "method": "ppt"})
TAR = override(SMALL, {"method": "tar"})


def model_of(config, start: CMPose | None = None) -> CMPose:
    model = CMPose(config).eval()
    if start is not None:
        model.load_state_dict(start.state_dict(), strict=False)
    return model


@pytest.fixture
def clip():
    return torch.rand(2, 3, 3, 32, 32)


def test_pruning_layers_are_a_quarter_a_half_and_three_quarters_of_the_depth():
    assert model_of(PPT).pruner.layers == [1, 2, 3]
    assert model_of(override(PPT, {"backbone.depth": 12})).pruner.layers == [3, 6, 9]


def test_dropped_patches_take_no_further_part(clip):
    """16 patches, 70 % at each of three layers: 11, 8 and 6 are left. What the blocks see shrinks with them."""
    model, seen = model_of(PPT), []
    for block in model.backbone.vit.blocks:
        block.mlp.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape[1] - 15))
    model(clip)
    assert seen == [16, 11, 8, 6]


def test_a_patch_that_left_keeps_what_it_was(clip):
    """At a keep rate of one nothing leaves, and lowering it changes the tokens."""
    model = model_of(PPT)
    whole, pruned = model.embed(clip, 1.0), model.embed(clip)
    assert whole.shape == pruned.shape == (2, 3, 16, 32)
    assert torch.equal(pruned, model.embed(clip, KEEP_RATE)) and not torch.allclose(whole, pruned, atol=1e-3)
    # with keypoint tokens that nothing can see the whole is the plain backbone
    plain = model_of(override(SMALL, {"stage": 0}), model)
    hidden = model_of(PPT, model)
    for block in hidden.backbone.vit.blocks:
        original = block.attn.forward

        def without(x, original=original, **kwargs):
            return torch.cat((torch.zeros_like(x[:, :15]), original(x[:, 15:])), 1)

        block.attn.forward = without
    hidden.pruner.layers = []
    torch.testing.assert_close(hidden.embed(clip), plain.embed(clip))


def test_keep_rate_is_annealed():
    assert annealed(0) == 1 and annealed(0.25) == pytest.approx(0.85) and annealed(0.5) == annealed(1) == pytest.approx(KEEP_RATE)


def test_keypoint_tokens_learn(clip):
    model = model_of(PPT).train()
    model(clip).heatmaps.square().sum().backward()
    assert model.pruner.keypoint_tokens.grad.abs().sum() > 0


def test_the_joint_query_decoder_starts_as_the_single_frame_model(clip):
    single = model_of(override(SMALL, {"stage": 0}))
    torch.testing.assert_close(model_of(TAR, single)(clip).heatmaps, single(clip).heatmaps)


def test_the_joint_query_decoder_uses_every_frame_and_every_query(clip):
    model = model_of(TAR)
    torch.nn.init.normal_(model.joint_decoder.restore.out.weight)
    clip.requires_grad_()
    model(clip).heatmaps.square().sum().backward()
    assert (clip.grad.flatten(2).abs().sum(-1) > 0).all()
    assert (model.joint_decoder.queries.grad.abs().sum(-1) > 0).all()


def test_only_the_stage_that_a_method_has():
    with pytest.raises(CausalPoseError, match="model.method = 'ppt' exists at stage 0 only, not at 1"):
        override(SMALL, {"method": "ppt"})
    with pytest.raises(CausalPoseError, match="'tar' exists at stage 1 only"):
        override(SMALL, {"method": "tar", "stage": 2})
    with pytest.raises(CausalPoseError, match="not one of: cm-pose, ppt, tar"):
        override(SMALL, {"method": "vitpose"})


@pytest.mark.parametrize("config", [PPT, TAR], ids=["ppt", "tar"])
def test_the_clip_of_a_batch_decides_its_result_alone(config, clip):
    model = model_of(config)
    torch.testing.assert_close(model(clip).heatmaps[:1], model(clip[:1]).heatmaps)
