"""Person boxes of a detector, in COCO's result form: a JSON list of `{image_id, category_id, bbox, score}`."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from causalpose.data.files import read_json
from causalpose.data.labels import number, numbers, whole
from causalpose.errors import CausalPoseError

PERSON = 1  # COCO's category


@dataclass(frozen=True)
class Detection:
    """A box (x, y, w, h) in image pixels and the detector's score."""

    box: np.ndarray
    score: float


def read_detections(path: Path | str, threshold: float = 0.0) -> dict[int, list[Detection]]:
    """Detections of persons with a score of at least `threshold`, by image id, best first."""
    content = read_json(path)
    if not isinstance(content, list):
        raise CausalPoseError(
            f"{path}: a detection file is a JSON list of image_id, category_id, bbox, score, not {type(content).__name__}"
        )
    found: dict[int, list[Detection]] = {}
    for position, row in enumerate(content):
        where = f"{path}: [{position}]"
        if not isinstance(row, dict):
            raise CausalPoseError(f"{where}: must be a table of image_id, category_id, bbox, score")
        image_id, box, score = row.get("image_id"), row.get("bbox"), row.get("score")
        if not whole(image_id):
            raise CausalPoseError(f"{where}.image_id: must be a whole number")
        if not numbers(box, 4) or min(box[2:]) < 0:
            raise CausalPoseError(f"{where}.bbox: must be x, y, width, height: finite numbers, sides not negative")
        if not number(score):
            raise CausalPoseError(f"{where}.score: must be a finite number")
        # A side of less than a pixel is a detector's rounding, not a person.
        if row.get("category_id", PERSON) == PERSON and score >= threshold and min(box[2:]) >= 1:
            found.setdefault(image_id, []).append(Detection(np.asarray(box, float), float(score)))
    return {image_id: sorted(rows, key=lambda row: -row.score) for image_id, rows in found.items()}


def overlaps(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of a box (x, y, w, h) with boxes `[n, 4]`."""
    low = np.maximum(box[:2], others[:, :2])
    high = np.minimum(box[:2] + box[2:], others[:, :2] + others[:, 2:])
    shared = np.maximum(high - low, 0).prod(1)
    return shared / np.maximum(box[2] * box[3] + others[:, 2] * others[:, 3] - shared, 1e-9)
