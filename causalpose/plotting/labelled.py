"""Labelled frames of a data set drawn for the eye: skeletons, boxes, head boxes and ignore regions."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from causalpose.clip import Visibility
from causalpose.data.files import read_image, replacing
from causalpose.data.formats import DataSet
from causalpose.data.labels import Frame
from causalpose.errors import CausalPoseError
from causalpose.plotting.overlay import FrameDrawer, enlarge
from causalpose.plotting.palette import ACCENT
from causalpose.skeletons import keypoint_set

_HIDDEN = 0.35  # opacity of a joint that cannot be seen


def draw_labels(image: np.ndarray, frame: Frame, keypoints: str) -> np.ndarray:
    """A copy of an RGB image `[H, W, 3]` (small ones enlarged) with all that is known of the frame drawn in; hidden joints are faint."""
    canvas, factor = enlarge(image)
    thickness = max(1, round(min(canvas.shape[:2]) / 400))
    regions = [np.round((polygon + 0.5) * factor - 0.5).astype(np.int32) for polygon in frame.ignore]
    if regions:
        shade = canvas.copy()
        for region in regions:
            cv2.fillPoly(shade, [region], ACCENT)
        canvas = cv2.addWeighted(shade, 0.3, canvas, 0.7, 0)
        cv2.polylines(canvas, regions, True, ACCENT, thickness, cv2.LINE_AA)
    persons = []
    for person in frame.persons:
        if person.head_box is not None:
            x, y, w, h = (round(float(v) * factor) for v in person.head_box)
            cv2.rectangle(canvas, (x, y), (x + w, y + h), ACCENT, thickness, cv2.LINE_AA)
        opacity = np.where(person.visibility == Visibility.VISIBLE, 1.0, _HIDDEN)
        box = None if person.box is None else (person.box + [0.5, 0.5, 0, 0]) * factor - [0.5, 0.5, 0, 0]
        persons.append(replace(person, scores=opacity, keypoints=(person.keypoints + 0.5) * factor - 0.5, box=box))
    drawer = FrameDrawer(keypoint_set(keypoints), shorter=1, trail=0)
    return drawer(canvas, replace(frame, persons=tuple(persons)))


def save_labelled(data: DataSet, split: str, out: Path | str, count: int = 6) -> list[Path]:
    """Draw `count` labelled frames, spread evenly over a split, as `out/<sequence>-<frame>.png`; returns the files."""
    frames = [
        (sequence, frame)
        for sequence in data.sequences(split)
        for frame in sequence.frames
        if frame.labelled and any(person.visibility.any() for person in frame.persons)
    ]
    if not frames:
        raise CausalPoseError(f"{data.root}: split {split!r} has no labelled person to show")
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(count, len(frames))).round().astype(int))
    files = []
    for place in chosen:
        sequence, frame = frames[place]
        picture = draw_labels(read_image(data.root / sequence.folder / frame.file_name), frame, sequence.keypoints)
        files.append(Path(out) / f"{sequence.name}-{Path(frame.file_name).stem}.png")
        with replacing(files[-1]) as temporary:
            Image.fromarray(picture).save(temporary)
    return files
