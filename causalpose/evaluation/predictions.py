"""`Predictions`: what a predictor said about every clip of a source, with the truth beside it, so that each metric is a pure function."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from causalpose.clip import Clip
from causalpose.errors import CausalPoseError


@dataclass(frozen=True)
class Predictions:
    """Poses of `M` clips at their target frames.

    keypoints    float32 `[M, K, 2]`, predicted, crop pixels (x, y)
    scores       float32 `[M, K]`, confidences
    truth        float32 `[M, K, 2]`; visibility uint8 `[M, K]`; scale float32 `[M]`, the length PCK normalises by, crop pixels
    condition    uint8 `[M]`, index into `causalpose.clip.CONDITION_CODES`
    index        int64 `[M]`, number of the clip in its source: the key for pairing two predictors
    """

    keypoints: np.ndarray
    scores: np.ndarray
    truth: np.ndarray
    visibility: np.ndarray
    scale: np.ndarray
    condition: np.ndarray
    index: np.ndarray

    def __post_init__(self):
        lengths = {f.name: len(getattr(self, f.name)) for f in fields(self)}
        if len(set(lengths.values())) > 1:
            raise CausalPoseError(f"predictions of unequal lengths: {lengths}")

    def __len__(self) -> int:
        return len(self.keypoints)

    def select(self, chosen: np.ndarray) -> "Predictions":
        """The clips at these positions (indices or a boolean mask)."""
        return Predictions(**{f.name: getattr(self, f.name)[chosen] for f in fields(self)})

    @classmethod
    def of(cls, clip: Clip, keypoints: np.ndarray, scores: np.ndarray) -> "Predictions":
        """Predictions `[B, K, 2]` and scores `[B, K]` for a batch of clips, with the truth taken from it."""
        target = clip.target
        truth = {"truth": clip.keypoints[:, target], "visibility": clip.visibility[:, target]}
        truth |= {name: getattr(clip, name) for name in ("scale", "condition", "index")}
        return cls(np.asarray(keypoints), np.asarray(scores), **{name: tensor.cpu().numpy() for name, tensor in truth.items()})

    @classmethod
    def concatenate(cls, parts: Sequence["Predictions"]) -> "Predictions":
        """Join predictions of several batches."""
        if not parts:
            raise CausalPoseError("there are no predictions to join: the source has no clip")
        return cls(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)})
