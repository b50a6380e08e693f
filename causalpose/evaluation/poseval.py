"""PoseTrack's average precision, as its evaluator `poseval` defines it (Andriluka et al., PoseTrack, CVPR 2018).

Frame by frame:

1. frames without a labelled person are dropped; joints strictly inside an ignore polygon are dropped from both sides;
2. a joint *matches* where distance / head size <= 0.5; the head size is 0.6 x the diagonal of the true person's head box;
3. the likeness of a prediction to a person is the share of the person's labelled joints that match. Every prediction takes its most like
   person (the first of equals), then every person the most like of the predictions that took it (the first again): greedy both ways;
4. each predicted joint is a true positive where its prediction is the person's and the joint matches, else a false positive: also a joint
   that is not labelled, and every joint of a prediction that got nobody.

Over all frames, per joint: predicted joints ranked by their *own* score, recall against the labelled joints, VOC average precision
(area under the precision envelope). The mean is over the 15 joints; ears are no joints. All values in percent.

A person with a head box of no size is matched by nobody (a distance over zero), and its joints are missed: a file with such boxes scores
less than 100 against itself, in poseval too. Of equal scores poseval leaves the order open; here the one listed earlier comes first.
A joint that is nowhere labelled has no AP (nan) and is left out of the mean; with no prediction of it either, poseval would count 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from causalpose.data.labels import Frame, PoseSequence
from causalpose.errors import CausalPoseError
from causalpose.evaluation.pck import SUBSETS
from causalpose.evaluation.people import People, file_set, join, people
from causalpose.skeletons import keypoint_set

JOINTS = keypoint_set("posetrack15")
HEAD_SHARE = 0.6  # of the head box's diagonal
THRESHOLD = 0.5  # head sizes
# The columns of the field's tables.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "Head": ("nose", "head_bottom", "head_top"),
    "Sho": ("left_shoulder", "right_shoulder"),
    "Elb": ("left_elbow", "right_elbow"),
    "Wri": ("left_wrist", "right_wrist"),
    "Hip": ("left_hip", "right_hip"),
    "Knee": ("left_knee", "right_knee"),
    "Ank": ("left_ankle", "right_ankle"),
}
_PAIRS = 50_000  # prediction-person pairs compared at once: bounds memory to some tens of MB


@dataclass(frozen=True)
class AveragePrecision:
    """The result: `table` has a row a joint (joint, ap, precision, recall in percent; labelled, predicted: counts), then `mean`.

    frames, persons, predictions: what was counted; unmatchable: persons with a head box of no size.
    """

    table: pd.DataFrame
    frames: int
    persons: int
    predictions: int
    unmatchable: int

    @property
    def mean(self) -> float:
        """mAP in percent: over the 15 joints (those that are labelled at all)."""
        return float(self.table.ap.iloc[-1])

    def groups(self) -> dict[str, float]:
        """The field's columns: Head, Sho, Elb, Wri, Hip, Knee, Ank (means over their joints), Mean."""
        ap = dict(zip(self.table.joint, self.table.ap, strict=True))
        return {name: float(np.mean([ap[joint] for joint in joints])) for name, joints in GROUPS.items()} | {"Mean": self.mean}


def average_precision(
    truth: Sequence[PoseSequence], predicted: Sequence[PoseSequence], *, threshold: float = THRESHOLD, subset: str = "all"
) -> AveragePrecision:
    """mAP of predicted sequences against labelled ones, joined by name and image id (`causalpose.evaluation.people.join`).

    `subset` is one of `causalpose.evaluation.pck.SUBSETS`: with `visible` or `occluded` the joints of other states count on neither side,
    while persons are still assigned by all their joints (*ours*: poseval does not split by visibility).
    """
    pairs = join(truth, predicted)
    true, found = (people([pair[side] for pair in pairs], file_set(sequences), JOINTS) for side, sequences in ((0, truth), (1, predicted)))
    return of_people(true, found, [pair[0] for pair in pairs], threshold=threshold, subset=subset)


