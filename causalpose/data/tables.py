"""The strict reader of COCO-like JSON: tables of images, annotations and categories, as COCO, PoseTrack 2018/21 and toolboxes write them.

What differs between the data sets is a `Form`. Everything wrong is named by file and field.
"""

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from causalpose.clip import Visibility
from causalpose.data.files import is_inside, read_json
from causalpose.data.labels import Fault, Frame, Person, PoseSequence, box_around, number, numbers, refuse, whole
from causalpose.skeletons import keypoint_set

_LARGEST_SIDE = 1_000_000
_REPR = reprlib.Repr()
_REPR.maxstring, _REPR.maxother, _REPR.maxlevel = 80, 80, 3


@dataclass(frozen=True)
class Form:
    """One data set's use of the tables.

    keypoints    its keypoint set; `aliases` are other names that files use for some of them
    visibility   what the third number of a keypoint means
    video        a folder of images is a sequence and persons carry a `track_id`; else every image is a still
    first_pixel  coordinate of the centre of the top-left pixel: 1 where files count from one
    longer       numbers of keypoints of larger sets that begin with this one
    """

    title: str
    keypoints: str
    visibility: Mapping[float, Visibility]
    video: bool = True
    first_pixel: float = 0.0
    aliases: Mapping[str, str] = field(default_factory=dict)
    longer: tuple[int, ...] = ()


POSETRACK = Form("PoseTrack18", "posetrack18", {0: Visibility.UNLABELLED, 1: Visibility.VISIBLE})
COCO = Form(
    "COCO",
    "coco17",
    {0: Visibility.UNLABELLED, 1: Visibility.OCCLUDED, 2: Visibility.VISIBLE},
    video=False,
    longer=(133,),  # COCO-WholeBody: body, feet, face, hands
)
JHMDB = Form(
    "JHMDB",
    "jhmdb15",
    {0: Visibility.UNLABELLED, 1: Visibility.VISIBLE, 2: Visibility.VISIBLE},
    first_pixel=1.0,  # MATLAB's
    aliases={"head": "face"},
)


def read(path: Path | str, form: Form, fault: Fault = refuse) -> list[PoseSequence]:
    """Read one file: its sequences (for video, one for each image folder).

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
    if not _check_categories(file, tables["categories"], form, fault):
        return []
    images = _read_images(file, tables["images"], fault)
    persons = _read_annotations(file, tables["annotations"], images, form, fault)

    groups: dict[str, list[Frame]] = {}
    lengths: dict[str, int] = {}
    for image_id, (image, ignore) in images.items():
        frame = Frame(image_id, image["file_name"], bool(image.get("is_labeled", True)), tuple(persons[image_id]), ignore, _size(image))
        group = str(PurePosixPath(frame.file_name).parent) if form.video else frame.file_name
        groups.setdefault(group, []).append(frame)
        if whole(image.get("nframes")):
            lengths[group] = image["nframes"]
    return [
        PoseSequence(
            (PurePosixPath(group).name if form.video else PurePosixPath(group).stem) or Path(file).stem,
            tuple(sorted(frames, key=lambda f: f.file_name)),
            file,
            form.keypoints,
            lengths.get(group),
        )
        for group, frames in groups.items()
    ]


def _check_categories(file: str, categories: list, form: Form, fault: Fault) -> bool:
    """The slots must be the form's, in its order: a permuted list would carry labels to wrong joints silently."""
    wanted = keypoint_set(form.keypoints)
    for position, category in enumerate(categories):
        if isinstance(category, dict) and category.get("name", "person") == "person":
            names = category.get("keypoints")
            where = f"categories[{position}].keypoints"
            if not isinstance(names, list):
                fault(file, where, f"missing: the list of the {len(wanted)} keypoint names")
                return False
            names = [form.aliases.get(name, name) if isinstance(name, str) else name for name in names]
            for slot, expected in enumerate(wanted.keypoints):
                found = names[slot] if slot < len(names) else "nothing"
                if found != expected:
                    message = f"slot {slot} is {_short(found)} but {form.title} has {expected!r} there"
                    fault(file, where, f"{message}; reorder the labels to {form.title}'s order")
                    return False
            if len(names) != len(wanted):
                fault(file, where, f"{len(names)} names, but {form.title} has {len(wanted)}")
                return False
            return True
    fault(file, "categories", "no category named 'person'")
    return False


def _read_images(file: str, table: list, fault: Fault) -> dict[int, tuple[dict, tuple[np.ndarray, ...]]]:
    images: dict[int, tuple[dict, tuple[np.ndarray, ...]]] = {}
    names: set[str] = set()
    for position, image in enumerate(table):
        where = f"images[{position}]"
        if not isinstance(image, dict):
            fault(file, where, "must be a table")
            continue
        image_id, name = image.get("id"), image.get("file_name")
        if not whole(image_id):
            fault(file, f"{where}.id", f"{_short(image_id)} must be a whole number")
        elif image_id in images:
            fault(file, f"{where}.id", f"{image_id} is used twice")
        elif not isinstance(name, str) or not is_inside(name):
            fault(file, f"{where}.file_name", f"{_short(name)} must be a path relative to the data set's folder, without '..'")
        elif name in names:
            fault(file, f"{where}.file_name", f"{_short(name)} is listed twice")
        else:
            names.add(name)
            images[image_id] = (image, _read_polygons(file, where, image, fault))
    return images


