"""Paired differences, on counts small enough to work by hand."""

import pandas as pd
import pytest

from causalpose.errors import CausalPoseError
from causalpose.experiments.comparisons import clip_scores, compare, compare_pairs, corrected, intervals, sentence, summary


def counts(variant: str, seed: int, condition: str, right: list[int], right_visible: list[int] | None = None) -> pd.DataFrame:
    """Clips of ten joints, six of them visible."""
    n = len(right)
    labels = {"study": "s", "variant": variant, "seed": seed, "dataset": "d", "condition": condition, "clip": range(n)}
    rights = {"right@0.2": right, "right@0.2 visible": right_visible or [0] * n, "right@0.1": 0, "right@0.1 visible": 0}
    return pd.DataFrame({**labels, "counted": 10, "visible": 6, **rights})


def test_scores_are_percentages_of_the_counted_joints():
    """8 of 10 right, 6 of the 6 visible: so 2 of the 4 hidden. 80 %, 100 %, 50 %."""
    table = counts("a", 0, "clean", [8], [6])
    assert clip_scores(table, "a").to_numpy().item() == 80
    assert clip_scores(table, "a", metric="PCK@0.2 visible").to_numpy().item() == 100
    assert clip_scores(table, "a", metric="PCK@0.2 occluded").to_numpy().item() == 50


def test_all_conditions_are_one_score_a_scene():
    """Scene 0 scores 100 clean and 40 occluded: 70. Two scenes under two conditions are two samples, not four."""
    table = pd.concat([counts("a", 0, "clean", [10, 10]), counts("a", 0, "occluded", [4, 6])])
    assert clip_scores(table, "a").to_numpy().tolist() == [[70, 80]]


def test_a_constant_gain_has_no_doubt():
    """Every clip of both seeds gains one joint of ten: 10 points, interval [10, 10]."""
    base = [counts("none", seed, "clean", [5, 6, 7]) for seed in (0, 1)]
    more = [counts("mask", seed, "clean", [6, 7, 8]) for seed in (0, 1)]
    row = compare(pd.concat([*base, *more]), "none").iloc[0]
    assert (row["mean"], row.low, row.high, row.seeds, row.clips) == (10, 10, 10, 2, 3) and row.distinguishable
    assert sentence(row) == "mask beats none under clean by 10.0 [10.0, 10.0], 2 seeds × 3 clips"
    lost = compare(pd.concat([*base, *more]), "mask").iloc[0]
    assert sentence(lost) == "none falls behind mask under clean (-10.0 [-10.0, -10.0], 2 seeds × 3 clips)"


def test_pairing_is_by_clip_not_by_row():
    """The same clips in another order differ by nothing."""
    base = counts("none", 0, "clean", [1, 5, 9])
    row = compare(pd.concat([base, counts("a", 0, "clean", [1, 5, 9])[::-1]]), "none").iloc[0]
    assert row["mean"] == row.low == row.high == 0 and "not distinguishable" in sentence(row)


def test_an_untrained_reference_is_set_against_every_seed():
    table = pd.concat([counts("none", 0, "clean", [5, 5]), counts("none", 1, "clean", [7, 7]), counts("reference", 0, "clean", [5, 5])])
    row = compare(table, "none").iloc[0]
    assert row.seeds == 2 and row["mean"] == -10


def test_other_seeds_or_clips_are_refused():
    base = [counts("none", seed, "clean", [5, 6]) for seed in (0, 1)]
    with pytest.raises(CausalPoseError, match="needs the same"):
        compare(pd.concat([*base, *(counts("a", seed, "clean", [5, 6]) for seed in (1, 2))]), "none")
    with pytest.raises(CausalPoseError, match="different clips"):
        compare(pd.concat([*base, counts("a", 0, "clean", [5, 6, 7])]), "none")


def test_names_that_are_not_there():
    table = counts("a", 0, "clean", [1])
    with pytest.raises(CausalPoseError, match="no clips of variant 'b'"):
        clip_scores(table, "b")
    with pytest.raises(CausalPoseError, match="unknown metric"):
        clip_scores(table, "a", metric="PCK@0.3")
    with pytest.raises(CausalPoseError, match="nothing to compare"):
        compare(table, "a")


def test_intervals_hold_their_mean():
    row = intervals(counts("a", 0, "clean", [2, 4, 6, 8])).iloc[0]
    assert row["mean"] == 50 and row.low < 50 < row.high and row.clips == 4


def test_pairs_have_their_own_reference_and_one_correction():
    """c is set against b, a and b against none; Holm counts all three."""
    ups = {"none": [2, 4, 6, 3], "a": [3, 5, 7, 4], "b": [2, 4, 6, 3], "c": [4, 6, 8, 5]}
    clips = pd.concat([counts(name, seed, "clean", right) for name, right in ups.items() for seed in (0, 1)])
    table = compare_pairs(clips, {"none": "none", "a": "none", "b": "none", "c": "b", "absent": "none"})
    assert list(zip(table["variant"], table["against"], strict=True)) == [("a", "none"), ("b", "none"), ("c", "b")]
    smallest = table["p"].min()
    assert table.set_index("variant").loc["c", "p_holm"] == pytest.approx(min(1, 3 * smallest))
    assert summary(table.assign(condition="all")) == (
        "PCK@0.2 over all conditions, in points: c +20.0 to b, a +10.0 to none. "
        "After Holm's correction: all. Not distinguishable from their reference: b."
    )
    weak = table.assign(condition="all", p_holm=[0.06, 1.0, 0.01])
    assert "After Holm's correction: c." in summary(weak)
    assert "After Holm's correction: none." in summary(weak.assign(p_holm=0.06))
    assert compare_pairs(clips, {"absent": "none"}) is None


def test_many_comparisons_can_still_find_something():
    """With 500 arms and the bootstrap's default of 10,000 draws, Holm's rule would let nothing pass."""
    ups = {"none": [2, 4, 6, 3]} | {f"arm-{number}": [3, 5, 7, 4] for number in range(500)}
    clips = pd.concat([counts(name, seed, "clean", right) for name, right in ups.items() for seed in (0, 1)])
    table = compare_pairs(clips, dict.fromkeys(ups, "none"))
    assert len(table) == 500 and (table["p_holm"] < 0.05).all()


def test_separate_tables_are_corrected_together():
    clips = pd.concat([counts(name, seed, "clean", right) for name, right in {"none": [2, 4], "a": [3, 5]}.items() for seed in (0, 1)])
    one = compare(clips, "none")
    assert corrected([one, one, one])["p_holm"].tolist() == pytest.approx([min(1, 3 * one["p"][0])] * 3)
