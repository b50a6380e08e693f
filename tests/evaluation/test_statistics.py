"""Intervals cover what they should, effects are the textbook's, Holm is Holm's."""

import numpy as np
import pytest

from causalpose.errors import CausalPoseError
from causalpose.evaluation import statistics as s


def test_the_interval_of_one_seed_is_the_classical_one():
    """Mean of 400 normal differences: the half width is 1.96 / sqrt(400) = 0.098."""
    values = np.random.default_rng(0).normal(0.5, 1, 400)
    interval = s.bootstrap(values, resamples=4000)
    assert interval.mean == pytest.approx(values.mean())
    assert (interval.high - interval.low) / 2 == pytest.approx(1.96 * values.std() / 20, rel=0.08)
    assert (interval.seeds, interval.clips) == (1, 400)
    _, low, high = s.mean_interval(values, resamples=4000)
    assert (low, high) == pytest.approx((interval.low, interval.high), abs=0.02), "scipy's agrees where there is one factor"


def test_disagreement_between_seeds_widens_the_interval():
    random = np.random.default_rng(1)
    clips = random.normal(0, 1, (1, 500))
    alike = np.repeat(clips, 5, 0)
    apart = alike + np.array([-2.0, -1, 0, 1, 2])[:, None]
    narrow, wide = s.bootstrap(alike, resamples=2000), s.bootstrap(apart, resamples=2000)
    assert wide.mean == pytest.approx(narrow.mean)
    assert wide.high - wide.low > 5 * (narrow.high - narrow.low)


def test_coverage_of_the_crossed_bootstrap():
    """With 8 seeds and 40 clips that both vary, a 95 % interval holds the truth in most of 60 trials (8 seeds are few: 85 % is asked)."""
    random = np.random.default_rng(2)
    hits = 0
    for trial in range(60):
        values = 1.0 + random.normal(0, 1, (8, 1)) + random.normal(0, 1, (1, 40)) + random.normal(0, 1, (8, 40))
        interval = s.bootstrap(values, resamples=600, seed=trial)
        hits += interval.low <= 1.0 <= interval.high
    assert hits >= 51


def test_pairing_takes_out_what_the_variants_share():
    random = np.random.default_rng(3)
    difficulty = random.normal(0, 20, 300)
    baseline = 60 + difficulty
    variant = baseline + 1 + random.normal(0, 2, 300)
    result = s.paired(baseline, variant, resamples=4000)
    assert result.distinguishable and 0.7 < result.low < 1 < result.high < 1.4
    assert result.p < 0.001 and result.effect == pytest.approx(0.5, abs=0.1)
    none = s.paired(baseline, baseline + random.normal(0, 2, 300), resamples=4000)
    assert not none.distinguishable and none.p > 0.05
    same = s.paired(baseline, baseline)
    assert (same.mean, same.low, same.high, same.effect, same.p) == (0, 0, 0, 0, 1)


def test_the_same_call_gives_the_same_interval():
    values = np.random.default_rng(4).normal(size=(3, 50))
    assert s.bootstrap(values, resamples=500) == s.bootstrap(values, resamples=500)


def test_clips_without_a_score_are_left_out():
    values = np.array([[1.0, np.nan, 3.0], [1.0, 2.0, 3.0]])
    assert s.bootstrap(values, resamples=100).clips == 2
    assert s.bootstrap(values, resamples=100).mean == 2
    with pytest.raises(CausalPoseError, match="no clip"):
        s.bootstrap(np.full((2, 3), np.nan))


def test_a_median_is_not_moved_by_a_pause():
    seconds = np.random.default_rng(0).normal(1, 0.05, (3, 60))
    paused = seconds.copy()
    paused[1, 7] = 400.0
    quiet, found = s.median(seconds), s.median(paused)
    assert abs(found.mean - quiet.mean) < 0.01 and found.low < found.mean < found.high < 1.05
    assert s.bootstrap(paused).mean > 3, "the mean is"
    assert (s.median([[2.0, np.nan]]).mean, s.median([[2.0, np.nan]]).clips) == (2.0, 1)
    with pytest.raises(CausalPoseError, match="median"):
        s.median([[np.nan]])


def test_cohen_d_by_hand():
    """Differences 1, 2, 3: mean 2, standard deviation 1, so d = 2."""
    assert s.cohen_d(np.array([1.0, 2.0, 3.0])) == pytest.approx(2)
    assert s.cohen_d(np.zeros(4)) == 0
    assert s.cohen_d(np.full(4, -0.5)) == -np.inf


def test_holm_by_hand():
    """p = 0.01, 0.04, 0.03, 0.005 sorted: 0.005 x 4 = 0.02, 0.01 x 3 = 0.03, 0.03 x 2 = 0.06, 0.04 x 1 = 0.04 -> held at 0.06."""
    assert s.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert s.holm([0.9, 0.8]) == pytest.approx([1, 1])
    assert s.holm([]).size == 0
    with pytest.raises(CausalPoseError, match=r"\[0, 1\]"):
        s.holm([1.2])


