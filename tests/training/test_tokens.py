"""The token cache and the quick validation."""

from types import SimpleNamespace

import pytest
import torch

from causalpose.model.cmpose import CMPose
from causalpose.training import tokens
from causalpose.training.validation import validate
from tests.training.dots import Dots, config

ONE = SimpleNamespace(device=torch.device("cpu"), process_index=0, num_processes=1)


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
    whole = validate(model, source, config(), ONE, batch=10)
    assert validate(model, source, config(), ONE, batch=4) == pytest.approx(whole, abs=1e-4)


def test_processes_share_the_batches_of_validation():
    """Batches of 4, 4 and 2 clips: the first and third are one process's, the second the other's; their sum is what one measures."""
    model, source, sums = CMPose(config().model).eval(), Dots(config().model, 10), []
    source.clips.scale[:5] = 1e3  # so near a person that every guess is a hit
    for rank in range(2):
        shared = SimpleNamespace(
            device=ONE.device, process_index=rank, num_processes=2, reduce=lambda total, how: sums.append((total.item(), how)) or total
        )
        validate(model, source, config(), shared, batch=4)
    whole = validate(model, source, config(), ONE, batch=4)
    assert [how for _, how in sums] == ["sum", "sum"] and whole > 0
    assert sum(total for total, _ in sums) / 10 == pytest.approx(whole) and all(total > 0 for total, _ in sums)
