"""A clip to draw, and figures closed after each test."""

import matplotlib.pyplot as plt
import pytest
import torch

from causalpose.clip import Clip, Visibility


@pytest.fixture(autouse=True)
def closed_figures():
    """No test leaves a figure open, nor changes the settings of the next."""
    before = dict(plt.rcParams)
    yield
    plt.close("all")
    plt.rcParams.update(before)


@pytest.fixture
def clip() -> Clip:
    """Three grey frames of 32 x 24; the keypoints stand in a row, all visible."""
    points = torch.stack([torch.arange(15.0) + 2, torch.full((15,), 10.0)], -1).expand(3, 15, 2).clone()
    frames = torch.full((3, 3, 32, 24), 128, dtype=torch.uint8)
    states = torch.full((3, 15), int(Visibility.VISIBLE), dtype=torch.uint8)
    return Clip(frames, points, states, torch.tensor(10.0), torch.tensor(0, dtype=torch.uint8), torch.tensor(0))
