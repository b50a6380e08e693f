"""PoseTrack 2018 and 21: where their files lie, and a writer of their JSON form.

A data set is a folder with `annotations/<split>/*.json` (a file a sequence) and the images that the files name, relative to the folder.
The downloads unpack to `posetrack_data/annotations/<split>` (2017, 2018) and `posetrack_data/<split>` (21), which are found too.
The two ear slots are placeholders that nobody labelled.
"""

from pathlib import Path

import numpy as np

from causalpose.clip import Visibility
from causalpose.data import tables
from causalpose.data.files import write_json
from causalpose.data.labels import Fault, Frame, Person, PoseSequence, refuse
from causalpose.errors import CausalPoseError
from causalpose.skeletons import keypoint_set

FILE_SET = keypoint_set("posetrack18")
_SKELETON = [[a + 1, b + 1] for a, b in FILE_SET.limb_indices]
LAYOUTS = ("annotations", "posetrack_data/annotations", "posetrack_data")


# ---------------------------------------------------------------------------------------------------------------- reading


def read(path: Path | str, fault: Fault = refuse) -> list[PoseSequence]:
    """Read one annotation file: its sequences (a file made of several videos gives one for each image folder)."""
    return tables.read(path, tables.POSETRACK, fault)


def annotation_folder(root: Path | str) -> Path | None:
    """The folder that holds a folder of JSON files for each split; None where there is none."""
    for layout in LAYOUTS:
        folder = Path(root) / layout
        if folder.is_dir() and any(path.is_dir() and any(path.glob("*.json")) for path in folder.iterdir()):
            return folder
    return None


def splits(root: Path | str) -> list[str]:
    """Names of the splits in a data set's folder."""
    folder = annotation_folder(root)
    if folder is None:
        if (Path(root) / "annotations").is_dir():
            return []
        raise CausalPoseError(f"{root}: not a data set in PoseTrack18 form: there is no folder annotations/ in it")
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and any(path.glob("*.json")))


def annotation_files(root: Path | str, split: str) -> list[Path]:
    """The annotation files of a split, in name order; an unknown split is an error that lists the known ones."""
    known = splits(root)
    if split not in known:
        raise CausalPoseError(f"{root}: no split {split!r} under annotations/; there are: {', '.join(known) or 'none'}")
    return sorted((annotation_folder(root) / split).glob("*.json"))


# ---------------------------------------------------------------------------------------------------------------- writing


def write(path: Path | str, sequence: PoseSequence, info: dict | None = None) -> None:
    """Write a sequence of labels or predictions as a PoseTrack18 file (17 slots, ears empty), atomically."""
    images, annotations = [], []
    for frame in sequence.frames:
        image = {
            "id": frame.image_id, "file_name": frame.file_name, "frame_id": frame.image_id, "vid_id": sequence.name,
            "nframes": sequence.length or len(sequence.frames), "is_labeled": frame.labelled,
            "ignore_regions_x": [[float(v) for v in polygon[:, 0]] for polygon in frame.ignore],
            "ignore_regions_y": [[float(v) for v in polygon[:, 1]] for polygon in frame.ignore],
        }  # fmt: skip
        if frame.size is not None:
            image["height"], image["width"] = frame.size
        images.append(image)
        annotations += [_annotation(len(annotations) + n, frame, person) for n, person in enumerate(frame.persons)]
    category = {"supercategory": "person", "id": 1, "name": "person", "keypoints": list(FILE_SET.keypoints), "skeleton": _SKELETON}
    content = {"images": images, "annotations": annotations, "categories": [category]}
    write_json(path, content | ({"info": info} if info else {}))


def _annotation(number: int, frame: Frame, person: Person) -> dict:
    if person.keypoints.shape != (len(FILE_SET), 2):
        raise CausalPoseError(f"a person to write holds keypoints {list(person.keypoints.shape)}; PoseTrack18 has [{len(FILE_SET)}, 2]")
    labelled = person.visibility != Visibility.UNLABELLED
    points = np.where(labelled[:, None], person.keypoints, 0.0)
    keypoints = np.concatenate([points, labelled[:, None]], 1)
    out = {
        "id": number, "image_id": frame.image_id, "track_id": int(person.track_id), "category_id": 1, "iscrowd": bool(person.crowd),
        "keypoints": [int(v) if column == 2 else round(float(v), 3) for row in keypoints for column, v in enumerate(row)],
        "num_keypoints": int(labelled.sum()), "scores": [], "occluded": [int(v == Visibility.OCCLUDED) for v in person.visibility],
    }  # fmt: skip
    if person.scores is not None and person.scores.any():
        out["scores"] = [round(float(v), 5) for v in person.scores]
    if person.box is not None:
        out["bbox"] = [round(float(v), 3) for v in person.box]
    if person.head_box is not None:
        out["bbox_head"] = [round(float(v), 3) for v in person.head_box]
    return out
