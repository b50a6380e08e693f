"""`PersonSource`: clips of single persons cut out of real video (or stills), from any data set that `formats` knows."""

import re
import threading
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from causalpose.clip import CONDITIONS, Clip, Visibility, stack
from causalpose.config import DataConfig, ModelConfig
from causalpose.data.crops import ENLARGE, crop_matrix, cut, cut_reduced, reduction, to_crop
from causalpose.data.detections import overlaps, read_detections
from causalpose.data.files import read_image, reducible
from causalpose.data.formats import open_data
from causalpose.data.labels import Frame, Person, PoseSequence, refuse
from causalpose.errors import CausalPoseError
from causalpose.skeletons import KeypointSet, keypoint_set, remap

_CACHE_BYTES = 1 << 30  # cut clips are kept up to this size
_IMAGE_BYTES = 1 << 26  # and decoded images up to this: two dozen of 1280x720, more than a clip spans
_MATCH = 0.5  # intersection over union at which a detection is taken for a labelled person


@dataclass(frozen=True)
class Entry:
    """Where one sample comes from: enough to write a prediction back into its image.

    matrix   `[2, 3]`, image -> crop
    box      (x, y, w, h) in image pixels, before it was enlarged; score is the detector's (1 for ground truth)
    track_id of the labelled person; -1 for a detection that is none
    """

    sequence: str
    image_id: int
    file_name: str
    track_id: int
    matrix: np.ndarray
    box: np.ndarray
    score: float = 1.0


def torso_scale(points: np.ndarray, visibility: np.ndarray, box: np.ndarray, names: KeypointSet) -> float:
    """The PCK length of a person in the units of `points`: the longer diagonal of the torso (shoulder to opposite hip).

    It is at least 0.15 x the longer side of the person's box (not enlarged), which also stands in where the torso is not labelled with the
    usual share of 0.3. *Ours*: a torso seen from above would otherwise shrink the tolerance to nothing.
    """
    side = float(max(box[2:]))
    lengths = []
    for a, b in (("left_shoulder", "right_hip"), ("right_shoulder", "left_hip")):
        pair = [names.index(a), names.index(b)]
        if (visibility[pair] != Visibility.UNLABELLED).all():
            lengths.append(float(np.linalg.norm(points[pair[0]] - points[pair[1]])))
    return max(max(lengths), 0.15 * side) if lengths else 0.3 * side


