"""Sub-JHMDB as its authors distribute it: `joint_positions.mat` of each clip, frames as PNG, and three splits in text files.

    joint_positions/<action>/<clip>/joint_positions.mat   pos_img [2, 15, n], counted from one
    Rename_Images/<action>/<clip>/00001.png ...
    sub_splits/<action>_test_split_1.txt                  lines `<clip>.avi 1` (train) or `2` (test); `splits/` is the whole of JHMDB
    puppet_mask/<action>/<clip>/puppet_mask.mat           part_mask [h, w, n], optional: the person's box is the mask's extent

Without masks the box is the joints' extent plus 15 %. The COCO-like JSON of toolboxes is read by `tables`.
"""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.io import loadmat

from causalpose.clip import Visibility
from causalpose.data.files import is_inside
from causalpose.data.labels import Fault, Frame, Person, PoseSequence, box_around, refuse
from causalpose.errors import CausalPoseError

JOINTS, IMAGES, MASKS = "joint_positions", "Rename_Images", "puppet_mask"
_SPLITS = ("sub_splits", "splits")  # Sub-JHMDB's own first: the others also list clips in which bodies are cut off
_LARGEST = {JOINTS: 4 << 20, MASKS: 64 << 20}  # bytes; the real files are kilobytes
_FRAMES_OF_A_CLIP = 10_000
_LONGEST = 10_000


def is_root(root: Path) -> bool:
    """Whether a folder is laid out so."""
    return (root / JOINTS).is_dir()


def split_files(root: Path) -> dict[str, list[Path]]:
    """The clips' files by split: `sub1_train`, `sub1_test`, ... `sub3_test`; `all` where there are no split files."""
    folder = next((root / name for name in _SPLITS if (root / name).is_dir()), None)
    if folder is None:
        return {"all": sorted((root / JOINTS).glob("*/*/joint_positions.mat"))}
    out: dict[str, list[Path]] = {}
    for file in sorted(folder.glob("*.txt")):
        named = re.fullmatch(r"(\w+)_test_split_?([123])", file.stem)
        if named is None:
            raise CausalPoseError(f"{file}: a split file is named ACTION_test_split_1.txt (or 2, 3)")
        action, number = named.groups()
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise CausalPoseError(f"{file}: cannot be read ({error})") from None
        for position, line in enumerate(lines, 1):
            if not line.strip():
                continue
            clip, _, side = line.strip().rpartition(" ")
            clip = clip.strip().removesuffix(".avi")
            if side not in ("0", "1", "2") or "/" in clip or not is_inside(clip):
                raise CausalPoseError(f"{file}: line {position}: must be CLIP.avi and 1 (train) or 2 (test), not {line[:80]!r}")
            if side != "0":  # 0: the clip is in neither
                split = f"sub{number}_{'train' if side == '1' else 'test'}"
                out.setdefault(split, []).append(root / JOINTS / action / clip / "joint_positions.mat")
    return dict(sorted(out.items()))


def read(path: Path, root: Path, fault: Fault = refuse) -> list[PoseSequence]:
    """The sequence of one `joint_positions.mat`; frames in which a joint is no finite number lack that joint."""
    action, clip = path.parts[-3:-1]
    try:
        positions = np.asarray(_load(path, JOINTS, "pos_img"), dtype=np.float64)
    except CausalPoseError as error:
        fault(str(path), "", str(error).removeprefix(f"{path}: "))
        return []
    except (TypeError, ValueError):
        fault(str(path), "pos_img", "must be numbers")
        return []
    if positions.ndim != 3 or positions.shape[:2] != (2, 15) or not 1 <= positions.shape[2] <= _LONGEST:
        fault(str(path), "pos_img", f"must be [2, 15, frames], not {list(positions.shape)}")
        return []
    points = positions.transpose(2, 1, 0) - 1  # MATLAB counts from one
    good = np.isfinite(points).all(-1) & (np.abs(points) < 1e6).all(-1)
    for frame in np.flatnonzero(~good.all(1)):
        fault(str(path), f"pos_img[:, :, {frame}]", "holds a joint that is no finite number of pixels")
    visibility = np.where(good, Visibility.VISIBLE, Visibility.UNLABELLED).astype(np.uint8)
    points = np.where(good[..., None], points, 0.0)
    boxes = _mask_boxes(root / MASKS / action / clip / "puppet_mask.mat", len(points), fault)
    frames = []
    for number in range(len(points)):
        box = box_around(points[number], visibility[number]) if boxes is None else boxes[number]
        person = Person(0, points[number], visibility[number], box)
        frames.append(Frame(number + 1, f"{IMAGES}/{action}/{clip}/{number + 1:05d}.png", True, (person,)))
    images = root / IMAGES / action / clip
    count = sum(1 for _ in images.glob("*.png")) if images.is_dir() else len(frames)
    return [PoseSequence(clip, tuple(frames), str(path), "jhmdb15", max(count, len(frames)))]


def numbered(sequence: PoseSequence, position: int) -> PoseSequence:
    """The sequence with image ids that no other clip of its split has: its place among them x 10000, plus the frame."""
    frames = tuple(replace(frame, image_id=position * _FRAMES_OF_A_CLIP + frame.image_id) for frame in sequence.frames)
    return replace(sequence, frames=frames)


def _mask_boxes(path: Path, length: int, fault: Fault) -> list[np.ndarray | None] | None:
    """The extent of the puppet mask in each frame; None where there is no mask file."""
    if not path.is_file():
        return None
    try:
        mask = np.asarray(_load(path, MASKS, "part_mask"))
    except CausalPoseError as error:
        fault(str(path), "", str(error).removeprefix(f"{path}: "))
        return None
    if mask.ndim != 3 or mask.shape[2] != length or mask.dtype.kind not in "uib":
        fault(str(path), "part_mask", f"must be [height, width, {length}] whole numbers, not {list(mask.shape)} {mask.dtype}")
        return None
    boxes: list[np.ndarray | None] = []
    for number in range(length):
        rows, columns = np.flatnonzero(mask[..., number].any(1)), np.flatnonzero(mask[..., number].any(0))
        if len(rows):
            low, high = np.array([columns[0], rows[0]], float), np.array([columns[-1], rows[-1]], float)
            boxes.append(np.concatenate([low, np.maximum(high - low, 1.0)]))
        else:
            boxes.append(None)
    return boxes


def _load(path: Path, kind: str, name: str):
    """One array of a MATLAB 5 file. scipy's reader makes arrays only and runs nothing; damaged files raise what they like."""
    if not path.is_file():
        raise CausalPoseError(f"{path}: no such file")
    if path.stat().st_size > _LARGEST[kind]:
        raise CausalPoseError(f"{path}: {path.stat().st_size} bytes are too many for {path.name}")
    try:
        found = loadmat(path, variable_names=[name])
    except Exception as error:
        raise CausalPoseError(f"{path}: cannot be read as a MATLAB file ({str(error)[:100]}); copy the file again") from None
    if name not in found:
        raise CausalPoseError(f"{path}: holds no variable {name}")
    return found[name]
