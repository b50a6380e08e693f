"""What the benchmark of training steps compares with."""

import pytest
import torch

from causalpose.benchmark.training import CLEAN, Plain
from causalpose.config import preset
from causalpose.model.cmpose import CMPose


@pytest.mark.parametrize("name", ["tiny", "base"])
def test_the_plain_model_is_the_clean_branch_of_pytorchs_layers(name):
    """Part by part it has as many parameters, but for the temporal embedding, and it gives heatmaps of the same shape."""
    config = preset(name, ["model.stage=1", "model.backbone.drop_path=0.0", *CLEAN]).model
    with torch.device("meta"):
        ours, plain = CMPose(config), Plain(config)
        frames = torch.zeros(2, config.frames, 3, config.height, config.width)
        assert plain(frames).shape == ours(frames).heatmaps.shape

    def count(*modules):
        return sum(p.numel() for module in modules for p in module.parameters())

    assert count(plain.embed, plain.frame) == count(ours.backbone)
    assert count(plain.clip) == count(ours.encoder) - ours.encoder.temporal.numel()
    assert count(plain.head) == count(ours.head)
    assert count(plain) == count(ours) - ours.encoder.temporal.numel()
