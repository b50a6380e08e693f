"""PCK: the percentage of keypoints within a share of the person's size of the truth (Yang and Ramanan, TPAMI 2013).

The size is the clip's `scale` (the source says which length it is: the torso, here). Every value is in percent, 0 to 100. Joints that are
`UNLABELLED` or `OUTSIDE` are never counted; visible and occluded joints are counted apart, and together.
"""

import numpy as np
import pandas as pd

from causalpose.clip import Visibility
from causalpose.errors import CausalPoseError
from causalpose.evaluation.people import People
from causalpose.skeletons import KeypointSet

# Which states of visibility each figure counts; the name is appended to the metric's, `all` is not.
SUBSETS: dict[str, tuple[Visibility, ...]] = {
    "all": (Visibility.VISIBLE, Visibility.SELF_OCCLUDED, Visibility.OCCLUDED),
    "visible": (Visibility.VISIBLE,),
    "occluded": (Visibility.SELF_OCCLUDED, Visibility.OCCLUDED),
}
THRESHOLDS = (0.2, 0.1)
# The lengths that data sets measure distances in, beside a clip's own `scale`: name, thresholds, and what it is.
SIZES: dict[str, tuple[tuple[float, ...], str]] = {
    "box": ((0.2, 0.1), "the longer side of the person's box (Sub-JHMDB)"),
    "torso": ((0.2, 0.1), "left shoulder to right hip (Sub-JHMDB, MPII's PCK)"),
    "head": ((0.5,), "0.6 x the diagonal of the head box (PCKh)"),
}


def metric_name(threshold: float, subset: str = "all") -> str:
    """`PCK@0.2`, `PCK@0.2 visible`, `PCK@0.2 occluded`."""
    return subset_name(f"PCK@{threshold:g}", subset)


def subset_name(metric: str, subset: str) -> str:
    """A metric's name for a subset of joints: `all` adds nothing."""
    return metric if subset == "all" else f"{metric} {subset}"


def base_name(metric: str) -> str:
    """The name without its subset."""
    return next((metric.removesuffix(f" {subset}") for subset in SUBSETS if metric.endswith(f" {subset}")), metric)


def size_metric_name(size: str, threshold: float, subset: str = "all") -> str:
    """`PCK@0.2 of box`, `PCK@0.2 of torso visible`, `PCKh@0.5`: the percentage within a share of a size of `SIZES`."""
    name = f"PCKh@{threshold:g}" if size == "head" else f"PCK@{threshold:g} of {size}"
    return subset_name(name, subset)


def person_sizes(persons: People, names: KeypointSet, size: str) -> np.ndarray:
    """A size of `SIZES` of each person `[P]`, pixels; nan where the labels do not give it (or give less than a pixel, as mistakes do)."""
    if size == "box":
        length = persons.box[:, 2:].max(1)
    elif size == "head":
        length = 0.6 * np.hypot(persons.head_box[:, 2], persons.head_box[:, 3])
    elif size == "torso":
        if not {"left_shoulder", "right_hip"} <= set(names.keypoints):
            return np.full(len(persons), np.nan)
        ends = [names.index("left_shoulder"), names.index("right_hip")]
        length = np.linalg.norm(persons.keypoints[:, ends[0]] - persons.keypoints[:, ends[1]], axis=-1)
        length = np.where(persons.present[:, ends].all(1), length, np.nan)
    else:
        raise CausalPoseError(f"PCK: unknown size {size!r}; known: {', '.join(SIZES)}")
    return np.where(length >= 1, length, np.nan)


def pck_by_size(found: np.ndarray, persons: People, names: KeypointSet) -> pd.DataFrame:
    """PCK in every size of `SIZES` that the labels give: columns as `pck`'s, and `persons`, the number that have the size.

    found `[P, K, 2]`: the pose predicted for each person, image pixels. Persons without a size are left out of its rows, not counted wrong.
    """
    parts = []
    for size, (thresholds, _) in SIZES.items():
        length = person_sizes(persons, names, size)
        known = np.isfinite(length)
        visibility = np.where(persons.present, persons.visibility, Visibility.UNLABELLED)[known]
        for threshold in thresholds if known.any() else ():
            table = pck(found[known], persons.keypoints[known], visibility, length[known], threshold, names)
            renamed = {metric_name(threshold, subset): size_metric_name(size, threshold, subset) for subset in SUBSETS}
            parts.append(table.assign(metric=table["metric"].map(renamed), persons=int(known.sum())))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["joint", "metric", "value", "count", "persons"])


