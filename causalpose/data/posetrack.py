"""PoseTrack18's JSON form: a strict reader, a writer, and a source of person clips.

A data set is a folder with `annotations/<split>/*.json` (a file a sequence) and the images that the files name, relative to the folder.
Labels are carried from the file's 17 slots to another keypoint set by name; the two ear slots are placeholders that nobody labelled.
Coordinates are image pixels as the file gives them, taken with pixel centres at integers.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from causalpose.clip import CONDITIONS, Clip, Visibility, stack
from causalpose.config import DataConfig, ModelConfig
from causalpose.data.crops import ENLARGE, crop_matrix, cut, to_crop
from causalpose.data.files import is_inside, read_image, read_json, write_json
from causalpose.errors import CausalPoseError
from causalpose.skeletons import keypoint_set, remap

FILE_SET = keypoint_set("posetrack18")
_SKELETON = [[a + 1, b + 1] for a, b in FILE_SET.limb_indices]
_CACHE_BYTES = 1 << 30  # decoded crops are kept up to this size


@dataclass(frozen=True)
class Person:
    """One labelled (or predicted) person in one frame.

    keypoints   float64 `[17, 2]`, image pixels, in the order of the set `posetrack18`
    visibility  uint8 `[17]`, values of `Visibility` (a file knows labelled or not; `occluded` flags are an extension)
    box         float64 `[4]` (x, y, w, h) or None where the file gives none and no joint is labelled
    head_box    float64 `[4]` or None
    scores      float64 `[17]`, confidences of a prediction; zeros for labels
    """

    track_id: int
    keypoints: np.ndarray
    visibility: np.ndarray
    box: np.ndarray | None
    head_box: np.ndarray | None = None
    scores: np.ndarray | None = None


@dataclass(frozen=True)
class Frame:
    """One frame: its id, image file (relative to the data set's folder), persons, and the polygons that evaluation ignores."""

    image_id: int
    file_name: str
    labelled: bool
    persons: tuple[Person, ...]
    ignore: tuple[np.ndarray, ...] = ()
    size: tuple[int, int] | None = None  # height, width, where the file says so


@dataclass(frozen=True)
class PoseSequence:
    """The frames of one video in order. `file` is the annotation file, kept for messages."""

    name: str
    frames: tuple[Frame, ...]
    file: str = ""


# ---------------------------------------------------------------------------------------------------------------- reading


def _raise(file: str, where: str, message: str) -> None:
    raise CausalPoseError(f"{file}: {where}: {message}")


def read(path: Path | str, fault: Callable[[str, str, str], None] = _raise) -> list[PoseSequence]:
    """Read one annotation file: its sequences (a file made of several videos gives one for each image folder).

    `fault(file, field, message)` is called for everything that is wrong; it raises by default.
    `causalpose.data.check` passes a collector, and then the faulty image or annotation is left out.
    """
    file = str(path)
    content = read_json(path)
    if not isinstance(content, dict):
        fault(file, "top level", f"must be a table with images, annotations and categories, not {type(content).__name__}")
        return []
    tables = {}
    for key in ("images", "annotations", "categories"):
        tables[key] = content.get(key)
        if not isinstance(tables[key], list):
            fault(file, key, "missing" if tables[key] is None else f"must be a list, not {type(tables[key]).__name__}")
            return []
    if not _check_categories(file, tables["categories"], fault):
        return []
    images = _read_images(file, tables["images"], fault)
    persons: dict[int, list[Person]] = {image_id: [] for image_id in images}
    seen: set[int] = set()
    for position, annotation in enumerate(tables["annotations"]):
        where = f"annotations[{position}]"
        if not isinstance(annotation, dict):
            fault(file, where, "must be a table")
            continue
        if "id" in annotation and annotation["id"] in seen:
            fault(file, f"{where}.id", f"{annotation['id']} is used twice")
        seen.add(annotation.get("id"))
        image_id = annotation.get("image_id")
        if not isinstance(image_id, int) or image_id not in images:
            fault(file, f"{where}.image_id", f"{image_id!r} is not the id of an image in this file")
            continue
        person = _read_person(file, where, annotation, fault)
        if person is None:
            continue
        if any(other.track_id == person.track_id for other in persons[image_id]):
            fault(file, f"{where}.track_id", f"{person.track_id} appears twice in image {image_id}")
            continue
        persons[image_id].append(person)

    folders: dict[str, list[Frame]] = {}
    for image_id, (image, ignore) in images.items():
        size = (image["height"], image["width"]) if isinstance(image.get("height"), int) and isinstance(image.get("width"), int) else None
        frame = Frame(image_id, image["file_name"], bool(image.get("is_labeled", True)), tuple(persons[image_id]), ignore, size)
        folders.setdefault(str(Path(frame.file_name).parent), []).append(frame)
    return [
        PoseSequence(Path(folder).name or Path(file).stem, tuple(sorted(frames, key=lambda f: f.file_name)), file)
        for folder, frames in folders.items()
    ]


def _check_categories(file: str, categories: list, fault) -> bool:
    """The slots must be PoseTrack18's, in its order: a permuted list would carry labels to wrong joints silently."""
    for position, category in enumerate(categories):
        if isinstance(category, dict) and category.get("name", "person") == "person":
            names = category.get("keypoints")
            where = f"categories[{position}].keypoints"
            if not isinstance(names, list):
                fault(file, where, "missing: the list of the 17 keypoint names")
                return False
            for slot, expected in enumerate(FILE_SET.keypoints):
                found = names[slot] if slot < len(names) else "nothing"
                if found != expected:
                    fault(
                        file,
                        where,
                        f"slot {slot} is {found!r} but PoseTrack18 has {expected!r} there; reorder the labels to PoseTrack18's order",
                    )
                    return False
            if len(names) != len(FILE_SET):
                fault(file, where, f"{len(names)} names, but PoseTrack18 has {len(FILE_SET)}")
                return False
            return True
    fault(file, "categories", "no category named 'person'")
    return False


def _read_images(file: str, table: list, fault) -> dict[int, tuple[dict, tuple[np.ndarray, ...]]]:
    images: dict[int, tuple[dict, tuple[np.ndarray, ...]]] = {}
    names: set[str] = set()
    for position, image in enumerate(table):
        where = f"images[{position}]"
        if not isinstance(image, dict):
            fault(file, where, "must be a table")
            continue
        image_id, name = image.get("id"), image.get("file_name")
        if not isinstance(image_id, int) or isinstance(image_id, bool):
            fault(file, f"{where}.id", f"{image_id!r} must be a whole number")
        elif image_id in images:
            fault(file, f"{where}.id", f"{image_id} is used twice")
        elif not isinstance(name, str) or not is_inside(name):
            fault(file, f"{where}.file_name", f"{name!r} must be a path relative to the data set's folder, without '..'")
        elif name in names:
            fault(file, f"{where}.file_name", f"{name!r} is listed twice")
        else:
            names.add(name)
            images[image_id] = (image, _read_polygons(file, where, image, fault))
    return images


def _read_polygons(file: str, where: str, image: dict, fault) -> tuple[np.ndarray, ...]:
    """Ignore regions: polygons `[P, 2]`. A region given as one flat list is one polygon (some PoseTrack files do that)."""
    across, down = image.get("ignore_regions_x") or [], image.get("ignore_regions_y") or []
    if not isinstance(across, list) or not isinstance(down, list):
        fault(file, f"{where}.ignore_regions_x", "must be a list of polygons")
        return ()
    if across and down and not isinstance(across[0], list) and not isinstance(down[0], list):
        across, down = [across], [down]
    if len(across) != len(down):
        fault(file, f"{where}.ignore_regions_x", f"{len(across)} polygons, but ignore_regions_y has {len(down)}")
        return ()
    polygons = []
    for number, (x, y) in enumerate(zip(across, down, strict=True)):
        if not _numbers(x) or not _numbers(y) or len(x) != len(y):
            fault(file, f"{where}.ignore_regions_x[{number}]", "must be as many finite numbers as ignore_regions_y has there")
        else:
            polygons.append(np.stack([np.asarray(x, float), np.asarray(y, float)], -1))
    return tuple(polygons)


def _numbers(values, length: int | None = None) -> bool:
    """Whether `values` is a list of finite numbers (of a given length)."""
    if not isinstance(values, list) or (length is not None and len(values) != length):
        return False
    return all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in values)


