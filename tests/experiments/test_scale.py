"""The table of scales."""

import pytest

from causalpose.clip import CONDITION_CODES
from causalpose.config import override, preset
from causalpose.errors import CausalPoseError
from causalpose.experiments.scale import SCALES, scale


@pytest.mark.parametrize("name", SCALES)
def test_every_scale_is_a_valid_configuration(name):
    row = scale(name)
    override(preset(row.preset), row.training)
    assert len(set(row.seeds)) == len(row.seeds) and set(row.conditions) <= set(CONDITION_CODES)


def test_scales_grow():
    smoke, book, paper = (override(preset(scale(name).preset), scale(name).training) for name in ("smoke", "book", "paper"))
    assert smoke.train.steps < book.train.steps < paper.train.steps
    assert smoke.data.clips < book.data.clips < paper.data.clips
    assert scale("smoke").test_clips < scale("book").test_clips < scale("paper").test_clips


def test_cheap_scales_let_tokens_be_cached():
    """Frozen and not augmented: what the training loop asks for before it caches tokens."""
    for name in ("smoke", "book"):
        config = override(preset("tiny"), scale(name).training)
        assert config.train.freeze and not config.train.augment


def test_an_unknown_scale_lists_the_known():
    with pytest.raises(CausalPoseError, match="smoke, book, paper"):
        scale("huge")
