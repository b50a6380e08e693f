"""Merging of the non-causal tokens, on points worked by hand."""

import pytest
import torch

from causalpose.benchmark.clustering import plain_dpc_knn
from causalpose.config import CLUSTERINGS, FTEConfig
from causalpose.model.clustering import bipartite, cluster, dpc_knn, kmeans, merge, nearest_denser, squared_distances

LINE = torch.tensor([[[0.0], [1.0], [3.0], [10.0], [12.0]]])  # five points on a line, C = 1
TIES = torch.tensor([[0.0, 1.0, 0.0, 1.0, 0.0]]) * 1e-6


def test_distance_is_scaled_by_the_root_of_the_width():
    """(3, 4) and (0, 0): 5 / sqrt 2."""
    distance = squared_distances(torch.tensor([[[3.0, 4.0], [0.0, 0.0]]]))
    torch.testing.assert_close(distance[0].sqrt(), torch.tensor([[0, 5 / 2**0.5], [5 / 2**0.5, 0]]))


@pytest.mark.parametrize("tokens", [1, 2, 7, 12, 13])
@pytest.mark.parametrize("panels", [1, 2, 4])
def test_distances_in_panels_are_the_distances(tokens, panels):
    """Whether the rows divide evenly or not."""
    points = torch.randn(2, tokens, 5)
    found = squared_distances(points, panels)
    torch.testing.assert_close(found, torch.cdist(points.double(), points.double()).square().float() / 5, atol=1e-5, rtol=1e-5)


def test_dpc_knn_by_hand():
    """k = 2, the point itself included. Mean d²: 1/2, 1/2, 4/2, 4/2, 4/2, so densities e^-0.5 (twice) and e^-2 (three times); the tie-break
    makes point 1 denser than 0 and point 10 denser than 3 and 12. delta: point 0 -> 1 (to point 1); point 1, the densest -> 12, the largest
    distance; 3 -> 2; 10 -> 9 (to point 1); 12 -> 2. Products: .61, 7.28, .27, 1.22, .27. Two centres: 1, then 10. With three: also 0."""
    assert dpc_knn(LINE, 2, 2, TIES).tolist() == [[0, 0, 0, 1, 1]]
    assert dpc_knn(LINE, 3, 2, TIES).tolist() == [[2, 0, 0, 1, 1]]


def test_panels_change_no_assignment():
    """Above 256 points a CPU computes the distances in panels: the clusters are those of the plain form, on blobs and on formless noise."""
    blobs = torch.randn(2, 12, 32).gather(1, torch.randint(12, (2, 300))[..., None].expand(-1, -1, 32)) + 0.5 * torch.randn(2, 300, 32)
    for points in (blobs, torch.randn(2, 300, 32)):
        ties = torch.rand(2, 300) * 1e-6
        assert torch.equal(dpc_knn(points, 20, 5, ties), plain_dpc_knn(points, 20, 5, ties))


@pytest.mark.parametrize("places", [3, 20])
def test_the_nearest_denser_point_is_found_among_the_neighbours_or_else_among_all(places):
    generator = torch.Generator().manual_seed(places)
    home = torch.randint(places, (2, 60, 1), generator=generator).expand(-1, -1, 8)
    points = torch.randn(2, places, 8, generator=generator).gather(1, home) + 0.1 * torch.randn(2, 60, 8, generator=generator)
    distance = squared_distances(points)
    nearest, who = distance.topk(5, dim=-1, largest=False, sorted=False)
    density = torch.rand(2, 60, generator=generator).mul(20).round()  # some are equal: neither is the denser
    found = nearest_denser(distance, density, nearest, who)
    assert torch.equal(found, torch.where(density[:, None, :] > density[:, :, None], distance, torch.inf).amin(-1))
    near = found <= nearest.amax(-1)
    assert near.any() and (~near & found.isfinite()).any() and found.isinf().any()  # all three ways were taken


def test_dpc_knn_is_batched():
    """Each clip is clustered for itself: a batch equals its clips one by one."""
    points, ties = torch.randn(6, 40, 8), torch.rand(6, 40) * 1e-6
    together = dpc_knn(points, 5, 5, ties)
    assert torch.equal(together, torch.cat([dpc_knn(points[i : i + 1], 5, 5, ties[i : i + 1]) for i in range(6)]))


def test_dpc_knn_finds_separated_blobs():
    blob = torch.randint(0, 4, (3, 60))
    blob[:, :4] = torch.arange(4)
    points = 20 * torch.eye(4)[blob] + 0.1 * torch.randn(3, 60, 4)
    assignment = dpc_knn(points, 4, 5, torch.rand(3, 60) * 1e-6)
    same_blob = blob[:, :, None] == blob[:, None, :]
    assert torch.equal(assignment[:, :, None] == assignment[:, None, :], same_blob)


