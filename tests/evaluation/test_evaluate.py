"""Evaluation: the flip test is exact, the truth scores 100, conditions are kept apart, the mean pose is the mean."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from causalpose.clip import Visibility
from causalpose.config import DataConfig, ModelConfig
from causalpose.data.source import PersonSource
from causalpose.errors import CausalPoseError
from causalpose.evaluation import poses
from causalpose.evaluation.baselines import MeanPose
from causalpose.evaluation.evaluate import evaluate, measure, predict_source
from causalpose.evaluation.predictions import Predictions
from causalpose.model import heatmaps
from causalpose.model.cmpose import CMPose, Output
from causalpose.skeletons import keypoint_set
from tests.evaluation.fakes import FakeSource, small_config


class Oracle(nn.Module):
    """A model that looks the truth up: it knows each clip by a pixel, and mirrored clips by the pixel's mirror image."""

    def __init__(self, source, config, kind="ce"):
        super().__init__()
        self.config, self.kind = config, kind
        self.register_buffer("clips", source.clips.frames)
        self.keypoints, self.visibility = source.clips.keypoints[:, 1], source.clips.visibility[:, 1]

    def forward(self, frames, truth=None):
        order = list(keypoint_set("posetrack15").flip_order)
        out = []
        for clip in frames:
            straight = (self.clips == clip).flatten(1).all(1).nonzero()
            mirrored = (self.clips.flip(-1) == clip).flatten(1).all(1).nonzero()
            points = self.keypoints[(straight if len(straight) else mirrored)[0, 0]]
            if not len(straight):
                points = (torch.tensor([self.config.width - 1.0, 0]) - points * torch.tensor([1.0, -1.0]))[order]
            target, _ = heatmaps.encode(points, torch.ones(15), self.config, 1.0)
            out.append(target.clamp_min(1e-6).log() if self.kind == "ce" else target)
        return Output(torch.stack(out))


@pytest.mark.parametrize("kind", ["ce", "mse"])
@pytest.mark.parametrize("flip_test", [False, True])
def test_the_truth_scores_100(kind, flip_test):
    """A mistake of half a cell in the flip, or of left and right, would fail at this threshold: 0.01 x 20 = 0.2 pixel."""
    config = small_config()
    source = FakeSource(config=config)
    predictions = predict_source(Oracle(source, config, kind), source, 4, flip_test=flip_test, kind=kind)
    table = measure(predictions, "posetrack15", (0.01,))
    assert (table.value == 100).all()
    # A peak between four cells is at most half a cell off on both axes: exp(-0.25) = 0.78 of its height.
    assert (predictions.scores > (0.9 if kind == "ce" else 0.77)).all() and (predictions.scores <= 1).all()


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_a_mirrored_clip_gives_the_mirrored_pose(stage):
    """With the flip test, prediction(mirror(clip)) = mirror(prediction(clip)) for any model: both averages hold the same two maps."""
    config = small_config(stage=stage)
    model, source = CMPose(config), FakeSource(config=config)
    mirrored = FakeSource(config=config)
    mirrored.clips = replace(source.clips, frames=source.clips.frames.flip(-1))
    order = list(keypoint_set("posetrack15").flip_order)
    straight = predict_source(model, source).keypoints
    flipped = predict_source(model, mirrored).keypoints[:, order] * [-1, 1] + [config.width - 1, 0]
    assert np.abs(straight - flipped).max() < 0.02
    assert np.abs(straight - predict_source(model, source, flip_test=False).keypoints).max() > 0.02, "the flip test changes something"


def test_batch_size_does_not_matter_and_the_mode_is_left():
    config = small_config()
    model, source = CMPose(config).train(), FakeSource(size=5, config=config)
    one, all_ = predict_source(model, source, 1), predict_source(model, source, 5)
    assert np.abs(one.keypoints - all_.keypoints).max() < 1e-2
    assert model.training
    assert all_.index.tolist() == [0, 1, 2, 3, 4]