def _read_person(file: str, where: str, annotation: dict, fault) -> Person | None:
    track_id = annotation.get("track_id")
    if not isinstance(track_id, int) or isinstance(track_id, bool):
        fault(file, f"{where}.track_id", f"{track_id!r} must be a whole number")
        return None
    slots = len(FILE_SET)
    values = annotation.get("keypoints")
    if not _numbers(values, 3 * slots):
        fault(file, f"{where}.keypoints", f"must be {3 * slots} finite numbers (x, y, v of {slots} joints)")
        return None
    table = np.asarray(values, dtype=np.float64).reshape(slots, 3)
    odd = np.flatnonzero(~np.isin(table[:, 2], (0, 1)))
    if odd.size:
        fault(
            file,
            f"{where}.keypoints",
            f"visibility of {FILE_SET.keypoints[odd[0]]} is {table[odd[0], 2]:g}; PoseTrack18 knows 0 (unlabelled) and 1",
        )
        return None
    visibility = np.where(table[:, 2] > 0, Visibility.VISIBLE, Visibility.UNLABELLED).astype(np.uint8)
    flags = annotation.get("occluded")
    if flags is not None:
        if not _numbers(flags, slots) or any(flag not in (0, 1) for flag in flags):
            fault(file, f"{where}.occluded", f"must be {slots} flags 0 or 1")
            return None
        visibility[(np.asarray(flags) == 1) & (visibility == Visibility.VISIBLE)] = Visibility.OCCLUDED
    boxes = {}
    for key in ("bbox", "bbox_head"):
        box = annotation.get(key)
        if box is not None and (not _numbers(box, 4) or (key == "bbox" and min(box[2:]) <= 0)):
            fault(file, f"{where}.{key}", f"{box} must be x, y, width, height: finite numbers with positive sides")
            return None
        boxes[key] = None if box is None else np.asarray(box, dtype=np.float64)
    scores = annotation.get("scores") or [0.0] * slots
    if not _numbers(scores, slots):
        fault(file, f"{where}.scores", f"must be {slots} finite numbers, or empty")
        return None
    box = boxes["bbox"] if boxes["bbox"] is not None else _box_of(table[:, :2], visibility)
    return Person(track_id, table[:, :2].copy(), visibility, box, boxes["bbox_head"], np.asarray(scores, dtype=np.float64))


