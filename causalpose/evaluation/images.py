"""Predictions on clips of persons, brought back into their images: what the metrics of real data sets are computed from.

The clips of a source are cut around boxes; its `entries` say where each came from. With detected boxes several clips may show one person,
so near-duplicates are suppressed by their OKS before anything is scored.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from causalpose.clip import Visibility
from causalpose.data.crops import to_image
from causalpose.data.labels import Frame, PoseSequence
from causalpose.errors import CausalPoseError
from causalpose.evaluation import oks, pck, poseval
from causalpose.evaluation.people import People, file_set, join, people
from causalpose.evaluation.predictions import Predictions
from causalpose.skeletons import KeypointSet, keypoint_set

_COLUMNS = ["joint", "metric", "value"]


@dataclass(frozen=True)
class Located:
    """Labelled and predicted persons of the same images, in the model's keypoint set.

    frames         the labelled frames, by number
    true, found    persons; `scores` `[Q]` rank the predicted ones: the mean of the joints' confidences times the box's score
    pairs          (position in true, position in found) `[N, 2]` of the persons whose own box was given: what PCK is taken of; None where
                   nobody knows which prediction is meant for whom
    ranked         what `scores` are, in words; nms: what was suppressed, in words
    """

    frames: list[Frame]
    true: People
    found: People
    scores: np.ndarray
    names: KeypointSet
    pairs: np.ndarray | None
    ranked: str
    nms: str


def locate(source, predictions: Predictions, keypoints: str, nms: float | None = oks.NMS_THRESHOLD) -> Located:
    """Persons in their images. `source` has `sequences` and `entries`; `predictions` are all of its clips, in the model's set `keypoints`.

    `nms` is the threshold of the suppression (only detected boxes need it); None keeps all.
    """
    names = keypoint_set(keypoints)
    if len(predictions) != len(source.entries) or not np.array_equal(predictions.index, np.arange(len(predictions))):
        raise CausalPoseError(
            f"predictions of {len(predictions)} clips do not cover the source's {len(source.entries)} clips in order; metrics over images"
            " need them all"
        )
    frames = [(sequence, frame) for sequence in source.sequences for frame in sequence.frames if frame.labelled]
    numbers = {(sequence.name, frame.image_id): number for number, (sequence, frame) in enumerate(frames)}
    frames = [frame for _, frame in frames]
    true = people(frames, file_set(source.sequences), names)
    row = {key: i for i, key in enumerate((number, person.track_id) for number, frame in enumerate(frames) for person in frame.persons)}

    entries = source.entries
    points = np.stack([to_image(points, entry.matrix) for points, entry in zip(predictions.keypoints, entries, strict=True)])
    number = np.array([numbers[entry.sequence, entry.image_id] for entry in entries])
    box_scores = np.array([entry.score for entry in entries])
    persons = np.array([row.get((n, entry.track_id), -1) for n, entry in zip(number, entries, strict=True)])
    extent = points.max(1) - points.min(1)
    boxes = np.array([entry.box for entry in entries], dtype=float)
    scores = predictions.scores.mean(1) * box_scores
    detected = bool(source.data.boxes)
    kept = np.arange(len(points))
    if detected and nms is not None:
        area = np.maximum(extent.prod(1), 1.0)
        groups = np.split(np.argsort(number, kind="stable"), np.cumsum(np.bincount(number, minlength=len(frames)))[:-1])
        kept = np.concatenate([group[oks.nms(points[group], scores[group], area[group], names, nms)] for group in groups if len(group)])
    kept = kept[np.argsort(number[kept], kind="stable")]
    count, joints = len(kept), len(names)
    found = People(
        frame=number[kept],
        keypoints=points[kept],
        present=np.ones((count, joints), bool),
        visibility=np.full((count, joints), Visibility.VISIBLE, np.uint8),
        scores=predictions.scores[kept].astype(float),
        box=boxes[kept],
        head_box=np.full((count, 4), np.nan),
        area=np.maximum(extent[kept].prod(1), 1.0),
        crowd=np.zeros(count, bool),
    )
    own = np.flatnonzero(persons[kept] >= 0)
    pairs = np.stack([persons[kept][own], own], 1)
    suppressed = f"OKS-NMS at {nms:g} removed {len(points) - count} of {len(points)} poses" if detected and nms is not None else "no NMS"
    return Located(frames, true, found, scores[kept], names, pairs, "mean joint confidence x box score", suppressed)


def locate_submission(truth: Sequence[PoseSequence], submitted: Sequence[PoseSequence]) -> Located:
    """Somebody's predictions (`causalpose.evaluation.submissions`) joined to the labels of their frames, in PoseTrack's 15 joints."""
    joined = join(truth, submitted)
    frames = [pair[0] for pair in joined]
    true = people(frames, file_set(truth), poseval.JOINTS)
    found = people([pair[1] for pair in joined], file_set(submitted), poseval.JOINTS)
    scores = found.scores.sum(1) / np.maximum(found.present.sum(1), 1)
    return Located(frames, true, found, scores, poseval.JOINTS, None, "mean joint score of the file", "as submitted")


@dataclass(frozen=True)
class Figures:
    """Rows (joint, metric, value in percent), what each metric was measured by, and why others were not computed."""

    rows: pd.DataFrame
    protocol: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def figures(located: Located, kind: str) -> Figures:
    """Every metric that fits a data set of the format `kind` (`posetrack18`, `coco`, `jhmdb`, …); visible and occluded joints apart."""
    rows, protocol, left_out = [], {}, {}
    if kind.startswith("posetrack"):
        try:
            table, protocol["PoseTrack AP"] = _posetrack(located)
            rows.append(table)
        except CausalPoseError as error:
            left_out["PoseTrack AP"] = str(error).removeprefix("PoseTrack AP: ")
    try:
        table, protocol["OKS AP"] = _oks(located)
        rows.append(table)
    except CausalPoseError as error:
        left_out["OKS AP"] = str(error).removeprefix("OKS AP: ")
    if located.pairs is None:
        left_out["PCK"] = "a file of predictions does not say which person each is meant for"
        return Figures(pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=_COLUMNS), protocol, left_out)
    true, found = located.true.select(located.pairs[:, 0]), located.found.keypoints[located.pairs[:, 1]]
    table = pck.pck_by_size(found, true, located.names)
    for size, (thresholds, what) in pck.SIZES.items():
        own = table[table.metric == pck.size_metric_name(size, thresholds[0])]
        if len(own):
            protocol[pck.size_metric_name(size, thresholds[0])] = f"share of {what}; {own.persons.iloc[0]} of {len(true)} persons have it"
        else:
            left_out[pck.size_metric_name(size, thresholds[0])] = f"no person has it: {what}"
    rows.append(table[_COLUMNS])
    return Figures(pd.concat(rows, ignore_index=True), protocol, left_out)


def _posetrack(located: Located) -> tuple[pd.DataFrame, str]:
    sides = [_in_set(side, located.names) for side in (located.true, located.found)]
    rows, result = [], None
    for subset in pck.SUBSETS:
        if subset != "all" and not _has(sides[0], subset):
            continue
        part = poseval.of_people(*_with_persons(*sides), located.frames, subset=subset)
        result = result or part
        table = part.table.rename(columns={"ap": "value"}).dropna(subset="value")
        rows.append(table.assign(metric=pck.subset_name("AP (PoseTrack)", subset))[_COLUMNS])
    return pd.concat(rows, ignore_index=True), describe_posetrack(result)


def describe_posetrack(result: poseval.AveragePrecision) -> str:
    """The protocol of a PoseTrack AP in one line."""
    text = (
        f"poseval: {result.persons} persons in {result.frames} frames, {result.predictions} predicted; match within {poseval.THRESHOLD:g}"
        f" head sizes ({poseval.HEAD_SHARE:g} x the head box's diagonal), joints ranked by their own confidence, mean over 15 joints"
    )
    return text + (f"; {result.unmatchable} head boxes have no size and match nobody" if result.unmatchable else "")


def _in_set(side: People, names: KeypointSet) -> People:
    """Persons in PoseTrack's 15 joints."""
    if names.name == poseval.JOINTS.name:
        return side
    order = [names.keypoints.index(name) if name in names.keypoints else -1 for name in poseval.JOINTS.keypoints]
    absent = np.array(order) < 0
    carried = {name: getattr(side, name)[:, order] for name in ("keypoints", "present", "visibility", "scores")}
    carried["present"] = carried["present"] & ~absent
    return People(**{name: carried.get(name, getattr(side, name)) for name in People.__dataclass_fields__})


def _with_persons(true: People, found: People) -> tuple[People, People]:
    """Only the predictions in frames that have a labelled person: poseval drops the others."""
    return true, found.select(np.isin(found.frame, true.frame))


def _oks(located: Located) -> tuple[pd.DataFrame, str]:
    rows = []
    for subset in pck.SUBSETS:
        if subset == "all" or _has(located.true, subset):
            stats = oks.average_precision(located.true, located.found, located.scores, located.names, subset)
            rows += [("mean", pck.subset_name(f"{name} (OKS)", subset), value) for name, value in stats.items() if not np.isnan(value)]
    text = f"pycocotools, sigmas of {located.names.name}, persons ranked by {located.ranked}, {located.nms}"
    return pd.DataFrame(rows, columns=_COLUMNS), text


def _has(true: People, subset: str) -> bool:
    """Whether a split by visibility says something: there are occluded joints at all, and joints of this state."""
    states = true.visibility[true.present]
    occluded = np.isin(states, pck.SUBSETS["occluded"])
    return bool(occluded.any() and np.isin(states, pck.SUBSETS[subset]).any())
