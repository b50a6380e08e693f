"""Parameter groups and the schedule."""

import math

import pytest
import torch

from causalpose.config import preset
from causalpose.model.cmpose import CMPose
from causalpose.training import optimiser
from tests.training.dots import config


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_every_parameter_in_exactly_one_group(stage):
    settings = config(f"model.stage={stage}", "train.layer_decay=0.5")
    model = CMPose(settings.model)
    grouped = [id(p) for group in optimiser.parameter_groups(model, settings.train, 2) for p in group["params"]]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == {id(p) for p in model.parameters()}


def test_frozen_parameters_are_in_none():
    settings = config("model.stage=1")
    model = CMPose(settings.model)
    model.backbone.requires_grad_(False)
    grouped = {id(p) for group in optimiser.parameter_groups(model, settings.train, 2) for p in group["params"]}
    assert grouped == {id(p) for name, p in model.named_parameters() if not name.startswith("backbone.")}


def test_layer_decay_by_depth():
    """Depth 2, decay 0.5: stem and position 0.5^3 = 0.125, block 0 0.25, block 1 0.5, everything above 1."""
    settings = config("model.stage=1", "train.layer_decay=0.5")
    model = CMPose(settings.model)
    scale = {id(p): g["lr_scale"] for g in optimiser.parameter_groups(model, settings.train, 2) for p in g["params"]}
    by_name = {name: scale[id(p)] for name, p in model.named_parameters()}
    expected = {"backbone.vit.patch_embed.": 0.125, "backbone.vit.pos_embed": 0.125, "backbone.vit.blocks.0.": 0.25}
    expected |= {"backbone.vit.blocks.1.": 0.5, "backbone.vit.norm.": 1.0, "encoder.": 1.0, "head.": 1.0, "auxiliary.": 1.0}
    for prefix, value in expected.items():
        found = {v for name, v in by_name.items() if name.startswith(prefix)}
        assert found == {value}, prefix


@pytest.mark.parametrize("name", ["base", "huge"])
def test_groups_are_those_of_vitpose(name):
    """The published rule, written out again: 0.75 to the power of depth + 1 - layer, with patch and position embedding layer 0, block i
    layer i + 1 and the rest on top; no weight decay on one-dimensional parameters and the position embedding; every parameter in one group.
    """
    settings = preset(name, ["model.stage=0"])
    depth = settings.model.backbone.depth
    with torch.device("meta"):
        model = CMPose(settings.model)
    groups = optimiser.parameter_groups(model, settings.train, depth)
    of = {id(p): group for group in groups for p in group["params"]}
    assert sum(len(group["params"]) for group in groups) == len(of) == len(list(model.parameters()))
    for key, parameter in model.named_parameters():
        parts = key.split(".")
        layer = depth + 1
        if parts[:2] == ["backbone", "vit"]:
            layer = 0 if parts[2] in ("patch_embed", "pos_embed") else int(parts[3]) + 1 if parts[2] == "blocks" else depth + 1
        assert of[id(parameter)]["lr_scale"] == pytest.approx(0.75 ** (depth + 1 - layer)), key
        undecayed = parameter.ndim == 1 or key.endswith("pos_embed")
        assert of[id(parameter)]["weight_decay"] == (0.0 if undecayed else 0.1), key
    assert min(group["lr_scale"] for group in groups) == pytest.approx(0.75 ** (depth + 1))


def test_register_tokens_are_at_the_bottom():
    """What other timm models add to the patches counts as the patches do."""
    assert optimiser.layer_id("backbone.vit.reg_token", 12) == 0 == optimiser.layer_id("backbone.vit.cls_token", 12)


def test_a_convolutional_stem_is_at_the_bottom_with_its_own_blocks():
    """timm's hybrids have stages of convolutional blocks below the transformer's; all of them embed patches."""
    keys = ['backbone.name="vit_small_r26_s32_224"', "backbone.patch=32", "backbone.width=384", "backbone.padding=0", "backbone.heads=6"]
    with torch.device("meta"):
        model = CMPose(preset("small", ["model.stage=0", *(f"model.{key}" for key in keys)]).model)
    layers = {name: optimiser.layer_id(name, 12) for name, _ in model.named_parameters()}
    stem = {name for name in layers if ".patch_embed.backbone." in name}
    assert any(".blocks.1." in name for name in stem) and {layers[name] for name in stem} == {0}
    assert {layers[name] for name in layers if ".vit.blocks.11." in name} == {12}
    assert optimiser.layer_id("backbone.vit.norm_pre.weight", 12) == 0
    assert optimiser.layer_id("backbone.vit.blocks.3.attn.relative_position_bias_table", 12) == 4


@pytest.mark.parametrize("stage", [1, 2])
def test_no_decay_for_vectors_embeddings_and_tokens(stage):
    model = CMPose(config(f"model.stage={stage}").model)
    decayed = {name for name, p in model.named_parameters() if optimiser.decays(name, p)}
    assert "backbone.vit.blocks.0.mlp.fc1.weight" in decayed and "backbone.vit.patch_embed.layers.0.weight" in decayed
    assert "backbone.vit.pos_embed" not in decayed and "encoder.temporal" not in decayed
    # bare parameters are inputs (embeddings, learned tokens): all that decays is called weight and is a matrix or kernel
    assert all(name.endswith("weight") and dict(model.named_parameters())[name].ndim > 1 for name in decayed)


def test_schedule_by_hand():
    """Warm-up of 4 in 12 steps: 1/4, 2/4, 3/4, 1, then cosine over 8 steps: half at step 4 + 4, and near zero at the last."""
    factors = [optimiser.lr_factor(step, 12, 4) for step in range(12)]
    assert factors[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert factors[8] == pytest.approx(0.5)
    assert factors[11] == pytest.approx(0.5 * (1 + math.cos(math.pi * 7 / 8)))
    assert all(a >= b for a, b in zip(factors[4:], factors[5:], strict=False))


def test_set_learning_rate_scales_groups():
    settings = config("model.stage=0", "train.layer_decay=0.5", "train.lr=0.1", "train.warmup=0")
    built = optimiser.build(CMPose(settings.model), settings.train, 2)
    assert optimiser.set_learning_rate(built, settings.train, 0) == pytest.approx(0.1)
    assert {round(g["lr"], 6) for g in built.param_groups} == {0.0125, 0.025, 0.05, 0.1}
    assert isinstance(built, torch.optim.AdamW)
