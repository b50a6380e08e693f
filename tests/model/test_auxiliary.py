"""Stage 1's auxiliary tasks."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from causalpose.config import MCLConfig, override, preset
from causalpose.model.auxiliary import Auxiliary
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


def test_noise_on_a_quarter_of_the_tokens():
    """25 % of 144 tokens are 36, exactly; only they change, by 0.8 of the clip's own standard deviation."""
    auxiliary = Auxiliary(override(TINY, {"mcl.mask": False}))
    tokens = torch.randn(8, 3, 48, 128) * torch.tensor([1.0, 10.0]).repeat(4).view(8, 1, 1, 1)
    (branch,) = auxiliary.corrupt(tokens, seeded())
    assert branch.chosen.flatten(1).sum(1).tolist() == [36] * 8
    changed = (branch.tokens != tokens).any(-1)
    assert torch.equal(changed, branch.chosen)
    for clip, spread in ((0, 1.0), (1, 10.0)):
        noise = (branch.tokens - tokens)[clip][branch.chosen[clip]]
        assert noise.std().item() == pytest.approx(0.8 * spread, rel=0.05)
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
