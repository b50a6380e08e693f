"""The style: opaque pale paper, shipped fonts, and no global setting touched but by `use_style`."""

import io

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgba
from PIL import Image

from causalpose.plotting import palette, style


def test_figures_are_opaque_and_near_white_without_use_style():
    figure, axes = style.panels(1, 2, height=1, width=1, title="x")
    assert axes.shape == (1, 2)
    buffer = io.BytesIO()
    figure.savefig(buffer)
    pixels = np.asarray(Image.open(buffer).convert("RGBA"))
    assert (pixels[..., 3] == 255).all() and pixels[0, 0, :3].min() > 245


def test_only_use_style_changes_global_settings():
    before = dict(plt.rcParams)
    style.panels(1, 1, height=1, width=1)
    assert dict(plt.rcParams) == before
    style.use_style()
    assert plt.rcParams["figure.facecolor"] == style.PAPER and plt.rcParams["font.sans-serif"] == ["DejaVu Sans"]


def test_colours_stay_apart_from_paper_and_each_other():
    """Contrast of text at least 7 (WCAG AAA); every two curve colours at least 60 of 441 apart in RGB."""

    def luminance(colour):
        channels = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgba(colour)[:3]]
        return np.dot(channels, (0.2126, 0.7152, 0.0722))

    assert (luminance(style.PAPER) + 0.05) / (luminance(style.INK) + 0.05) > 7
    cycle = np.array(palette.CYCLE, float)
    apart = np.linalg.norm(cycle[:, None] - cycle, axis=-1) + 1e3 * np.eye(len(cycle))
    assert apart.min() > 60


# Machado, Oliveira and Fernandes (2009): what linear RGB looks like without the cones of long, or of middle wavelengths.
SIGHT = {
    "full": np.eye(3),
    "protanopia": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    "deuteranopia": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]),
}


def nearest(colours, sight: str) -> float:
    """The smallest distance of two colours in CIE Lab, as an eye sees them."""
    channels = np.array(colours, float) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    seen = (linear @ SIGHT[sight].T).clip(0, 1)
    to_xyz = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]])
    xyz = seen @ to_xyz.T / (0.95047, 1, 1.08883)
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    lab = np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], -1)
    return (np.linalg.norm(lab[:, None] - lab, axis=-1) + 1e3 * np.eye(len(lab))).min()


@pytest.mark.parametrize("sight", SIGHT)
def test_colours_stay_apart_for_the_colour_blind(sight):
    """Every two of them; the usual red and green of plots, as a control, do not."""
    assert nearest(palette.CYCLE, sight) > 15
    if sight == "deuteranopia":
        assert nearest([(214, 39, 40), (44, 160, 44)], sight) < 10


def test_a_picture_s_axis_is_bare_and_frames_are_named_by_their_distance():
    _, axes = style.panels(1, 3, height=1, width=1)
    style.frame_titles([style.picture_axis(axis) for axis in axes.flat], 1)
    assert [axis.get_title() for axis in axes.flat] == ["t−1", "t (target)", "t+1"]
    assert not any(len(axis.get_xticks()) or len(axis.get_yticks()) for axis in axes.flat)
    assert not any(spine.get_visible() for axis in axes.flat for spine in axis.spines.values())
