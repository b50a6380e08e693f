"""PoseTrack 2017's own JSON: `annolist` (frames) of `annorect` (persons) of `annopoints` (joints with MPII's ids), a file a sequence.

    {"annolist": [{"image": [{"name": "images/bonn/000001_bonn/00000001.jpg"}], "imgnum": [1], "is_labeled": [1],
                   "annorect": [{"x1": [..], "y1": [..], "x2": [..], "y2": [..], "track_id": [0],
                                 "annopoints": [{"point": [{"id": [0], "x": [..], "y": [..], "is_visible": [1]}, ..]}]}],
                   "ignore_regions": [{"point": [{"x": [..], "y": [..]}, ..]}]}]}

x1..y2 is the *head's* box; the person's is the joints' extent plus 15 %. MATLAB's converter wraps every value in a list of one and writes
an empty list for nothing; bare values are read too. Joints come out in the order of the set `posetrack18`, the ears empty. `image_id` of a
frame, `bbox` (x, y, w, h) and, for a group, `iscrowd` of a person are extensions that `write` adds.
"""

import re
import zlib
from pathlib import Path, PurePosixPath

import numpy as np

from causalpose.clip import Visibility
from causalpose.data.files import is_inside, read_json, write_json
from causalpose.data.labels import Fault, Frame, Person, PoseSequence, box_around, number, numbers, refuse, whole
from causalpose.errors import CausalPoseError
from causalpose.skeletons import keypoint_set

# The joint that each point's `id` names.
IDS = (
    "right_ankle",
    "right_knee",
    "right_hip",
    "left_hip",
    "left_knee",
    "left_ankle",
    "right_wrist",
    "right_elbow",
    "right_shoulder",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
    "head_bottom",
    "nose",
    "head_top",
)
FILE_SET = keypoint_set("posetrack18")
_SLOTS = np.array([FILE_SET.index(name) for name in IDS])
_KINDS = {"mpii": 1, "bonn": 2, "mpiinew": 3}  # in PoseTrack's image ids: kind x 10^10 + sequence x 10^4 + frame


def read(path: Path | str, fault: Fault = refuse) -> list[PoseSequence]:
    """Read one file: its sequences (a merged file gives one for each image folder). `fault` as in `tables.read`."""
    file = str(path)
    content = read_json(path)
    frames = content.get("annolist") if isinstance(content, dict) else None
    if not isinstance(frames, list):
        fault(file, "annolist", "missing: the list of frames of a PoseTrack 2017 file")
        return []
    groups: dict[str, list[Frame]] = {}
    taken: dict[str, int] = {}
    for position, table in enumerate(frames):
        where = f"annolist[{position}]"
        if not isinstance(table, dict):
            fault(file, where, "must be a table")
            continue
        name = _image_name(table)
        if name is None or not is_inside(name):
            fault(file, f"{where}.image", "must hold the name of an image relative to the data set's folder, without '..'")
        elif name in taken:
            fault(file, f"{where}.image", f"{name!r} is also that of annolist[{taken[name]}]")
        else:
            taken[name] = position
            group = str(PurePosixPath(name).parent)
            image_id = _one(table.get("image_id"))
            image_id = image_id if whole(image_id) else _image_id(group, name, len(groups.get(group, [])))
            groups.setdefault(group, []).append(_read_frame(file, where, table, name, image_id, fault))
    return [
        PoseSequence(PurePosixPath(group).name or Path(file).stem, tuple(sorted(found, key=lambda f: f.file_name)), file)
        for group, found in groups.items()
    ]


def write(path: Path | str, sequence: PoseSequence) -> None:
    """Write a sequence of labels or predictions as a PoseTrack 2017 file, atomically."""
    if sequence.keypoints != FILE_SET.name:
        raise CausalPoseError(f"{path}: a PoseTrack 2017 file holds the joints of {FILE_SET.name}, not of {sequence.keypoints}")
    frames = []
    for position, frame in enumerate(sequence.frames, 1):
        regions = [{"point": [{"x": [float(x)], "y": [float(y)]} for x, y in polygon]} for polygon in frame.ignore]
        frames.append({
            "image": [{"name": frame.file_name}], "imgnum": [position], "image_id": [frame.image_id], "is_labeled": [int(frame.labelled)],
            "annorect": [_rectangle(person) for person in frame.persons], "ignore_regions": regions,
        })  # fmt: skip
    write_json(path, {"annolist": frames})


def _rectangle(person: Person) -> dict:
    points = []
    for number_of, slot in enumerate(_SLOTS):
        if person.visibility[slot] != Visibility.UNLABELLED:
            x, y = (float(v) for v in person.keypoints[slot])
            point = {"id": [number_of], "x": [x], "y": [y], "is_visible": [int(person.visibility[slot] == Visibility.VISIBLE)]}
            if person.scores is not None and person.scores.any():
                point["score"] = [float(person.scores[slot])]
            points.append(point)
    out: dict = {"track_id": [int(person.track_id)], "annopoints": [{"point": points}] if points else []}
    if person.head_box is not None:
        x, y, w, h = (float(v) for v in person.head_box)
        out |= {"x1": [x], "y1": [y], "x2": [x + w], "y2": [y + h]}
    if person.box is not None:
        out["bbox"] = [float(v) for v in person.box]
    if person.crowd:
        out["iscrowd"] = [1]
    return out


def _one(value: object) -> object:
    """The value in a list of one; None for an empty list."""
    if isinstance(value, list):
        return value[0] if len(value) == 1 else None
    return value