def _box_of(points: np.ndarray, visibility: np.ndarray) -> np.ndarray | None:
    """The box of the labelled joints plus 15 % of its sides all round, PoseTrack's own rule; None for fewer than two joints."""
    points = points[visibility != Visibility.UNLABELLED]
    if len(points) < 2:
        return None
    low, side = points.min(0), np.maximum(np.ptp(points, axis=0), 1.0)
    return np.concatenate([low - 0.15 * side, 1.3 * side])


def splits(root: Path | str) -> list[str]:
    """Names of the splits in a data set's folder."""
    folder = Path(root) / "annotations"
    if not folder.is_dir():
        raise CausalPoseError(f"{root}: not a data set in PoseTrack18 form: there is no folder annotations/ in it")
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and any(path.glob("*.json")))


def annotation_files(root: Path | str, split: str) -> list[Path]:
    """The annotation files of a split, in name order; an unknown split is an error that lists the known ones."""
    known = splits(root)
    if split not in known:
        raise CausalPoseError(f"{root}: no split {split!r} under annotations/; there are: {', '.join(known) or 'none'}")
    return sorted((Path(root) / "annotations" / split).glob("*.json"))


def read_split(root: Path | str, split: str) -> list[PoseSequence]:
    """All sequences of a split. `root` may also be one file `ROOT/annotations/<split>/NAME.json`; `split` is then not used."""
    files = [Path(root)] if Path(root).is_file() else annotation_files(root, split)
    return [sequence for file in files for sequence in read(file)]


