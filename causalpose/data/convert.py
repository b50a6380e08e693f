"""PoseTrack 2017's and 2018's JSON forms into each other, sequence by sequence.

Both hold the same joints, head boxes, track ids and ignore regions. Beyond its own fields each file written carries what the other form
knows: a 2018 file which joints are hidden (`occluded`), a 2017 file image ids, persons' boxes and which of them are groups (`iscrowd`).
Of the labels a round trip loses nothing but digits after the third. By way of 2017 it also loses the images' height and width, and how
many frames a video has of which the file holds only some. Other readers pass over what they do not know.
"""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from causalpose.data import posetrack, posetrack17
from causalpose.data.formats import open_data
from causalpose.data.labels import PoseSequence
from causalpose.errors import CausalPoseError

WRITERS: dict[str, Callable[[Path, PoseSequence], None]] = {"posetrack17": posetrack17.write, "posetrack18": posetrack.write}


def convert(source: Path | str, to: str, out: Path | str, *, link: bool = True, progress: Callable[[str], None] | None = None) -> Counter:
    """Write every split of a PoseTrack data set as `out/annotations/<split>/<name>.json` in the other form; returns counts by split.

    Files keep their names, and so do images: with `link`, their folders are linked into `out`, so that it is a whole data set.
    Every file is read before the first is written: a fault leaves nothing behind.
    """
    data, out = open_data(source), Path(out)
    if to not in WRITERS:
        raise CausalPoseError(f"cannot convert to {to!r}; forms to convert to: {', '.join(WRITERS)}")
    if data.format.keypoints != posetrack.FILE_SET.name:
        raise CausalPoseError(f"{source}: is {data.format.title}; only the PoseTrack editions convert into each other")
    if out.resolve() == data.root.resolve():
        raise CausalPoseError(f"{out}: is the data set itself; give another folder for what is converted")
    plan: list[tuple[Path, PoseSequence]] = []
    counts: Counter = Counter()
    for split in data.splits():
        for file in data.files(split):
            if progress:
                progress(f"{split}/{file.stem}")
            sequences = data.located(file)
            for sequence in sequences:
                # A merged file comes apart into one file a sequence: both forms are read that way by evaluators.
                name = file.stem if len(sequences) == 1 else sequence.name
                plan.append((out / "annotations" / split / f"{name}.json", sequence))
                counts[split] += 1
    twice = [str(path) for path, times in Counter(path for path, _ in plan).items() if times > 1]
    if twice:
        raise CausalPoseError(f"{source}: two sequences would both become {twice[0]}")
    for path, sequence in plan:
        WRITERS[to](path, sequence)
    if link:
        _link_images(data.root, out, [sequence for _, sequence in plan])
    return counts


def _link_images(root: Path, out: Path, sequences: list[PoseSequence]) -> None:
    """Link the first folder of the images' names into `out`, where it is in the data set and not in `out` yet."""
    tops = {(sequence.folder, Path(frame.file_name).parts[0]) for sequence in sequences for frame in sequence.frames}
    for folder, top in sorted(tops):
        there, here = (root / folder / top).resolve(), out / top
        if there.exists() and not here.exists():
            here.parent.mkdir(parents=True, exist_ok=True)
            os.symlink(there, here)