def _size(image: dict) -> tuple[int, int] | None:
    size = image.get("height"), image.get("width")
    return size if all(whole(side) and 0 < side <= _LARGEST_SIDE for side in size) else None


def _read_polygons(file: str, where: str, image: dict, fault: Fault) -> tuple[np.ndarray, ...]:
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
    for position, (x, y) in enumerate(zip(across, down, strict=True)):
        if not numbers(x) or not numbers(y) or len(x) != len(y):
            fault(file, f"{where}.ignore_regions_x[{position}]", "must be as many finite numbers as ignore_regions_y has there")
        else:
            polygons.append(np.stack([np.asarray(x, float), np.asarray(y, float)], -1))
    return tuple(polygons)


def _read_annotations(file: str, table: list, images: dict, form: Form, fault: Fault) -> dict[int, list[Person]]:
    persons: dict[int, list[Person]] = {image_id: [] for image_id in images}
    seen: set[int] = set()
    for position, annotation in enumerate(table):
        where = f"annotations[{position}]"
        if not isinstance(annotation, dict):
            fault(file, where, "must be a table")
            continue
        number_of = annotation.get("id")
        if number_of is not None:
            if not whole(number_of):
                fault(file, f"{where}.id", f"{_short(number_of)} must be a whole number")
                continue
            if number_of in seen:
                fault(file, f"{where}.id", f"{number_of} is used twice")
            seen.add(number_of)
        image_id = annotation.get("image_id")
        if not whole(image_id) or image_id not in images:
            fault(file, f"{where}.image_id", f"{_short(image_id)} is not the id of an image in this file")
            continue
        track_id = annotation.get("track_id") if form.video else len(persons[image_id])
        if not whole(track_id):
            fault(file, f"{where}.track_id", f"{_short(track_id)} must be a whole number")
            continue
        person = _read_person(file, where, annotation, track_id, form, fault)
        if person is None:
            continue
        if any(other.track_id == person.track_id for other in persons[image_id]):
            fault(file, f"{where}.track_id", f"{person.track_id} appears twice in image {image_id}")
            continue
        persons[image_id].append(person)
    return persons


def _read_person(file: str, where: str, annotation: dict, track_id: int, form: Form, fault: Fault) -> Person | None:
    names = keypoint_set(form.keypoints)
    slots, values = len(names), annotation.get("keypoints")
    if values is None and annotation.get("bbox") is not None:
        values = [0.0] * (3 * slots)  # PoseTrack21 and COCO know persons of whom only the box is labelled
    if isinstance(values, list) and len(values) in [3 * longer for longer in form.longer]:
        values = values[: 3 * slots]
    if not numbers(values, 3 * slots):
        found = f", not {len(values)}" if isinstance(values, list) and len(values) != 3 * slots else ""
        fault(file, f"{where}.keypoints", f"must be {3 * slots} finite numbers (x, y, v of {slots} joints){found}")
        return None
    table = np.asarray(values, dtype=np.float64).reshape(slots, 3)
    odd = np.flatnonzero(~np.isin(table[:, 2], list(form.visibility)))
    if odd.size:
        known = ", ".join(f"{key:g} ({value.name.lower()})" for key, value in form.visibility.items())
        fault(file, f"{where}.keypoints", f"visibility of {names.keypoints[odd[0]]} is {table[odd[0], 2]:g}; {form.title} knows {known}")
        return None
    visibility = np.zeros(slots, np.uint8)
    for key, value in form.visibility.items():
        visibility[table[:, 2] == key] = value
    flags = annotation.get("occluded")
    if flags is not None:
        if not numbers(flags, slots) or any(flag not in (0, 1) for flag in flags):
            fault(file, f"{where}.occluded", f"must be {slots} flags 0 or 1")
            return None
        visibility[(np.asarray(flags) == 1) & (visibility == Visibility.VISIBLE)] = Visibility.OCCLUDED
    boxes = {}
    for key in ("bbox", "bbox_head"):
        box = annotation.get(key)
        if box is not None and (not numbers(box, 4) or (key == "bbox" and min(box[2:]) <= 0)):
            fault(file, f"{where}.{key}", f"{_short(box)} must be x, y, width, height: finite numbers with positive sides")
            return None
        boxes[key] = None if box is None else np.asarray(box, dtype=np.float64) - [form.first_pixel, form.first_pixel, 0, 0]
    scores = annotation.get("scores") or [0.0] * slots
    if not numbers(scores, slots):
        fault(file, f"{where}.scores", f"must be {slots} finite numbers, or empty")
        return None
    area = annotation.get("area")
    if area is not None and not (number(area) and area >= 0):
        fault(file, f"{where}.area", f"{_short(area)} must be a number of square pixels")
        return None
    points = table[:, :2] - form.first_pixel
    points = np.where((visibility != Visibility.UNLABELLED)[:, None], points, 0.0) if form.first_pixel else points
    box = boxes["bbox"] if boxes["bbox"] is not None else box_around(points, visibility)
    crowd = bool(annotation.get("iscrowd"))
    return Person(track_id, points, visibility, box, boxes["bbox_head"], np.asarray(scores, dtype=np.float64), crowd, area)


def _short(value: object) -> str:
    """A value for a message, cut where it is long: fuzzed files hold strings of megabytes."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**30:
        return "a number of more than 30 digits"
    return _REPR.repr(value)
