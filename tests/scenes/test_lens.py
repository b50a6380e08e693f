"""Lens and sensor: what each number does to a picture."""

import math

import numpy as np
import pytest
import torch

from causalpose.scenes import lens
from causalpose.scenes.causes import Stream
from causalpose.scenes.world import World


def settings(**values):
    table = {"defocus": 0.0, "shutter": 0.0, "gain": 1.0, "tint": 0.0, "vignette": 0.0} | values
    return {name: torch.tensor([float(v)], dtype=torch.float64) for name, v in table.items()}


def sensor(noise=0.0, jpeg=0.0):
    return {"noise": torch.tensor([noise]).double(), "jpeg": torch.tensor([jpeg]).double()}


def stream():
    return Stream(0, np.arange(1), "grain")


def spot(height=33, width=33):
    picture = torch.zeros(1, 1, 3, height, width)
    picture[..., height // 2, width // 2] = 1.0
    return picture


def test_a_lens_switched_off_changes_nothing():
    picture = torch.rand(1, 2, 3, 20, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(lens.expose(picture, settings()), picture)
    assert torch.equal(lens.sense(picture, settings(), sensor(), stream()), (picture * 255).round().to(torch.uint8))


def test_defocus_is_a_gaussian_of_the_asked_width():
    """Sigma 2: a point keeps its light, and spreads to a variance of 4, less 9 % that the cut at 2.5 sigma takes away."""
    blurred = lens.defocus(spot(), torch.tensor([2.0]).double())[0, 0, 0]
    assert float(blurred.sum()) == pytest.approx(1.0, abs=1e-5)
    offset = torch.arange(33.0) - 16
    for axis in (0, 1):
        assert float((blurred.sum(1 - axis) * offset**2).sum()) == pytest.approx(4 * 0.93, rel=0.04)
    assert torch.allclose(blurred, blurred.T, atol=1e-7)
    assert float(blurred[16, 16 + 6]) == 0.0  # ceil(2.5 * 2) = 5 is the reach


def test_defocus_is_each_clips_own():
    pictures = torch.rand(3, 1, 3, 24, 18, generator=torch.Generator().manual_seed(1))
    sigma = torch.tensor([0.5, 3.0, 1.2]).double()
    together = lens.defocus(pictures, sigma)
    for b in range(3):
        assert torch.equal(together[b], lens.defocus(pictures[b : b + 1], sigma[b : b + 1])[0])


@pytest.mark.parametrize("sigma", [0.3, 1.7, 6.0])
def test_defocus_agrees_with_a_plain_convolution(sigma):
    """Against scipy's Gaussian with the same cut and repeated edges, on a picture smaller than the widest reach."""
    from scipy.ndimage import gaussian_filter1d

    picture = torch.rand(2, 2, 3, 13, 10, generator=torch.Generator().manual_seed(2))
    reach = math.ceil(2.5 * sigma)
    expected = picture.double().numpy()
    for axis in (-1, -2):
        expected = gaussian_filter1d(expected, sigma, axis=axis, mode="nearest", radius=reach)
    blurred = lens.defocus(picture, torch.tensor([sigma, sigma]).double())
    assert np.abs(blurred.numpy() - expected).max() < 1e-5


def test_grain_sums_four_bytes():
    """By the slow way: bytes of the row's random words, four to a number, mean 510, variance 4 (256² - 1) / 12."""
    made = lens._grain(Stream(3, np.array([4, 9]), "grain"), 101)
    drawn = Stream(3, np.array([4, 9]), "grain").bits(51).view(np.uint8).reshape(2, -1, 4)[:, :101].astype(int).sum(-1)
    assert np.allclose(made.numpy(), (drawn - 510) / (4 * (256**2 - 1) / 12) ** 0.5, atol=1e-6)


def test_gain_tint_and_vignette_by_hand():
    """Grey 0.5 at gain 0.4: 0.2. Tint 0.2: red 0.6, blue 0.4. Vignette 0.5 takes 0.5 * 0.5 * (1 + 1) = half of a corner, nothing of the
    middle."""
    grey = torch.full((1, 1, 3, 21, 21), 0.5)
    assert torch.allclose(lens.expose(grey, settings(gain=0.4)), torch.tensor(0.2))
    tinted = lens.expose(grey, settings(tint=0.2))[0, 0, :, 0, 0]
    assert tinted.tolist() == pytest.approx([0.6, 0.5, 0.4])
    dark = lens.expose(grey, settings(vignette=0.5))[0, 0, 0]
    assert float(dark[0, 0]) == pytest.approx(0.25) and float(dark[10, 10]) == pytest.approx(0.5)


@pytest.mark.parametrize(("gain", "expected"), [(1.0, 0.05), (0.2, math.hypot(0.05, 0.05 * 0.8))])
def test_noise_has_the_asked_deviation_and_grows_in_the_dark(gain, expected):
    """Noise 0.05 at gain 0.2: sqrt(0.05² + (0.05 * 0.8)²) = 0.064 of full scale; the mean stays."""
    grey = torch.full((1, 1, 3, 80, 80), 0.5)
    frames = lens.sense(grey, settings(gain=gain), sensor(noise=0.05), stream()).float() / 255
    assert float(frames.std()) == pytest.approx(expected, rel=0.03)
    assert float(frames.mean()) == pytest.approx(0.5, abs=0.003)


def test_grain_is_each_clips_own():
    """Beside a clip without noise a noisy one has the grain that it has alone."""
    grey = torch.full((2, 1, 3, 8, 8), 0.5)
    both = {"noise": torch.tensor([0.0, 0.05]).double(), "jpeg": torch.zeros(2).double()}
    lenses = {name: value.expand(2) for name, value in settings().items()}
    together = lens.sense(grey, lenses, both, Stream(0, np.arange(2), "grain"))
    alone = lens.sense(grey[1:], settings(), sensor(noise=0.05), Stream(0, np.array([1]), "grain"))
    assert torch.equal(together[1:], alone) and (together[0] == 128).all() and not torch.equal(together[0], together[1])


def test_jpeg_changes_a_little_at_high_quality_and_more_at_low():
    picture = World(32, 24, 1).do(lens=None, sensor=None)
    plain = picture.render(range(4)).frames.float()
    error = [float((picture.do(sensor={"jpeg": quality}).render(range(4)).frames.float() - plain).abs().mean()) for quality in (90.0, 10.0)]
    assert 0 < error[0] < error[1] < 30


def test_motion_blur_smears_what_moves_and_nothing_else():
    """With no pan or shake the plain background stays. Changed pixels lie in the box around the places where the person is in five sharp
    frames, two before to two after: the shutter of three frames is open from 1.2 before to 1.2 after. Four pixels are for the shadow."""
    world = World(48, 36, 5).do(
        motion={"action": 1, "speed": 1.5}, camera={"pan": 0.0, "shake": 0.0},
        background=None, distractors=None, occluders=None, lens=None, sensor=None,
    )  # fmt: skip
    sharp, blurred = world.pair(range(6), lens={"shutter": 3.0})
    assert torch.equal(sharp.parts, blurred.parts) and torch.equal(sharp.keypoints, blurred.keypoints)
    changed = (sharp.frames[:, 2] != blurred.frames[:, 2]).any(1)
    person = (sharp.parts > 0).any(1)
    assert float(changed.float().mean()) > 0.05
    for moved, passed in zip(changed, person, strict=True):
        rows, columns = passed.any(1).nonzero(), passed.any(0).nonzero()
        box = torch.zeros_like(moved)
        box[max(0, rows.min() - 4) : rows.max() + 5, max(0, columns.min() - 4) : columns.max() + 5] = True
        assert not bool((moved & ~box).any()) and not bool(box.all())


def test_each_condition_grows_with_its_severity():
    """Each severity is further from the clean picture than the one below (mean absolute difference over eight clips)."""
    world = World(32, 24, 1)
    clean = world.under("clean").render(range(8)).frames.float()
    for condition in ("defocus", "motion_blur", "low_light"):
        gaps = [float((world.under(condition, s).render(range(8)).frames.float() - clean).abs().mean()) for s in (1, 3, 5)]
        assert 0 < gaps[0] < gaps[1] < gaps[2], (condition, gaps)
