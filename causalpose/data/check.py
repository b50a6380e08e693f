"""Is a data set in PoseTrack18 form complete and sound? Every fault by file and field, and what is there in numbers."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from causalpose.clip import Visibility
from causalpose.data.files import read_image
from causalpose.data.posetrack import FILE_SET, PoseSequence, read, splits
from causalpose.errors import CausalPoseError


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
    """Counts by split (`sequences`, `frames`, `labelled frames`, `persons`, `tracks`, `labels`, `occluded`), and every fault."""

    root: Path
    counts: dict[str, Counter] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong: the command line exits with 1 otherwise."""
        return not self.faults

    def __str__(self) -> str:
        lines = [f"{self.root}"]
        for split, counts in self.counts.items():
            lines.append(f"  {split}: " + ", ".join(f"{counts[key]} {key}" for key in COUNTED))
        lines += [f"  note: {note}" for note in self.notes]
        lines += [f"  fault: {fault}" for fault in self.faults]
        return "\n".join([*lines, f"  {len(self.faults)} faults" if self.faults else "  sound: no fault found"])


COUNTED = ("sequences", "frames", "labelled frames", "persons", "tracks", "labels", "occluded")


def check(root: Path | str, *, images: bool = True, progress: Callable[[str], None] | None = None) -> Report:
    """Check a data set's folder: every annotation file of every split and, with `images`, every image decoded to its end.

    `progress(text)` is called with the name of each sequence as it starts.
    """
    root = Path(root)
    if not root.is_dir():
        raise CausalPoseError(f"{root}: no such folder")
    report = Report(root)
    places: dict[str, str] = {}
    for split in splits(root):
        counts = report.counts.setdefault(split, Counter())
        for file in sorted((root / "annotations" / split).glob("*.json")):
            try:
                sequences = read(file, lambda *fault: report.faults.append(Fault(*fault)))
            except CausalPoseError as error:  # not JSON at all: the message begins with the file already
                report.faults.append(Fault(str(file), "", str(error).removeprefix(f"{file}: ")))
                continue
            for sequence in sequences:
                if progress:
                    progress(f"{split}/{sequence.name}")
                _count(sequence, counts)
                _check_sequence(root, sequence, images, report)
                _check_overlap(sequence, split, places, report)
    if not report.counts:
        report.faults.append(Fault(str(root / "annotations"), "", "holds no split: expected annotations/<split>/*.json"))
    return report


def _count(sequence: PoseSequence, counts: Counter) -> None:
    persons = [person for frame in sequence.frames for person in frame.persons]
    visibility = np.array([person.visibility for person in persons], dtype=np.uint8).reshape(-1, len(FILE_SET))
    counts["sequences"] += 1
    counts["frames"] += len(sequence.frames)
    counts["labelled frames"] += sum(frame.labelled for frame in sequence.frames)
    counts["persons"] += len(persons)
    counts["tracks"] += len({person.track_id for person in persons})
    counts["labels"] += int((visibility != Visibility.UNLABELLED).sum())
    counts["occluded"] += int((visibility == Visibility.OCCLUDED).sum())


def _check_sequence(root: Path, sequence: PoseSequence, images: bool, report: Report) -> None:
    if not any(frame.persons for frame in sequence.frames):
        report.notes.append(f"{sequence.file}: sequence {sequence.name} has no labelled person")
    for frame in sequence.frames:
        if frame.persons and not frame.labelled:
            report.faults.append(Fault(sequence.file, f"image {frame.image_id}", "has persons but is_labeled is false"))
        path, size = root / frame.file_name, frame.size
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


def _check_places(sequence: PoseSequence, frame, size: tuple[int, int], report: Report) -> None:
    """Labels far outside the image are coordinates of something else (another resolution, most often)."""
    reach = np.array([size[1], size[0]], dtype=float)
    for person in frame.persons:
        points = person.keypoints[person.visibility != Visibility.UNLABELLED]
        if ((points < -0.5 * reach) | (points > 1.5 * reach)).any():
            message = f"track {person.track_id} has a joint more than half an image outside of {size[1]}x{size[0]}; "
            message += "are the labels of another resolution?"
            report.faults.append(Fault(sequence.file, f"image {frame.image_id}", message))


def _check_overlap(sequence: PoseSequence, split: str, places: dict[str, str], report: Report) -> None:
    """The same image in two splits means testing on the training data."""
    shared = {other for frame in sequence.frames if (other := places.setdefault(frame.file_name, split)) != split}
    for other in sorted(shared):
        report.faults.append(Fault(sequence.file, "images", f"sequence {sequence.name} is also in split {other}"))
