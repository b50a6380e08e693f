"""Is a data set complete and sound? Every fault by file and field, and what is there in numbers, beside what its authors published."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from causalpose.clip import Visibility
from causalpose.data.files import read_image
from causalpose.data.formats import DataSet, open_data
from causalpose.data.labels import Frame, PoseSequence
from causalpose.errors import CausalPoseError
from causalpose.skeletons import keypoint_set


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong, and where."""

    file: str
    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}: {self.field}: {self.message}" if self.field else f"{self.file}: {self.message}"


@dataclass
class Report:
    """Counts by split (those of `COUNTED`), every fault, and notes: what is no fault but should be known."""

    root: Path
    format: str = ""
    counts: dict[str, Counter] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong: the command line exits with 1 otherwise."""
        return not self.faults

    def __str__(self) -> str:
        lines = [f"{self.root}: {self.format}"]
        for split, counts in self.counts.items():
            lines.append(f"  {split}: " + ", ".join(f"{counts[key]} {key}" for key in COUNTED))
        lines += [f"  note: {note}" for note in self.notes]
        lines += [f"  fault: {fault}" for fault in self.faults]
        return "\n".join([*lines, f"  {len(self.faults)} faults" if self.faults else "  sound: no fault found"])


COUNTED = ("sequences", "frames", "labelled frames", "persons", "labelled persons", "tracks", "labels", "occluded")


def check(root: Path | str, *, images: bool = True, progress: Callable[[str], None] | None = None) -> Report:
    """Check a data set: every annotation file of every split and, with `images`, every image decoded to its end.

    `root` is a folder, an annotation file or `format:path`; `progress(text)` is called with the name of each sequence as it starts.
    """
    data = open_data(root)
    report = Report(data.root, data.format.title)
    places: dict[str, list[str]] = defaultdict(list)
    names: set[str] = set()
    for split in data.splits():
        counts = report.counts.setdefault(split, Counter())
        for file in data.files(split):
            try:
                sequences = data.located(file, lambda *fault: report.faults.append(Fault(*fault)))
            except CausalPoseError as error:  # not JSON at all: the message begins with the file already
                report.faults.append(Fault(str(file), "", str(error).removeprefix(f"{file}: ")))
                continue
            for sequence in sequences:
                if progress:
                    progress(f"{split}/{sequence.name}")
                names.add(sequence.name)
                _count(sequence, counts)
                _check_sequence(data.root, sequence, images, report)
                _check_overlap(sequence, split, places, report)
        _compare(data, split, counts, report)
    _compare(data, "all", Counter(sequences=len(names)), report)
    if not report.counts:
        report.faults.append(Fault(str(data.root), "", "holds no split"))
    return report


def _compare(data: DataSet, split: str, counts: Counter, report: Report) -> None:
    """Counts beside the published ones. A sample of a data set is sound, so a difference is a note."""
    for key, published in data.format.published.get(split, {}).items():
        if counts[key] != published:
            known = data.format.versions.get((split, key, counts[key]))
            report.notes.append(f"{split}: {counts[key]} {key}" + (f", as {known}" if known else f"; published: {published}"))


def _count(sequence: PoseSequence, counts: Counter) -> None:
    persons = [person for frame in sequence.frames for person in frame.persons]
    visibility = np.array([person.visibility for person in persons], dtype=np.uint8).reshape(-1, len(keypoint_set(sequence.keypoints)))
    labelled = visibility != Visibility.UNLABELLED
    counts["sequences"] += 1
    counts["frames"] += len(sequence.frames)
    counts["labelled frames"] += sum(frame.labelled for frame in sequence.frames)
    counts["persons"] += len(persons)
    counts["labelled persons"] += int(labelled.any(1).sum())
    counts["tracks"] += len({person.track_id for person in persons})
    counts["labels"] += int(labelled.sum())
    counts["occluded"] += int((visibility == Visibility.OCCLUDED).sum())


def _check_sequence(root: Path, sequence: PoseSequence, images: bool, report: Report) -> None:
    if not any(person.visibility.any() for frame in sequence.frames for person in frame.persons):
        report.notes.append(f"{sequence.file}: sequence {sequence.name} has no labelled person")
    if sequence.length is not None and sequence.length != len(sequence.frames):
        message = f"{sequence.file}: sequence {sequence.name} lists {len(sequence.frames)} of its {sequence.length} frames (nframes)"
        report.notes.append(message)
    for frame in sequence.frames:
        if frame.persons and not frame.labelled:
            report.faults.append(Fault(sequence.file, f"image {frame.image_id}", "has persons but is_labeled is false"))
        path, size = root / sequence.folder / frame.file_name, frame.size
        if not path.is_file():
            report.faults.append(Fault(sequence.file, f"image {frame.image_id}", f"its file {frame.file_name} is missing"))
            continue
        if images:
            try:
                found = read_image(path).shape[:2]
            except CausalPoseError as error:
                report.faults.append(Fault(str(path), "", str(error).removeprefix(f"{path}: ")))
                continue
            if size is not None and found != size:
                message = f"width x height is {found[1]}x{found[0]}, but the annotations say {size[1]}x{size[0]}"
                report.faults.append(Fault(str(path), "", message))
            size = found
        if size is not None:
            _check_places(sequence, frame, size, report)


def _check_places(sequence: PoseSequence, frame: Frame, size: tuple[int, int], report: Report) -> None:
    """Labels far outside the image are coordinates of something else (another resolution, most often)."""
    reach = np.array([size[1], size[0]], dtype=float)
    for person in frame.persons:
        points = person.keypoints[person.visibility != Visibility.UNLABELLED]
        if ((points < -0.5 * reach) | (points > 1.5 * reach)).any():
            message = f"track {person.track_id} has a joint more than half an image outside of {size[1]}x{size[0]}; "
            message += "are the labels of another resolution?"
            report.faults.append(Fault(sequence.file, f"image {frame.image_id}", message))
        if person.box is not None and person.visibility.any():
            low, high = person.box[:2], person.box[:2] + person.box[2:]
            if (low >= reach).any() or (high <= 0).any():
                message = f"track {person.track_id}: the box {np.round(person.box, 1).tolist()} lies outside of {size[1]}x{size[0]}"
                report.faults.append(Fault(sequence.file, f"image {frame.image_id}", message))


def _check_overlap(sequence: PoseSequence, split: str, places: dict[str, list[str]], report: Report) -> None:
    """The same image for training and for testing is a fault; in two files that are not told apart by that, a note."""
    others = {other for frame in sequence.frames for other in places[frame.file_name] if other != split}
    for frame in sequence.frames:
        places[frame.file_name].append(split)
    for other in sorted(others):
        if _fold(other) == _fold(split) and ("train" in other) != ("train" in split):
            report.faults.append(Fault(sequence.file, "images", f"sequence {sequence.name} is also in split {other}"))
        elif _fold(other) == _fold(split) and (note := f"{split} shares images with {other}") not in report.notes:
            report.notes.append(note)


def _fold(split: str) -> str:
    """Sub-JHMDB is split in three ways: only within one must training and testing be apart."""
    return split.partition("_")[0] if re.match(r"sub\d_", split) else ""
