"""Result plots: seeds, means, intervals and paired differences are the table's."""

import pandas as pd
import pytest

from causalpose.errors import CausalPoseError
from causalpose.evaluation.statistics import Interval
from causalpose.evaluation.tables import tidy
from causalpose.plotting import results


def table() -> pd.DataFrame:
    """Two arms, two conditions, three seeds. Differences mask - none: clean 1, 2, 3; occluded -1, 0, 1."""
    rows = []
    for seed in range(3):
        rows += [
            {"variant": "none", "condition": "clean", "seed": seed, "value": 70 + seed},
            {"variant": "mask", "condition": "clean", "seed": seed, "value": 71 + 2 * seed},
            {"variant": "none", "condition": "occluded", "seed": seed, "value": 50},
            {"variant": "mask", "condition": "occluded", "seed": seed, "value": 49 + seed},
        ]
    return tidy(rows, study="s", dataset="scenes", joint="mean", metric="PCK@0.2")


def test_differences_are_paired_by_seed():
    found = results.seed_differences(table(), "none")
    assert found[found["condition"] == "clean"]["value"].tolist() == [1, 2, 3]
    assert found[found["condition"] == "occluded"]["value"].tolist() == [-1, 0, 1]
    without = table().query("not (variant == 'none' and seed == 1)")
    assert results.seed_differences(without, "none").query("condition == 'clean'")["value"].tolist() == [1, 3]


def marks(figure):
    """Means: the large marks."""
    return [line for line in figure.axes[0].lines if line.get_markersize() == 6.5]


def test_arm_plot_shows_means_and_every_seed():
    figure = results.arm_plot(table(), conditions=["clean"])
    assert [float(line.get_ydata()[0]) for line in marks(figure)] == [71, 73]
    points = [line.get_ydata().tolist() for line in figure.axes[0].lines if line.get_marker() == "."]
    assert points == [[70, 71, 72], [71, 73, 75]]
    assert len({line.get_marker() for line in marks(figure)}) == 2, "arms differ in shape"


def test_no_two_arms_look_alike():
    """Nine arms, seven colours: from the eighth on the marks are hollow."""
    frame = pd.concat([table().query("variant == 'none'").assign(variant=f"arm-{number}") for number in range(9)])
    looks = [(line.get_marker(), line.get_color(), line.get_markeredgecolor(), line.get_markerfacecolor())
             for line in marks(results.arm_plot(frame, conditions=["clean"]))]  # fmt: skip
    assert len(looks) == 9 and len(set(map(str, looks))) == 9


def test_no_interval_from_two_seeds():
    bars = [line for line in results.arm_plot(table().query("seed < 2")).axes[0].lines if line.get_linewidth() == 2.2]
    assert not bars


def test_hollow_where_the_interval_covers_zero():
    found = {("mask", "clean"): Interval(2, 1, 3, 3, 64), ("mask", "occluded"): Interval(0.5, -1, 2, 3, 64)}
    figure = results.difference_plot(found, {("mask", "clean"): [1, 2, 3]})
    assert [line.get_markerfacecolor() == "white" for line in marks(figure)] == [False, True]
    assert len(figure.axes[0].get_legend().get_texts()) == 1
    of_table = results.difference_plot(results.seed_differences(table(), "none"))
    assert [float(line.get_ydata()[0]) for line in marks(of_table)] == [2, 0]


def test_wrong_input():
    with pytest.raises(CausalPoseError, match="metrics: PCK@0.2"):
        results.arm_plot(table(), "AP")
    with pytest.raises(CausalPoseError, match="no arm 'both' to compare with; arms: none, mask"):
        results.seed_differences(table(), "both")
    with pytest.raises(CausalPoseError, match="no difference"):
        results.difference_plot({})


def compared() -> pd.DataFrame:
    """Three arms under two conditions: above zero, below zero, not distinguishable."""
    rows = [
        ("mask", "none", "all", 1.0, 0.5, 1.5), ("noise", "none", "all", -1.0, -1.5, -0.5), ("both", "none", "all", 0.1, -0.4, 0.6),
        ("mask", "none", "clean", 0.2, -0.3, 0.7),
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["variant", "against", "condition", "mean", "low", "high"]).assign(metric="PCK@0.2")


def test_forest_plot_draws_each_interval_in_its_row_and_tells_what_is_distinguishable():
    figure = results.forest_plot(compared())
    first, second = [axis for axis in figure.axes if axis.get_visible()]
    assert [axis.get_title() for axis in (first, second)] == ["all", "clean"]
    assert [label.get_text() for label in first.get_yticklabels()] == ["mask − none", "noise − none", "both − none"]
    bars, marks = first.lines[1::2], first.lines[2::2]
    assert [list(bar.get_xdata()) for bar in bars] == [[0.5, 1.5], [-1.5, -0.5], [-0.4, 0.6]]
    assert [list(bar.get_ydata()) for bar in bars] == [[0, 0], [1, 1], [2, 2]]
    up, down, none = (bar.get_color() for bar in bars)
    assert len({str(up), str(down), str(none)}) == 3
    assert [mark.get_markerfacecolor() == "white" for mark in marks] == [False, False, True]
    assert len(second.lines) == 3, "an arm without a row of this condition is left out"
    with pytest.raises(CausalPoseError, match="there are: PCK@0.2"):
        results.forest_plot(compared(), "AP")
