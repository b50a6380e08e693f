"""Shuffled labels are another clip's."""

import torch

from causalpose.config import preset
from causalpose.data.placebo import ShuffledLabels
from causalpose.training.sources import training_source
from tests.training.dots import SMALL, Dots, config


def test_every_clip_carries_the_labels_of_another():
    source = Dots(config().model, count=9)
    shuffled = ShuffledLabels(source, seed=1)
    whole, plain = shuffled.batch(range(9)), source.batch(torch.arange(9))
    assert torch.equal(whole.frames, plain.frames) and not (shuffled.donor == torch.arange(9)).any()
    assert torch.equal(whole.keypoints, plain.keypoints[shuffled.donor]) and sorted(shuffled.donor.tolist()) == list(range(9))
    assert torch.equal(shuffled[4].keypoints, whole.keypoints[4]) and len(shuffled) == 9


def test_training_clips_only():
    chosen = preset("tiny", [*SMALL, "data.shuffled=true", "data.clips=4"])
    assert training_source(chosen).describe()["labels"].startswith("shuffled")
    assert not isinstance(training_source(chosen, split="val", clips=2), ShuffledLabels)
