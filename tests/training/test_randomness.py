"""Draws are functions of (seed, purpose, position) alone."""

import pytest
import torch

from causalpose.training.randomness import derive_seed, generator, step_indices


def test_seeds_of_neighbouring_places_are_unrelated():
    """seed + step would give (0, 1) and (1, 0) the same stream."""
    seeds = {derive_seed(seed, "augment", step, shard) for seed in range(5) for step in range(20) for shard in range(4)}
    assert len(seeds) == 5 * 20 * 4
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_purposes_have_streams_of_their_own():
    assert derive_seed(0, "augment", 3, 0) != derive_seed(0, "model", 3, 0)
    assert torch.equal(torch.rand(5, generator=generator(0, "a", 1)), torch.rand(5, generator=generator(0, "a", 1)))


@pytest.mark.parametrize("size", [1, 3, 7, 10, 23])
def test_every_clip_once_an_epoch(size):
    """10 clips: the first 10 positions of the walk are a permutation, and so are the next 10, whatever the batch."""
    walk = torch.cat([step_indices(4, step, 10, size) for step in range(-(-20 // size))])
    assert walk[:10].sort().values.tolist() == list(range(10))
    assert walk[10:20].sort().values.tolist() == list(range(10))
    assert walk[:10].tolist() != walk[10:20].tolist()


def test_order_depends_on_the_seed():
    assert step_indices(0, 0, 50, 10).tolist() != step_indices(1, 0, 50, 10).tolist()
