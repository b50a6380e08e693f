"""Predictions that anybody wrote in PoseTrack18's JSON form, read for scoring.

Writers differ in what a reader of labels must refuse: the third number of a keypoint may be a flag or a confidence, `scores` may be absent,
and there may be no boxes or track ids. Everything that decides *which* joint and *which* frame is meant is checked as strictly as labels.
"""

from pathlib import Path

import numpy as np

from causalpose.clip import Visibility
from causalpose.data.files import read_json
from causalpose.data.labels import Frame, Person, PoseSequence, numbers, whole
from causalpose.data.posetrack import FILE_SET
from causalpose.errors import CausalPoseError
from causalpose.skeletons import KeypointSet, keypoint_set, remap


def read(path: Path | str) -> list[PoseSequence]:
    """The sequences of a file, or of every `*.json` of a folder (one for each folder of images that a file names).

    Persons have 17 slots whatever the file has, `Visibility.VISIBLE` where there is a joint, and `scores`: the file's, or the third numbers
    where these are no flags, or zeros. A joint is absent where x, y and the third number are all zero (poseval's rule).
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(path.glob("*.json"))
        if not files:
            raise CausalPoseError(f"{path}: no *.json in this folder; predictions are one file a sequence")
        return [sequence for file in files for sequence in _read_file(file)]
    return _read_file(path)


def _read_file(path: Path) -> list[PoseSequence]:
    content = read_json(path)
    if isinstance(content, dict) and "annolist" in content:
        raise CausalPoseError(f"{path}: predictions in PoseTrack 2017 form; bring them to 2018's with: causalpose data convert")
    if not isinstance(content, dict):
        raise CausalPoseError(f"{path}: predictions must be a table with images, annotations and categories (PoseTrack18's form)")
    for key in ("images", "annotations", "categories"):
        if not isinstance(content.get(key), list):
            why = {
                "images": "the frames that were looked at",
                "annotations": "the persons found",
                "categories": "the order of the keypoints",
            }
            raise CausalPoseError(f"{path}: {key}: missing: a list of {why[key]}")
    slots = _order(path, content["categories"])
    frames: dict[int, tuple[str, list[Person]]] = {}
    for position, image in enumerate(content["images"]):
        where = f"{path}: images[{position}]"
        if not isinstance(image, dict) or not whole(image.get("id")):
            raise CausalPoseError(f"{where}.id: must be a whole number")
        if image["id"] in frames:
            raise CausalPoseError(f"{where}.id: {image['id']} is used twice")
        name = image.get("file_name", "")
        if not isinstance(name, str):
            raise CausalPoseError(f"{where}.file_name: must be a path")
        frames[image["id"]] = (name, [])
    for position, annotation in enumerate(content["annotations"]):
        where = f"{path}: annotations[{position}]"
        if not isinstance(annotation, dict):
            raise CausalPoseError(f"{where}: must be a table")
        image_id = annotation.get("image_id")
        if not whole(image_id) or image_id not in frames:
            raise CausalPoseError(f"{where}.image_id: {image_id!r} is not the id of an image in this file")
        frames[image_id][1].append(_person(where, annotation, slots))

    folders: dict[str, list[Frame]] = {}
    for image_id, (name, persons) in frames.items():
        folder = Path(name).parent.name or path.stem
        folders.setdefault(folder, []).append(Frame(image_id, name, True, tuple(persons)))
    return [PoseSequence(folder, tuple(members), str(path)) for folder, members in folders.items()]


def _order(path: Path, categories: list) -> KeypointSet:
    """PoseTrack18's 17 slots, or its 15 joints without the ears; another order would score wrong joints silently."""
    person = next((c for c in categories if isinstance(c, dict) and c.get("name", "person") == "person"), None)
    names = person.get("keypoints") if person else None
    if not isinstance(names, list):
        raise CausalPoseError(f"{path}: categories: no category 'person' with its list of keypoint names")
    for known in (FILE_SET, keypoint_set("posetrack15")):
        if tuple(names) == known.keypoints:
            return known
    slot = next((i for i, (a, b) in enumerate(zip(names, FILE_SET.keypoints, strict=False)) if a != b), min(len(names), len(FILE_SET)))
    found = repr(names[slot]) if slot < len(names) else "nothing"
    wanted = repr(FILE_SET.keypoints[slot]) if slot < len(FILE_SET) else "nothing"
    raise CausalPoseError(
        f"{path}: categories: wrong keypoint order: slot {slot} is {found} but PoseTrack18 has {wanted} there; reorder the keypoints to"
        f" {', '.join(FILE_SET.keypoints)}"
    )


def _person(where: str, annotation: dict, slots: KeypointSet) -> Person:
    table = _floats(annotation.get("keypoints"), 3 * len(slots))
    if table is None:
        raise CausalPoseError(f"{where}.keypoints: must be {3 * len(slots)} finite numbers (x, y, v of {len(slots)} joints)")
    table = table.reshape(-1, 3)
    listed = annotation.get("scores")
    if listed is not None and not (isinstance(listed, list) and len(listed) == 0):
        scores = _floats(listed, len(slots))
        if scores is None:
            raise CausalPoseError(f"{where}.scores: must be {len(slots)} finite numbers, one a joint, or empty")
    else:
        flags = np.isin(table[:, 2], (0, 1, 2)).all()
        scores = np.zeros(len(slots)) if flags else table[:, 2]
    box = annotation.get("bbox")
    box = None if box is None else _floats(box, 4)
    if annotation.get("bbox") is not None and box is None:
        raise CausalPoseError(f"{where}.bbox: must be x, y, width, height: finite numbers")
    track = annotation.get("track_id", 0)
    visibility = np.where((table != 0).any(1), Visibility.VISIBLE, Visibility.UNLABELLED).astype(np.uint8)
    points, scores, visibility = table[:, :2], scores[:, None], visibility[:, None]
    if slots is not FILE_SET:
        points, scores, visibility = (remap(values, slots, FILE_SET) for values in (points, scores, visibility))
    return Person(track if whole(track) else 0, points, visibility[:, 0], box, None, scores[:, 0])


def _floats(values: object, length: int) -> np.ndarray | None:
    """A list of `length` finite numbers as an array, else None."""
    return np.array(values, dtype=np.float64) if numbers(values, length) else None