class PersonSource:
    """Person clips of a data set on disk.

    root    a folder, one annotation file, or `format:path` (`causalpose.data.formats`)
    data    `dilation`, `boxes` (a detection file, else the labelled boxes), `box_score`, `faults`
    labelled_only   leave detections out that show no labelled person: training learns nothing from them

    One sample is one box at one labelled frame with `config.frames` frames `data.dilation` apart. All frames are cut with the *target
    frame's* box, as the field does; at a sequence's ends, and where frames are missing, the nearest frame is repeated. Support frames in
    which the person is not labelled have `UNLABELLED` keypoints. With labelled boxes every person with at least one joint is a sample;
    with detections every box is one, and carries the labels of the person it overlaps most (or none). `data.clips` does not cut real data.
    """

    def __init__(self, root: Path | str, split: str, config: ModelConfig, data: DataConfig, *, labelled_only: bool = False):
        self.config, self.data, self.dilation, self.split = config, data, data.dilation, split
        self.data_set = open_data(root)
        self.root = self.data_set.root
        self.names = keypoint_set(self.data_set.format.keypoints)
        self.target_set = keypoint_set(config.keypoints)
        self.left_out: list[str] = []
        self.sequences = list(self.data_set.sequences(split, refuse if data.faults == "refuse" else self._leave_out))
        self._numbers = [_frame_numbers(sequence) for sequence in self.sequences]
        self.entries: list[Entry] = []
        self._places: list[tuple[int, int, Person | None]] = []
        if data.boxes:
            self._take_detections(Path(data.boxes), labelled_only)
        else:
            self._take_labels()
        if not self.entries:
            raise CausalPoseError(f"{root}: split {split!r} has no labelled person" + (" with a detected box" if data.boxes else ""))
        self._lock, self._ahead = threading.Lock(), None
        self._clips: dict[int, Tensor] = {}
        self._clip_limit = _CACHE_BYTES // (config.frames * 3 * config.height * config.width)
        self._images: OrderedDict[tuple[str, int], np.ndarray] = OrderedDict()
        self._image_bytes, self._image_limit = 0, _IMAGE_BYTES

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> Clip:
        return self.batch([int(index)])[0]

    def batch(self, indices: Sequence[int] | Tensor) -> Clip:
        """The clips at these positions as a batch. An image that several of them show is decoded once."""
        wanted = [int(index) for index in indices]
        for index in wanted:
            if not 0 <= index < len(self):
                raise IndexError(f"clip {index} of {len(self)}")
        ahead, self._ahead = self._ahead, None
        pixels = ahead[1].result() if ahead is not None and ahead[0] == wanted else self._pixels(wanted)
        return stack([self._clip(index, pixels[index]) for index in wanted])

    def prefetch(self, indices: Sequence[int] | Tensor) -> None:
        """Begin to decode and cut what `batch` will be asked for next, beside the model's own work; an error waits for that `batch`."""
        wanted = [int(index) for index in indices]
        self._ahead = (wanted, _thread().submit(self._pixels, wanted))

    def describe(self) -> dict:
        """The protocol to print beside a score."""
        sequences = self.sequences
        labelled = set(self.names.keypoints) - set(self.names.unused)
        detected = f"detected ({Path(self.data.boxes).name}, score at least {self.data.box_score:g})"
        facts = {
            "source": self.data_set.format.name, "root": self.root.name, "split": self.split,
            "boxes": f"{detected if self.data.boxes else 'ground truth'}, enlarged x{ENLARGE:g}, the target frame's for all frames",
            "scale": "torso: the longer of left shoulder-right hip and right shoulder-left hip, at least 0.15 x the box's longer side"
            " (0.3 x where the torso is unlabelled)",
            "keypoints": self.target_set.name, "height": self.config.height, "width": self.config.width,
            "frames": self.config.frames, "dilation": self.dilation,
            "sequences": len(sequences), "images": sum(len(s.frames) for s in sequences), "clips": len(self),
        }  # fmt: skip
        unlabelled = [name for name in self.target_set.keypoints if name not in labelled]
        if unlabelled:
            facts["unlabelled"] = unlabelled
        missing = sum(max((s.length or 0) - len(s.frames), 0) for s in sequences)
        if missing:
            facts["missing_frames"] = missing
        if self.data.boxes:
            facts["boxes_on_no_labelled_person"] = sum(entry.track_id < 0 for entry in self.entries)
        if self.left_out:
            facts["faults_left_out"] = len(self.left_out)
        return facts

    # -- samples -------------------------------------------------------------------------------------------------------

    def _leave_out(self, file: str, where: str, message: str) -> None:
        self.left_out.append(f"{file}: {where}: {message}")

    def _labelled(self) -> Iterable[tuple[int, int, PoseSequence, Frame]]:
        for number, sequence in enumerate(self.sequences):
            for position, frame in enumerate(sequence.frames):
                if frame.labelled:
                    yield number, position, sequence, frame

    def _take_labels(self) -> None:
        for number, position, sequence, frame in self._labelled():
            for person in frame.persons:
                if person.box is not None and person.visibility.any() and not person.crowd:
                    self._add(number, position, sequence, frame, person.box, 1.0, person)

    def _take_detections(self, path: Path, labelled_only: bool) -> None:
        found = read_detections(path, self.data.box_score)
        frames = list(self._labelled())
        if not any(frame.image_id in found for *_, frame in frames):
            raise CausalPoseError(
                f"{path}: none of its {len(found)} image ids with a box of score {self.data.box_score:g} or more is one of split "
                f"{self.split!r} of {self.root}; are the detections of another data set, or renumbered?"
            )
        for number, position, sequence, frame in frames:
            rows = found.get(frame.image_id, [])
            for row, person in zip(rows, _match(rows, frame), strict=True):
                if person is not None or not labelled_only:
                    self._add(number, position, sequence, frame, row.box, row.score, person)

    def _add(self, number: int, position: int, sequence: PoseSequence, frame: Frame, box, score: float, person: Person | None) -> None:
        matrix = crop_matrix(box, self.config.height, self.config.width)
        track = -1 if person is None else person.track_id
        self.entries.append(Entry(sequence.name, frame.image_id, frame.file_name, track, matrix, box, score))
        self._places.append((number, position, person))

    def _clip(self, index: int, pixels: Tensor) -> Clip:
        number, position, person = self._places[index]
        entry, frames = self.entries[index], self.sequences[number].frames
        labels = [self._labels(frames[p], person, entry.matrix) for p in self._window(number, position)]
        keypoints, visibility = zip(*labels, strict=True)
        none = np.zeros(len(self.names), np.uint8)
        points, seen = (None, none) if person is None else (person.keypoints, person.visibility)
        scale = torso_scale(points, seen, entry.box, self.names) * entry.matrix[0, 0]
        return Clip(
            frames=pixels,
            keypoints=torch.from_numpy(np.stack(keypoints).astype(np.float32)),
            visibility=torch.from_numpy(np.stack(visibility)),
            scale=torch.tensor(scale, dtype=torch.float32),
            condition=torch.tensor(CONDITIONS.index("clean"), dtype=torch.uint8),
            index=torch.tensor(index),
        )

    def _window(self, number: int, position: int) -> list[int]:
        """Positions of a clip's frames: `dilation` frame numbers apart, never beyond a frame that is there."""
        numbers, reach = self._numbers[number], self.config.frames // 2
        wanted = numbers[position] + self.dilation * np.arange(-reach, reach + 1)
        after = np.searchsorted(numbers, wanted, side="left")  # the first frame at or after the wanted one
        before = np.searchsorted(numbers, wanted, side="right") - 1
        inward = np.where(np.arange(-reach, reach + 1) < 0, after, before)
        return np.clip(inward, 0, len(numbers) - 1).tolist()

    def _labels(self, frame: Frame, person: Person | None, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Keypoints `[K, 2]` in crop pixels and visibility `[K]` of one person in one frame, in the target keypoint set."""
        count = len(self.target_set)
        for other in frame.persons if person is not None and frame.labelled else ():
            if other.track_id == person.track_id:
                points = remap(to_crop(other.keypoints, matrix), self.names, self.target_set)
                visibility = remap(other.visibility[:, None], self.names, self.target_set, Visibility.UNLABELLED)[:, 0]
                outside = ((points < -0.5) | (points > [self.config.width - 0.5, self.config.height - 0.5])).any(-1)
                visibility = np.where(outside & (visibility != Visibility.UNLABELLED), Visibility.OUTSIDE, visibility).astype(np.uint8)
                return np.where(visibility[:, None] == Visibility.UNLABELLED, 0.0, points), visibility
        return np.zeros((count, 2)), np.full(count, Visibility.UNLABELLED, np.uint8)

    # -- pixels --------------------------------------------------------------------------------------------------------

    def _pixels(self, indices: Sequence[int]) -> dict[int, Tensor]:
        """The crops `[T, 3, H, W]` of some samples, from the cache where it holds them; every image is decoded once for all of them.

        Images are decoded by as many threads as torch may use: decoder and OpenCV leave Python's lock alone while they work.
        """
        height, width, length = self.config.height, self.config.width, self.config.frames
        out = {index: self._clips[index] for index in indices if index in self._clips}
        wanted: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
        for index in indices:
            if index in out:
                continue
            number, position, _ = self._places[index]
            sequence, factor = self.sequences[number], reduction(self.entries[index].matrix)
            for slot, place in enumerate(self._window(number, position)):
                name = f"{sequence.folder}/{sequence.frames[place].file_name}" if sequence.folder else sequence.frames[place].file_name
                wanted[name, factor if reducible(name) else 1].append((index, slot))
            out[index] = torch.empty(length, 3, height, width, dtype=torch.uint8)

        def fill(job: tuple[tuple[str, int], list[tuple[int, int]]]) -> None:
            (name, factor), uses = job
            image, done = self._image(name, factor), {}
            for index, slot in uses:
                if index not in done:  # a repeated frame shows the same
                    matrix = self.entries[index].matrix
                    crop = cut(image, matrix, height, width) if factor == 1 else cut_reduced(image, matrix, height, width, factor)
                    done[index] = torch.from_numpy(crop).permute(2, 0, 1)
                out[index][slot] = done[index]

        threads = min(torch.get_num_threads(), len(wanted))
        if threads > 1:
            with ThreadPoolExecutor(threads) as pool:
                deque(pool.map(fill, wanted.items()), maxlen=0)  # to the end, so that an error comes out
        else:
            deque(map(fill, wanted.items()), maxlen=0)
        for index in out:
            if index not in self._clips and len(self._clips) < self._clip_limit:
                self._clips[index] = out[index]
        return out

    def _image(self, name: str, factor: int) -> np.ndarray:
        """A decoded image; the last ones are kept, since neighbouring clips share them."""
        key = (name, factor)
        with self._lock:
            if key in self._images:
                self._images.move_to_end(key)
                return self._images[key]
        image = read_image(self.root / name, factor)
        with self._lock:
            if key not in self._images:
                self._images[key] = image
                self._image_bytes += image.nbytes
            while self._image_bytes > self._image_limit and len(self._images) > 1:
                self._image_bytes -= self._images.popitem(last=False)[1].nbytes
        return image


@lru_cache(maxsize=1)
def _thread() -> ThreadPoolExecutor:
    """The one thread that works ahead."""
    return ThreadPoolExecutor(1, thread_name_prefix="causalpose-prefetch")


def _frame_numbers(sequence: PoseSequence) -> np.ndarray:
    """The frames' numbers in their video, from the digits that end their file names; their positions where names give none."""
    ends = [re.search(r"(\d{1,9})\.\w+$", frame.file_name) for frame in sequence.frames]
    numbers = np.array([int(end[1]) if end else -1 for end in ends])
    return numbers if len(numbers) and numbers[0] >= 0 and (np.diff(numbers) > 0).all() else np.arange(len(sequence.frames))


def _match(rows: list, frame: Frame) -> list[Person | None]:
    """For each detection (best first) the labelled person it shows: each person once, at an overlap of at least 0.5 (*ours*)."""
    free = [person for person in frame.persons if person.box is not None and person.visibility.any() and not person.crowd]
    out: list[Person | None] = []
    for row in rows:
        overlap = overlaps(row.box, np.array([person.box for person in free])) if free else np.zeros(1)
        out.append(free.pop(int(overlap.argmax())) if overlap.max() >= _MATCH else None)
    return out
