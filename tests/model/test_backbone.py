"""The per-frame ViT."""

import pytest
import torch

from causalpose.config import override, preset
from causalpose.errors import CausalPoseError
from causalpose.model.backbone import Backbone

TINY = override(preset("tiny").model, {"backbone.depth": 1, "backbone.width": 32})


@pytest.mark.parametrize("stem", ["conv", "patch"])
@pytest.mark.parametrize("patch", [4, 8, 16])
def test_shape(stem, patch):
    config = override(TINY, {"backbone.stem": stem, "backbone.patch": patch})
    rows, columns = config.grid
    tokens = Backbone(config)(torch.zeros(2, 3, 3, 64, 48, dtype=torch.uint8))
    assert tokens.shape == (2, 3, rows * columns, 32)


def test_uint8_and_float_agree():
    backbone = Backbone(TINY).eval()
    frames = torch.randint(0, 256, (1, 1, 3, 64, 48), dtype=torch.uint8)
    torch.testing.assert_close(backbone(frames), backbone(frames.float() / 255), atol=1e-5, rtol=1e-5)


def test_normalised_by_imagenet():
    """A frame of ImageNet's mean colour becomes zero; one standard deviation above it becomes one."""
    backbone = Backbone(TINY)
    mean, std = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    image = mean.expand(1, 3, 64, 48)
    assert backbone._normalise(image).abs().max() < 1e-5
    torch.testing.assert_close(backbone._normalise(image + std), torch.ones(1, 3, 64, 48), atol=1e-5, rtol=0)


def test_frames_are_independent():
    """The backbone sees one frame at a time: changing the last frame leaves the tokens of the others untouched."""
    backbone = Backbone(TINY).eval()
    frames = torch.randint(0, 256, (1, 3, 3, 64, 48), dtype=torch.uint8)
    changed = frames.clone()
    changed[:, 2] = 255 - changed[:, 2]
    before, after = backbone(frames), backbone(changed)
    assert torch.equal(before[:, :2], after[:, :2])
    assert not torch.allclose(before[:, 2], after[:, 2])


def test_train_equals_eval():
    """No batch statistics anywhere."""
    backbone = Backbone(TINY)
    frames = torch.randint(0, 256, (2, 1, 3, 64, 48), dtype=torch.uint8)
    assert torch.equal(backbone.train()(frames), backbone.eval()(frames))


@pytest.mark.parametrize("name", ["small", "base", "large", "huge"])
def test_timm_presets(name):
    """ViT-S/B/L/H from timm, at 256x192 with patch 16: 16x12 = 192 tokens (no memory is touched on the meta device)."""
    config = preset(name).model
    with torch.device("meta"):
        backbone = Backbone(config)
        tokens = backbone(torch.zeros(1, 2, 3, 256, 192))
    assert tokens.shape == (1, 2, 192, config.backbone.width)
    assert backbone.vit.pos_embed.shape == (1, 192, config.backbone.width)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone.name": "vit_enormous"}, "neither 'vit' nor a model of timm"),
        ({"backbone.name": "resnet18"}, "resnet18"),
        ({"backbone.name": "vit_tiny_patch16_224", "backbone.patch": 16}, "backbone.width = 32, but vit_tiny_patch16_224 has 192"),
    ],
)
def test_wrong_names(changes, message):
    with pytest.raises(CausalPoseError, match=message):
        Backbone(override(TINY, changes))


@pytest.mark.parametrize("stem", ["conv", "patch"])
def test_blocks_see_tokens_one_after_the_other(stem):
    """In memory, so that no norm has to copy them."""
    backbone = Backbone(preset("tiny", [f"model.backbone.stem={stem}"]).model)
    backbone.vit.blocks[-1].register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0].is_contiguous()))
    seen = []
    backbone(torch.rand(1, 2, 3, 64, 48))
    assert seen == [True]
