"""Crops: coordinates and image content make the round trip; boxes get the right shape."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causalpose.data.crops import crop_matrix, cut, enlarged, to_crop, to_image
from causalpose.errors import CausalPoseError


def test_enlarged_box_by_hand():
    """A 30 x 63 box for a crop of 64 x 48: aspect 47/63, so it is widened to 47; x 1.25: 58.75 x 78.75 about (25, 51.5)."""
    x, y, w, h = enlarged(np.array([10.0, 20.0, 30.0, 63.0]), 64, 48)
    assert (w, h) == pytest.approx((58.75, 78.75))
    assert (x + w / 2, y + h / 2) == pytest.approx((25.0, 51.5))


def test_corners_of_the_box_are_the_centres_of_the_corner_pixels():
    box = np.array([10.0, 20.0, 47.0, 63.0])
    matrix = crop_matrix(box, 64, 48, enlarge=1.0)
    assert np.allclose(to_crop(np.array([[10.0, 20.0], [57.0, 83.0]]), matrix), [[0, 0], [47, 63]])


boxes = st.tuples(st.floats(-50, 500), st.floats(-50, 500), st.floats(1, 800), st.floats(1, 800))


@given(box=boxes, point=st.tuples(st.floats(-1000, 2000), st.floats(-1000, 2000)))
@settings(max_examples=60, deadline=None)
def test_coordinates_round_trip(box, point):
    matrix = crop_matrix(np.array(box), 64, 48)
    assert np.abs(to_image(to_crop(np.array(point), matrix), matrix) - point).max() < 1e-3
    assert matrix[0, 0] == pytest.approx(matrix[1, 1]), "one scale for both axes: people are not stretched"


@pytest.mark.parametrize("side", [30.0, 47.0, 90.0, 200.0, 320.0])
def test_image_content_lands_where_the_coordinates_say(side):
    """A Gaussian blob at a known sub-pixel place is cropped; its centre of mass is within 0.1 pixel of the mapped place."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:360, :360]
    for _ in range(5):
        centre = 180 + random.uniform(-0.08, 0.08, 2) * side
        sigma = side / 24
        blob = 250 * np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * sigma**2))
        image = np.repeat(np.round(blob).astype(np.uint8)[..., None], 3, 2)
        box = np.array([180 - side / 2, 180 - side / 2, side, side])
        matrix = crop_matrix(box, 64, 48)
        weight = np.maximum(cut(image, matrix, 64, 48)[..., 0].astype(float) - 8, 0)
        rows, columns = np.mgrid[:64, :48]
        found = np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()
        assert np.linalg.norm(found - to_crop(centre, matrix)) < 0.1


def test_reducing_does_not_skip_pixels():
    """A one-pixel checkerboard reduced 8 times is even grey; plain bilinear sampling would give stripes or a flat black or white."""
    image = np.repeat(((np.indices((480, 480)).sum(0) % 2) * 255).astype(np.uint8)[..., None], 3, 2)
    crop = cut(image, crop_matrix(np.array([48.0, 48, 384, 384]), 48, 48, enlarge=1.0), 48, 48)
    assert crop.std() < 2 and abs(crop.mean() - 127.5) < 3


def test_outside_of_the_image_is_black():
    image = np.full((100, 100, 3), 200, np.uint8)
    crop = cut(image, crop_matrix(np.array([-100.0, -100, 150, 150]), 64, 48, enlarge=1.0), 64, 48)
    assert crop[0, 0, 0] == 0 and crop[-1, -1, 0] == 200
    assert cut(image, crop_matrix(np.array([500.0, 500, 200, 200]), 64, 48), 64, 48).max() == 0


@pytest.mark.parametrize("box", [[0, 0, 0, 5], [0, 0, 5, -1], [float("nan"), 0, 5, 5]])
def test_a_box_without_area_is_refused(box):
    with pytest.raises(CausalPoseError, match="no area"):
        crop_matrix(np.array(box, float), 64, 48)


def test_a_wrong_image_is_refused():
    with pytest.raises(CausalPoseError, match="uint8"):
        cut(np.zeros((10, 10, 3), np.float32), np.eye(3)[:2], 64, 48)
