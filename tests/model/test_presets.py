"""The presets: their published shapes, both sizes, all clip lengths, gradient checkpointing, and three steps of training each."""

import pytest
import torch

from causalpose.config import PRESETS, preset
from causalpose.errors import CausalPoseError
from causalpose.model.cmpose import CMPose
from causalpose.training import log, loop
from causalpose.training.objective import Objective
from tests.training.dots import Dots, config

VITS = ("small", "base", "large", "huge")


@pytest.mark.parametrize(("name", "width", "depth", "heads", "millions"), [
    ("small", 384, 12, 12, 21.7), ("base", 768, 12, 12, 85.8), ("large", 1024, 24, 16, 303.3), ("huge", 1280, 32, 16, 630.9),
])  # fmt: skip
def test_shapes_as_published(name, width, depth, heads, millions):
    """ViT-S/B/L/H: width, depth, heads and, to half a per cent, parameters (in millions, without classifier)."""
    settings = preset(name).model
    b = settings.backbone
    assert (b.width, b.depth, b.heads, b.patch, settings.frames) == (width, depth, heads, 16, 5)
    with torch.device("meta"):
        model = CMPose(settings)
    assert sum(p.numel() for p in model.backbone.parameters()) / 1e6 == pytest.approx(millions, rel=5e-3)


@pytest.mark.parametrize("frames", [1, 3, 5, 7])
@pytest.mark.parametrize(("height", "width"), [(256, 192), (384, 288)])
@pytest.mark.parametrize("name", PRESETS)
def test_forward_at_every_size_and_length(name, height, width, frames):
    """The whole of stage 2 on the meta device, but for the ViTs' number of blocks (two; all of them are in `test_utilisation`)."""
    shape = [f"model.height={height}", f"model.width={width}", f"model.frames={frames}", "model.stage=2"]
    shape += ['model.backbone.name="vit"', "model.backbone.depth=2"] if name in VITS else []
    settings = preset(name, shape).model
    cell = 2 if name == "tiny" else 4  # pixels: a quarter of a patch
    assert settings.heatmap_size == (height // cell, width // cell)
    with torch.device("meta"):
        model = CMPose(settings).eval()
        assert model(torch.zeros(2, frames, 3, height, width)).heatmaps.shape == (2, 15, *settings.heatmap_size)


# What is reduced for a CPU: depth (one block; of timm's names only the numbers stay), image (64x48, 3 frames), batch, steps. Widths,
# heads, head channels, drop path, layer decay, BatchNorm, precision and schedule are the preset's.
REDUCED = ('model.backbone.name="vit"', "model.backbone.depth=1", "model.height=64", "model.width=48", "model.frames=3", "train.batch=2",
           "train.steps=3", "train.warmup=1", "train.log_every=1", "model.fte.clusters=4")  # fmt: skip


@pytest.mark.parametrize("name", ["tiny", "small", "base", pytest.param("large", marks=pytest.mark.slow),
                                  pytest.param("huge", marks=pytest.mark.slow)])  # fmt: skip
def test_each_preset_trains_three_steps(tmp_path, name):
    reduced = REDUCED if name != "tiny" else ("train.batch=4", "train.steps=3", "train.log_every=1")
    settings = preset(name, [*reduced, "model.stage=1"])
    loop.train(settings, Dots(settings.model, 6), tmp_path, progress=False)
    rows = log.read(tmp_path / "log.csv")
    assert len(rows) == 3 and all(0 < row["loss"] < 100 and row["grad_norm"] > 0 for row in rows)


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_checkpointing_gives_equal_gradients(stage):
    """Forgotten and computed again: losses and gradients are the same to the bit, drop path included."""
    gradients = []
    for remembered in ("false", "true"):
        keys = (f"model.backbone.checkpointing={remembered}", f"model.encoder.checkpointing={remembered}")
        settings = config(f"model.stage={stage}", "model.backbone.drop_path=0.3", *keys)
        torch.manual_seed(0)
        model = CMPose(settings.model)
        objective = Objective(model, settings).train()
        clip = Dots(settings.model).batch(torch.arange(4))
        torch.manual_seed(1)
        saved = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, saved=saved: saved.append(t.numel()) or t, lambda t: t):
            loss, _, _ = objective(clip, generator=torch.Generator().manual_seed(2))
        loss.backward()
        gradients.append(({name: p.grad for name, p in model.named_parameters() if p.grad is not None}, loss.item(), sum(saved)))
    (a, loss_a, kept_a), (b, loss_b, kept_b) = gradients
    assert loss_a == loss_b and a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
    assert kept_b < 0.8 * kept_a  # less was kept for the backward pass