def _many(value: object) -> list | None:
    """A list of tables; a bare table is a list of one, nothing is an empty list, anything else None."""
    if value is None:
        return []
    if isinstance(value, dict):
        return [value]
    return value if isinstance(value, list) and all(isinstance(v, dict) for v in value) else None


def _image_name(table: dict) -> str | None:
    image = _one(table.get("image"))
    name = _one(image.get("name")) if isinstance(image, dict) else image
    return name.replace("\\/", "/") if isinstance(name, str) else None


def _image_id(group: str, name: str, position: int) -> int:
    """PoseTrack 2018's id of the frame: kind, sequence and frame from the folder's and the file's names, so that both editions agree.

    2017 counts frames from 1 in eight digits, 2018 from 0 in six. A folder of another name gets a number made of it.
    """
    named = re.match(r"(\d{1,6})_(mpiinew|mpii|bonn)", PurePosixPath(group).name)
    digits = re.fullmatch(r"\d{6}|\d{8}", PurePosixPath(name).stem)
    frame = int(digits[0]) - (len(digits[0]) == 8) if digits else position
    frame = frame if 0 <= frame < 10_000 else position
    kind, sequence = (_KINDS[named[2]], int(named[1])) if named else (9, zlib.crc32(group.encode()) % 10**6)
    return kind * 10**10 + sequence * 10**4 + frame


def _read_frame(file: str, where: str, table: dict, name: str, image_id: int, fault: Fault) -> Frame:
    persons: list[Person] = []
    rectangles = _many(table.get("annorect"))
    if rectangles is None:
        fault(file, f"{where}.annorect", "must be a list of tables")
        rectangles = []
    for position, rectangle in enumerate(rectangles):
        person = _read_person(file, f"{where}.annorect[{position}]", rectangle, position, fault)
        if person is None:
            continue
        if any(other.track_id == person.track_id for other in persons):
            fault(file, f"{where}.annorect[{position}].track_id", f"{person.track_id} appears twice in the frame")
            continue
        persons.append(person)
    flag = _one(table.get("is_labeled"))
    labelled = bool(flag) if flag is not None else bool(persons)
    return Frame(image_id, name, labelled, tuple(persons), _read_regions(file, where, table, fault))


def _read_regions(file: str, where: str, table: dict, fault: Fault) -> tuple[np.ndarray, ...]:
    regions, out = _many(table.get("ignore_regions")), []
    if regions is None:
        fault(file, f"{where}.ignore_regions", "must be a list of tables")
        return ()
    for position, region in enumerate(regions):
        points = _many(region.get("point"))
        corners = None if points is None else [(_one(point.get("x")), _one(point.get("y"))) for point in points]
        if corners is None or not all(number(v) for corner in corners for v in corner):
            fault(file, f"{where}.ignore_regions[{position}].point", "must be a list of points x, y: finite numbers")
        elif corners:
            out.append(np.asarray(corners, dtype=np.float64))
    return tuple(out)


def _read_person(file: str, where: str, table: dict, position: int, fault: Fault) -> Person | None:
    track_id = _one(table.get("track_id"))
    if "track_id" not in table:
        track_id = position  # predictions of single frames have none
    if not whole(track_id):
        fault(file, f"{where}.track_id", "must be one whole number")
        return None
    groups = _many(table.get("annopoints"))
    listed = None if groups is None else [_many(group.get("point")) for group in groups]
    if listed is None or None in listed:
        fault(file, f"{where}.annopoints", "must be a list of tables with a list `point`")
        return None
    points = [point for group in listed for point in group]  # none: a person without joints
    keypoints, visibility, scores = np.zeros((len(FILE_SET), 2)), np.zeros(len(FILE_SET), np.uint8), np.zeros(len(FILE_SET))
    for order, point in enumerate(points):
        joint, x, y, seen, score = (_one(point.get(key)) for key in ("id", "x", "y", "is_visible", "score"))
        place = f"{where}.annopoints.point[{order}]"
        if not whole(joint) or not 0 <= joint < len(IDS):
            fault(file, f"{place}.id", f"must be a whole number from 0 to {len(IDS) - 1}")
            return None
        if not number(x) or not number(y):
            fault(file, f"{place}.x", f"x and y of joint {joint} ({IDS[joint]}) must be finite numbers")
            return None
        slot = _SLOTS[joint]
        if visibility[slot]:
            fault(file, f"{place}.id", f"joint {joint} ({IDS[joint]}) is given twice")
            return None
        if score is not None and not number(score):
            fault(file, f"{place}.score", "must be a finite number")
            return None
        keypoints[slot] = x, y
        visibility[slot] = Visibility.OCCLUDED if seen in (0, "0") and not isinstance(seen, bool) else Visibility.VISIBLE
        scores[slot] = 0.0 if score is None else score
    corners = [_one(table.get(key)) for key in ("x1", "y1", "x2", "y2")]
    head = None
    if any(key in table for key in ("x1", "y1", "x2", "y2")) and corners != [None] * 4:
        if not all(number(v) for v in corners):
            fault(file, f"{where}.x1", "x1, y1, x2, y2 (the head's box) must be finite numbers")
            return None
        x1, y1, x2, y2 = corners
        head = np.array([x1, y1, x2 - x1, y2 - y1], dtype=np.float64)
    box = table.get("bbox")
    if box is not None and (not numbers(box, 4) or min(box[2:]) <= 0):
        fault(file, f"{where}.bbox", "must be x, y, width, height: finite numbers with positive sides")
        return None
    box = box_around(keypoints, visibility) if box is None else np.asarray(box, dtype=np.float64)
    return Person(int(track_id), keypoints, visibility, box, head, scores, crowd=_one(table.get("iscrowd")) in (1, True))
