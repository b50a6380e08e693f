"""Top-down crops: a person's box, enlarged and brought to the input's shape, cut out by one UDP-unbiased affine map.

UDP (Huang et al., CVPR 2020): lengths are measured between pixel *centres*, so a crop of `W` pixels spans `W - 1` units; this makes
crop, flip and heatmap agree to the last digit. All functions are numpy/OpenCV; matrices are float64 `[2, 3]`, image -> crop.
"""

import math

import cv2
import numpy as np

from causalpose.errors import CausalPoseError

ENLARGE = 1.25  # the field's 25 % (DCPose, DiffusionPose, JM-Pose)


def enlarged(box: np.ndarray, height: int, width: int, enlarge: float = ENLARGE) -> np.ndarray:
    """A box `(x, y, w, h)` in image pixels, grown about its centre to the aspect of a `height` x `width` crop and then by `enlarge`."""
    x, y, w, h = (float(v) for v in box)
    if not (math.isfinite(x + y + w + h) and w > 0 and h > 0):
        raise CausalPoseError(f"person box {[x, y, w, h]} has no area; give x, y, width, height in pixels with positive sides")
    aspect = (width - 1) / (height - 1)
    w_new, h_new = max(w, h * aspect) * enlarge, max(h, w / aspect) * enlarge
    return np.array([x + (w - w_new) / 2, y + (h - h_new) / 2, w_new, h_new])


def crop_matrix(box: np.ndarray, height: int, width: int, enlarge: float = ENLARGE) -> np.ndarray:
    """The map `[2, 3]` from image pixels to crop pixels: the enlarged box's edges go to the centres of the crop's outermost pixels."""
    x, y, w, _ = enlarged(box, height, width, enlarge)
    scale = (width - 1) / w
    return np.array([[scale, 0.0, -x * scale], [0.0, scale, -y * scale]])


def to_crop(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Points `[..., 2]` from image to crop pixels."""
    return np.asarray(points, dtype=np.float64) @ matrix[:, :2].T + matrix[:, 2]


def to_image(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Points `[..., 2]` from crop back to image pixels."""
    return (np.asarray(points, dtype=np.float64) - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T


def cut(image: np.ndarray, matrix: np.ndarray, height: int, width: int) -> np.ndarray:
    """Cut the crop uint8 `[height, width, 3]` out of an image uint8 `[h, w, 3]`; what lies outside the image is black (the field's choice).

    Where the crop is smaller than what it shows, the picture is smoothed first (a symmetric Gaussian, so nothing moves): bilinear sampling
    alone would skip pixels, and a small crop would flicker from frame to frame.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise CausalPoseError(f"an image must be uint8 [height, width, 3], not {image.dtype} {list(image.shape)}")
    scale = math.sqrt(abs(np.linalg.det(matrix[:, :2])))
    matrix = matrix.copy()
    if scale < 0.9:
        # Both pictures get the blur of one pixel (sigma 0.5): the variances add.
        sigma = 0.5 * math.sqrt(1 / scale**2 - 1)
        image, offset = _region(image, matrix, height, width, margin=math.ceil(4 * sigma) + 2)
        if image.size == 0:
            return np.zeros((height, width, 3), np.uint8)
        matrix[:, 2] += matrix[:, :2] @ offset
        image = cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    return cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)


def reduction(matrix: np.ndarray) -> int:
    """The factor (1, 2, 4 or 8) by which an image may be decoded smaller before this crop is cut out of it.

    The reduced picture keeps at least two pixels for each of the crop's, so that the smoothing that shapes the crop is still `cut`'s own.
    """
    scale = math.sqrt(abs(np.linalg.det(matrix[:, :2])))
    return next(factor for factor in (8, 4, 2, 1) if factor == 1 or scale * factor <= 0.5)


def cut_reduced(image: np.ndarray, matrix: np.ndarray, height: int, width: int, factor: int) -> np.ndarray:
    """`cut` from an image that was decoded at 1/`factor` of its size; the matrix is still that of the whole image.

    Pixel `i` of the reduced image is the mean of `factor` pixels, so its centre lies at `factor * i + (factor - 1) / 2` in the whole one.
    """
    scaled = matrix.copy()
    scaled[:, :2] *= factor
    scaled[:, 2] += matrix[:, :2] @ np.full(2, (factor - 1) / 2)
    return cut(image, scaled, height, width)


def _region(image: np.ndarray, matrix: np.ndarray, height: int, width: int, margin: int) -> tuple[np.ndarray, np.ndarray]:
    """The part of the image that the crop shows, with a margin, and its top-left corner (x, y): smoothing the rest would be waste."""
    corners = to_image(np.array([[0, 0], [width - 1, 0], [0, height - 1], [width - 1, height - 1]]), matrix)
    low = np.maximum(np.floor(corners.min(0)) - margin, 0).astype(int)
    high = np.minimum(np.ceil(corners.max(0)) + margin + 1, [image.shape[1], image.shape[0]]).astype(int)
    high = np.maximum(high, low)
    return image[low[1] : high[1], low[0] : high[0]], low.astype(np.float64)
