"""All persons of many frames as flat arrays, and the strict join of predicted frames to true ones.

Metrics over images (PoseTrack's AP, OKS AP) work on these arrays, so that nothing in them loops over persons.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from causalpose.clip import Visibility
from causalpose.data.labels import Frame, PoseSequence
from causalpose.errors import CausalPoseError
from causalpose.skeletons import KeypointSet, keypoint_set, remap


@dataclass(frozen=True)
class People:
    """`P` persons in the frames numbered `frame`, in ascending order of it.

    frame       int64 `[P]`; keypoints float64 `[P, K, 2]`, image pixels; scores float64 `[P, K]` (zeros for labels)
    present     bool `[P, K]`: the joint is labelled, or predicted
    visibility  uint8 `[P, K]`, values of `Visibility`
    box         float64 `[P, 4]` (x, y, w, h) and head_box, nan where not known
    area        float64 `[P]`: of the segment in square pixels where the labels say so, else of the box
    crowd       bool `[P]`: a box that stands for a group
    """

    frame: np.ndarray
    keypoints: np.ndarray
    present: np.ndarray
    visibility: np.ndarray
    scores: np.ndarray
    box: np.ndarray
    head_box: np.ndarray
    area: np.ndarray
    crowd: np.ndarray

    def __len__(self) -> int:
        return len(self.frame)

    def select(self, chosen: np.ndarray) -> "People":
        """The persons at these positions (a boolean mask, or ascending indices)."""
        return People(**{f.name: getattr(self, f.name)[chosen] for f in fields(self)})


def people(frames: Iterable[Frame], source: KeypointSet, target: KeypointSet) -> People:
    """The persons of frames (numbered by their position) in another keypoint set, joints carried over by name.

    In PoseTrack's form a joint is absent only where x, y and v are all zero, as its evaluator reads it: a joint that has a place but v = 0
    is there.
    """
    rows = [(number, person) for number, frame in enumerate(frames) for person in frame.persons]
    count, joints = len(rows), len(source)
    points = np.array([person.keypoints for _, person in rows], dtype=np.float64).reshape(count, joints, 2)
    visibility = np.array([person.visibility for _, person in rows], dtype=np.uint8).reshape(count, joints)
    nothing = np.zeros(joints)
    scores = np.array([nothing if person.scores is None else person.scores for _, person in rows], dtype=np.float64).reshape(count, joints)
    present = visibility != Visibility.UNLABELLED
    if source.name == "posetrack18":
        present |= (points != 0).any(-1)
    unknown = np.full(4, np.nan)
    box, head_box = (
        np.array([unknown if (value := getattr(person, name)) is None else value for _, person in rows], dtype=np.float64).reshape(count, 4)
        for name in ("box", "head_box")
    )
    areas = np.array([np.nan if person.area is None else person.area for _, person in rows], dtype=np.float64)
    carried = {"keypoints": points, "present": present, "visibility": visibility, "scores": scores}
    if source.name != target.name:
        columns = {name: value if name == "keypoints" else value[..., None] for name, value in carried.items()}
        columns = {name: remap(value, source, target) for name, value in columns.items()}
        carried = {name: value if name == "keypoints" else value[..., 0] for name, value in columns.items()}
    return People(
        frame=np.array([number for number, _ in rows], dtype=np.int64),
        box=box,
        head_box=head_box,
        area=np.where(np.isnan(areas), box[:, 2] * box[:, 3], areas),
        crowd=np.array([person.crowd for _, person in rows], dtype=bool),
        **carried,
    )


def join(truth: Sequence[PoseSequence], predicted: Sequence[PoseSequence]) -> list[tuple[Frame, Frame]]:
    """Each labelled frame of the truth with its prediction; frames that annotators left out are dropped.

    Sequences are joined by name and frames by image id, and nothing is forgiven: ids that the truth does not know, an id that names another
    image, and labelled frames or sequences without a prediction are errors. Guessing would end in a silent zero.
    """
    found = {sequence.name: sequence for sequence in predicted}
    if len(found) < len(predicted):
        raise CausalPoseError(f"{predicted[0].file}: two predicted sequences have the same name")
    known = {sequence.name for sequence in truth}
    strange = [sequence for sequence in predicted if sequence.name not in known]
    if strange:
        raise CausalPoseError(
            f"{strange[0].file}: sequence {strange[0].name!r} is not in the ground truth, which has {_few(sorted(known))};"
            " is it another split or another label version?"
        )
    absent = sorted(known - found.keys())
    if absent:
        raise CausalPoseError(f"no predictions for {len(absent)} of {len(known)} sequences: {_few(absent)}; predict them, or give fewer")
    return [pair for sequence in truth for pair in _join_frames(sequence, found[sequence.name])]


def _join_frames(truth: PoseSequence, predicted: PoseSequence) -> list[tuple[Frame, Frame]]:
    ids = {frame.image_id: frame for frame in predicted.frames}
    expected = {frame.image_id: frame for frame in truth.frames}
    unknown = [number for number in ids if number not in expected]
    if unknown:
        raise CausalPoseError(
            f"{predicted.file}: images: id {unknown[0]} of sequence {truth.name} ({len(unknown)} such ids) is not in the ground truth,"
            f" whose ids are {_few(list(expected))}; image ids must be the ground truth's, not numbered anew"
        )
    needed = [frame for frame in truth.frames if frame.labelled and frame.persons]
    missing = [frame.image_id for frame in needed if frame.image_id not in ids]
    if missing:
        raise CausalPoseError(
            f"{predicted.file}: images: {len(missing)} of {len(needed)} labelled frames of sequence {truth.name} are missing: ids"
            f" {_few(missing)}; list every frame, also those in which nobody was found"
        )
    for number, frame in ids.items():
        mine, theirs = (Path(f.file_name).name for f in (frame, expected[number]))
        if mine and mine != theirs:
            raise CausalPoseError(
                f"{predicted.file}: images: id {number} is {mine!r}, but {theirs!r} in the ground truth; the ids were numbered anew"
            )
    return [(frame, ids[frame.image_id]) for frame in needed]


def file_set(sequences: Sequence[PoseSequence]) -> KeypointSet:
    """The keypoint set that sequences are labelled in."""
    names = {sequence.keypoints for sequence in sequences}
    if len(names) != 1:
        raise CausalPoseError(f"sequences of different keypoint sets together: {', '.join(sorted(names)) or 'there is no sequence'}")
    return keypoint_set(names.pop())


def _few(values: Sequence, most: int = 3) -> str:
    """The first values, and that there are more."""
    return ", ".join(str(value) for value in values[:most]) + (" …" if len(values) > most else "")
