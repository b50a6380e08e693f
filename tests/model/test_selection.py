"""TCIS and the other selectors."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from causalpose.config import SELECTORS, FTEConfig, override, preset
from causalpose.errors import CausalPoseError
from causalpose.model.selection import TokenImportance, heatmap_mass, kept_tokens, select, top_share, training_keep_rate

SMALL = override(preset("tiny").model, {"backbone.width": 32})
FTE = SMALL.fte


def choose(config: FTEConfig, B: int = 2, T: int = 3, N: int = 48, **options):
    tokens, importance = torch.randn(B, T * N, 32), torch.rand(B, 15, T * N).softmax(-1)
    options.setdefault("heatmap_mass", lambda: torch.rand(B, T * N))
    options.setdefault("truth", torch.rand(B, T, N))
    return select(tokens, importance, config, T, **options)


@settings(max_examples=60, deadline=None)
@given(
    rate=st.floats(0.01, 1.0), ranking=st.sampled_from(["joint", "frame"]), selector=st.sampled_from([s for s in SELECTORS if s != "all"])
)
def test_exact_counts(rate, ranking, selector):
    """`joint` keeps round(ρ·144); `frame` keeps round(ρ·48) of each of three frames; never none; the two sets part the tokens."""
    chosen = choose(FTEConfig(keep_rate=rate, ranking=ranking, selector=selector))
    expected = max(1, round(rate * 144)) if ranking == "joint" else 3 * max(1, round(rate * 48))
    assert chosen.causal.shape == (2, expected)
    assert chosen.mask.sum(1).tolist() == [expected] * 2
    both = torch.cat((chosen.causal, chosen.rest), 1).sort(1).values
    assert torch.equal(both, torch.arange(144).expand(2, -1))
    assert chosen.mask.gather(1, chosen.causal).all() and not chosen.mask.gather(1, chosen.rest).any()
    if ranking == "frame":
        assert (chosen.mask.view(2, 3, 48).sum(2) == expected // 3).all()


def test_the_keep_rate_can_be_given():
    """What annealing does: another rate than the configuration's; with every token kept there is nothing to choose, hence no gate."""
    assert choose(FTE, keep_rate=0.5).causal.shape == (2, 72)
    everything = choose(FTE, keep_rate=1.0)
    assert everything.mask.all() and everything.rest.shape == (2, 0) and everything.gate is None
    assert choose(FTE, keep_rate=0.99).gate is not None


def test_annealing_by_hand():
    """From 1 to .3 over half the training: half-way there .3 + .7 · .5 = .65; a quarter of the way .3 + .7 · (1 + cos 45°) / 2 = .8975."""
    config = FTEConfig(keep_rate=0.3, keep_anneal=0.5)
    rates = [training_keep_rate(config, progress) for progress in (0, 0.125, 0.25, 0.5, 0.9)]
    assert rates == pytest.approx([1, 0.8975, 0.65, 0.3, 0.3], abs=1e-4)
    assert training_keep_rate(FTEConfig(), 0.0) == 0.3
    assert training_keep_rate(FTEConfig(train_selection="all"), 1.0) == 1.0


def test_top_share_by_hand():
    """Scores .4 .1 .3 .2, half kept: .4 and .3, threshold (.3 + .2) / 2 = .25. By frame, (.4 .1) and (.3 .2): the same, thresholds .25."""
    score = torch.tensor([[0.4, 0.1, 0.3, 0.2]])
    for groups in (1, 2):
        mask, threshold = top_share(score, 0.5, groups)
        assert mask.tolist() == [[True, False, True, False]]
        torch.testing.assert_close(threshold, torch.full((1, 4), 0.25))
    mask, _ = top_share(torch.tensor([[0.4, 0.3, 0.2, 0.1]]), 0.5, 2)
    assert mask.tolist() == [[True, False, True, False]]  # by frame; all together it would be the first two


def test_importance_is_a_distribution():
    tcis = TokenImportance(SMALL)
    keypoint_tokens, attention = tcis(torch.randn(2, 144, 32))
    assert keypoint_tokens.shape == (2, 15, 32) and attention.shape == (2, 4, 15, 144)
    torch.testing.assert_close(attention.sum(-1), torch.ones(2, 4, 15))


def test_straight_through_is_hard_forward_and_soft_backward():
    """Forward exactly one for kept tokens. Backward that of i / (i + θ): θ / (i + θ)². Importances .4 .3 .2 .1, half kept, θ = .25:
    d/di at .4 is .25 / .65² = .5917 and at .3 is .25 / .55² = .8264."""
    per_keypoint = torch.tensor([[[0.4, 0.3, 0.2, 0.1]]], requires_grad=True)
    chosen = select(torch.randn(1, 4, 8), per_keypoint, FTEConfig(keep_rate=0.5), 1)
    torch.testing.assert_close(chosen.gate, torch.ones(1, 2), atol=1e-6, rtol=0)
    chosen.gate.sum().backward()
    torch.testing.assert_close(per_keypoint.grad[0, 0], torch.tensor([0.5917, 0.8264, 0, 0]), atol=1e-4, rtol=0)