def test_the_smallest_detectable_effect():
    """2.80 standard errors: (1.960 + 0.842). With noise of 2 over 400 clips the standard error is 0.1, so 0.28 could be seen."""
    assert s.smallest_detectable(1.0) == pytest.approx(1.95996 + 0.84162, abs=1e-4)
    assert s.smallest_detectable(0.5, power=0.5) == pytest.approx(0.5 * 1.95996, abs=1e-4), "half of the time: the interval's half width"
    random = np.random.default_rng(5)
    result = s.paired(np.zeros(400), random.normal(0, 2, 400), resamples=4000)
    assert result.detectable == pytest.approx(0.28, rel=0.1)
    found = sum(s.paired(np.zeros(400), random.normal(0.28, 2, 400), resamples=300, seed=t).distinguishable for t in range(100))
    assert 68 <= found <= 92, "a true effect of that size is found in about four of five repetitions"
    with pytest.raises(CausalPoseError, match="power 1"):
        s.smallest_detectable(1.0, power=1)


def test_ratios():
    """Every clip keeps three quarters: the ratio is 0.75 without doubt. Unpaired resampling would have given it a width."""
    clean = np.random.default_rng(6).uniform(50, 100, (2, 60))
    kept = s.ratio(clean, 0.75 * clean, resamples=300)
    assert (kept.mean, kept.low, kept.high) == pytest.approx((0.75, 0.75, 0.75)) and (kept.seeds, kept.clips) == (2, 60)
    lost = s.ratio(clean, clean * np.random.default_rng(7).uniform(0.5, 1, clean.shape), resamples=1000)
    assert lost.low < lost.mean < lost.high and lost.mean == pytest.approx(0.75, abs=0.05)
    assert s.ratio([np.nan, 10.0], [5.0, 5.0], resamples=10).mean == 0.5
    with pytest.raises(CausalPoseError, match="ratio to nothing"):
        s.ratio(np.zeros(3), np.ones(3))


def test_arms_are_compared_with_holm_over_them():
    random = np.random.default_rng(8)
    base = random.normal(60, 10, (3, 200))
    scores = {"none": base, "gain": base + 2, "noise": base + random.normal(0, 3, base.shape), "untrained": base[:1] - 30}
    table = s.arms(scores, "none", resamples=999)
    assert table.variant.tolist() == ["gain", "noise", "untrained"] and list(table) == s.ARM_COLUMNS
    gain, noise, untrained = (row for _, row in table.iterrows())
    assert gain["mean"] == pytest.approx(2) and gain.distinguishable and not noise.distinguishable
    assert gain.p == pytest.approx(2 / 1000) and gain.p_holm == pytest.approx(3 * gain.p), "of three tests, the smallest p times three"
    assert gain.text == "2.0 [2.0, 2.0], 3 seeds × 200 clips" and untrained.seeds == 3
    assert noise.detectable > 0
    with pytest.raises(CausalPoseError, match="no arm 'all'"):
        s.arms(scores, "all")
    with pytest.raises(CausalPoseError, match="b: scores .2, 9. and a's .3, 9. are not of the same"):
        s.arms({"a": np.ones((3, 9)), "b": np.ones((2, 9))}, "a")


def test_sentences():
    assert s.format_interval(1.26, 0.24, 2.44, 3, 256) == "1.3 [0.2, 2.4], 3 seeds × 256 clips"
    assert s.format_interval(-0.01, -1, 1, 1, 1) == "0.0 [-1.0, 1.0], 1 seed × 1 clip"


def test_a_bound_beside_zero_shows_its_side():
    """`[0.0, 0.5]` would leave open whether zero is inside, and with it whether there is anything to see."""
    assert s.format_interval(0.3, 0.013, 0.5, 3, 9).startswith("0.3 [0.01, 0.5]")
    assert s.format_interval(0.3, -0.04, 0.5, 3, 9).startswith("0.3 [-0.04, 0.5]")
    assert s.format_interval(-0.4, -0.8, -0.0021, 3, 9).startswith("-0.4 [-0.8, -0.002]")
    assert s.format_interval(0.0, 0.0, 0.00001, 3, 9).startswith("0.0 [0.0, 0.000]")


def test_distinguishable():
    assert s.distinguishable(0.1, 2) and s.distinguishable(-2, -0.1)
    assert not s.distinguishable(-0.1, 2) and not s.distinguishable(0, 2)
    with pytest.raises(CausalPoseError, match="low first"):
        s.distinguishable(2, 1)
    assert str(s.bootstrap(np.ones((2, 4)), resamples=10)) == "1.0 [1.0, 1.0], 2 seeds × 4 clips"


def test_wrong_input():
    with pytest.raises(CausalPoseError, match="not the same seeds and clips"):
        s.paired(np.ones((2, 4)), np.ones((2, 5)))
    with pytest.raises(CausalPoseError, match="infinite"):
        s.bootstrap(np.array([1.0, np.inf]))
    with pytest.raises(CausalPoseError, match="level"):
        s.bootstrap(np.ones(3), level=95)
    with pytest.raises(CausalPoseError, match="not empty"):
        s.bootstrap(np.ones((0, 3)))
    with pytest.raises(CausalPoseError, match="no value"):
        s.mean_interval([])