def distances(pred: np.ndarray, truth: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Distances `[M, K]` in units of each clip's scale. pred, truth `[M, K, 2]`, scale `[M]`.

    A scale that is zero, negative or not finite is an error, not a perfect or a lost clip. A prediction that is not finite is
    infinitely far.
    """
    pred, truth, scale = np.asarray(pred, float), np.asarray(truth, float), np.asarray(scale, float)
    if pred.shape != truth.shape or pred.ndim != 3 or scale.shape != pred.shape[:1]:
        raise CausalPoseError(
            f"PCK: predictions {list(pred.shape)}, truth {list(truth.shape)} and scale {list(scale.shape)} must be [M, K, 2] twice and [M]"
        )
    bad = np.flatnonzero(~(np.isfinite(scale) & (scale > 0)))
    if bad.size:
        raise CausalPoseError(
            f"PCK: the scale of clip {bad[0]} is {scale[bad[0]]}; it must be a positive length in crop pixels ({bad.size} such clips)"
        )
    with np.errstate(invalid="ignore"):
        apart = np.linalg.norm(pred - truth, axis=-1) / scale[:, None]
    return np.where(np.isfinite(pred).all(-1), apart, np.inf)


def counted(visibility: np.ndarray, subset: str = "all") -> np.ndarray:
    """Which joints `[M, K]` a subset counts."""
    if subset not in SUBSETS:
        raise CausalPoseError(f"PCK: unknown subset {subset!r}; known: {', '.join(SUBSETS)}")
    return np.isin(visibility, SUBSETS[subset])


def pck(
    pred: np.ndarray, truth: np.ndarray, visibility: np.ndarray, scale: np.ndarray, threshold: float, keypoints: KeypointSet | None = None
) -> pd.DataFrame:
    """PCK of each joint and their mean, for all counted, visible and occluded joints: columns `joint`, `metric`, `value`, `count`.

    pred, truth `[M, K, 2]`, visibility `[M, K]`, scale `[M]`. `mean` is the mean over joints that have a count, as the field prints it (a
    rare joint weighs as much as a frequent one); its count is the sum. A joint that is never counted is not a row.
    A joint at exactly the threshold is right.
    """
    if not threshold > 0:
        raise CausalPoseError(f"PCK: threshold = {threshold} must be positive (a share of the scale)")
    apart = distances(pred, truth, scale)
    names = keypoints.keypoints if keypoints is not None else tuple(str(k) for k in range(apart.shape[1]))
    if len(names) != apart.shape[1]:
        raise CausalPoseError(f"PCK: predictions hold {apart.shape[1]} keypoints, but {keypoints.name} has {len(names)}")
    rows = []
    for subset in SUBSETS:
        used = counted(visibility, subset)
        counts = used.sum(0)
        right = ((apart <= threshold) & used).sum(0)
        metric = metric_name(threshold, subset)
        shares = [(name, 100 * r / n, n) for name, r, n in zip(names, right, counts, strict=True) if n]
        rows += [{"joint": name, "metric": metric, "value": value, "count": int(n)} for name, value, n in shares]
        if shares:
            mean = float(np.mean([value for _, value, _ in shares]))
            rows.append({"joint": "mean", "metric": metric, "value": mean, "count": int(counts.sum())})
    return pd.DataFrame(rows, columns=["joint", "metric", "value", "count"])


def clip_scores(
    pred: np.ndarray, truth: np.ndarray, visibility: np.ndarray, scale: np.ndarray, threshold: float, subset: str = "all"
) -> np.ndarray:
    """PCK of each clip `[M]`: the percentage of its counted joints that are right, nan where none is counted. For paired comparisons."""
    used = counted(visibility, subset)
    right = (distances(pred, truth, scale) <= threshold) & used
    with np.errstate(invalid="ignore"):
        return 100 * right.sum(1) / np.where(used.any(1), used.sum(1), np.nan)
