"""The model's own maps and the controls."""

import pytest
import torch

from causalpose.errors import CausalPoseError
from causalpose.explain import methods, tokenmaps
from causalpose.explain.maps import Map, pool
from tests.explain.models import random_model


def test_tcis_is_the_models_importance(clips):
    model, _ = random_model(2)
    maps = model(clips.frames, return_maps=True).maps
    one, every = tokenmaps.tcis(model, clips, "left_wrist"), tokenmaps.tcis(model, clips)
    assert torch.allclose(one.values, maps["importance_per_keypoint"][:, 7])
    assert torch.allclose(every.values, maps["importance"], atol=1e-6), "pooled, it is what selection ranks by"
    assert every.values.flatten(1).sum(1).tolist() == pytest.approx([1, 1], abs=1e-4)


@pytest.mark.parametrize("stage", [0, 1])
def test_no_tcis_before_stage_two(clips, stage):
    with pytest.raises(CausalPoseError, match=f"a stage-{stage} model has no TCIS map; explain a stage-2 model"):
        methods.explain(random_model(stage)[0], clips, "nose", "tcis")


def test_heatmap_mass_of_the_target_frame_is_the_heatmaps(clips):
    """A stage-1 head reads the target frame's mixed tokens: 4 x 4 cells of the softmax make a token's mass."""
    model, _ = random_model(1)
    probability = model(clips.frames).heatmaps[:, 7].flatten(1).softmax(1).view(2, 4, 4, 4, 4).sum((2, 4))
    found = tokenmaps.heatmap_mass(model, clips, "left_wrist").values
    assert torch.allclose(found[:, 1], probability, atol=1e-5)
    assert found.sum((2, 3)).flatten().tolist() == pytest.approx([1] * 6, abs=1e-4)
    assert tokenmaps.heatmap_mass(random_model(0)[0], clips).values.shape == (2, 3, 4, 4)


def test_encoder_attention_is_the_row_of_the_joints_token(clips):
    model, _ = random_model(1)
    maps = model(clips.frames, return_maps=True).maps
    cell = int(maps["heatmaps"][0, 7].argmax())
    token = (cell // 16 // 4) * 4 + cell % 16 // 4
    found = tokenmaps.encoder_attention(model, clips, "left_wrist")
    assert torch.allclose(found.values[0], maps["encoder_attention"][0, token])
    assert tokenmaps.encoder_attention(model, clips).values.shape == (2, 3, 4, 4)
    with pytest.raises(CausalPoseError, match="no encoder_attention"):
        tokenmaps.encoder_attention(random_model(0)[0], clips)


def test_controls(clips):
    model, _ = random_model(1)
    same, other = (methods.explain(model, clips, "all", "random", seed=s).values for s in (0, 1))
    assert torch.equal(same, methods.explain(model, clips, "nose", "random", seed=0).values) and not torch.equal(same, other)
    assert tokenmaps.uniform(model, clips).values.unique().tolist() == [1]
    centre = tokenmaps.centre(model, clips).values[0, 0]
    assert torch.allclose(centre, centre.flip(0)) and torch.allclose(centre, centre.flip(1)) and centre[1, 1] > centre[0, 1] > centre[0, 0]


def test_pooling_gives_each_joint_one_vote():
    """Maps 1, 3 and 30, 10 are 1/4, 3/4 and 3/4, 1/4 as shares; their mean is 1/2, 1/2."""
    maps = [
        Map("m", "a", torch.tensor([1.0, 3.0]).view(1, 1, 1, 2), 1, 2),
        Map("m", "b", torch.tensor([30.0, 10.0]).view(1, 1, 1, 2), 1, 2),
    ]
    both = pool(maps)
    assert both.values.flatten().tolist() == [0.5, 0.5] and both.joint == "all" and both.forward_passes == 4 and both.seconds == 2


def test_every_default_method_runs(clips):
    for stage in (0, 1, 2):
        model, _ = random_model(stage)
        for name in methods.default_methods(stage):
            assert methods.explain(model, clips[0], "nose", name).values.shape == (1, 3, 4, 4)


def test_wrong_names(clips):
    model, _ = random_model(2)
    with pytest.raises(CausalPoseError, match="unknown method 'attention'; methods: tcis"):
        methods.explain(model, clips, "nose", "attention")
    with pytest.raises(CausalPoseError, match="has no keypoint 'tail'"):
        methods.explain(model, clips, "tail", "uniform")


def test_maps_refuse_nonsense():
    with pytest.raises(CausalPoseError, match=r"\[B, T, rows, columns\]"):
        Map("m", "nose", torch.zeros(3, 4, 4), 0, 0)
    with pytest.raises(CausalPoseError, match="negative"):
        Map("m", "nose", torch.full((1, 3, 4, 4), -1.0), 0, 0)
