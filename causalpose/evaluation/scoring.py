"""Anybody's PoseTrack18 predictions against a data set's labels, for people who use nothing else here."""

from dataclasses import dataclass
from pathlib import Path

from causalpose.data.formats import open_data
from causalpose.errors import CausalPoseError
from causalpose.evaluation import submissions
from causalpose.evaluation.images import Figures, figures, locate_submission


@dataclass(frozen=True)
class Scored:
    """The figures, and what they are of, in words."""

    figures: Figures
    dataset: str
    predictions: str
    coverage: str


def score(predictions: Path | str, data: str, split: str) -> Scored:
    """Score a file or a folder of predictions on a split of a data set of the PoseTrack family.

    A folder must cover every sequence of the split. A file is scored on the sequences that it names; how many of the split's these are is
    said beside the score.
    """
    opened = open_data(data)
    if opened.format.keypoints != "posetrack18":
        raise CausalPoseError(f"--predictions are scored on PoseTrack data, but {data} is {opened.format.title}")
    submitted = submissions.read(predictions)
    truth = list(opened.sequences(split))
    every = len(truth)
    if Path(predictions).is_file():
        named = {sequence.name for sequence in submitted}
        chosen = [sequence for sequence in truth if sequence.name in named]
        truth = chosen or truth
    found = locate_submission(truth, submitted)
    count = f"{len(truth)} of {every} sequences of the split, {len(found.frames)} labelled frames, {len(found.true)} persons"
    return Scored(figures(found, opened.format.name), f"{opened.root.name}/{split}", Path(predictions).name, count)
