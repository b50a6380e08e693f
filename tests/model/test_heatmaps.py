"""Heatmaps: targets, loss, decoding."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from causalpose.clip import Visibility
from causalpose.config import ModelConfig, preset
from causalpose.errors import CausalPoseError
from causalpose.model import heatmaps

TINY = ModelConfig()  # 64x48 pixels, 32x24 cells: 47/23 pixels a column, 63/31 a row
PAPER = preset("base").model  # 256x192 pixels, 64x48 cells


def points(*xy: tuple[float, float]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(xy), torch.full((len(xy),), int(Visibility.VISIBLE), dtype=torch.uint8)


@settings(max_examples=150, deadline=None)
@given(
    x=st.floats(0, 1),
    y=st.floats(0, 1),
    sigma=st.floats(0.6, 3.0),
    kind=st.sampled_from(heatmaps.LOSSES),
    config=st.sampled_from([TINY, PAPER]),
)
def test_round_trip_under_a_tenth_of_a_pixel(x, y, sigma, kind, config):
    keypoints, visibility = points((x * (config.width - 1), y * (config.height - 1)))
    targets, weights = heatmaps.encode(keypoints, visibility, config, sigma)
    logits = targets.log() if kind == "ce" else targets
    decoded, _ = heatmaps.decode(logits, config, kind)
    assert weights.item() == 1
    assert (decoded - keypoints).abs().max() < 0.1


@settings(max_examples=100, deadline=None)
@given(x=st.floats(2, 21), y=st.floats(2, 29), sigma=st.floats(0.8, 2.5), kind=st.sampled_from(heatmaps.LOSSES))
def test_what_each_decoder_promises_on_a_gaussian(x, y, sigma, kind):
    """In cells: DARK is exact to a hundredth, a quarter offset errs by at most a quarter, the argmax by half."""
    step = torch.tensor(heatmaps.cell_size(TINY))
    keypoints, visibility = points((x * step[0].item(), y * step[1].item()))
    targets, _ = heatmaps.encode(keypoints, visibility, TINY, sigma)
    logits = targets.log() if kind == "ce" else targets
    errors = {name: ((heatmaps.decode(logits, TINY, kind, name)[0] - keypoints) / step).abs().max() for name in heatmaps.DECODERS}
    assert errors["dark"] < 0.01 and errors["quarter"] <= 0.2501 and errors["argmax"] <= 0.5001


def test_a_quarter_offset_by_hand():
    """A Gaussian at cell (10.3, 20.4): the peak is (10, 20), the higher neighbours lie at greater x and y: (10.25, 20.25).

    In the corner there is no neighbour on one side: no offset.
    """
    step = torch.tensor(heatmaps.cell_size(TINY))
    for place, expected in (((10.3, 20.4), (10.25, 20.25)), ((9.7, 19.6), (9.75, 19.75)), ((0.2, 31), (0, 31))):
        keypoints, visibility = points(tuple((torch.tensor(place) * step).tolist()))
        targets, _ = heatmaps.encode(keypoints, visibility, TINY, 1.0)
        found, score = heatmaps.decode(targets, TINY, "mse", "quarter")
        assert (found[0] / step).tolist() == pytest.approx(expected, abs=1e-4)
        assert torch.equal(score, heatmaps.decode(targets, TINY, "mse", "dark")[1]), "the confidence does not depend on the refinement"
    flat, _ = heatmaps.decode(torch.zeros(1, 32, 24), TINY, decoder="quarter")
    assert (flat == 0).all(), "equal neighbours: no offset"
    with pytest.raises(CausalPoseError, match="decoder 'soft' is not one of: dark, quarter, argmax"):
        heatmaps.decode(torch.zeros(1, 32, 24), TINY, decoder="soft")


def test_corner_cells_are_corner_pixels():
    """UDP: cell (0, 0) is pixel (0, 0) and cell (23, 31) is pixel (47, 63); cell (1, 0) is pixel (47/23, 0)."""
    keypoints, visibility = points((0, 0), (47, 63), (47 / 23, 0))
    targets, _ = heatmaps.encode(keypoints, visibility, TINY, 1.0)
    assert targets[0, 0, 0] == 1 and targets[1, 31, 23] == pytest.approx(1) and targets[2, 0, 1] == pytest.approx(1)
    assert targets[0, 0, 1] == pytest.approx(math.exp(-0.5))
    assert targets[0, 1, 2] == pytest.approx(math.exp(-2.5))


def test_flip_moves_nothing():
    """UDP's purpose: mirroring the map mirrors the decoded joint, x -> 47 - x, without an offset."""
    keypoints, visibility = points((11.3, 40.2))
    targets, _ = heatmaps.encode(keypoints, visibility, TINY, 1.0)
    decoded, _ = heatmaps.decode(targets.log().flip(-1), TINY)
    assert decoded[0, 0] == pytest.approx(47 - 11.3, abs=1e-3)
    assert decoded[0, 1] == pytest.approx(40.2, abs=1e-3)


