"""Published weights: by name, to the bit where nothing has to change, and equal to the original's forward pass."""

import re

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from causalpose.config import preset
from causalpose.errors import CausalPoseError
from causalpose.model.cmpose import CMPose
from causalpose.training import checkpoint
from causalpose.weights.names import BACKBONE
from tests.weights.conftest import huggingface


def _model(name: str = "small", depth: int = 2, *overrides: str) -> CMPose:
    """A preset of few blocks, built by its numbers, that gives COCO's keypoints."""
    shape = ['model.backbone.name="vit"', f"model.backbone.depth={depth}", 'model.keypoints="coco17"', "model.stage=0"]
    torch.manual_seed(0)
    return CMPose(preset(name, [*shape, *overrides]).model).eval()


def _official(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Hugging Face's names as the official repository has them (the way their conversion goes, backwards)."""
    out = {}
    for name, tensor in state.items():
        name = name.replace("embeddings.patch_embeddings.projection", "patch_embed.proj").replace(
            "embeddings.position_embeddings", "pos_embed"
        )
        name = name.replace("encoder.layer", "blocks").replace("layernorm_before", "norm1").replace("layernorm_after", "norm2")
        name = name.replace("attention.output.dense", "attn.proj").replace("backbone.layernorm", "backbone.last_norm")
        name = name.replace("head.deconv1", "keypoint_head.deconv_layers.0").replace("head.batchnorm1", "keypoint_head.deconv_layers.1")
        name = name.replace("head.deconv2", "keypoint_head.deconv_layers.3").replace("head.batchnorm2", "keypoint_head.deconv_layers.4")
        name = name.replace("head.conv", "keypoint_head.final_layer")
        out[name] = tensor
    for name in [name for name in out if ".attention.attention.query." in name]:
        parts = [out.pop(name.replace("query", part)) for part in ("query", "key", "value")]
        out[name.replace("attention.attention.query", "attn.qkv")] = torch.cat(parts)
    return out


def _mmpose(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The official names as mmpose 1.x has them."""
    pairs = (
        ("patch_embed.proj", "patch_embed.projection"), ("blocks.", "layers."), ("norm1", "ln1"), ("norm2", "ln2"),
        ("mlp.fc1", "ffn.layers.0.0"), ("mlp.fc2", "ffn.layers.1"), ("last_norm", "ln1"), ("keypoint_head", "head"),
    )  # fmt: skip
    out = {}
    for name, tensor in _official(state).items():
        for old, new in pairs:
            name = name.replace(old, new)
        out[name] = tensor
    return out


def _split(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The official names with queries, keys and values apart."""
    out = {}
    for name, tensor in _official(state).items():
        if ".attn.qkv." in name:
            out |= {name.replace("qkv", part): piece for part, piece in zip("qkv", tensor.chunk(3), strict=True)}
        else:
            out[name] = tensor
    return out


def _images() -> Tensor:
    return torch.rand(2, 1, 3, 256, 192, generator=torch.Generator().manual_seed(1))


def _theirs(model, frames: Tensor) -> Tensor:
    mean, std = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    with torch.no_grad():
        return model((frames[:, 0] - mean) / std).heatmaps


def _assert_equal(found: Tensor, expected: Tensor) -> None:
    assert expected.std() > 0.25 and (expected[0] - expected[1]).std() > 0.25  # there is something to compare, and it is the image's
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def _assert_same_heatmaps(ours: CMPose, theirs, frames: Tensor) -> None:
    with torch.no_grad():
        found, expected = ours(frames).heatmaps, _theirs(theirs, frames)
    _assert_equal(found, expected)


@pytest.mark.parametrize(("name", "width", "heads"), [("small", 384, 12), ("base", 768, 12)])
@pytest.mark.parametrize("simple", [False, True])
def test_forward_equals_huggingface(tmp_path, name, width, heads, simple):
    """Small- and base-shaped, two blocks deep; the file is what `save_pretrained` writes, and the folder is what is given."""
    theirs = huggingface(width, heads, simple=simple)
    theirs.save_pretrained(tmp_path)
    ours = _model(name, 2, f'model.head.kind="{"simple" if simple else "classic"}"')
    report = checkpoint.initialise(ours, tmp_path)
    assert not report.skipped and not [n for n in report.new if not n.endswith("num_batches_tracked")]
    _assert_same_heatmaps(ours, theirs, _images())


@pytest.mark.slow
@pytest.mark.parametrize(("name", "width"), [("small", 384), ("base", 768)])
@pytest.mark.parametrize("simple", [False, True])
def test_forward_equals_huggingface_at_true_size(tmp_path, name, width, simple):
    """ViTPose-S and -B as they are, twelve blocks, through their presets."""
    theirs = huggingface(width, 12, depth=12, simple=simple)
    theirs.save_pretrained(tmp_path)
    head = f'model.head.kind="{"simple" if simple else "classic"}"'
    ours = CMPose(preset(name, ['model.keypoints="coco17"', "model.stage=0", head]).model).eval()
    checkpoint.initialise(ours, tmp_path)
    _assert_same_heatmaps(ours, theirs, _images())


@pytest.mark.parametrize("spelling", [_official, _mmpose, _split])
def test_official_names(tmp_path, classic, spelling):
    """A `.pth` of the official repository, of mmpose 1.x, and with queries, keys and values apart: the same forward pass."""
    file = tmp_path / "vitpose.pth"
    torch.save({"meta": {"epoch": 210, "CLASSES": None}, "state_dict": spelling(classic.state_dict())}, file)
    ours = _model()
    report = checkpoint.initialise(ours, file)
    assert not report.skipped and not report.new
    _assert_same_heatmaps(ours, classic, _images())


def test_experts(tmp_path):
    """ViTPose+: the plain layer made of the first expert gives what the mixture gives for data set 0."""
    theirs = huggingface(num_experts=3, part_features=96)
    save_file({name: tensor.contiguous() for name, tensor in theirs.state_dict().items()}, tmp_path / "plus.safetensors")
    ours = _model()
    report = checkpoint.initialise(ours, tmp_path / "plus.safetensors")
    assert len(report.skipped) == 2 * 2 * 2 and all("experts" in name for name in report.skipped)  # two blocks, two experts, two tensors
    frames = _images()
    mean, std = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    with torch.no_grad():
        expected = theirs((frames[:, 0] - mean) / std, dataset_index=torch.zeros(2, dtype=torch.long)).heatmaps
        _assert_equal(ours(frames).heatmaps, expected)


def test_report_and_keypoints_by_name(tmp_path, classic):
    """Into stage 1 with PoseTrack's joints: the head's last layer goes over joint by joint, the encoder is new."""
    classic.save_pretrained(tmp_path)
    ours = _model("small", 2, 'model.keypoints="posetrack15"', "model.stage=1")
    before = ours.head.layers.out.weight.clone()
    report = checkpoint.initialise(ours, tmp_path)
    found, theirs = ours.head.layers.out.weight, classic.state_dict()["head.conv.weight"]
    names = preset("small").model.keypoints
    assert names == "posetrack15"
    assert torch.equal(found[0], theirs[0])  # nose
    assert torch.equal(found[1:3], before[1:3])  # head_bottom and head_top are not COCO's
    assert torch.equal(found[3:], theirs[5:])  # shoulders to ankles, in the same order
    assert {name.split(".")[0] for name in report.new} == {"encoder", "auxiliary"}
    assert re.search(r"tensors used, 0 left aside, \d+ new \(auxiliary, encoder\)", str(report))
    assert "13 of 15 (new: head_bottom, head_top)" in str(report) and "class slot of the position embedding added" in str(report)


@pytest.mark.parametrize(("override", "said"), [('model.head.kind="simple"', "classic"), ('model.head.norm="group"', "norm=batch")])
def test_a_head_that_does_not_fit_starts_new_and_whole(tmp_path, classic, override, said):
    classic.save_pretrained(tmp_path)
    ours = _model("small", 2, override)
    before = {name: tensor.clone() for name, tensor in ours.head.state_dict().items()}
    report = checkpoint.initialise(ours, tmp_path)
    assert all(torch.equal(tensor, before[name]) for name, tensor in ours.head.state_dict().items())
    assert said in str(report) and "the head is another" in str(report)


def test_position_embedding_is_interpolated(tmp_path, classic):
    """From 256x192 to 384x288. Every third place lies halfway between two old ones, where the cubic keeps a plane; the report says so."""
    state = dict(classic.state_dict())
    plane = torch.arange(16.0)[:, None] + 10 * torch.arange(12.0)
    state["backbone.embeddings.position_embeddings"] = torch.cat((torch.ones(1), plane.flatten()))[None, :, None].expand(1, 193, 384)
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, tmp_path / "x.safetensors")
    ours = _model("small", 2, "model.height=384", "model.width=288")
    report = checkpoint.initialise(ours, tmp_path / "x.safetensors")
    assert "interpolated from 16x12 to 24x18 patches" in str(report)
    position = ours.backbone.vit.pos_embed[0, :, 0].view(24, 18)
    rows, columns = (torch.arange(24) + 0.5) * 16 / 24 - 0.5, (torch.arange(18) + 0.5) * 12 / 18 - 0.5
    expected = 1 + rows[:, None] + 10 * columns  # the class slot of 1 is added
    torch.testing.assert_close(position[4:-4:3, 4:-4:3], expected[4:-4:3, 4:-4:3], atol=1e-4, rtol=0)
    torch.testing.assert_close(position, expected, atol=1.5, rtol=0)  # a place is 11 units from the next: nothing is shifted or turned


def _timm(name: str = "vit_tiny_patch16_224", **more):
    """Three blocks of a timm model as published for classification."""
    torch.manual_seed(3)
    return timm.create_model(name, pretrained=False, depth=3, **more)


def _tiny(*overrides: str) -> CMPose:
    return _model(
        "small", 3, "model.backbone.width=192", "model.backbone.heads=3", "model.encoder.heads=3", "model.fte.heads=3", *overrides
    )


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"model": s}, lambda s: {"teacher": {f"backbone.{k}": v for k, v in s.items()}}])
def test_timm_mae_and_dino(tmp_path, wrap):
    """The same ViT as timm, MAE and DINO wrap it: blocks to the bit, class token and classifier left aside, 14x14 places to 16x12."""
    theirs = _timm()
    torch.save(wrap(dict(theirs.state_dict())), tmp_path / "weights.pth")
    ours = _tiny()
    report = checkpoint.initialise(ours, tmp_path / "weights.pth")
    for name, tensor in theirs.blocks.state_dict().items():
        assert torch.equal(ours.state_dict()[f"{BACKBONE}blocks.{name}"], tensor)
    assert {name.split(".")[-2] if "." in name else name for name in report.skipped} <= {"cls_token", "head", "backbone"}
    assert len(report.skipped) == 3
    assert "1 leading slot of the position embedding left out" in str(report) and "from 14x14 to 16x12" in str(report)
    torch.testing.assert_close(ours.backbone.vit.pos_embed.mean(), theirs.pos_embed[:, 1:].mean(), atol=1e-3, rtol=0)


