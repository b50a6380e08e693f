"""The shared transformer block."""

import pytest
import torch

from causalpose.config import preset
from causalpose.model.attention import Attention, Block, fused_pays, pick
from causalpose.model.backbone import Backbone


def test_identity_block_is_the_identity():
    x = torch.randn(2, 5, 16)
    assert torch.equal(Block(16, 4, 2.0, identity=True)(x)[0], x)
    assert not torch.allclose(Block(16, 4, 2.0)(x)[0], x)


def test_weights_are_the_ones_used():
    """Rows sum to one, and the output rebuilt from the returned weights is the output."""
    attention = Attention(16, 4)
    x = torch.randn(2, 5, 16)
    y, weights = attention(x, with_weights=True)
    assert weights.shape == (2, 4, 5, 5)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 4, 5))
    value = attention.qkv(x)[..., 32:].view(2, 5, 4, 4).transpose(1, 2)
    torch.testing.assert_close(attention.out((weights @ value).transpose(1, 2).reshape(2, 5, 16)), y)
    assert attention(x)[1] is None


def test_fused_attention_is_the_written_one():
    """In single precision PyTorch's kernel runs unless the weights are asked for: the same output and gradients, with bias and gate."""
    attention, gate = Attention(16, 4), torch.rand(2, 7)
    bias, found = torch.randn(2, 7), []
    for with_weights in (False, True):
        x = torch.randn(2, 7, 16, generator=torch.Generator().manual_seed(1)).requires_grad_()
        g = gate.clone().requires_grad_()
        y, _ = attention(x, with_weights, bias, g)
        found.append((y, *torch.autograd.grad(y.square().sum(), (x, g, attention.qkv.weight))))
    for fused, written in zip(*found, strict=True):
        torch.testing.assert_close(fused, written, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("with_weights", [False, True])
def test_a_block_at_some_places_is_the_block_there(with_weights):
    """Computing only what somebody looks at changes neither the output there nor any gradient."""
    block, at, found = Block(16, 4, 2.0), torch.tensor([[0, 3, 4], [6, 1, 2]]), []
    for whole in (True, False):
        x = torch.randn(2, 7, 16, generator=torch.Generator().manual_seed(1)).requires_grad_()
        y, weights = block(x, with_weights, at=None if whole else at)
        y = pick(y, at) if whole else y
        assert weights is None or weights.shape == (2, 4, 7 if whole else 3, 7)
        found.append((y, *torch.autograd.grad(y.square().sum(), (x, *block.parameters()))))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_fused_attention_where_it_pays():
    """Not in bfloat16 on a CPU, and autocast decides for the backbone's blocks as well as for ours."""
    cpu = torch.device("cpu")
    assert fused_pays(cpu, torch.float32) and not fused_pays(cpu, torch.bfloat16)
    assert fused_pays(torch.device("cuda"), torch.bfloat16)
    backbone = Backbone(preset("tiny").model)
    frames = torch.rand(1, 1, 3, 64, 48)
    for on in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=on):
            backbone(frames)
        assert {a.fused_attn for a in backbone._attentions} == {not on}


def test_log_size_bias_counts_a_token_as_many():
    """Two equal tokens, and one with the bias log 2, look the same to every other token (ToMe's proportional attention)."""
    attention = Attention(16, 4)
    a, b = torch.randn(1, 1, 16), torch.randn(1, 1, 16)
    twice, _ = attention(torch.cat((a, b, b), 1))
    once, _ = attention(torch.cat((a, b), 1), bias=torch.tensor([[0.0, 2.0]]).clamp_min(1).log())
    torch.testing.assert_close(twice[:, :2], once)


def test_gate_multiplies_values():
    """A gate of one changes nothing; a gate of zero silences a token as a source, whatever its value."""
    attention = Attention(16, 4)
    x = torch.randn(1, 3, 16)
    torch.testing.assert_close(attention(x, gate=torch.ones(1, 3))[0], attention(x)[0])
    gate = torch.tensor([[1.0, 1.0, 0.0]], requires_grad=True)
    y, weights = attention(x, with_weights=True, gate=gate)
    value = attention.qkv(x)[..., 32:].view(1, 3, 4, 4).transpose(1, 2)
    kept = weights[..., :2] @ value[:, :, :2]
    torch.testing.assert_close(y, attention.out(kept.transpose(1, 2).reshape(1, 3, 16)))
    y.square().sum().backward()
    assert gate.grad[0, 2] != 0