def test_conditions_are_kept_apart():
    config = small_config()
    source = FakeSource(size=6, config=config, conditions=2)
    predictions = predict_source(Oracle(source, config), source, flip_test=False)
    predictions.keypoints[predictions.condition == 1] += 1000
    table = measure(predictions, "posetrack15", (0.2,), study="s", variant="v", seed=4, dataset="d").query(
        "joint == 'mean' and metric == 'PCK@0.2'"
    )
    assert dict(zip(table.condition, table.value, strict=True)) == {"all": 50, "clean": 100, "occluded": 0}
    assert (table.study == "s").all() and (table.seed == 4).all()


def test_evaluate_names_the_data_set():
    source = FakeSource()
    table = evaluate(CMPose(small_config()), source, flip_test=False)
    assert (table.dataset == "fake/val").all() and set(table.metric) >= {"PCK@0.2", "PCK@0.1", "PCK@0.2 visible"}


def test_keypoints_of_another_set_are_refused():
    with pytest.raises(CausalPoseError, match="the model predicts coco17"):
        predict_source(CMPose(small_config(keypoints="coco17")), FakeSource())


def test_confidence_is_the_probability_of_the_place():
    """A flat map of 16 x 12... cells has 25 / cells around any inner peak; a sharp one has all."""
    config = small_config()
    rows, columns = config.heatmap_size
    flat = torch.zeros(1, 15, rows, columns)
    flat[..., 8, 8] = 1e-3
    _, scores = poses.poses(poses.to_maps(flat, "ce"), config, "ce")
    assert scores == pytest.approx(25 / (rows * columns), rel=0.01)
    flat[..., 8, 8] = 50
    assert poses.poses(poses.to_maps(flat, "ce"), config, "ce")[1] == pytest.approx(1)


def test_truth_for_the_oracle_is_mirrored_on_the_grid():
    config = small_config()
    rows, columns = config.grid
    truth = torch.arange(rows * columns).float()[None, None]
    assert poses.flip_truth(truth, config)[0, 0, :columns].tolist() == list(range(columns))[::-1]
    assert poses.flip_truth(None, config) is None


def test_mean_pose_by_hand():
    """Joint 0 at x = 10 and 20 with the second unlabelled: the mean is 10; joint 1 is outside in both: it gets the others' middle."""
    source = FakeSource(size=2)
    source.clips.keypoints[:] = 30.0
    source.clips.keypoints[0, :, 0, 0], source.clips.keypoints[1, :, 0, 0] = 10.0, 20.0
    source.clips.visibility[1, :, 0] = Visibility.UNLABELLED
    source.clips.visibility[:, :, 1] = Visibility.OUTSIDE
    mean = MeanPose.fit(source)
    assert mean.keypoints[0].tolist() == [10, 30] and mean.keypoints[2].tolist() == [30, 30]
    assert mean.keypoints[1] == pytest.approx([(10 + 13 * 30) / 14, 30])
    predictions = mean.predict(source, batch=1)
    assert predictions.keypoints.shape == (2, 15, 2) and np.array_equal(predictions.keypoints[0], predictions.keypoints[1])
    source.clips.visibility[:] = Visibility.UNLABELLED
    with pytest.raises(CausalPoseError, match="no labelled joint"):
        MeanPose.fit(source)


def test_predictions_of_unequal_lengths():
    source = FakeSource(size=3)
    good = Predictions.of(source.clips, np.zeros((3, 15, 2)), np.zeros((3, 15)))
    assert len(good.select(np.array([True, False, True]))) == 2
    with pytest.raises(CausalPoseError, match="unequal lengths"):
        replace(good, index=np.arange(2))
    with pytest.raises(CausalPoseError, match="no predictions"):
        Predictions.concatenate([])


def test_the_mean_pose_on_real_video(shared_data):
    """On the very clips it was made from the mean pose gets some joints right, never most: real people move."""
    source = PersonSource(shared_data / "pose2sim_video", "val_other", ModelConfig(frames=1), DataConfig())
    table = measure(MeanPose.fit(source).predict(source), "posetrack15").query("joint == 'mean' and metric == 'PCK@0.2'")
    assert 30 < table.value.item() < 80