# ---------------------------------------------------------------------------------------------------------------- writing


def write(path: Path | str, sequence: PoseSequence, info: dict | None = None) -> None:
    """Write a sequence of labels or predictions as a PoseTrack18 file (17 slots, ears empty), atomically."""
    images, annotations = [], []
    for frame in sequence.frames:
        image = {
            "id": frame.image_id, "file_name": frame.file_name, "frame_id": frame.image_id, "vid_id": sequence.name,
            "nframes": len(sequence.frames), "is_labeled": frame.labelled,
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
        "id": number, "image_id": frame.image_id, "track_id": int(person.track_id), "category_id": 1, "iscrowd": False,
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


# ----------------------------------------------------------------------------------------------------------------- clips


@dataclass(frozen=True)
class Entry:
    """Where one sample comes from: enough to write a prediction back into its image."""

    sequence: str
    image_id: int
    file_name: str
    track_id: int
    matrix: np.ndarray  # [2, 3], image -> crop


def torso_scale(points: np.ndarray, visibility: np.ndarray, box: np.ndarray) -> float:
    """The PCK length of a person in the units of `points`: the longer diagonal of the torso (shoulder to opposite hip).

    It is at least 0.15 x the longer side of the person's box (not enlarged), which also stands in where the torso is not labelled with the
    usual share of 0.3. *Ours*: a torso seen from above would otherwise shrink the tolerance to nothing.
    """
    side = float(max(box[2:]))
    lengths = []
    for a, b in (("left_shoulder", "right_hip"), ("right_shoulder", "left_hip")):
        pair = [FILE_SET.index(a), FILE_SET.index(b)]
        if (visibility[pair] != Visibility.UNLABELLED).all():
            lengths.append(float(np.linalg.norm(points[pair[0]] - points[pair[1]])))
    return max(max(lengths), 0.15 * side) if lengths else 0.3 * side


class PoseTrackSource:
    """Person clips of a data set in PoseTrack18 form.

    One sample is one labelled person at one labelled frame with `config.frames` frames `data.dilation` apart. All frames are cut with the
    *target frame's* box, as the field does; at a sequence's ends the first or last frame is repeated. Support frames in which the person
    is not labelled have `UNLABELLED` keypoints. Every labelled person with at least one joint is used: `data.clips` does not cut real data.
    """

    def __init__(self, root: Path | str, split: str, config: ModelConfig, data: DataConfig):
        path = Path(root)
        self.config, self.dilation, self.split = config, data.dilation, split
        self.root = path.resolve().parents[2] if path.is_file() else path
        self.target_set = keypoint_set(config.keypoints)
        self.sequences = read_split(root, split)
        self.entries: list[Entry] = []
        self._places: list[tuple[int, int, Person]] = []
        for number, sequence in enumerate(self.sequences):
            for position, frame in enumerate(sequence.frames):
                for person in frame.persons if frame.labelled else ():
                    if person.box is not None and person.visibility.any():
                        matrix = crop_matrix(person.box, config.height, config.width)
                        self.entries.append(Entry(sequence.name, frame.image_id, frame.file_name, person.track_id, matrix))
                        self._places.append((number, position, person))
        if not self.entries:
            raise CausalPoseError(f"{root}: split {split!r} has no labelled person")
        self._crops: dict[int, Tensor] = {}
        clip_bytes = config.frames * 3 * config.height * config.width
        self._cache_limit = _CACHE_BYTES // clip_bytes
        self._images: OrderedDict[str, np.ndarray] = OrderedDict()

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> Clip:
        index = int(index)
        if not 0 <= index < len(self):
            raise IndexError(f"clip {index} of {len(self)}")
        number, position, person = self._places[index]
        frames, matrix = self.sequences[number].frames, self.entries[index].matrix
        chosen = self._window(position, len(frames))
        keypoints, visibility = zip(*(self._labels(frames[p], person.track_id, matrix) for p in chosen), strict=True)
        scale = torso_scale(person.keypoints, person.visibility, person.box) * matrix[0, 0]
        return Clip(
            frames=self._pixels(index, [frames[p] for p in chosen]),
            keypoints=torch.from_numpy(np.stack(keypoints).astype(np.float32)),
            visibility=torch.from_numpy(np.stack(visibility)),
            scale=torch.tensor(scale, dtype=torch.float32),
            condition=torch.tensor(CONDITIONS.index("clean"), dtype=torch.uint8),
            index=torch.tensor(index),
        )

    def batch(self, indices: Sequence[int] | Tensor) -> Clip:
        """The clips at these positions as a batch."""
        return stack([self[int(i)] for i in indices])

    def describe(self) -> dict:
        """The protocol to print beside a score."""
        return {
            "source": "posetrack18", "root": self.root.name, "split": self.split,
            "boxes": f"ground truth, enlarged x{ENLARGE:g}, the target frame's for all frames",
            "scale": "torso: the longer of left shoulder-right hip and right shoulder-left hip, at least 0.15 x the box's longer side"
            " (0.3 x where the torso is unlabelled)",
            "keypoints": self.target_set.name, "height": self.config.height, "width": self.config.width,
            "frames": self.config.frames, "dilation": self.dilation,
            "sequences": len(self.sequences), "images": sum(len(s.frames) for s in self.sequences), "clips": len(self),
        }  # fmt: skip

    def _window(self, position: int, length: int) -> list[int]:
        reach = self.config.frames // 2
        return [min(max(position + offset * self.dilation, 0), length - 1) for offset in range(-reach, reach + 1)]

    def _labels(self, frame: Frame, track_id: int, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Keypoints `[K, 2]` in crop pixels and visibility `[K]` of one person in one frame, in the target keypoint set."""
        count = len(self.target_set)
        for person in frame.persons if frame.labelled else ():
            if person.track_id == track_id:
                points = remap(to_crop(person.keypoints, matrix), FILE_SET, self.target_set)
                visibility = remap(person.visibility[:, None], FILE_SET, self.target_set, Visibility.UNLABELLED)[:, 0]
                outside = ((points < -0.5) | (points > [self.config.width - 0.5, self.config.height - 0.5])).any(-1)
                visibility = np.where(outside & (visibility != Visibility.UNLABELLED), Visibility.OUTSIDE, visibility).astype(np.uint8)
                return np.where(visibility[:, None] == Visibility.UNLABELLED, 0.0, points), visibility
        return np.zeros((count, 2)), np.full(count, Visibility.UNLABELLED, np.uint8)

    def _pixels(self, index: int, frames: list[Frame]) -> Tensor:
        """The crops `[T, 3, H, W]`, from the cache where it holds them."""
        if index in self._crops:
            return self._crops[index]
        height, width, matrix = self.config.height, self.config.width, self.entries[index].matrix
        crops = np.stack([cut(self._image(frame.file_name), matrix, height, width) for frame in frames])
        pixels = torch.from_numpy(np.ascontiguousarray(crops.transpose(0, 3, 1, 2)))
        if len(self._crops) < self._cache_limit:
            self._crops[index] = pixels
        return pixels

    def _image(self, name: str) -> np.ndarray:
        """A decoded image; the last few are kept, since neighbouring clips share them."""
        if name not in self._images:
            self._images[name] = read_image(self.root / name)
            if len(self._images) > 2 * self.config.frames + 2:
                self._images.popitem(last=False)
        self._images.move_to_end(name)
        return self._images[name]
