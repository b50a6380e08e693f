"""Stage 1's auxiliary tasks."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from causalpose.config import MCLConfig, override, preset
from causalpose.errors import CausalPoseError
from causalpose.model.auxiliary import Auxiliary
from causalpose.model.cmpose import CMPose
from causalpose.model.masking import noise_mask, rectangle, token_mask

TINY = preset("tiny").model
CPU = torch.device("cpu")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(max_examples=40, deadline=None)
@given(ratio=st.floats(0.01, 0.99), frames=st.sampled_from([1, 3, 5]), pattern=st.sampled_from(["random", "tube", "block"]))
def test_exact_counts(ratio, frames, pattern):
    """On an 8x6 grid (48 tokens a frame) every clip masks exactly the documented number of tokens."""
    mask = token_mask(MCLConfig(mask_ratio=ratio, mask_pattern=pattern), 4, frames, (8, 6), CPU)
    high, wide = rectangle(ratio, (8, 6))
    expected = {
        "random": min(48 * frames - 1, max(1, round(ratio * 48 * frames))),
        "tube": min(47, max(1, round(ratio * 48))) * frames,
        "block": high * wide * frames,
    }[pattern]
    assert mask.shape == (4, frames, 48)
    assert mask.flatten(1).sum(1).tolist() == [expected] * 4


def test_half_of_144_is_72():
    mask = token_mask(MCLConfig(mask_ratio=0.5), 8, 3, (8, 6), CPU)
    assert mask.flatten(1).sum(1).tolist() == [72] * 8
    assert not torch.equal(mask[0], mask[1])


def test_tube_is_the_same_in_every_frame():
    mask = token_mask(MCLConfig(mask_pattern="tube"), 4, 3, (8, 6), CPU)
    assert torch.equal(mask[:, 0], mask[:, 1]) and torch.equal(mask[:, 0], mask[:, 2])
    assert not torch.equal(mask[0], mask[1])


def test_block_is_one_rectangle_a_frame():
    mask = token_mask(MCLConfig(mask_pattern="block", mask_ratio=0.5), 16, 3, (8, 6), CPU).view(48, 8, 6)
    for frame in mask:
        rows, columns = frame.any(1), frame.any(0)
        assert rows.sum() == 6 and columns.sum() == 4
        assert torch.equal(frame, rows[:, None] & columns[None])
        first, last = rows.nonzero()[0], rows.nonzero()[-1]
        assert last - first == 5  # contiguous
    assert len({tuple(frame.flatten().tolist()) for frame in mask}) > 3  # placed anew each time


def test_rectangle_by_hand():
    """8x6: 0.5 -> 24 = 6x4; 0.3 -> 14.4 -> 15 = 5x3 (14 = 7x2 is a stripe). 16x12: 0.25 -> 48 = 8x6, half of each side."""
    assert rectangle(0.5, (8, 6)) == (6, 4)
    assert rectangle(0.3, (8, 6)) == (5, 3)
    assert rectangle(0.25, (16, 12)) == (8, 6)


@pytest.mark.parametrize("level", [0.4, 0.8, 1.6])
def test_noise_on_a_quarter_of_the_tokens(level):
    """25 % of 144 tokens are 36, exactly; only they change, by the stated share of the clip's own standard deviation."""
    auxiliary = Auxiliary(override(TINY, {"mcl.mask": False, "mcl.noise_std": level}))
    tokens = torch.randn(8, 3, 48, 128) * torch.tensor([1.0, 10.0]).repeat(4).view(8, 1, 1, 1)
    (branch,) = auxiliary.corrupt(tokens, seeded())
    assert branch.chosen.flatten(1).sum(1).tolist() == [36] * 8
    changed = (branch.tokens != tokens).any(-1)
    assert torch.equal(changed, branch.chosen)
    for clip, spread in ((0, 1.0), (1, 10.0)):
        noise = (branch.tokens - tokens)[clip][branch.chosen[clip]]
        assert noise.std().item() == pytest.approx(level * spread, rel=0.05)
    assert noise_mask(MCLConfig(noise_share=0.001), 1, 3, (8, 6), CPU).sum() == 1


def test_masked_tokens_hold_nothing_of_the_clean_ones():
    auxiliary = Auxiliary(override(TINY, {"mcl.noise": False}))
    one, two = (auxiliary.corrupt(torch.randn(2, 3, 48, 128), seeded())[0] for _ in range(2))
    assert torch.equal(one.chosen, two.chosen)
    assert torch.equal(one.tokens[one.chosen], two.tokens[two.chosen])
    assert not torch.equal(one.tokens[~one.chosen], two.tokens[~two.chosen])


