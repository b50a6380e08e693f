"""The whole model."""

from itertools import combinations

import pytest
import torch

from causalpose.config import CLUSTERINGS, READOUTS, SELECTORS, ModelConfig, differing_keys, override, preset
from causalpose.errors import CausalPoseError
from causalpose.model import heatmaps
from causalpose.model.cmpose import CMPose
from causalpose.scenes.world import World
from causalpose.training.objective import Objective
from causalpose.training.truth import body_share

SMALL = override(preset("tiny").model, {"backbone.width": 32, "backbone.depth": 2, "head.channels": 16})


def build(stage: int, shaken: bool = True, **changes) -> CMPose:
    """A small model; `shaken` moves every parameter off its start, where several are zero on purpose."""
    model = CMPose(override(SMALL, {"stage": stage} | {key.replace("__", "."): value for key, value in changes.items()}))
    if shaken:
        for parameter in model.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
    return model


def frames(B: int = 2, T: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (B, T, 3, 64, 48), dtype=torch.uint8)


def inherit(model: CMPose, source: CMPose) -> None:
    """The source's weights by name, as initialisation from a lower stage does."""
    model.load_state_dict({k: v for k, v in source.state_dict().items() if k in model.state_dict()}, strict=False)


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_shape(stage):
    output = build(stage)(frames())
    assert output.heatmaps.shape == (2, 15, 32, 24) and output.maps == {}


@pytest.mark.parametrize("name", ["tiny", "small", "base", "large", "huge"])
@pytest.mark.parametrize("stage", [0, 1, 2])
def test_presets_on_the_meta_device(name, stage):
    """Every preset is the same code: shapes through a training pass, without memory."""
    config = override(preset(name).model, {"stage": stage})
    with torch.device("meta"):
        output = CMPose(config)(torch.zeros(2, config.frames, 3, config.height, config.width), return_maps=True)
    assert output.heatmaps.shape == (2, 15, *config.heatmap_size)
    assert set(output.losses) == ({"target_variance", "mask", "noise"} if stage == 1 else set())


def test_stage_one_starts_exactly_as_the_single_frame_model():
    single, temporal = build(0), build(1, shaken=False)
    inherit(temporal, single)
    clip = frames()
    assert torch.equal(single(clip).heatmaps, temporal.eval()(clip).heatmaps)
    assert torch.equal(single(clip).heatmaps, single(clip[:, 1:2]).heatmaps)


@pytest.mark.parametrize("clustering", CLUSTERINGS)
def test_stage_two_starts_exactly_as_stage_one(clustering):
    first, second = build(1).eval(), build(2, shaken=False, fte__clustering=clustering, fte__residual=True).eval()
    inherit(second, first)
    clip = frames()
    assert torch.equal(first(clip).heatmaps, second(clip).heatmaps)


@pytest.mark.parametrize("changes", [{"fte__clustering": "keep"}, {"fte__selector": "all"}])
def test_strict_stage_two_starts_as_stage_one_where_nothing_is_merged(changes):
    first, second = build(1).eval(), build(2, shaken=False, fte__residual=False, **changes).eval()
    inherit(second, first)
    clip = frames()
    torch.testing.assert_close(second(clip).heatmaps, first(clip).heatmaps, atol=1e-5, rtol=1e-4)


ARMS = {
    "supervision": ("none", "joints", "effects"),
    "train_selection": ("hard", "all"),
    "keep_anneal": (0.0, 0.5),
    "readout": ("grid", "keypoints", "both"),
    "residual": (True, False),
    "merge_weight": ("importance", "plain"),
    "ranking": ("joint", "frame"),
    "gate": ("straight-through", "soft"),
    "selector": SELECTORS,
    "clustering": CLUSTERINGS,
}


