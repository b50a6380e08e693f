"""Published names to ours, rule by rule: a mapping in, a mapping out."""

import torch

from causalpose.weights.names import translate

# Of a model under timm's names; these alone say whether a file has them already.
OWN = ("backbone.vit.pos_embed", "backbone.vit.norm.weight", "backbone.vit.norm.bias", "backbone.vit.blocks.0.attn.qkv.weight")


def numbered(*names):
    """A tensor of two numbers for each name, all different."""
    return {name: torch.tensor([2.0 * i, 2.0 * i + 1]) for i, name in enumerate(names)}


def translated(tensors, own=OWN):
    """What comes out, as plain numbers, and where each came from; the notes."""
    out, origin, notes = translate(tensors, own)
    assert origin.keys() == out.keys() and set(origin.values()) <= tensors.keys()
    return {name: tensor.tolist() for name, tensor in out.items()}, origin, notes


def test_every_rule_that_no_whole_file_tries():
    """DINOv2 as Hugging Face has it (layer scale, registers); a last norm called `fc_norm`; split projections in timm's Eva way."""
    tensors = numbered(
        "dinov2.embeddings.patch_embeddings.projection.weight", "dinov2.embeddings.register_tokens", "dinov2.embeddings.cls_token",
        "dinov2.encoder.layer.0.layer_scale1.lambda1", "dinov2.encoder.layer.0.layer_scale2.lambda1",
        "dinov2.encoder.layer.11.layer_scale2.lambda1", "dinov2.blocks.0.attn.q_proj.weight", "dinov2.blocks.0.attn.k_proj.weight",
        "dinov2.blocks.0.attn.v_proj.weight", "dinov2.blocks.0.attn.q_proj.bias", "dinov2.blocks.0.attn.v_proj.bias",
        "dinov2.fc_norm.weight", "dinov2.fc_norm.bias", "classifier.weight",
    )  # fmt: skip
    found, origin, notes = translated(tensors)
    assert found == {
        "backbone.vit.patch_embed.proj.weight": [0, 1],
        "backbone.vit.reg_token": [2, 3],
        "backbone.vit.cls_token": [4, 5],
        "backbone.vit.blocks.0.ls1.gamma": [6, 7],
        "backbone.vit.blocks.0.ls2.gamma": [8, 9],
        "backbone.vit.blocks.11.ls2.gamma": [10, 11],
        "backbone.vit.blocks.0.attn.qkv.weight": [12, 13, 14, 15, 16, 17],  # in the order query, key, value
        "backbone.vit.blocks.0.attn.q_proj.bias": [18, 19],  # without the key's there is no whole to join
        "backbone.vit.blocks.0.attn.v_proj.bias": [20, 21],
        "backbone.vit.norm.weight": [22, 23],
        "backbone.vit.norm.bias": [24, 25],
        "classifier.weight": [26, 27],
    }
    assert origin["backbone.vit.blocks.0.attn.qkv.weight"] == "dinov2.blocks.0.attn.q_proj.weight"
    assert origin["backbone.vit.norm.bias"] == "dinov2.fc_norm.bias" and origin["classifier.weight"] == "classifier.weight"
    assert notes == ["query, key and value joined in 1 blocks"]


def test_a_last_norm_that_is_there_keeps_its_place():
    """Beside it `fc_norm` is the classifier's."""
    found, _, _ = translated(numbered("patch_embed.proj.weight", "norm.weight", "fc_norm.weight"))
    assert found["backbone.vit.norm.weight"] == [2, 3] and found["backbone.vit.fc_norm.weight"] == [4, 5]


def test_a_model_that_keeps_them_apart_gets_them_apart():
    """The file's names are the model's own already."""
    names = ("patch_embed.proj.weight", *(f"blocks.0.attn.{part}_proj.weight" for part in "qkv"), "fc_norm.weight")
    tensors = numbered(*names)
    found, _, notes = translated(tensors, [f"backbone.vit.{name}" for name in names])
    assert found == {f"backbone.vit.{name}": tensors[name].tolist() for name in names} and notes == []