def test_loss_counts_corrupted_tokens_only():
    """Wrecking the encoder's output at the other places leaves the loss as it is (decoder: a linear layer for each token)."""
    auxiliary = Auxiliary(override(TINY, {"mcl.noise": False}))
    auxiliary.decoders["mask"].blocks = torch.nn.ModuleList()
    tokens = torch.randn(2, 3, 48, 128)
    branches = auxiliary.corrupt(tokens, seeded())
    mixed = torch.randn(2, 3, 48, 128)
    wrecked = torch.where(branches[0].chosen[..., None], mixed, 1e3 * torch.randn_like(mixed))
    spoilt = torch.where(branches[0].chosen[..., None], 1e3 * torch.randn_like(mixed), mixed)
    loss = auxiliary.losses(tokens, branches, [mixed])["mask"]
    assert auxiliary.losses(tokens, branches, [wrecked])["mask"] == loss
    assert auxiliary.losses(tokens, branches, [spoilt])["mask"] != loss


@pytest.mark.parametrize("depth", [0, 1, 2])
@pytest.mark.parametrize("normalise", [True, False])
def test_loss_by_hand(depth, normalise):
    """Decode everything, square the differences from the clean tokens, normalised or as they are, and average over the chosen ones."""
    auxiliary = Auxiliary(override(TINY, {"mcl.decoder_depth": depth, "mcl.normalise": normalise}))
    tokens, mixed = 1 + 3 * torch.randn(2, 3, 48, 128), torch.randn(2, 3, 48, 128)  # far from normalised
    branches = auxiliary.corrupt(tokens, seeded())
    losses = auxiliary.losses(tokens, branches, [mixed, mixed])
    everywhere = torch.arange(144).expand(2, -1)
    for branch in branches:
        restored = auxiliary.decoders[branch.name](mixed, everywhere).view_as(tokens)
        wanted = torch.nn.functional.layer_norm(tokens, (128,)) if normalise else tokens
        error = (restored - wanted).square().mean(-1)
        torch.testing.assert_close(losses[branch.name], error[branch.chosen].mean())


@pytest.mark.parametrize("scope", ["joint", "frame"])
@pytest.mark.parametrize("pattern", ["random", "tube", "block"])
@pytest.mark.parametrize("ratio", [0.01, 0.3, 0.5, 0.99])
def test_places_are_the_chosen_ones_in_order(scope, pattern, ratio):
    changes = {"mcl.scope": scope, "mcl.mask_pattern": pattern, "mcl.mask_ratio": ratio, "mcl.noise_share": ratio}
    for branch in Auxiliary(override(TINY, changes)).corrupt(torch.randn(2, 3, 48, 128), seeded()):
        assert branch.places.tolist() == [chosen.nonzero()[:, 0].tolist() for chosen in branch.chosen.flatten(1)]


def test_target_carries_no_gradient_and_collapse_shows():
    auxiliary = Auxiliary(TINY)
    tokens = torch.randn(2, 3, 48, 128, requires_grad=True)
    branches = auxiliary.corrupt(tokens.detach(), seeded())
    losses = auxiliary.losses(tokens, branches, [branch.tokens for branch in branches])
    (losses["mask"] + losses["noise"]).backward()
    assert tokens.grad is None
    assert losses["target_variance"].item() == pytest.approx(1, rel=0.05) and not losses["target_variance"].requires_grad
    same = torch.randn(1, 1, 1, 128).expand(2, 3, 48, 128)
    assert auxiliary.losses(same, branches, [branch.tokens for branch in branches])["target_variance"] < 1e-9


def test_weights_scale_the_losses():
    plain = Auxiliary(TINY)
    heavy = Auxiliary(override(TINY, {"mcl.weight_mask": 3.0, "mcl.weight_noise": 0.5}))
    heavy.load_state_dict(plain.state_dict())
    tokens = torch.randn(2, 3, 48, 128)
    a, b = (m.losses(tokens, branches := m.corrupt(tokens, seeded()), [x.tokens for x in branches]) for m in (plain, heavy))
    torch.testing.assert_close(b["mask"], 3 * a["mask"])
    torch.testing.assert_close(b["noise"], 0.5 * a["noise"])


@pytest.mark.parametrize(
    ("changes", "names"), [({"mcl.mask": False}, {"noise"}), ({"mcl.noise": False}, {"mask"}), ({"mcl.weight_mask": 0.0}, {"noise"})]
)
def test_each_task_can_be_off(changes, names):
    auxiliary = Auxiliary(override(TINY, changes))
    assert {branch.name for branch in auxiliary.corrupt(torch.randn(1, 3, 48, 128))} == names
    assert set(auxiliary.decoders) == names