def test_weights_follow_visibility_and_map():
    nan = float("nan")
    keypoints = torch.tensor([[5.0, 5], [5, 5], [5, 5], [nan, nan], [5, 5], [-1.1, 5], [48.1, 5], [5, 64.1], [-1.0, 5]])
    v = Visibility
    visibility = torch.tensor([v.VISIBLE, v.SELF_OCCLUDED, v.OCCLUDED, v.UNLABELLED, v.OUTSIDE, *[v.VISIBLE] * 4], dtype=torch.uint8)
    targets, weights = heatmaps.encode(keypoints, visibility, TINY, 1.0)
    # half a cell is 47/23/2 = 1.02 pixels: -1.1 is off the map, -1.0 is on it
    assert weights.tolist() == [1, 1, 1, 0, 0, 0, 0, 0, 1]
    assert targets.isfinite().all()


def test_cross_entropy_by_hand():
    """Equal logits over 32·24 = 768 cells cost log 768 whatever the target; a joint of weight 0 costs nothing."""
    keypoints, visibility = points((20, 30), (10, 10))
    targets, _ = heatmaps.encode(keypoints, visibility, TINY, 1.0)
    logits = torch.zeros_like(targets)
    logits[1] = torch.randn(32, 24) * 100
    assert heatmaps.loss(logits, targets, torch.tensor([1.0, 0.0]), "ce").item() == pytest.approx(math.log(768), rel=1e-5)


def test_mse_by_hand():
    """One joint off by 0.5 in every cell (0.25), one right (0): mean 0.125."""
    targets = torch.rand(2, 32, 24)
    logits = targets + torch.tensor([0.5, 0.0]).view(2, 1, 1)
    assert heatmaps.loss(logits, targets, torch.ones(2), "mse").item() == pytest.approx(0.125, rel=1e-4)


@pytest.mark.parametrize("kind", heatmaps.LOSSES)
def test_no_counted_joint_is_zero_not_nan(kind):
    logits = torch.randn(3, 32, 24, requires_grad=True)
    value = heatmaps.loss(logits, torch.zeros(3, 32, 24), torch.zeros(3), kind)
    value.backward()
    assert value.item() == 0 and logits.grad.abs().sum() == 0


def test_scores():
    """`ce`: the largest probability; logits log 9 in one cell and 0 in 767 others give 9 / 776. `mse`: the largest value."""
    logits = torch.zeros(1, 32, 24)
    logits[0, 10, 10] = math.log(9)
    assert heatmaps.decode(logits, TINY, "ce")[1].item() == pytest.approx(9 / 776, rel=1e-4)
    assert heatmaps.decode(logits, TINY, "mse")[1].item() == pytest.approx(math.log(9))


def test_refinement_is_at_most_one_cell_and_finite():
    decoded, _ = heatmaps.decode(torch.randn(50, 15, 32, 24) * 20, TINY)
    assert decoded.isfinite().all()
    assert (decoded >= -1.03).all() and (decoded[..., 0] <= 48.03).all() and (decoded[..., 1] <= 64.02).all()
    flat, _ = heatmaps.decode(torch.zeros(1, 32, 24), TINY)
    assert flat.isfinite().all()


def test_leading_dimensions():
    keypoints = torch.rand(2, 3, 15, 2) * 40
    visibility = torch.ones(2, 3, 15, dtype=torch.uint8)
    targets, weights = heatmaps.encode(keypoints, visibility, TINY, 1.0)
    assert targets.shape == (2, 3, 15, 32, 24) and weights.shape == (2, 3, 15)
    decoded, scores = heatmaps.decode(targets.log(), TINY)
    assert decoded.shape == (2, 3, 15, 2) and scores.shape == (2, 3, 15)
    assert (decoded - keypoints).abs().max() < 0.1


def test_errors_name_the_thing():
    keypoints, visibility = points((1, 1))
    with pytest.raises(CausalPoseError, match="sigma = 0"):
        heatmaps.encode(keypoints, visibility, TINY, 0)
    with pytest.raises(CausalPoseError, match="'l1' is not one of: ce, mse"):
        heatmaps.decode(torch.zeros(1, 32, 24), TINY, "l1")
    with pytest.raises(CausalPoseError, match=r"\(8, 6\) cells"):
        heatmaps.decode(torch.zeros(1, 8, 6), TINY)
    with pytest.raises(CausalPoseError, match="differ in shape"):
        heatmaps.loss(torch.zeros(1, 32, 24), torch.zeros(2, 32, 24), torch.ones(2))