@pytest.mark.parametrize("key", ARMS)
def test_every_arm_differs_in_its_factor_alone(key):
    """The configurations differ in one key, and the gradients of a training step differ for every pair of its values: no arm is a name
    only. Same weights by name, same clip, same draws."""
    base = preset("tiny", ["model.stage=2", "model.backbone.width=32", "model.backbone.depth=1", "model.head.channels=16"])
    clip = World(seed=3).render(range(4))
    start, seen = build(2, backbone__depth=1, fte__readout="both", fte__residual=True, fte__clustering="drop").state_dict(), []
    for value in ARMS[key]:
        config = override(base, {f"model.fte.{key}": value})
        assert set(differing_keys(base, config)) <= {f"model.fte.{key}"}
        model = CMPose(config.model)
        model.load_state_dict({name: start[name] for name in model.state_dict() if name in start}, strict=False)
        objective = Objective(model, config).train()
        draws = torch.Generator().manual_seed(0)
        objective(clip, truth=body_share(clip, config.model), generator=draws, progress=0.2)[0].backward()
        reached = model.importance.query.weight.grad
        seen.append(torch.cat([model.encoder.blocks[0].mlp[0].weight.grad.flatten(), reached.flatten()]))
    assert all(not torch.allclose(a, b, rtol=1e-4, atol=1e-9) for a, b in combinations(seen, 2))


