"""Heatmap heads."""

import pytest
import torch
from torch import nn

from causalpose.config import override, preset
from causalpose.model.heads import ClassicHead, Head, SimpleHead

TINY = preset("tiny").model


@pytest.mark.parametrize("kind", ["classic", "simple"])
@pytest.mark.parametrize("keypoints", ["posetrack15", "coco17"])
def test_shape(kind, keypoints):
    config = override(TINY, {"head.kind": kind, "keypoints": keypoints})
    assert Head(config)(torch.randn(2, 48, 128)).shape == (2, 15 if keypoints == "posetrack15" else 17, 32, 24)


@pytest.mark.parametrize("kind", ["classic", "simple"])
def test_tokens_keep_their_place(kind):
    """Token number 6·r + c lies at row r, column c: a change of token (5, 2) is felt most in its own cells, rows 20-23, columns 8-11."""
    head = Head(override(TINY, {"head.kind": kind}))
    tokens = torch.randn(1, 48, 128)
    changed = tokens.clone()
    changed[0, 5 * 6 + 2] += 3 * torch.randn(128)
    difference = (head(changed) - head(tokens)).abs().sum((0, 1))
    mass = difference.view(8, 4, 6, 4).sum((1, 3))
    assert mass.argmax() == 5 * 6 + 2


@pytest.mark.parametrize("kind", ["classic", "simple"])
def test_no_batch_statistics(kind):
    head = Head(override(TINY, {"head.kind": kind})).train()
    tokens = torch.randn(4, 48, 128)
    torch.testing.assert_close(head(tokens)[:1], head(tokens[:1]), atol=1e-5, rtol=1e-4)


def test_the_two_heads_by_hand():
    """`simple`: ReLU, bilinear, 3x3: tokens below zero give the bias alone. `classic`: its norm is of groups unless asked otherwise."""
    simple = SimpleHead(width=8, keypoints=3)
    nn.init.constant_(simple.out.bias, 0.25)
    assert torch.equal(simple(-torch.rand(2, 8, 4, 3)), torch.full((2, 3, 16, 12), 0.25))
    group, batch = ClassicHead(8, 16, 3), ClassicHead(8, 16, 3, norm="batch")
    assert any(isinstance(layer, nn.GroupNorm) for layer in group.up) and not any(isinstance(layer, nn.BatchNorm2d) for layer in group.up)
    assert any(isinstance(layer, nn.BatchNorm2d) for layer in batch.up)
    grids = torch.randn(4, 8, 4, 3)
    assert torch.allclose(group(grids)[:1], group(grids[:1]), atol=1e-6), "a clip's heatmaps do not depend on its batch"
    assert group(grids).shape == (4, 3, 16, 12)
