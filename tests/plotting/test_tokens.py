"""Token maps: outlines follow the tokens, rows and frames are where they belong."""

import numpy as np
import pytest
import torch

from causalpose.errors import CausalPoseError
from causalpose.plotting import style, tokens


def test_outline_of_one_token():
    """Token (1, 0) of 2 x 2 over 4 x 6 pixels covers rows 2 to 3 and columns 0 to 2: its border: x from -0.5 to 2.5, y from 1.5 to 3.5."""
    _, axes = style.panels(1, 1, height=1, width=1)
    tokens.outline(axes[0, 0], np.array([[False, False], [True, False]]), (4, 6))
    segments = {tuple(map(tuple, segment)) for segment in axes[0, 0].collections[0].get_segments()}
    left, right, top, bottom = -0.5, 2.5, 1.5, 3.5
    assert segments == {
        ((left, top), (right, top)), ((left, bottom), (right, bottom)), ((left, top), (left, bottom)), ((right, top), (right, bottom)),
    }  # fmt: skip


def test_no_line_between_neighbours_of_the_set():
    _, axes = style.panels(1, 1, height=1, width=1)
    tokens.outline(axes[0, 0], np.ones((2, 2), bool), (4, 4))
    assert len(axes[0, 0].collections[0].get_segments()) == 8


def test_rows_and_columns(clip):
    maps = {"one": torch.rand(3, 4, 3), "two": np.random.rand(3, 4, 3)}
    figure = tokens.compare_maps(clip, maps, causal={"two": np.ones((3, 4, 3), bool)}, notes={"one": "0.61"}, marks=4)
    pictures = [axis for axis in figure.axes if axis.images]
    assert len(pictures) == 6
    assert [axis.get_ylabel() for axis in pictures[::3]] == ["one\n0.61", "two"]
    assert not pictures[0].collections and pictures[3].collections
    assert pictures[1].lines[0].get_xydata().tolist() == [clip.keypoints[1, 4].tolist()]


def test_one_scale_for_all_frames(clip):
    """The largest value, 4, is in frame 1; frame 0's only value, 1, is shown at a quarter."""
    values = np.zeros((3, 4, 3))
    values[0, 0, 0], values[1, 2, 1] = 1, 4
    figure = tokens.importance_map(clip, values)
    overlays = [axis.images[1].get_array() for axis in figure.axes[:3]]
    assert [float(overlay.max()) for overlay in overlays] == [0.25, 1, 0]


def test_clusters(clip):
    numbers = np.full((3, 4, 3), -1)
    numbers[0, 0, :], numbers[0, 1, 0] = (3, 3, 11), -2
    axis = tokens.cluster_map(clip, numbers).axes[0]
    layer = axis.images[1].get_array()
    assert (layer[0, 0] == layer[0, 1]).all() and (layer[0, 0] != layer[0, 2]).any()
    assert layer[1, 0].tolist() == [0, 0, 0, 0.8] and layer[2, 2, 3] == 0
    assert [text.get_text() for text in axis.texts] == ["3", "3", "11"]


def test_keypoints_by_name(clip):
    figure = tokens.keypoint_importance(clip, torch.rand(15, 3, 4, 3), ["left_wrist"])
    assert figure.axes[0].get_ylabel() == "left wrist"
    with pytest.raises(CausalPoseError, match="14 maps"):
        tokens.keypoint_importance(clip, torch.rand(14, 3, 4, 3))


@pytest.mark.parametrize("shape", [(4, 3), (2, 4, 3), (3, 5, 3), (1, 3, 4, 3)])
def test_wrong_shape_is_named(clip, shape):
    with pytest.raises(CausalPoseError, match=r"importance: the map .* is not \[T, rows, columns\]"):
        tokens.importance_map(clip, np.zeros(shape))


def test_nothing_to_show(clip):
    with pytest.raises(CausalPoseError, match="no map"):
        tokens.compare_maps(clip, {})


def test_draw_tokens_lays_each_token_over_its_own_pixels():
    """A map of 2 x 2 over 4 x 6 pixels: the picture spans all pixels, and the brightest token is the most opaque."""
    _, axes = style.panels(1, 1, height=1, width=1)
    (image,) = tokens.draw_tokens(axes[0, 0], np.array([[0.0, 1.0], [2.0, 4.0]]), (4, 6)).images
    assert image.get_extent() == [-0.5, 5.5, 3.5, -0.5]
    assert image.get_array().tolist() == [[0, 0.25], [0.5, 1]]
    assert image.get_alpha().argmax() == 3 and image.get_alpha().min() > 0
    (image,) = tokens.draw_tokens(axes[0, 0], np.array([[1.0, 2.0]]), (4, 6), high=4).images[1:]
    assert image.get_array().tolist() == [[0.25, 0.5]]
