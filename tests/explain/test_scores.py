"""Scores on a row of four tokens, by hand."""

import math

import pytest
import torch

from causalpose.errors import CausalPoseError
from causalpose.explain import scores


def row(*values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32).view(1, 1, 1, -1)


SHARE = row(1, 0.5, 0, 0)


def test_mass():
    """(4·1 + 2·0.5 + 2·0 + 2·0) / 10 = 0.5; a uniform map gets the mean share 1.5 / 4."""
    assert scores.body_mass(row(4, 2, 2, 2), SHARE).item() == pytest.approx(0.5)
    assert scores.body_mass(row(7, 7, 7, 7), SHARE).item() == pytest.approx(0.375) == scores.chance(SHARE)["mass"].item()


def test_pointing():
    """A single maximum is a hit or a miss; of three equal maxima two are on the body."""
    assert scores.pointing(row(1, 9, 2, 3), SHARE).item() == 1
    assert scores.pointing(row(1, 0, 2, 3), SHARE).item() == 0
    assert scores.pointing(row(5, 5, 5, 1), SHARE).item() == pytest.approx(2 / 3)
    assert scores.pointing(row(1, 9, 2, 3), SHARE, threshold=0.6).item() == 0


def test_auc():
    """Body tokens have 4 and 2, the others 3 and 1: of the four pairs 4>3, 4>1, 2<3, 2>1 three are right; a tie counts half."""
    assert scores.roc_auc(row(4, 2, 3, 1), SHARE).item() == pytest.approx(0.75)
    assert scores.roc_auc(row(4, 3, 3, 1), SHARE).item() == pytest.approx(3.5 / 4)
    assert scores.roc_auc(row(1, 1, 1, 1), SHARE).item() == 0.5
    assert math.isnan(scores.roc_auc(row(1, 2, 3, 4), row(0, 0, 0, 0)).item())


def test_clips_are_scored_one_by_one():
    values, share = torch.cat([row(1, 0, 0, 0), row(0, 0, 1, 0)]), torch.cat([SHARE, SHARE])
    found = scores.all_scores(values, share)
    assert found["mass"].tolist() == [1, 0] and found["pointing"].tolist() == [1, 0] and found["auc"].tolist() == [0.75, 0.25]


def test_a_map_of_zeros_points_nowhere():
    assert all(math.isnan(value.item()) for value in scores.all_scores(row(0, 0, 0, 0), SHARE).values())


def test_wrong_shapes():
    with pytest.raises(CausalPoseError, match=r"must both be \[B, T, rows, columns\]"):
        scores.body_mass(row(1, 2), SHARE)
