"""Labels of real video as every reader gives them: persons in frames in sequences, in the keypoint set of their own data set.

Coordinates are image pixels with the *centre* of the top-left pixel at `(0, 0)`; readers of files that count from one subtract it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from causalpose.clip import Visibility
from causalpose.errors import CausalPoseError

# fault(file, field, message): what readers call for everything that is wrong. They leave the faulty thing out if it returns.
Fault = Callable[[str, str, str], None]
_LARGEST = 1e9  # no coordinate or score is larger; a whole number of 400 digits is no number of pixels


@dataclass(frozen=True)
class Person:
    """One labelled (or predicted) person in one frame.

    keypoints   float64 `[K, 2]`, image pixels, in the order of the sequence's keypoint set
    visibility  uint8 `[K]`, values of `Visibility`; zeros for a person of whom only the box is known
    box         float64 `[4]` (x, y, w, h) or None where the file gives none and fewer than two joints are labelled
    head_box    float64 `[4]` or None
    scores      float64 `[K]`, confidences of a prediction; zeros for labels
    crowd       the box stands for a group (COCO's `iscrowd`)
    area        of the segment in square pixels, for OKS; None where the file gives none
    """

    track_id: int
    keypoints: np.ndarray
    visibility: np.ndarray
    box: np.ndarray | None
    head_box: np.ndarray | None = None
    scores: np.ndarray | None = None
    crowd: bool = False
    area: float | None = None


@dataclass(frozen=True)
class Frame:
    """One frame: its id, image file (as the annotations name it), persons, and the polygons `[P, 2]` that evaluation ignores."""

    image_id: int
    file_name: str
    labelled: bool
    persons: tuple[Person, ...]
    ignore: tuple[np.ndarray, ...] = ()
    size: tuple[int, int] | None = None  # height, width, where the file says so


@dataclass(frozen=True)
class PoseSequence:
    """The frames of one video in order (a still is a sequence of one).

    file        the annotation file, kept for messages
    keypoints   name of the keypoint set of its persons
    length      number of frames of the video, where the annotations say so: fewer in `frames` means that some are missing
    folder      the images' folder below the data set's root; `file_name` is relative to it
    """

    name: str
    frames: tuple[Frame, ...]
    file: str = ""
    keypoints: str = "posetrack18"
    length: int | None = None
    folder: str = ""


def refuse(file: str, where: str, message: str) -> None:
    """The fault handler of every reader but the check: the first fault is an error."""
    raise CausalPoseError(f"{file}: {where}: {message}" if where else f"{file}: {message}")


def numbers(values: object, length: int | None = None) -> bool:
    """Whether `values` is a list of finite numbers (of a given length)."""
    return isinstance(values, list) and (length is None or len(values) == length) and all(number(v) for v in values)


def number(value: object) -> bool:
    """Whether `value` is a finite number of sensible size."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST and math.isfinite(value)


def whole(value: object) -> bool:
    """Whether `value` is a whole number that fits 64 bits."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def box_around(points: np.ndarray, visibility: np.ndarray) -> np.ndarray | None:
    """The box of the labelled joints plus 15 % of its sides all round, PoseTrack's own rule; None for fewer than two joints."""
    points = points[visibility != Visibility.UNLABELLED]
    if len(points) < 2:
        return None
    low, side = points.min(0), np.maximum(np.ptp(points, axis=0), 1.0)
    return np.concatenate([low - 0.15 * side, 1.3 * side])
