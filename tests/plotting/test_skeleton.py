"""Skeletons: the look of a joint says its state."""

import pytest
import torch
from matplotlib.colors import to_rgba

from causalpose.clip import Visibility, stack
from causalpose.errors import CausalPoseError
from causalpose.plotting import palette, skeleton, style
from causalpose.skeletons import keypoint_set

NAMES = keypoint_set("posetrack15")


def joints_drawn(axis):
    """Joint marks by their place."""
    return {tuple(line.get_xydata()[0]): line for line in axis.lines if line.get_marker() not in ("None", "", None)}


def test_filled_hollow_absent(clip):
    states = torch.full((15,), int(Visibility.VISIBLE))
    states[NAMES.index("left_wrist")] = int(Visibility.OCCLUDED)
    states[NAMES.index("right_wrist")] = int(Visibility.OUTSIDE)
    states[NAMES.index("left_knee")] = int(Visibility.UNLABELLED)
    _, axes = style.panels(1, 1, height=1, width=1)
    skeleton.draw_skeleton(axes[0, 0], clip.keypoints[0], NAMES, states)
    drawn = joints_drawn(axes[0, 0])

    def at(name):
        return drawn.get(tuple(clip.keypoints[0, NAMES.index(name)].tolist()))

    assert to_rgba(at("left_elbow").get_markerfacecolor())[:3] == palette.unit(palette.LEFT)
    assert at("left_wrist").get_markerfacecolor() == style.PAPER
    assert to_rgba(at("left_wrist").get_markeredgecolor())[:3] == palette.unit(palette.LEFT)
    assert to_rgba(at("right_elbow").get_markerfacecolor())[:3] == palette.unit(palette.RIGHT)
    assert at("right_wrist") is None and at("left_knee") is None
    limbs = [line for line in axes[0, 0].lines if len(line.get_xdata()) == 2]
    lost = sum(bool({"right_wrist", "left_knee"} & set(limb)) for limb in NAMES.limbs)
    assert lost == 3 and len(limbs) == len(NAMES.limbs) - lost


def test_pixel_centres_are_integers(clip):
    _, axes = style.panels(1, 1, height=1, width=1)
    skeleton.show_frame(axes[0, 0], clip.frames[0])
    assert axes[0, 0].images[0].get_extent() == [-0.5, 23.5, 31.5, -0.5]


def test_strip_has_a_panel_a_frame_and_one_for_the_prediction(clip):
    assert len(skeleton.clip_strip(clip).axes) == 3
    figure = skeleton.clip_strip(clip, clip.keypoints[1] + 1)
    assert [axis.get_title() for axis in figure.axes] == ["t−1", "t (target)", "t+1", "predicted"]
    assert len(skeleton.clip_strip(clip, clip.keypoints + 1).axes) == 6
    bare = skeleton.clip_strip(clip, skeleton=False)
    assert not bare.axes[0].lines


def test_errors_run_from_truth_to_prediction(clip):
    _, axes = style.panels(1, 1, height=1, width=1)
    states = clip.visibility[0].clone()
    states[0] = int(Visibility.OUTSIDE)
    skeleton.draw_errors(axes[0, 0], clip.keypoints[0], clip.keypoints[0] + 3, states)
    assert len(axes[0, 0].lines) == 14
    assert axes[0, 0].lines[0].get_xydata().tolist() == [[3, 10], [6, 13]]


def test_wrong_input(clip):
    with pytest.raises(CausalPoseError, match="batch of shape"):
        skeleton.clip_strip(stack([clip, clip]))
    with pytest.raises(CausalPoseError, match=r"\[15, 2\]"):
        skeleton.clip_strip(clip, torch.zeros(17, 2))
