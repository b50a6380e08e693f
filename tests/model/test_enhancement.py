"""Refinement and the way back to the grid."""

import pytest
import torch

from causalpose.config import FTEConfig, override, preset
from causalpose.model.clustering import Merged, cluster
from causalpose.model.enhancement import Enhancement
from causalpose.model.selection import select

SMALL = override(preset("tiny").model, {"backbone.width": 32, "fte.residual": True})
STRICT = override(SMALL, {"fte.residual": False})


def transparent() -> Enhancement:
    """Enhancement that passes tokens through: no blocks, no norm, identity projection; what is restored can be read off."""
    enhancement = Enhancement(SMALL)
    enhancement.blocks, enhancement.norm = torch.nn.ModuleList(), torch.nn.Identity()
    enhancement.out.weight.data = torch.eye(32)
    return enhancement


def parts(clustering: str = "dpc-knn"):
    mixed = torch.randn(2, 3, 48, 32)
    chosen = select(mixed.flatten(1, 2), torch.rand(2, 15, 144).softmax(-1), FTEConfig(), 3)
    rest = mixed.flatten(1, 2).gather(1, chosen.rest[..., None].expand(-1, -1, 32))
    merged = cluster(rest, chosen.importance.gather(1, chosen.rest), FTEConfig(clustering=clustering))
    return mixed, torch.randn(2, 15, 32), chosen, merged


def test_residual_starts_at_stage_one():
    mixed, keypoint_tokens, chosen, merged = parts()
    assert torch.equal(Enhancement(SMALL)(mixed, keypoint_tokens, chosen, merged).grid, mixed[:, 1])


@pytest.mark.parametrize("clustering", ["dpc-knn", "keep", "drop"])
def test_each_place_takes_its_own_or_its_clusters_token(clustering):
    """The residual of a causal place is its token; of a non-causal place its cluster's token; of a dropped place nothing."""
    mixed, keypoint_tokens, chosen, merged = parts(clustering)
    residual = transparent()(mixed, keypoint_tokens, chosen, merged).grid - mixed[:, 1]
    for b in range(2):
        expected = torch.zeros(144, 32)
        expected[chosen.causal[b]] = mixed[b].flatten(0, 1)[chosen.causal[b]]
        if clustering != "drop":
            expected[chosen.rest[b]] = merged.tokens[b][merged.assignment[b]]
        torch.testing.assert_close(residual[b], expected[48:96], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("clustering", ["dpc-knn", "keep", "drop"])
def test_strict_starts_as_stage_one_seen_through_selection(clustering):
    """A causal place holds its token, another its cluster's; a dropped place the empty token; of stage 1 there is nothing else."""
    mixed, keypoint_tokens, chosen, merged = parts(clustering)
    enhancement = Enhancement(override(STRICT, {"fte.clustering": clustering}))
    if clustering == "drop":
        torch.nn.init.normal_(enhancement.empty_token)
    else:
        assert enhancement.empty_token is None
    grid = enhancement(mixed, keypoint_tokens, chosen, merged).grid
    for b in range(2):
        expected = torch.zeros(144, 32) if enhancement.empty_token is None else enhancement.empty_token.expand(144, -1).clone()
        expected[chosen.causal[b]] = mixed[b].flatten(0, 1)[chosen.causal[b]]
        if clustering != "drop":
            expected[chosen.rest[b]] = merged.tokens[b][merged.assignment[b]]
        torch.testing.assert_close(grid[b], expected[48:96], atol=1e-5, rtol=1e-5)


def test_strict_never_sees_a_dropped_token():
    """Another content at the dropped places changes nothing; in the residual form it does: that is how the pose passes selection by."""
    mixed, keypoint_tokens, chosen, merged = parts("drop")
    other = torch.where(chosen.mask.view(2, 3, 48, 1), mixed, torch.randn_like(mixed))
    for config, same in ((STRICT, True), (SMALL, False)):
        enhancement = Enhancement(override(config, {"fte.clustering": "drop"}))
        for parameter in enhancement.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
        before, after = (enhancement(x, keypoint_tokens, chosen, merged).grid for x in (mixed, other))
        assert torch.equal(before, after) is same


def test_attention_of_the_keypoint_tokens_by_place():
    """With equal logits everywhere a causal place gets one share of 15 + 144, and a merged place as much, since its cluster counts as
    often as it stands for a token; with 101 dropped, 15 + 43 share."""
    mixed, keypoint_tokens, chosen, merged = parts()
    enhancement = Enhancement(STRICT)
    for block in enhancement.blocks:
        torch.nn.init.zeros_(block.attention.qkv.weight)
    attention = enhancement(mixed, keypoint_tokens, chosen, merged, with_weights=True).attention
    assert attention.shape == (2, 2, 4, 15, 144)
    torch.testing.assert_close(attention, torch.full_like(attention, 1 / 159))
    mixed, keypoint_tokens, chosen, merged = parts("drop")
    attention = enhancement(mixed, keypoint_tokens, chosen, merged, with_weights=True).attention
    torch.testing.assert_close(attention, (chosen.mask / 58)[:, None, None, None].expand_as(attention))


def test_merged_tokens_count_by_size():
    """A merged token of n equal tokens acts on the others as those n tokens would."""
    enhancement = Enhancement(SMALL)
    enhancement.out.weight.data = torch.eye(32)
    same = torch.randn(1, 1, 1, 32)
    mixed = torch.cat((torch.randn(1, 3, 20, 32), same.expand(1, 3, 28, 32)), 2)
    importance = torch.cat((torch.ones(20), torch.full((28,), 1e-3))).repeat(3).expand(1, 15, -1)
    chosen = select(mixed.flatten(1, 2), importance / importance.sum(-1, keepdim=True), FTEConfig(keep_rate=60 / 144), 3)
    rest = mixed.flatten(1, 2).gather(1, chosen.rest[..., None].expand(-1, -1, 32))
    keypoint_tokens = torch.randn(1, 15, 32)
    one = Merged(rest[:, :1], torch.zeros(1, 84, dtype=torch.long), torch.full((1, 1), 84.0))
    every = Merged(rest, torch.arange(84)[None], torch.ones(1, 84))
    torch.testing.assert_close(
        enhancement(mixed, keypoint_tokens, chosen, one).grid,
        enhancement(mixed, keypoint_tokens, chosen, every).grid,
        atol=1e-4,
        rtol=1e-4,
    )


@pytest.mark.parametrize("config", [SMALL, STRICT], ids=["residual", "strict"])
def test_gradient_reaches_the_gate(config):
    mixed, keypoint_tokens, _, _ = parts()
    per_keypoint = torch.rand(2, 15, 144).softmax(-1).requires_grad_()
    chosen = select(mixed.flatten(1, 2), per_keypoint, FTEConfig(), 3)
    enhancement = Enhancement(config)
    for parameter in enhancement.parameters():  # off its start, where what could pass the gate on is zero
        parameter.data += 0.05 * torch.randn_like(parameter)
    merged = Merged(mixed[:, 0, :0], torch.full((2, 101), -1), torch.ones(2, 0))  # none: the gate is the only way
    enhancement(mixed, keypoint_tokens, chosen, merged).grid.square().sum().backward()
    reached = per_keypoint.grad.abs().sum(1) > 0
    assert torch.equal(reached, chosen.mask)
