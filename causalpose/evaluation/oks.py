"""Object keypoint similarity (COCO): the similarity itself, AP and AR through pycocotools, and the non-maximum suppression by it.

OKS of two poses is the mean over labelled joints of exp(-d^2 / (2 (2 sigma)^2 area)): `sigma` is the joint's constant
(`causalpose.skeletons`), `area` the person's, in square pixels. Where labels give no segment's area, it is the box's.
"""

import contextlib
import io

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from causalpose.errors import CausalPoseError
from causalpose.evaluation.pck import SUBSETS
from causalpose.evaluation.people import People
from causalpose.skeletons import KeypointSet

STATS = ("AP", "AP50", "AP75", "AP medium", "AP large", "AR", "AR50", "AR75", "AR medium", "AR large")
NMS_THRESHOLD = 0.9  # the field's (HRNet)
_TINY = np.spacing(1)


def similarity(points: np.ndarray, truth: np.ndarray, labelled: np.ndarray, area: np.ndarray, names: KeypointSet) -> np.ndarray:
    """OKS `[N, M]` of poses `[N, K, 2]` to poses `[M, K, 2]` with labelled joints `[M, K]` and areas `[M]`; nan where none is labelled."""
    if points.shape[-2] != len(names) or truth.shape[-2] != len(names):
        raise CausalPoseError(f"OKS: poses of {points.shape[-2]} and {truth.shape[-2]} keypoints, but {names.name} has {len(names)}")
    spread = (2 * np.asarray(names.sigmas)) ** 2
    apart = ((points[:, None] - truth[None]) ** 2).sum(-1)
    each = np.exp(-apart / (2 * spread * (np.asarray(area)[:, None] + _TINY)))
    counts = labelled.sum(-1)
    return np.where(labelled, each, 0).sum(-1) / np.where(counts, counts, np.nan)


def nms(keypoints: np.ndarray, scores: np.ndarray, area: np.ndarray, names: KeypointSet, threshold: float = NMS_THRESHOLD) -> np.ndarray:
    """Positions of the poses `[N, K, 2]` of one image that stay, best score `[N]` first.

    A pose goes where its OKS to a better one that stays is above the threshold (every joint counts, the area is the mean of the two). Of
    equal scores the earlier stays.
    """
    if not 0 < threshold <= 1:
        raise CausalPoseError(f"OKS-NMS: threshold = {threshold} must be in (0, 1]")
    kept: list[int] = []
    every = np.ones((1, len(names)), bool)
    for i in np.argsort(-np.asarray(scores), kind="stable"):
        close = (similarity(keypoints[j][None], keypoints[i][None], every, [(area[i] + area[j]) / 2], names)[0, 0] for j in kept)
        if not any(value > threshold for value in close):
            kept.append(int(i))
    return np.array(kept, dtype=int)


def average_precision(true: People, found: People, person_scores: np.ndarray, names: KeypointSet, subset: str = "all") -> dict[str, float]:
    """COCO's ten keypoint figures (`STATS`) in percent, nan where there is nothing to count.

    `person_scores` `[Q]` rank the predictions. With `subset` `visible` or `occluded` only joints of that state are labelled. Crowd boxes
    and persons without a counted joint are ignored, as COCO does; so are, in AP medium and large, persons of other sizes. Every predicted
    person needs all keypoints: OKS knows no missing prediction.
    """
    if subset not in SUBSETS:
        raise CausalPoseError(f"OKS AP: unknown subset {subset!r}; known: {', '.join(SUBSETS)}")
    if not len(true):
        raise CausalPoseError("OKS AP: the ground truth has no person")
    labelled = true.present if subset == "all" else true.present & np.isin(true.visibility, SUBSETS[subset])
    if not (np.isfinite(true.area) & (true.area > 0))[labelled.any(1)].all():
        raise CausalPoseError("OKS AP: a labelled person has neither an area nor a box")
    if not np.isfinite(found.keypoints).all() or not np.isfinite(person_scores).all():
        raise CausalPoseError("OKS AP: predictions hold joints or scores that are not finite numbers")
    images = sorted({int(number) for number in true.frame})
    used = np.isin(found.frame, images)
    places = np.where(labelled[..., None], true.keypoints, 0.0)  # what is not labelled may hold anything
    truth = {
        "images": [{"id": number} for number in images],
        "categories": [{"id": 1, "name": "person", "keypoints": list(names.keypoints)}],
        "annotations": [
            {
                "id": i + 1, "image_id": int(true.frame[i]), "category_id": 1, "iscrowd": int(true.crowd[i]),
                "area": float(np.nan_to_num(true.area[i])), "bbox": np.nan_to_num(true.box[i]).tolist(),
                "num_keypoints": int(labelled[i].sum()), "keypoints": _flat(places[i], 2 * labelled[i]),
            }
            for i in range(len(true))
        ],
    }  # fmt: skip
    results = [
        {"image_id": int(found.frame[i]), "category_id": 1, "score": float(person_scores[i])}
        | {"keypoints": _flat(found.keypoints[i], np.ones(len(names)))}
        for i in np.flatnonzero(used)
    ]
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        if not results:
            return {name: 0.0 if labelled.any() else float("nan") for name in STATS}
        scoring = COCOeval(coco, coco.loadRes(results), "keypoints")
        scoring.params.kpt_oks_sigmas = np.asarray(names.sigmas)
        scoring.evaluate()
        scoring.accumulate()
        scoring.summarize()
    return {name: float("nan") if value < 0 else 100 * float(value) for name, value in zip(STATS, scoring.stats, strict=True)}


def _flat(points: np.ndarray, third: np.ndarray) -> list[float]:
    """COCO's flat list x, y, v of a pose."""
    return np.concatenate([points, np.asarray(third, float)[:, None]], 1).flatten().tolist()
