"""Ratios of corrupted to clean scores, on a predictor whose losses are known."""

import numpy as np
import pytest

from causalpose.data.corruptions import CorruptedSource
from causalpose.errors import CausalPoseError
from causalpose.evaluation.predictions import Predictions
from causalpose.evaluation.robustness import COLUMNS, robustness
from tests.evaluation.fakes import FakeSource


def predict(source) -> Predictions:
    """Right everywhere, except that severity s loses the first s of ten counted joints of every clip."""
    clip = source.batch(range(len(source)))
    points = clip.keypoints[:, clip.target].numpy().copy()
    if isinstance(source, CorruptedSource):
        points[:, : source.severity] += 1000
    found = Predictions.of(clip, points, np.ones(points.shape[:2]))
    found.visibility[:, 10:] = 0
    return found


def test_ratios_by_hand():
    """Clean 100. Severity 1 scores 90, severity 2 scores 80: ratios 0.9 and 0.8, of the corruption and of all 0.85, without doubt."""
    table = robustness(predict, FakeSource(size=4), kinds=("noise", "jpeg"), severities=(1, 2), resamples=100)
    assert list(table) == COLUMNS and len(table) == 7
    assert table.corruption.tolist() == ["all", "noise", "noise", "noise", "jpeg", "jpeg", "jpeg"]
    assert table.severity.tolist() == [0, 0, 1, 2, 0, 1, 2]
    assert table.ratio.tolist() == pytest.approx([0.85, 0.85, 0.9, 0.8, 0.85, 0.9, 0.8]) and (table.clean == 100).all()
    assert (table.low == table.high).all() and table.text[2] == "0.90 [0.90, 0.90], 1 seed × 4 clips"


def test_a_predictor_that_gets_nothing_right_has_no_ratio():
    def wrong(source) -> Predictions:
        found = predict(source)
        found.keypoints[:] += 5000
        return found

    table = robustness(wrong, FakeSource(size=4), kinds=("noise",), severities=(1,), resamples=10)
    assert table.ratio.isna().all() and (table.score == 0).all() and "score 0" in table.text[0]


def test_nothing_to_measure():
    with pytest.raises(CausalPoseError, match="at least one"):
        robustness(predict, FakeSource(), kinds=())
