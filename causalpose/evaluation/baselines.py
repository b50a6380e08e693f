"""The predictor to beat first: everyone stands in the mean pose of the training set."""

import numpy as np
import torch

from causalpose.clip import Visibility
from causalpose.errors import CausalPoseError
from causalpose.evaluation.predictions import Predictions


class MeanPose:
    """The mean position of each joint in the crop, over the counted joints of a training source.

    A crop is centred on the person, so this is far better than chance; a model is of use only above it.
    """

    def __init__(self, keypoints: np.ndarray):
        self.keypoints = keypoints  # [K, 2], crop pixels

    @classmethod
    def fit(cls, source, batch: int = 256) -> "MeanPose":
        """Average the target frames of a source (anything with `len` and `batch`)."""
        total, count = 0.0, 0.0
        for start in range(0, len(source), batch):
            clip = source.batch(torch.arange(start, min(start + batch, len(source))))
            visibility = clip.visibility[:, clip.target].numpy()
            used = (visibility != Visibility.UNLABELLED) & (visibility != Visibility.OUTSIDE)
            points = clip.keypoints[:, clip.target].numpy().astype(np.float64)
            total = total + np.where(used[..., None], points, 0).sum(0)
            count = count + used.sum(0)
        if np.ndim(count) == 0 or (count == 0).all():
            raise CausalPoseError("mean pose: the training source has no labelled joint")
        mean = total / np.maximum(count, 1)[:, None]
        # A joint that is never labelled gets the middle of the others: any place will do, for it is never counted either.
        return cls(np.where((count > 0)[:, None], mean, mean[count > 0].mean(0)))

    def predict(self, source, batch: int = 256) -> Predictions:
        """The mean pose for every clip of a source, with confidence 1."""
        parts = []
        for start in range(0, len(source), batch):
            clip = source.batch(torch.arange(start, min(start + batch, len(source))))
            points = np.broadcast_to(self.keypoints.astype(np.float32), (len(clip), *self.keypoints.shape))
            parts.append(Predictions.of(clip, points, np.ones(points.shape[:2], np.float32)))
        return Predictions.concatenate(parts)
