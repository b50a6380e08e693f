"""Selection and merging call as many operators for many clips of many tokens as for one of few: no Python loop goes over either."""

import pytest
import torch

from causalpose.benchmark.cost import Meter
from causalpose.config import CLUSTERINGS, SELECTORS, FTEConfig
from causalpose.model.clustering import cluster
from causalpose.model.selection import select

# Clips, frames, tokens of all frames. Both lie above the 256 tokens from which a CPU computes distances in panels.
FEW, MANY = (1, 3, 300), (8, 6, 600)


def operators(work) -> int:
    """How many operators a function calls. Once before, so that what is computed for all times is not counted."""
    work()
    with Meter() as meter:
        work()
    return len(meter.operators)


def selecting(size, config, **options) -> int:
    clips, frames, tokens = size
    x, importance = torch.randn(clips, tokens, 8), torch.rand(clips, 15, tokens).softmax(-1)
    mass, truth = torch.rand(clips, tokens), torch.rand(clips, frames, tokens // frames)
    return operators(lambda: select(x, importance, config, frames, heatmap_mass=lambda: mass, truth=truth, **options))


def merging(size, config, **options) -> int:
    clips, _, tokens = size
    x, importance = torch.randn(clips, tokens, 8), torch.rand(clips, tokens)
    return operators(lambda: cluster(x, importance, config, **options))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("ranking", ["joint", "frame"])
@pytest.mark.parametrize("selector", SELECTORS)
def test_selection(selector, ranking, training):
    config = FTEConfig(selector=selector, ranking=ranking)
    assert selecting(FEW, config, training=training) == selecting(MANY, config, training=training)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kind", [kind for kind in CLUSTERINGS if kind != "tome"])
def test_clustering(kind, training):
    """Into as many clusters, and into twice as many."""
    few = merging(FEW, FTEConfig(clustering=kind, clusters=24), training=training)
    for clusters in (24, 48):
        assert merging(MANY, FTEConfig(clustering=kind, clusters=clusters), training=training) == few


def test_tome_takes_a_round_more_where_the_tokens_double():
    """A round merges half of them at most. To a tenth it takes four: from 300 to 150, 75, 38 and 30. From 600 to 30 it takes five."""
    few = merging(FEW, FTEConfig(clustering="tome", clusters=30))
    assert merging(MANY, FTEConfig(clustering="tome", clusters=60)) == few
    one_more = merging(MANY, FTEConfig(clustering="tome", clusters=30)) - few
    assert merging((8, 6, 1200), FTEConfig(clustering="tome", clusters=30)) == few + 2 * one_more
    assert 0 < 4 * one_more < few
