"""The token cache and the quick validation."""

import pytest
import torch

from causalpose.model.cmpose import CMPose
from causalpose.training import tokens
from causalpose.training.validation import validate
from tests.training.dots import Dots, config


def test_the_cache_holds_the_backbones_tokens():
    """10 clips in batches of 4, the last one short: every row is its own clip's tokens up to float16 rounding."""
    model, source = CMPose(config().model), Dots(config().model, 10)
    cached = tokens.embed_all(model, source, torch.device("cpu"), batch=4, progress=False)
    assert cached.shape == (10, 3, 16, 32) and cached.dtype == torch.float16
    assert torch.allclose(cached.float(), model.embed(source.clips.frames), atol=2e-2)
    assert model.training


def test_the_cache_has_a_limit():
    """16 tokens x 32 numbers x 2 bytes x 3 frames = 3072 bytes a clip; 4 GiB hold 1398101 of them."""
    model = CMPose(config().model)
    assert tokens.cacheable(model, 1398101, 3) and not tokens.cacheable(model, 1398102, 3)


def test_validation_weights_batches_by_their_clips():
    model, source = CMPose(config().model).eval(), Dots(config().model, 10)
    whole = validate(model, source, config(), torch.device("cpu"), batch=10)
    assert validate(model, source, config(), torch.device("cpu"), batch=4) == pytest.approx(whole, abs=1e-4)
