"""Few labels, many clips."""

import pytest
import torch

from causalpose.clip import Visibility
from causalpose.errors import CausalPoseError
from causalpose.training import labels, log, loop, randomness
from tests.training.dots import Dots, config


def test_half_of_every_shard_is_labelled_and_every_clip_comes_once_before_any_comes_twice():
    taken = torch.cat([labels.shard_indices(0, step, 30, 2, 5, 6) for step in range(6)])  # [12, 5]
    assert taken.shape == (12, 5)
    known, others = taken[:, :3], taken[:, 3:]
    assert (known < 6).all() and (others >= 6).all()
    assert known.flatten().bincount().tolist() == [6] * 6 and others.flatten().bincount()[6:].tolist() == [1] * 24
    assert torch.equal(labels.shard_indices(0, 3, 30, 2, 5, None), randomness.step_indices(0, 3, 30, 10).view(2, 5))


def test_an_unlabelled_clip_has_nothing_left_of_its_labels():
    settings = config()
    clip = labels.hide(Dots(settings.model).batch(torch.tensor([1, 7])), torch.tensor([1, 7]), 4)
    assert (clip.visibility[0] == Visibility.VISIBLE).all() and (clip.keypoints[0] > 0).all()
    assert (clip.visibility[1] == Visibility.UNLABELLED).all() and (clip.keypoints[1] == 0).all()


def test_unlabelled_clips_teach_through_the_tasks_alone(tmp_path):
    """The pose loss does not see what the unlabelled clips' keypoints are."""
    settings, rows = config("model.stage=1", "data.labels=4", "train.steps=1"), []
    for name, moved in (("a", 0.0), ("b", 3.0)):
        source = Dots(settings.model)
        source.clips.keypoints[4:] += moved
        rows.append(log.read(loop.train(settings, source, tmp_path / name, progress=False) / "log.csv")[0])
    assert rows[0]["pose"] == rows[1]["pose"] and rows[0]["mask"] == rows[1]["mask"]


def test_as_many_labels_as_clips_are_no_regime():
    settings = config("model.stage=1", "data.labels=24")
    with pytest.raises(CausalPoseError, match="data.labels = 24, but there are 24 training clips"):
        loop.train(settings, Dots(settings.model), "never")