def test_drop_path_rises_with_depth():
    """Base: 0 at the first of twelve blocks, 0.3 at the last, in equal steps; and it acts in training only."""
    with torch.device("meta"):
        blocks = CMPose(preset("base").model).backbone.vit.blocks
    rates = [getattr(block.drop_path1, "drop_prob", 0.0) for block in blocks]
    assert rates == pytest.approx([0.3 * i / 11 for i in range(12)])
    settings = config("model.stage=0", "model.backbone.drop_path=0.5").model
    model, frames = CMPose(settings), Dots(settings).batch(torch.arange(8)).frames
    assert torch.equal(model.eval()(frames).heatmaps, model(frames).heatmaps)
    assert not torch.equal(model.train()(frames).heatmaps, model(frames).heatmaps)


@pytest.mark.parametrize(("name", "patch", "size", "more"), [
    ("vit_tiny_patch16_224", 16, (192, 3, 12), ()),
    ("deit3_small_patch16_224", 16, (384, 6, 12), ()),
    ("vit_small_patch14_reg4_dinov2", 14, (384, 6, 12), ("model.height=252", "model.width=196")),
    ("vit_small_patch16_dinov3", 16, (384, 6, 12), ()),
    ("vit_small_r26_s32_224", 32, (384, 6, 12), ()),
])  # fmt: skip
def test_any_timm_vit_is_a_backbone(name, patch, size, more):
    """Plain, layer-scaled, with registers, rotary, and behind a convolutional stem (a hybrid)."""
    width, heads, depth = size
    keys = [f'model.backbone.name="{name}"', f"model.backbone.patch={patch}", f"model.backbone.width={width}", "model.backbone.padding=0",
            f"model.backbone.heads={heads}", f"model.backbone.depth={depth}", "model.encoder.heads=3", "model.fte.heads=3"]  # fmt: skip
    settings = preset("small", [*keys, *more]).model
    rows, columns = settings.grid
    with torch.device("meta"):
        model = CMPose(settings)
        assert model.embed(torch.zeros(1, 5, 3, settings.height, settings.width)).shape == (1, 5, rows * columns, width)


@pytest.mark.parametrize(("overrides", "message"), [
    (["model.backbone.widht=3"], "unknown key 'widht' in config.model.backbone; did you mean 'width'"),
    (["model.wings=3"], "unknown key 'wings' in config.model"),
    (["train.learning_rate=3"], "unknown key 'learning_rate' in config.train"),
    (["model.frames=4"], "model.frames = 4 must be odd"),
    (["model.height=250"], "model.height = 250 is not a positive multiple of backbone.patch = 16"),
    (["model.width=200"], "model.width = 200 is not a positive multiple of backbone.patch = 16"),
    (["model.backbone.padding=8"], "backbone.padding = 8"),
    (["model.head.norm=layer"], "head.norm = 'layer' is not one of: group, batch"),
])  # fmt: skip
def test_impossible_configurations(overrides, message):
    with pytest.raises(CausalPoseError, match=message):
        preset("base", overrides)


def test_wrong_clips_for_a_model():
    """Wrong T, wrong size, and weights of a named backbone that the numbers do not describe."""
    model = CMPose(config("model.stage=1").model)
    with pytest.raises(CausalPoseError, match="the clip has 5 frames, but this model was built for model.frames = 3"):
        model(torch.zeros(1, 5, 3, 32, 32))
    with pytest.raises(CausalPoseError, match=r"takes \[B, T, 3, 32, 32\]"):
        model(torch.zeros(1, 3, 3, 32, 48))
    with pytest.raises(CausalPoseError, match="set model.backbone.width=384 model.backbone.heads=6"):
        CMPose(preset("base", ["model.backbone.name=vit_small_patch16_224"]).model)


def test_every_preset_is_known():
    assert tuple(PRESETS) == ("tiny", *VITS)
