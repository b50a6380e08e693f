"""Heatmaps lie where the UDP convention puts them."""

import numpy as np
import pytest
import torch

from causalpose.errors import CausalPoseError
from causalpose.plotting import heatmaps, style


def test_cells_lie_on_their_pixels():
    """A map of 3 x 5 cells over 33 x 21 pixels: a step is 16 pixels down and 5 across; the first cell is centred on pixel (0, 0), so the
    picture of the map starts at (-2.5, -8) and ends at (22.5, 40)."""
    _, axes = style.panels(1, 1, height=1, width=1)
    heatmaps.draw_heatmap(axes[0, 0], np.ones((3, 5)), (33, 21))
    assert axes[0, 0].images[0].get_extent() == [-2.5, 22.5, 40, -8]


def test_largest_cell_in_pixels():
    values = np.zeros((1, 3, 5))
    values[0, 1, 4] = 1
    assert heatmaps.largest_cells(values, (33, 21)).tolist() == [[20, 16]]


def test_probabilities():
    logits = torch.tensor([[[0.0, np.log(3.0)]]])
    assert heatmaps.probabilities(logits).ravel().tolist() == pytest.approx([0.25, 0.75])
    assert heatmaps.probabilities(torch.tensor([[[-1.0, 2.0]]]), "mse").ravel().tolist() == [0, 1]
    with pytest.raises(CausalPoseError, match=r"\[K, h, w\]"):
        heatmaps.probabilities(torch.zeros(1, 15, 4, 4))


def test_grid_shows_the_joints_asked_for(clip):
    maps = torch.zeros(15, 16, 12)
    figure = heatmaps.heatmap_grid(clip, maps, joints=["left_wrist", "nose"])
    assert [axis.get_title() for axis in figure.axes if axis.get_visible()] == ["left wrist", "nose"]
    assert sum(axis.get_visible() for axis in heatmaps.heatmap_grid(clip, maps, columns=4).axes) == 15
    with pytest.raises(CausalPoseError, match="no keypoint 'wrist'"):
        heatmaps.heatmap_grid(clip, maps, joints=["wrist"])
    with pytest.raises(CausalPoseError, match="14 heatmaps"):
        heatmaps.heatmap_grid(clip, maps[:14])


def test_together_marks_truth_and_peaks(clip):
    _, axes = style.panels(1, 1, height=1, width=1)
    maps = torch.zeros(15, 16, 12)
    maps[:, 5, 7] = 9
    heatmaps.draw_heatmaps_together(axes[0, 0], clip, maps)
    peak = axes[0, 0].lines[-1].get_xydata()
    assert peak[0].tolist() == pytest.approx([7 * 23 / 11, 5 * 31 / 15]) and len(peak) == 15