def test_generator_reproduces():
    auxiliary, tokens = Auxiliary(TINY), torch.randn(2, 3, 48, 128)
    first, again, other = (auxiliary.corrupt(tokens, seeded(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(a.tokens, b.tokens) and torch.equal(a.chosen, b.chosen) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0].chosen, other[0].chosen)


def test_restoration_can_be_learned():
    """Tokens that repeat from frame to frame can be restored from their neighbours: the masked loss falls well below one, what a
    constant guess of a normalised target costs."""
    from causalpose.model.encoder import Encoder

    config = override(TINY, {"backbone.width": 32, "mcl.noise": False, "mcl.mask_ratio": 0.3})
    encoder, auxiliary = Encoder(config), Auxiliary(config)
    optimiser = torch.optim.Adam([*encoder.parameters(), *auxiliary.parameters()], lr=3e-3)
    generator, losses = seeded(), []
    basis = torch.randn(4, 48, 32, generator=generator)
    for _ in range(80):
        tokens = basis[torch.randint(0, 4, (8,), generator=generator)][:, None].expand(-1, 3, -1, -1)
        branches = auxiliary.corrupt(tokens, generator)
        loss = auxiliary.losses(tokens, branches, [encoder(branches[0].tokens)[0]])["mask"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 0.95 and losses[-1] < 0.8


def drawn(config, **changes) -> Auxiliary:
    return Auxiliary(override(config, {f"mcl.{key}": value for key, value in changes.items()}))


@pytest.mark.parametrize("pattern", ["random", "tube", "block"])
def test_scope_frame_takes_as_many_of_every_frame(pattern):
    mask = token_mask(MCLConfig(mask_pattern=pattern, scope="frame"), 4, 3, (8, 6), CPU)
    assert mask.sum(-1).tolist() == [[24] * 3] * 4
    noisy = noise_mask(MCLConfig(scope="frame"), 4, 3, (8, 6), CPU)
    assert noisy.sum(-1).tolist() == [[12] * 3] * 4


@pytest.mark.parametrize("content", ["mask", "noise", "foreign", "clean"])
def test_content_fills_the_chosen_places_alone(content):
    auxiliary = drawn(TINY, noise=False, content=content)
    tokens = torch.randn(4, 3, 48, 128)
    (branch,) = auxiliary.corrupt(tokens, seeded())
    assert branch.chosen.flatten(1).sum(1).tolist() == [72] * 4  # the same places in number, whatever they hold
    assert torch.equal(branch.tokens[~branch.chosen], tokens[~branch.chosen])
    if content == "clean":
        assert torch.equal(branch.tokens, tokens)
    if content == "foreign":
        assert torch.equal(branch.tokens[1][branch.chosen[1]], tokens[0][branch.chosen[1]])
    assert hasattr(auxiliary, "mask_token") == (content == "mask")


def test_another_clip_is_needed_for_its_tokens():
    with pytest.raises(CausalPoseError, match="one clip only"):
        drawn(TINY, content="foreign").corrupt(torch.randn(1, 3, 48, 128))
    with pytest.raises(CausalPoseError, match="train.batch must be at least 2"):
        preset("tiny", ["model.mcl.content=foreign", "train.batch=1"])


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_erased_patches_have_one_colour_a_clip(kind):
    auxiliary = drawn(TINY, noise=False, content="erased")
    frames = torch.randint(0, 256, (2, 3, 3, 64, 48), dtype=torch.uint8)
    frames = frames if kind == torch.uint8 else frames / 255
    erased, chosen = auxiliary.erase(frames, seeded())
    patches = erased.unfold(3, 8, 8).unfold(4, 8, 8).permute(0, 1, 3, 4, 2, 5, 6).flatten(2, 3)  # [B, T, N, 3, 8, 8]
    original = frames.unfold(3, 8, 8).unfold(4, 8, 8).permute(0, 1, 3, 4, 2, 5, 6).flatten(2, 3)
    assert erased.dtype == kind and torch.equal(patches[~chosen], original[~chosen])
    for clip in range(2):
        assert len(patches[clip][chosen[clip]].movedim(1, -1).flatten(0, -2).unique(dim=0)) == 1


@pytest.mark.parametrize(("loss", "expected"), [("mse", 4.0), ("smooth-l1", 1.5), ("cosine", 0.0)])
def test_losses_by_hand(loss, expected):
    """Restored 3 where 1 is asked: squared 4; beyond one linear, 2 - 0.5; and the same direction."""
    auxiliary = drawn(TINY, loss=loss)
    found = auxiliary._difference(torch.full((1, 3, 48, 128), 3.0), torch.ones(1, 3, 48, 128))
    torch.testing.assert_close(found, torch.full((1, 3, 48), expected))


SMALL = override(TINY, {"height": 32, "width": 32, "backbone.width": 32, "backbone.depth": 2, "backbone.heads": 2, "head.channels": 16})


def model_of(**changes) -> CMPose:
    torch.manual_seed(0)
    return CMPose(override(SMALL, {f"mcl.{key}": value for key, value in changes.items()})).train()


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("changes", [{}, {"content": "erased"}, {"target_layer": 0}, {"content": "erased", "target_layer": 1}])
def test_one_backbone_pass_serves_every_branch(changes, cached):
    """However many branches there are, the backbone is called once, or not at all when its tokens are known and no task looks inside."""
    model, calls = model_of(**changes), []
    model.backbone.vit.norm.register_forward_hook(lambda *_: calls.append(1))
    frames = torch.rand(2, 3, 3, 32, 32)
    tokens = model.backbone(frames) if cached else None
    calls.clear()
    known, views = model.embed_views(frames, seeded(), tokens)
    output = model.forward_tokens(known, views=views, generator=seeded())
    assert len(calls) == (0 if cached and not changes else 1)
    assert {"mask", "noise"} <= output.losses.keys() and torch.isfinite(output.losses["mask"])
    model.eval()
    assert model(frames).losses == {} and model(frames).branches == {}


def test_an_earlier_block_is_another_target():
    frames = torch.rand(2, 3, 3, 32, 32)
    first, last = (model_of(target_layer=layer)(frames, generator=seeded()).losses["target_variance"] for layer in (0, -1))
    assert first != last
    model = model_of(target_layer=1, normalise=False)
    tokens, views = model.embed_views(frames)
    torch.testing.assert_close(model.backbone.vit.norm(views.target), tokens)
    with pytest.raises(CausalPoseError, match="the last of the backbone's blocks is 1"):
        override(SMALL, {"mcl.target_layer": 2})


@pytest.mark.parametrize("target", ["pose", "heatmap"])
def test_other_targets_are_read_from_heatmaps(target):
    model = model_of(target=target)
    output = model(torch.rand(2, 3, 3, 32, 32), generator=seeded())
    assert output.losses.keys() == {"target_variance"} and output.branches.keys() == {"mask", "noise"}
    assert all(heatmaps.shape == output.heatmaps.shape for heatmaps in output.branches.values())
    assert not model.auxiliary.decoders


@pytest.mark.parametrize("target", ["tokens", "pose"])
def test_a_placebo_leaves_no_gradient_on_the_model(target):
    """Whatever is scored, only the decoders could learn from it: neither backbone nor encoder nor head."""
    model = model_of(placebo=True, target=target)
    output = model(torch.rand(2, 3, 3, 32, 32), generator=seeded())
    parts = [output.losses["mask"], output.losses["noise"]] if target == "tokens" else [h.square().sum() for h in output.branches.values()]
    if target == "pose":
        assert not any(part.requires_grad for part in parts)
        return
    sum(parts).backward()
    learning = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert learning == {"auxiliary"}
    assert not model.auxiliary.mask_token.grad  # stopped before the encoder, so before what it is given too


def test_a_placebo_with_a_gradient_through_its_targets_is_refused():
    """The targets are the backbone's own tokens, so their gradient would reach the model after all."""
    with pytest.raises(CausalPoseError, match="set one only"):
        MCLConfig(placebo=True, target_gradient=True)


@pytest.mark.parametrize("gradient", [True, False])
def test_collapse_happens_where_the_target_carries_gradient(gradient):
    """A learned embedding, an encoder and the masked task, with nothing else to please. Where the target carries gradient the cheapest
    answer is that all tokens are alike: their variance, which the log shows, falls to a hundredth. With the stop it stays."""
    from causalpose.model.encoder import Encoder

    changes = {"target_gradient": gradient, "noise": False, "normalise": False}
    config = override(SMALL, {f"mcl.{key}": value for key, value in changes.items()})
    torch.manual_seed(0)
    embed, encoder, auxiliary = torch.nn.Linear(8, 32), Encoder(config), Auxiliary(config)
    optimiser = torch.optim.Adam([*embed.parameters(), *encoder.parameters(), *auxiliary.parameters()], lr=3e-3)
    generator, watched = seeded(), []
    for _ in range(150):
        tokens = embed(torch.randn(4, 3, 16, 8, generator=generator))
        branches = auxiliary.corrupt(tokens, generator)
        losses = auxiliary.losses(tokens, branches, [encoder(branches[0].tokens)[0]])
        optimiser.zero_grad()
        losses["mask"].backward()
        optimiser.step()
        watched.append(losses["target_variance"].item())
    assert watched[-1] < 0.02 * watched[0] if gradient else watched[-1] > 0.3 * watched[0]