def test_identical_points_still_fill_every_cluster():
    """Every distance is zero: the tie-break alone decides, each centre stands for itself, nothing is nan."""
    assignment = dpc_knn(torch.zeros(1, 10, 4), 3, 5, torch.rand(1, 10) * 1e-6)
    assert set(assignment.flatten().tolist()) == {0, 1, 2}


def test_merge_by_hand():
    """Points 0, 1, 3 with weights 1, 3, 1: (0 + 3 + 3) / 5 = 1.2. Points 10, 12 with weights 1, 1: 11."""
    merged = merge(LINE, torch.tensor([[1.0, 3.0, 1.0, 1.0, 1.0]]), torch.tensor([[0, 0, 0, 1, 1]]), 2)
    torch.testing.assert_close(merged.tokens, torch.tensor([[[1.2], [11.0]]]), atol=1e-4, rtol=0)
    assert merged.size.tolist() == [[3, 2]]


def test_kmeans_by_hand():
    """0 1 10 11 from the centres 0 and 1: first round {0} {1 10 11}, centres 0 and 7.33; second round {0 1} {10 11}."""
    points = torch.tensor([[[0.0], [1.0], [10.0], [11.0]]])
    order = torch.tensor([[1.0, 0.9, 0.1, 0.0]])
    assert kmeans(points, 2, order, rounds=1).tolist() == [[0, 1, 1, 1]]
    assert kmeans(points, 2, order).tolist() == [[0, 0, 1, 1]]


def test_bipartite_by_hand():
    """A = {t0, t2}, B = {t1, t3}. Cosines: t0-t1 .995, t0-t3 .447, t2-t1 .100, t2-t3 .894. Down to three: t0 joins t1; the new order is
    t2, t0+t1, t3. Down to two: t2 joins t3 as well."""
    points = torch.tensor([[[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.5, 1.0]]])
    assert bipartite(points, 3).tolist() == [[1, 1, 0, 2]]
    assert bipartite(points, 2).tolist() == [[0, 0, 1, 1]]


@pytest.mark.parametrize("kind", CLUSTERINGS)
@pytest.mark.parametrize("tokens", [101, 16, 7, 1])
def test_every_token_is_accounted_for(kind, tokens):
    """The map is complete: sizes are the counts of the assignment, and there are M = min(16, S) merged tokens (`keep`: S, `drop`: none)."""
    merged = cluster(torch.randn(3, tokens, 8), torch.rand(3, tokens), FTEConfig(clustering=kind, clusters=16))
    count = {"keep": tokens, "drop": 0}.get(kind, min(16, tokens))
    assert merged.tokens.shape == (3, count, 8) and merged.assignment.shape == (3, tokens) and merged.size.shape == (3, count)
    if kind == "drop":
        assert (merged.assignment == -1).all()
    else:
        assert merged.size.sum(1).tolist() == [tokens] * 3
        assert all(torch.equal(torch.bincount(a, minlength=count).float(), s) for a, s in zip(merged.assignment, merged.size, strict=True))


@pytest.mark.parametrize("kind", ["dpc-knn", "kmeans", "tome"])
def test_gradient_goes_through_the_merge_not_the_assignment(kind):
    tokens = torch.randn(2, 30, 8, requires_grad=True)
    importance = torch.rand(2, 30).requires_grad_()
    merged = cluster(tokens, importance, FTEConfig(clustering=kind, clusters=4))
    assert not merged.assignment.is_floating_point()
    merged.tokens.square().sum().backward()
    assert (tokens.grad.abs().sum(-1) > 0).all() and importance.grad.abs().sum() > 0


def test_keep_changes_nothing():
    tokens = torch.randn(2, 9, 8)
    assert torch.equal(cluster(tokens, torch.rand(2, 9), FTEConfig(clustering="keep")).tokens, tokens)


def test_more_important_tokens_weigh_more():
    tokens, importance = torch.tensor([[[0.0], [1.0]]]), torch.tensor([[0.2, 0.6]])
    merged = cluster(tokens, importance, FTEConfig(clustering="dpc-knn", clusters=1))
    assert merged.tokens.item() == pytest.approx(0.75, abs=1e-5)


@pytest.mark.parametrize("kind", ["dpc-knn", "kmeans", "tome"])
def test_evaluation_is_deterministic_and_independent_of_the_batch(kind):
    tokens, importance = torch.randn(4, 50, 8), torch.rand(4, 50)
    config = FTEConfig(clustering=kind, clusters=6)
    whole = cluster(tokens, importance, config)
    alone = cluster(tokens[2:3], importance[2:3], config)
    assert torch.equal(whole.assignment[2:3], alone.assignment)


def test_training_follows_the_generator():
    tokens, importance, config = torch.randn(4, 50, 8), torch.rand(4, 50), FTEConfig(clustering="kmeans", clusters=6)
    a, b, c = (cluster(tokens, importance, config, training=True, generator=torch.Generator().manual_seed(s)).assignment for s in (1, 1, 2))
    assert torch.equal(a, b) and not torch.equal(a, c)