def test_a_timm_model_at_its_own_grid_computes_the_same(tmp_path):
    """224x224 without class token, padding 0: patch tokens equal timm's own to 1e-5."""
    theirs = _timm(class_token=False, global_pool="avg", fc_norm=False).eval()
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    ours = _tiny("model.height=224", "model.width=224", "model.backbone.padding=0")
    checkpoint.initialise(ours, tmp_path / "weights.pth")
    frames = torch.rand(1, 1, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(
            ours.backbone(frames)[0], theirs.forward_features(ours.backbone._normalise(frames[0])), atol=1e-5, rtol=1e-5
        )


def test_patch_14_becomes_16(tmp_path):
    """MAE's ViT-H has patches of 14: an image that is constant keeps its embedding."""
    theirs = _timm("vit_tiny_patch16_224", patch_size=14)
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    ours = _tiny("model.backbone.padding=0")
    report = checkpoint.initialise(ours, tmp_path / "weights.pth")
    assert "patch kernel resized from 14 to 16" in str(report)
    with torch.no_grad():
        a, b = theirs.patch_embed(torch.ones(1, 3, 224, 224))[0, 0], ours.backbone.vit.patch_embed(torch.ones(1, 3, 256, 192))[0, 0]
    torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", ["vit_small_patch14_reg4_dinov2", "eva02_tiny_patch14_224"])
def test_timm_models_under_their_own_name(tmp_path, name):
    """Register tokens, layer scale, rotary positions with split q, k, v: a named backbone takes its own published file whole."""
    theirs = timm.create_model(name, pretrained=False)
    save_file({k: v.contiguous() for k, v in theirs.state_dict().items()}, tmp_path / "x.safetensors")
    shape = {"small": (384, 6), "tiny": (192, 3)}["small" if "small" in name else "tiny"]
    size = ["model.height=252", "model.width=196", "model.backbone.patch=14", "model.backbone.padding=0", "model.stage=0"]
    config = preset("small", [f'model.backbone.name="{name}"', f"model.backbone.width={shape[0]}", f"model.backbone.heads={shape[1]}",
                              "model.encoder.heads=3", "model.fte.heads=3", *size])  # fmt: skip
    ours = CMPose(config.model)
    report = checkpoint.initialise(ours, tmp_path / "x.safetensors")
    assert {name.split(".")[0] for name in report.new} == {"head"}
    assert torch.equal(ours.backbone.vit.blocks[5].norm2.weight, theirs.blocks[5].norm2.weight)
    assert ours(torch.rand(1, 1, 3, 252, 196)).heatmaps.shape == (1, 15, 72, 56)


def _refused(path, model, *words):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(CausalPoseError) as caught:
        checkpoint.initialise(model, path)
    message = str(caught.value)
    assert path.name in message and all(word in message for word in words), message
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_another_model_is_refused(tmp_path, classic):
    """Width, depth, heads, a network that is no ViT, a ViT with a block missing; the model stays as it was."""
    save_file({name: tensor.contiguous() for name, tensor in classic.state_dict().items()}, tmp_path / "x.safetensors")
    _refused(tmp_path / "x.safetensors", _tiny(), "width = 192, but the file's is 384", "depth = 3, but the file's is 2")
    _refused(tmp_path / "x.safetensors", _model("small", 2, "model.backbone.heads=6"), "heads = 6, but the file's is 12")
    torch.save(_timm("vit_small_patch16_224").state_dict(), tmp_path / "s.pth")
    _refused(tmp_path / "s.pth", _model("small", 3), "heads = 12, but the file's is 6")
    torch.save({"conv1.weight": torch.zeros(8, 3, 7, 7), "fc.bias": torch.zeros(3)}, tmp_path / "resnet.pth")
    _refused(tmp_path / "resnet.pth", _model(), "no ViT", "conv1.weight")
    part = {name: tensor.contiguous() for name, tensor in classic.state_dict().items() if "layer.0.mlp" not in name}
    save_file(part, tmp_path / "part.safetensors")
    _refused(tmp_path / "part.safetensors", _model(), "4 of the", "blocks.0.mlp.fc1.weight")
    torch.save(_timm().state_dict(), tmp_path / "t.pth")
    conv = CMPose(preset("tiny", ["model.stage=0", "model.backbone.width=192", "model.backbone.heads=3", "model.backbone.depth=3"]).model)
    _refused(tmp_path / "t.pth", conv, "patch_embed.layers")