def of_people(
    true: People, found: People, frames: Sequence[Frame], *, threshold: float = THRESHOLD, subset: str = "all"
) -> AveragePrecision:
    """The same of persons as arrays, in the set `posetrack15`; `frames` are the true frames by number (for their ignore polygons)."""
    if subset not in SUBSETS:
        raise CausalPoseError(f"PoseTrack AP: unknown subset {subset!r}; known: {', '.join(SUBSETS)}")
    if not len(true):
        raise CausalPoseError("PoseTrack AP: the ground truth has no labelled frame with a person")
    head = head_sizes(true, frames)
    true_there, found_there = (side.present & ~_ignored(side, frames) for side in (true, found))
    _check_finite(found, found_there)
    _check_order(true, found, true_there, found_there, head, threshold)
    taker = _assign(true, found, true_there, found_there, head, threshold)

    right = np.zeros(found_there.shape, dtype=bool)
    (matched,) = np.nonzero(taker >= 0)
    person = taker[matched]
    right[matched] = _matches(true, found, true_there, found_there, head, threshold, person, matched)
    counted, labelled = found_there.copy(), true_there
    if subset != "all":
        wanted = np.isin(true.visibility, SUBSETS[subset])
        labelled = true_there & wanted
        counted[matched] &= ~true_there[person] | wanted[person]
    rows = [
        (name, *_rank(found.scores[counted[:, k], k], right[counted[:, k], k], int(labelled[:, k].sum())))
        for k, name in enumerate(JOINTS.keypoints)
    ]
    table = pd.DataFrame(rows, columns=["joint", "ap", "precision", "recall", "labelled", "predicted"])
    means = {name: table[name].mean() for name in ("ap", "precision", "recall")}
    mean = {"joint": "mean"} | means | {name: table[name].sum() for name in ("labelled", "predicted")}
    table = pd.concat([table, pd.DataFrame([mean])], ignore_index=True)
    return AveragePrecision(table, len(frames), len(true), len(found), int((head == 0).sum()))


def head_sizes(true: People, frames: Sequence[Frame]) -> np.ndarray:
    """0.6 x the diagonal of each person's head box `[P]`, pixels; a person without one is an error."""
    bad = np.flatnonzero(~np.isfinite(true.head_box).all(1) & true.present.any(1))
    if bad.size:
        frame = frames[true.frame[bad[0]]]
        raise CausalPoseError(
            f"PoseTrack AP: a person in image {frame.image_id} ({frame.file_name}) has no bbox_head ({bad.size} such persons); distances"
            " are measured in head sizes, so the ground truth needs it"
        )
    return HEAD_SHARE * np.hypot(true.head_box[:, 2], true.head_box[:, 3])


def _ignored(persons: People, frames: Sequence[Frame]) -> np.ndarray:
    """Which joints `[P, K]` lie strictly inside an ignore polygon of their frame."""
    out = np.zeros(persons.present.shape, dtype=bool)
    starts = np.searchsorted(persons.frame, np.arange(len(frames) + 1))
    for number, frame in enumerate(frames):
        rows = slice(starts[number], starts[number + 1])
        for polygon in frame.ignore if rows.stop > rows.start else ():
            out[rows] |= inside(persons.keypoints[rows], polygon)
    return out


