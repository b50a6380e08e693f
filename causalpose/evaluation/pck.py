"""PCK: the percentage of keypoints within a share of the person's size of the truth (Yang and Ramanan, TPAMI 2013).

The size is the clip's `scale` (the source says which length it is: the torso, here). Every value is in percent, 0 to 100. Joints that are
`UNLABELLED` or `OUTSIDE` are never counted; visible and occluded joints are counted apart, and together.
"""

import numpy as np
import pandas as pd

from causalpose.clip import Visibility
from causalpose.errors import CausalPoseError
from causalpose.skeletons import KeypointSet

# Which states of visibility each figure counts; the name is appended to the metric's, `all` is not.
SUBSETS: dict[str, tuple[Visibility, ...]] = {
    "all": (Visibility.VISIBLE, Visibility.SELF_OCCLUDED, Visibility.OCCLUDED),
    "visible": (Visibility.VISIBLE,),
    "occluded": (Visibility.SELF_OCCLUDED, Visibility.OCCLUDED),
}
THRESHOLDS = (0.2, 0.1)


def metric_name(threshold: float, subset: str = "all") -> str:
    """`PCK@0.2`, `PCK@0.2 visible`, `PCK@0.2 occluded`."""
    return f"PCK@{threshold:g}" + ("" if subset == "all" else f" {subset}")


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