@pytest.mark.parametrize("length", [1, 2, 5])
def test_stage_zero_takes_the_middle_frame_of_any_clip(length):
    model, clip = build(0), frames(T=length)
    assert torch.equal(model(clip).heatmaps, model(clip[:, length // 2, None]).heatmaps)


@pytest.mark.parametrize("stage", [1, 2])
def test_temporal_stages_use_the_other_frames(stage):
    model, clip = build(stage).eval(), frames()
    changed = clip.clone()
    changed[:, 0] = 255 - changed[:, 0]
    assert (model(clip).heatmaps - model(changed).heatmaps).abs().max() > 1e-4


@pytest.mark.parametrize("stage", [0, 1, 2])
@pytest.mark.parametrize("loss", heatmaps.LOSSES)
def test_gradient_reaches_every_parameter(stage, loss):
    model = build(stage).train()
    output = model(frames())
    targets, weights = heatmaps.encode(torch.rand(2, 15, 2) * 40, torch.ones(2, 15, dtype=torch.uint8), model.config, 1.0)
    (heatmaps.loss(output.heatmaps, targets, weights, loss) + sum(v for k, v in output.losses.items() if k != "target_variance")).backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


@pytest.mark.parametrize("selector", SELECTORS)
@pytest.mark.parametrize("clustering", CLUSTERINGS)
def test_every_arm_of_stage_two_trains(selector, clustering):
    model = build(2, fte__selector=selector, fte__clustering=clustering).train()
    model(frames(), truth=torch.rand(2, 3, 48)).heatmaps.square().mean().backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert silent == []


def test_tcis_gets_the_pose_gradient_through_the_gate_alone():
    """With the keypoint tokens' own reading cut, attention still learns: through the gate of the causal tokens and the merge's weights."""
    model = build(2).train()
    model.importance.out.weight.data.zero_()
    model.importance.out.bias.data.zero_()
    model(frames()).heatmaps.square().mean().backward()
    assert model.importance.query.weight.grad.abs().max() > 0


def test_auxiliary_tasks_run_in_training_only():
    model = build(1)
    assert set(model.train()(frames()).losses) == {"mask", "noise", "target_variance"}
    assert model.eval()(frames()).losses == {}
    assert build(0).train()(frames()).losses == {} and build(2).train()(frames()).losses == {}


def test_auxiliary_tasks_leave_the_pose_alone():
    """The corrupted copies go through the encoder beside the clean clip, not into it."""
    model, clip = build(1), frames()
    torch.testing.assert_close(model.train()(clip).heatmaps, model.eval()(clip).heatmaps, atol=1e-5, rtol=1e-4)


def test_backbone_runs_once():
    model, calls = build(1).train(), []
    model.backbone.register_forward_hook(lambda *_: calls.append(1))
    model(frames())
    assert len(calls) == 1


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_cached_tokens_give_the_same(stage):
    model, clip = build(stage).eval(), frames()
    tokens = model.embed(clip)
    assert tokens.shape == (2, 3, 48, 32)
    torch.testing.assert_close(model.forward_tokens(tokens).heatmaps, model(clip).heatmaps, atol=1e-5, rtol=1e-4)
    assert model.forward_tokens(tokens.half()).heatmaps.dtype == torch.float32


@pytest.mark.parametrize(
    ("selector", "clustering"), [*((s, "dpc-knn") for s in SELECTORS), *(("attention", c) for c in CLUSTERINGS if c != "dpc-knn")]
)
def test_a_clip_alone_equals_the_clip_in_a_batch(selector, clustering):
    model, clip, truth = build(2, fte__selector=selector, fte__clustering=clustering).eval(), frames(4), torch.rand(4, 3, 48)
    together, alone = model(clip, truth=truth, return_maps=True), model(clip[2:3], truth=truth[2:3], return_maps=True)
    torch.testing.assert_close(together.heatmaps[2:3], alone.heatmaps, atol=1e-5, rtol=1e-4)
    assert torch.equal(together.maps["clusters"][2:3], alone.maps["clusters"])


@pytest.mark.parametrize("stage", [1, 2])
def test_generator_decides_everything_random(stage):
    """Same generator, same pass, whatever the global stream did in between; another seed, another mask."""
    changes = {"fte__selector": "random"} if stage == 2 else {}
    model, clip = build(stage, **changes).train(), frames()

    def run(seed: int) -> torch.Tensor:
        torch.rand(7)
        output = model(clip, generator=torch.Generator().manual_seed(seed))
        return output.losses["mask"] if stage == 1 else output.heatmaps

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))


@pytest.mark.parametrize("stage", [1, 2])
def test_evaluation_draws_nothing(stage):
    model, clip = build(stage, fte__selector="random", fte__clustering="kmeans").eval(), frames()
    state = torch.random.get_rng_state()
    first = model(clip).heatmaps
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.rand(3)
    assert torch.equal(first, model(clip).heatmaps)


@pytest.mark.parametrize("clustering", CLUSTERINGS)
def test_maps(clustering):
    """-1 marks causal places and them only, -2 dropped ones; the rest carry a merged token's number. round(0.3·144) = 43 are causal."""
    maps = build(2, fte__clustering=clustering).eval()(frames(), return_maps=True).maps
    shapes = {name: tuple(tensor.shape) for name, tensor in maps.items()}
    assert shapes == {
        "heatmaps": (2, 15, 32, 24),
        "encoder_attention": (2, 48, 3, 8, 6),
        "importance": (2, 3, 8, 6),
        "importance_per_keypoint": (2, 15, 3, 8, 6),
        "causal": (2, 3, 8, 6),
        "clusters": (2, 3, 8, 6),
        "keypoint_attention": (2, 3, 4, 15, 3, 8, 6),
    }
    assert maps["causal"].flatten(1).sum(1).tolist() == [43, 43]
    assert torch.equal(maps["clusters"] == -1, maps["causal"])
    if clustering == "drop":
        assert (maps["clusters"][~maps["causal"]] == -2).all()
    else:
        assert (maps["clusters"][~maps["causal"]] >= 0).all()
        assert maps["clusters"].max() < (101 if clustering == "keep" else 16)
    torch.testing.assert_close(maps["importance"].flatten(1).sum(1), torch.ones(2))
    torch.testing.assert_close(maps["encoder_attention"].flatten(2).sum(2), torch.ones(2, 48))
    # the causal places are those of the largest importance
    least_kept = maps["importance"][maps["causal"]].view(2, 43).amin(1)
    assert (maps["importance"].masked_fill(maps["causal"], 0).flatten(1).amax(1) <= least_kept).all()


def test_keypoint_attention_is_importance_head_by_head():
    """The first layer's mean over heads is the importance; in the blocks the keypoint tokens look at one another too."""
    maps = build(2).eval()(frames(), return_maps=True).maps
    attention = maps["keypoint_attention"]
    torch.testing.assert_close(attention[:, 0].mean(1), maps["importance_per_keypoint"])
    sums = attention.flatten(4).sum(-1)
    torch.testing.assert_close(sums[:, 0], torch.ones_like(sums[:, 0]))
    assert (sums[:, 1:] < 1).all() and (sums[:, 1:] > 0).all()


@pytest.mark.parametrize("readout", READOUTS)
def test_readouts(readout):
    """`both` starts as the grid alone, its keypoint read-out being zero; `keypoints` does not use the head at all."""
    grid, model = build(2, fte__readout="grid").eval(), build(2, shaken=False, fte__readout=readout).eval()
    inherit(model, grid)
    clip = frames()
    assert torch.equal(model(clip).heatmaps, grid(clip).heatmaps) is (readout != "keypoints")
    model(clip).heatmaps.square().mean().backward()
    assert (model.head.layers.out.weight.grad is None) is (readout == "keypoints")
    if readout != "grid":
        assert model.keypoint_head.out.weight.grad.abs().max() > 0


def test_maps_of_the_lower_stages():
    assert set(build(0)(frames(), return_maps=True).maps) == {"heatmaps"}
    assert set(build(1)(frames(), return_maps=True).maps) == {"heatmaps", "encoder_attention"}


@pytest.mark.parametrize(("stage", "clustering"), [(0, "dpc-knn"), (1, "dpc-knn"), *((2, c) for c in CLUSTERINGS)])
def test_bfloat16_trains(stage, clustering):
    """Under autocast every stage and clustering runs and its gradients are finite."""
    model = build(stage, fte__clustering=clustering, fte__readout="both").train()
    with torch.autocast("cpu", torch.bfloat16):
        output = model(frames())
    (output.heatmaps.float().square().mean() + sum(v for k, v in output.losses.items() if k != "target_variance")).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("stage", [1, 2])
def test_wrong_number_of_frames(stage):
    with pytest.raises(CausalPoseError, match="the clip has 5 frames, but this model was built for model.frames = 3"):
        build(stage)(frames(T=5))


@pytest.mark.parametrize("stage", [0, 1])
def test_wrong_size(stage):
    with pytest.raises(CausalPoseError, match=r"takes \[B, T, 3, 64, 48\]"):
        build(stage)(torch.zeros(1, 3, 3, 48, 64, dtype=torch.uint8))
    with pytest.raises(CausalPoseError, match=r"frames have shape \(3, 3, 64, 48\)"):
        build(stage)(frames()[0])
    with pytest.raises(CausalPoseError, match=r"takes \[B, T, 48, 32\]"):
        build(stage).forward_tokens(torch.zeros(1, 3, 40, 32))


def test_single_frame_clips():
    """T = 1 is a legal, if pointless, temporal model."""
    maps = build(2, frames=1)(frames(T=1), return_maps=True).maps
    assert maps["heatmaps"].shape == (2, 15, 32, 24) and maps["keypoint_attention"].shape == (2, 3, 4, 15, 1, 8, 6)


def test_a_few_steps_learn():
    """Stage 0 overfits eight frames with one bright square each: the loss halves from log 768 = 6.64."""
    model = CMPose(override(ModelConfig(stage=0), {"backbone.width": 32, "backbone.depth": 2, "head.channels": 16}))
    place = torch.randint(8, 40, (8, 2))
    clip = torch.zeros(8, 1, 3, 64, 48, dtype=torch.uint8)
    for i, (x, y) in enumerate(place.tolist()):
        clip[i, ..., y - 3 : y + 4, x - 3 : x + 4] = 255
    keypoints = place.float()[:, None].expand(-1, 15, -1)
    targets, weights = heatmaps.encode(keypoints, torch.ones(8, 15, dtype=torch.uint8), model.config, 1.0)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(80):
        loss = heatmaps.loss(model(clip).heatmaps, targets, weights)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 3.3
    decoded, _ = heatmaps.decode(model(clip).heatmaps, model.config)
    assert (decoded - keypoints).norm(dim=-1).mean() < 2


@pytest.mark.parametrize(
    "arm", [("model.stage=1", "model.mcl.target=pose", "model.mcl.placebo=true"), ("model.stage=2", "model.fte.selector=heatmap")]
)
def test_passes_beside_the_poses_leave_batch_norm_alone(arm):
    """Running statistics count one pass of the head, the pose's own."""
    model = CMPose(preset("tiny", ["model.head.norm=batch", *arm]).model).train()
    output = model(torch.rand(2, 3, 3, 64, 48), generator=torch.Generator().manual_seed(0))
    assert len(output.branches) == (2 if model.config.stage == 1 else 0)
    counts = [buffer.item() for name, buffer in model.head.named_buffers() if name.endswith("num_batches_tracked")]
    assert counts == [1, 1]