def inside(points: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Whether points `[..., 2]` lie strictly inside a polygon `[V, 2]` (even-odd rule; its outline is outside)."""
    x, y = points[..., 0], points[..., 1]
    out = np.zeros(x.shape, dtype=bool)
    near = ((points > polygon.min(0)) & (points < polygon.max(0))).all(-1) if len(polygon) > 2 else out
    if not near.any():
        return out
    px, py = x[near][:, None], y[near][:, None]
    (ax, ay), (bx, by) = polygon.T, np.roll(polygon, -1, axis=0).T
    turn = (bx - ax) * (py - ay) - (by - ay) * (px - ax)  # the side of the edge a-b that the point lies on
    crosses = (ay <= py) != (by <= py)
    to_the_right = (turn > 0) == (by > ay)  # of the point: a ray to positive x meets the edge
    between = (np.minimum(ax, bx) <= px) & (px <= np.maximum(ax, bx)) & (np.minimum(ay, by) <= py) & (py <= np.maximum(ay, by))
    on_outline = ((turn == 0) & between).any(1)
    out[near] = ((crosses & to_the_right).sum(1) % 2 == 1) & ~on_outline
    return out


def _check_finite(found: People, there: np.ndarray) -> None:
    if not (np.isfinite(found.keypoints).all(-1) & np.isfinite(found.scores))[there].all():
        raise CausalPoseError("PoseTrack AP: predictions hold joints or scores that are not finite numbers")


def _matches(true, found, true_there, found_there, head, threshold, person, prediction) -> np.ndarray:
    """Which joints `[N, K]` match in the N pairs of a person and a prediction, given by position."""
    apart = found.keypoints[prediction] - true.keypoints[person]
    apart *= apart
    with np.errstate(divide="ignore", invalid="ignore"):
        close = np.sqrt(apart[..., 0] + apart[..., 1]) / head[person, None] <= threshold
    return close & true_there[person] & found_there[prediction]


def _assign(true, found, true_there, found_there, head, threshold) -> np.ndarray:
    """The person `[Q]` that each prediction is assigned to, -1 for none: greedy both ways."""
    frames = int(max(true.frame.max(), found.frame.max(initial=0))) + 1
    starts = np.searchsorted(true.frame, np.arange(frames + 1))
    choices = (starts[1:] - starts[:-1])[found.frame]  # persons in each prediction's frame
    labelled = true_there.sum(1)
    best, likeness = np.full(len(found), -1), np.zeros(len(found))
    ends = np.cumsum(choices)
    first = 0
    while first < len(found):
        last = max(first + 1, int(np.searchsorted(ends, ends[first] + _PAIRS)))
        part = np.arange(first, last)[choices[first:last] > 0]
        first = last
        if not part.size:
            continue
        counts = choices[part]
        segments = np.cumsum(counts) - counts
        person = np.arange(counts.sum()) - np.repeat(segments, counts) + np.repeat(starts[found.frame[part]], counts)
        hits = _matches(true, found, true_there, found_there, head, threshold, person, np.repeat(part, counts)).sum(1)
        share = hits / np.maximum(labelled[person], 1)
        highest = np.maximum.reduceat(share, segments)
        place = np.where(share == np.repeat(highest, counts), person, len(true))
        best[part], likeness[part] = np.minimum.reduceat(place, segments), highest
    order = np.lexsort((np.arange(len(found)), -likeness, best))
    order = order[likeness[order] > 0]
    _, position = np.unique(best[order], return_index=True)  # the first of each person's run: the most like prediction
    taker = np.full(len(found), -1)
    taker[order[position]] = best[order[position]]
    return taker


def _rank(scores: np.ndarray, right: np.ndarray, labelled: int) -> tuple[float, float, float, int, int]:
    """AP, final precision and recall in percent of one joint's predictions, with the counts."""
    if labelled == 0:
        return float("nan"), float("nan"), float("nan"), 0, len(scores)
    if len(scores) == 0:
        return 0.0, 0.0, 0.0, labelled, 0
    right = right[np.argsort(-scores, kind="stable")]
    hits = np.cumsum(right)
    precision = hits / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    area = envelope[right].sum() / labelled  # each hit raises the recall by 1 / labelled
    return 100 * float(area), 100 * float(precision[-1]), 100 * float(hits[-1]) / labelled, labelled, len(scores)


def _check_order(true, found, true_there, found_there, head, threshold) -> None:
    """Refuse joints in a wrong order: under another naming of the slots the joints match, under the file's own they do not.

    Predictions and persons are paired by the overlap of their joints' extents, which does not depend on the order. No bad model meets the
    rule: at least two slots match the joint of another name in 60 % of the pairs, and their own in less than 20 %.
    """
    person, prediction = _overlapping(true, found, true_there, found_there)
    if len(person) < 5:
        return
    joints = len(JOINTS)
    share = np.zeros((joints, joints))  # [slot, joint]
    for slot in range(joints):
        apart = np.linalg.norm(found.keypoints[prediction, slot, None] - true.keypoints[person], axis=-1)
        both = found_there[prediction, slot, None] & true_there[person]
        with np.errstate(divide="ignore", invalid="ignore"):
            close = (apart / head[person, None] <= threshold) & both
        share[slot] = np.where(both.sum(0) >= 5, close.sum(0) / np.maximum(both.sum(0), 1), 0)
    slots, named = linear_sum_assignment(-share)
    mixed = (slots != named) & (share[slots, named] > 0.6) & (np.diag(share) < 0.2)
    if mixed.sum() >= 2:
        slot, joint = slots[mixed][0], named[mixed][0]
        raise CausalPoseError(
            f"predictions: wrong keypoint order: what the file calls {JOINTS.keypoints[slot]} lies on the true {JOINTS.keypoints[joint]} in"
            f" {100 * share[slot, joint]:.0f} % of the persons, and on its own place in {100 * share[slot, slot]:.0f} %"
            f" ({mixed.sum()} such joints); write the keypoints in the order of the categories' list"
        )


def _overlapping(true, found, true_there, found_there) -> tuple[np.ndarray, np.ndarray]:
    """Up to some hundred pairs (person, prediction) whose extents overlap by half (intersection over union)."""

    def extents(side: People, there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        points = np.where(there[..., None], side.keypoints, np.nan)
        full = there.sum(1) >= 5
        low, high = np.full((len(side), 2), np.inf), np.full((len(side), 2), -np.inf)
        low[full], high[full] = np.nanmin(points[full], 1), np.nanmax(points[full], 1)
        return low, high

    (low, high), (found_low, found_high) = extents(true, true_there), extents(found, found_there)
    persons, predictions = [], []
    starts = np.searchsorted(found.frame, np.arange(int(true.frame.max()) + 2))
    step = max(1, len(true) // 300)
    for i in range(0, len(true), step):
        rows = np.arange(starts[true.frame[i]], starts[true.frame[i] + 1])
        if not rows.size or not np.isfinite(low[i]).all():
            continue
        shared = np.prod(np.maximum(np.minimum(high[i], found_high[rows]) - np.maximum(low[i], found_low[rows]), 0), axis=1)
        sizes = np.prod(np.maximum(found_high[rows] - found_low[rows], 0), axis=1) + np.prod(high[i] - low[i])
        overlap = np.where(shared > 0, shared / np.maximum(sizes - shared, 1e-9), 0.0)
        if overlap.max() >= 0.5:
            persons.append(i)
            predictions.append(rows[overlap.argmax()])
    return np.array(persons, dtype=int), np.array(predictions, dtype=int)


# -------------------------------------------------------------------------------------------------------- published tables


def published_mean(groups: Mapping[str, float]) -> float:
    """The 15-joint mean of a table's row: (3 Head + 2 (Sho + Elb + Wri + Hip + Knee + Ank)) / 15."""
    missing = [name for name in GROUPS if name not in groups]
    if missing:
        raise CausalPoseError(f"published row: missing {', '.join(missing)}; needed: {', '.join(GROUPS)}")
    return sum(len(joints) * float(groups[name]) for name, joints in GROUPS.items()) / len(JOINTS)


def check_published(rows: pd.DataFrame, digits: int = 1) -> pd.DataFrame:
    """Whether the printed means of published rows follow from their columns.

    rows      columns Head, Sho, Elb, Wri, Hip, Knee, Ank, Mean (and any others, kept), in percent, printed with `digits` decimals
    returns   the rows with `computed` (the 15-joint mean), `difference` (printed - computed) and `possible`: whether rounding explains it.
              The columns were rounded by half a unit of the last digit at most, so their mean was too; the printed mean adds another half.
    """
    if "Mean" not in rows:
        raise CausalPoseError("published rows need a column Mean beside the joint groups")
    computed = [published_mean(row) for row in rows.to_dict("records")]
    difference = rows["Mean"].astype(float) - computed
    return rows.assign(computed=computed, difference=difference, possible=difference.abs() <= 10.0**-digits + 1e-9)
