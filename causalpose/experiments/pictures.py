"""Pictures of a notebook's model on its test clips: predictions over frames, token maps, and differences between arms."""

from collections.abc import Sequence

import pandas as pd
import torch
from matplotlib.figure import Figure

from causalpose.clip import Clip
from causalpose.errors import CausalPoseError
from causalpose.evaluation.evaluate import predict_source
from causalpose.evaluation.predictions import Predictions
from causalpose.experiments.measure import TestSet
from causalpose.experiments.studies import Training
from causalpose.model.cmpose import CMPose, Output
from causalpose.plotting import results, skeleton, tokens
from causalpose.training import checkpoint
from causalpose.training.truth import body_share


class _Few:
    """Some clips of a source as a source."""

    def __init__(self, source, numbers: Sequence[int]):
        self.source, self.numbers = source, torch.as_tensor(list(numbers))

    def __len__(self) -> int:
        return len(self.numbers)

    def batch(self, indices) -> Clip:
        return self.source.batch(self.numbers[torch.as_tensor(indices)])


def prediction_strip(training: Training, condition: str = "clean", number: int = 0) -> Figure:
    """The frames of one test clip with the true pose, and the target frame with the prediction over it."""
    source = _source(training.sets, condition)
    model, config, _ = checkpoint.load(training.checkpoint)
    found: Predictions = predict_source(model, _Few(source, [number]), flip_test=False, kind=config.train.loss)
    title = f"test clip {number}, {condition.replace('_', ' ')}"
    return skeleton.clip_strip(source[number], found.keypoints[0], names=config.model.keypoints, title=title)


def token_figures(training: Training, condition: str = "clean", number: int = 0, joint: str = "left_wrist") -> list[Figure]:
    """Stage 2 on one test clip: importance with the causal tokens outlined, the clusters of the others, and one joint's importance."""
    source = _source(training.sets, condition)
    model, config, _ = checkpoint.load(training.checkpoint)
    if config.model.stage != 2:
        raise CausalPoseError(f"token maps need a stage-2 model; this one is stage {config.model.stage}")
    clip, maps = source[number], _forward(model, source.batch(torch.tensor([number]))).maps
    where = f"test clip {number}, {condition.replace('_', ' ')}"
    ranked = maps["importance"][0]
    ranked = ranked - ranked.min().clamp_max(0)  # the selector `bottom` ranks by a negative score
    return [
        tokens.importance_map(clip, ranked, maps["causal"][0], title=f"What the selector `{config.model.fte.selector}` ranks by ({where})"),
        tokens.cluster_map(clip, maps["clusters"][0], title="Clusters of the non-causal tokens"),
        tokens.keypoint_importance(
            clip, maps["importance_per_keypoint"][0], [joint], names=config.model.keypoints, title="Importance for one joint"
        ),
    ]


def differences(compared: pd.DataFrame, metric: str = "PCK@0.2") -> Figure:
    """Paired differences with their intervals over seeds and clips, every arm against its reference."""
    return results.forest_plot(compared, metric)


@torch.no_grad()
def _forward(model: CMPose, clip: Clip) -> Output:
    oracle = model.config.fte.selector == "oracle"
    return model(clip.frames, truth=body_share(clip, model.config) if oracle else None, return_maps=True)


def _source(sets: Sequence[TestSet], condition: str):
    """The test clips of a condition; real video has one set only, whatever the condition."""
    by_condition = {getattr(test.source, "condition", "clean"): test.source for test in sets}
    if condition in by_condition:
        return by_condition[condition]
    return next(iter(by_condition.values()))
