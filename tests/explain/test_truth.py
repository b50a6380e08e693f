"""Where the body is, token by token."""

import math
from dataclasses import replace

import pytest
import torch

from causalpose.clip import Visibility
from causalpose.errors import CausalPoseError
from causalpose.explain import truth
from causalpose.scenes.body import Part
from causalpose.scenes.world import World
from causalpose.training.truth import body_share as oracle_share
from tests.training.dots import config


def test_shares_count_pixels(clips):
    """Token (0, 0) of a 4 x 4 grid over 32 x 32 has 64 pixels: 16 of left forearm, 8 of torso, 8 of a bystander.

    The body's share is 24/64, the left wrist's limb has 16/64.
    """
    parts = torch.zeros_like(clips.parts)
    parts[:, 1, :2, :8], parts[:, 1, 2, :8], parts[:, 1, 3, :8] = int(Part.LEFT_FOREARM), int(Part.TORSO), int(Part.BYSTANDER)
    clip = replace(clips, parts=parts)
    body, limb = truth.body_share(clip, (4, 4)), truth.limb_share(clip, "left_wrist", (4, 4))
    assert body[0, 1, 0, 0] == 24 / 64 and limb[0, 1, 0, 0] == 16 / 64
    assert body.sum() == 2 * 24 / 64
    assert truth.limb_share(clip, "right_wrist", (4, 4)).sum() == 0


def test_limbs():
    assert truth.limb_parts("left_elbow") == (Part.LEFT_UPPER_ARM, Part.LEFT_FOREARM)
    assert truth.limb_parts("right_hip") == (Part.RIGHT_THIGH,)
    assert truth.limb_parts("nose") == (Part.HEAD,)


def test_the_oracles_truth_is_the_same(clips):
    model = config().model
    assert torch.equal(truth.body_share(clips, model.grid).flatten(2), oracle_share(clips, model))


def test_near_joint(clips):
    """At pixel (12, 3) the joint is in token row 0, column 1: near are rows 0 to 1, columns 0 to 2. A token border lies at 7.5."""
    points, states = clips.keypoints.clone(), torch.full_like(clips.visibility, int(Visibility.VISIBLE))
    points[:, :, 5] = torch.tensor([12.0, 3.0])
    points[:, 2, 5, 0] = 7.4
    states[:, 0, 5] = int(Visibility.OUTSIDE)
    near = truth.near_joint(replace(clips, keypoints=points, visibility=states), 5, (4, 4))
    expected = torch.zeros(4, 4)
    expected[:2, :3] = 1
    assert torch.equal(near[0, 1], expected)
    assert near[0, 2].sum() == 4, "column 0 has one neighbour"
    assert near[:, 0].sum() == 0


def test_real_video_has_no_masks(clips):
    with pytest.raises(CausalPoseError, match="only rendered scenes"):
        truth.body_share(replace(clips, parts=None), (4, 4))
    with pytest.raises(CausalPoseError, match="does not divide"):
        truth.body_share(clips, (5, 4))


@pytest.mark.parametrize("grid", [(8, 6), (4, 3), (1, 1), (64, 48)])
def test_keypoint_distance_by_hand(grid):
    """The centre of token (r, c) lies at ((c + 1/2) W / columns - 1/2, (r + 1/2) H / rows - 1/2); nan for what has no label."""
    clip = World(64, 48, 1).render([3])
    clip = replace(clip, visibility=clip.visibility.index_fill(2, torch.tensor([2]), 0))
    found = truth.keypoint_distance(clip, grid)
    assert found.shape == (1, 1, 15, *grid) and bool(found[0, 0, 2].isnan().all())
    x, y = clip.keypoints[0, 0, 5].tolist()
    row, column = grid[0] // 2, grid[1] - 1
    centre = ((column + 0.5) * 48 / grid[1] - 0.5, (row + 0.5) * 64 / grid[0] - 0.5)
    assert float(found[0, 0, 5, row, column]) == pytest.approx(math.dist(centre, (x, y)), abs=1e-4)


def test_keypoint_distance_refuses_a_grid_that_does_not_fit():
    with pytest.raises(CausalPoseError, match="grid of 5 x 3 does not divide"):
        truth.keypoint_distance(World(64, 48, 1).render([3]), (5, 3))
