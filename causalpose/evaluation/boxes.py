"""Person boxes for prediction, from a file: PoseTrack18 JSON, or a list of detections in COCO's result form."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from causalpose.data import posetrack
from causalpose.data.files import read_json
from causalpose.errors import CausalPoseError

Tracked = tuple[int, np.ndarray]  # track id, box (x, y, w, h)
_MIN_SCORE = 0.5  # detections below are left out
_MIN_OVERLAP = 0.3  # intersection over union that links a detection to a track
_POSETRACK_FRAMES = 10_000  # a PoseTrack18 image id is the sequence's number times this, plus the frame's


class Boxes:
    """Boxes by frame: of a video by the frame's number from 0, of a folder by the image's file name where the file gives names."""

    def __init__(
        self,
        by_number: dict[int, list[Tracked]],
        by_name: dict[str, list[Tracked]] | None = None,
        images: Sequence[tuple[int, str]] = (),
    ):
        self.by_number, self.by_name = by_number, by_name or {}
        self._images = list(images)  # (image id, file name) by number
        self._numbers = {Path(name).name: number for number, (_, name) in enumerate(self._images)}

    def at(self, number: int, name: str | None = None) -> list[Tracked]:
        """The tracked boxes of one frame; an unlisted frame has none."""
        if name is not None and self.by_name:
            return self.by_name.get(name, [])
        return self.by_number.get(number, [])

    def image(self, number: int, name: str | None = None) -> tuple[int, str] | None:
        """The image id and file name that the file gives a frame, so that predictions bear the ground truth's; None where it gives none."""
        if name is not None and self._numbers:
            number = self._numbers.get(name, -1)
        return self._images[number] if 0 <= number < len(self._images) else None

    def check(self, names: tuple[str, ...], path: Path | str) -> None:
        """Refuse boxes that fit no image of the folder: every frame would come out empty."""
        if names and self.by_name and not set(names) & set(self.by_name):
            raise CausalPoseError(
                f"{path}: the boxes name images such as {next(iter(self.by_name))}, but the folder holds {names[0]} and others"
            )


def read_boxes(path: Path | str) -> Boxes:
    """Read a boxes file: PoseTrack18 JSON of one sequence (boxes with their track ids), or a list of `{image_id, bbox, score}`."""
    content = read_json(path)
    return _from_detections(path, content) if isinstance(content, list) else _from_posetrack(path)


def _from_posetrack(path: Path | str) -> Boxes:
    sequences = posetrack.read(path)
    if len(sequences) != 1:
        raise CausalPoseError(f"{path}: holds {len(sequences)} sequences; a boxes file is of one")
    per_frame = [[(person.track_id, person.box) for person in frame.persons if person.box is not None] for frame in sequences[0].frames]
    names = [Path(frame.file_name).name for frame in sequences[0].frames]
    images = [(frame.image_id, frame.file_name) for frame in sequences[0].frames]
    return Boxes(dict(enumerate(per_frame)), dict(zip(names, per_frame, strict=True)), images)


def _from_detections(path: Path | str, detections: list) -> Boxes:
    frames: dict[int, list[np.ndarray]] = {}
    sequences = set()
    for position, detection in enumerate(detections):
        try:
            image_id, box = detection["image_id"], np.asarray(detection["bbox"], dtype=float)
            score = float(detection.get("score", 1.0))
            if not isinstance(image_id, int) or image_id < 0 or box.shape != (4,) or not np.isfinite(box).all() or min(box[2:]) <= 0:
                raise ValueError
        except (KeyError, TypeError, ValueError, AttributeError):
            raise CausalPoseError(
                f"{path}: [{position}]: a detection needs image_id (a whole number), bbox (x, y, width, height), score"
            ) from None
        if image_id >= _POSETRACK_FRAMES:
            sequences.add(image_id // _POSETRACK_FRAMES)
            image_id %= _POSETRACK_FRAMES
        if score >= _MIN_SCORE and detection.get("category_id", 1) == 1:
            frames.setdefault(image_id, []).append(box)
    if len(sequences) > 1:
        raise CausalPoseError(f"{path}: detections of {len(sequences)} sequences (image_id // {_POSETRACK_FRAMES}); a boxes file is of one")
    return Boxes(_link(frames))


def _link(frames: dict[int, list[np.ndarray]]) -> dict[int, list[Tracked]]:
    """Give detections track ids: each joins the best overlapping box of the frame before, best pairs first (greedy, *ours*)."""
    out: dict[int, list[Tracked]] = {}
    following = 0
    for number in sorted(frames):
        before = list(out.get(number - 1, []))
        boxes, ids = frames[number], {}
        pairs = sorted(((_overlap(box, old), i, track) for i, box in enumerate(boxes) for track, old in before), reverse=True)
        for overlap, i, track in pairs:
            if overlap >= _MIN_OVERLAP and i not in ids and track not in ids.values():
                ids[i] = track
        for i in range(len(boxes)):
            if i not in ids:
                ids[i], following = following, following + 1
        out[number] = [(ids[i], box) for i, box in enumerate(boxes)]
    return out


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes (x, y, w, h)."""
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[:2] + a[2:], b[:2] + b[2:])
    shared = float(np.prod(np.maximum(high - low, 0)))
    return shared / (float(a[2] * a[3] + b[2] * b[3]) - shared)
