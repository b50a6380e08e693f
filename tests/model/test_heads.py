"""Heatmap heads."""

import pytest
import torch

from causalpose.config import override, preset
from causalpose.model.heads import Head

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
