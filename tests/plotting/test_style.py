"""The style: opaque pale paper, shipped fonts, and no global setting touched but by `use_style`."""

import io

import matplotlib.pyplot as plt
import numpy as np
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