def test_soft_gate_by_hand():
    """.4 / .65 = .6154 and .3 / .55 = .5455."""
    per_keypoint = torch.tensor([[[0.4, 0.3, 0.2, 0.1]]])
    chosen = select(torch.randn(1, 4, 8), per_keypoint, FTEConfig(keep_rate=0.5, gate="soft"), 1)
    torch.testing.assert_close(chosen.gate, torch.tensor([[0.6154, 0.5455]]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("gate", ["straight-through", "soft"])
def test_selection_learns_the_planted_tokens(gate):
    """Eight of 48 tokens carry a mark. The loss sees only what was selected: +1 for a marked token, -1 for another, times the gate. A
    selector that gets its gradient finds the marked ones; before training it keeps them by chance (about 1 in 6)."""
    tcis = TokenImportance(SMALL)
    optimiser = torch.optim.Adam(tcis.parameters(), lr=3e-3)
    config = FTEConfig(keep_rate=8 / 48, gate=gate)
    generator = torch.Generator().manual_seed(0)
    mark = torch.randn(32, generator=generator)

    def batch():
        tokens = torch.randn(16, 48, 32, generator=generator)
        planted = torch.zeros(16, 48).scatter_(1, torch.rand(16, 48, generator=generator).topk(8).indices, 1.0)
        return tokens + planted[..., None] * mark, planted

    found = []
    for _ in range(50):
        tokens, planted = batch()
        chosen = select(tokens, tcis(tokens)[1].mean(1), config, 1, training=True)
        payload = planted.gather(1, chosen.causal)
        found.append(payload.mean().item())
        loss = -(chosen.gate * (2 * payload - 1)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert found[0] < 0.4
    assert sum(found[-5:]) / 5 > 0.9


def test_what_each_selector_ranks_by():
    tokens, per_keypoint = torch.randn(1, 4, 8), torch.tensor([[[0.4, 0.3, 0.2, 0.1]]])
    tokens[0, 2] *= 100
    mass, truth = torch.tensor([[0.0, 0.9, 0.1, 0.0]]), torch.tensor([[[0.0, 0.0, 0.0, 1.0]]])

    def first(selector):
        return select(
            tokens, per_keypoint, FTEConfig(keep_rate=0.25, selector=selector), 1, heatmap_mass=lambda: mass, truth=truth
        ).causal.item()

    assert [first(s) for s in ("attention", "heatmap", "norm", "oracle", "bottom")] == [0, 1, 2, 3, 3]
    assert choose(FTEConfig(selector="all")).causal.shape == (2, 144)


def test_oracle_breaks_ties_by_importance_only():
    truth = torch.tensor([[[1.0, 1.0, 0.99, 0.0]]])
    per_keypoint = torch.tensor([[[0.1, 0.2, 0.3, 0.4]]])
    chosen = select(torch.randn(1, 4, 8), per_keypoint, FTEConfig(keep_rate=0.25, selector="oracle"), 1, truth=truth)
    assert chosen.causal.item() == 1


def test_oracle_needs_truth():
    with pytest.raises(CausalPoseError, match="pass truth"):
        choose(FTEConfig(selector="oracle"), truth=None)
    with pytest.raises(CausalPoseError, match=r"truth has shape \(2, 3, 40\)"):
        choose(FTEConfig(selector="oracle"), truth=torch.rand(2, 3, 40))


@pytest.mark.parametrize("selector", [s for s in SELECTORS if s != "attention"])
def test_only_tcis_is_gated(selector):
    assert choose(FTEConfig(selector=selector)).gate is None


def test_random_is_fixed_in_evaluation_and_follows_the_generator_in_training():
    config = FTEConfig(selector="random")
    first, second = choose(config, B=3), choose(config, B=1)
    assert torch.equal(first.causal[0], first.causal[2]) and torch.equal(first.causal[:1], second.causal)
    a, b, c = (choose(config, training=True, generator=torch.Generator().manual_seed(seed)).causal for seed in (1, 1, 2))
    assert torch.equal(a, b) and not torch.equal(a, c) and not torch.equal(a[0], a[1])


def test_heatmap_mass_by_hand():
    """All joints certain of cell (row 9, column 5) of a 32x24 map: token row 9 // 4 = 2, column 5 // 4 = 1, number 13, mass one."""
    logits = torch.full((1, 2, 15, 32, 24), -1e4)
    logits[..., 9, 5] = 0
    mass = heatmap_mass(logits, (8, 6)).view(2, 48)
    torch.testing.assert_close(mass[:, 13], torch.ones(2))
    torch.testing.assert_close(mass.sum(1), torch.ones(2))


@pytest.mark.parametrize(("rate", "tokens", "kept"), [(0.3, 144, 43), (0.001, 144, 1), (1.0, 48, 48), (0.5, 7, 4), (1.0, 0, 0)])
def test_kept_tokens_are_the_rounded_share_and_never_none(rate, tokens, kept):
    assert kept_tokens(rate, tokens) == kept
