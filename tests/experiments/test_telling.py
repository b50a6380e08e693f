"""A study in words: what the table says, and nothing else."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from causalpose.errors import CausalPoseError
from causalpose.experiments import records, telling
from causalpose.experiments.arms import CLUSTERING, TCIS
from causalpose.experiments.measure import Measured


def row(variant="a", mean=1.0, low=0.5, high=1.5, p_holm=0.01, **others) -> dict:
    """One comparison."""
    labels = {"variant": variant, "against": "none", "condition": "all", "metric": "PCK@0.2"}
    return labels | {"mean": mean, "low": low, "high": high, "p_holm": p_holm, "detectable": 0.7, "seeds": 3, "clips": 300} | others


TABLE = pd.DataFrame(
    [
        row("up"),
        row("up", -0.2, -1.0, 0.6, condition="low_light"),
        row("down", -1.0, -1.5, -0.5),
        row("alone", p_holm=0.3),
        row("nothing", 0.04, -0.4, 0.02),
    ]
)


def test_the_words_follow_the_interval():
    told = {name: telling.told(telling.comparison(TABLE, name)) for name in TABLE["variant"].unique()}
    assert told == {
        "up": "+1.0 [0.5, 1.5], better",
        "down": "-1.0 [-1.5, -0.5], worse",
        "alone": "+1.0 [0.5, 1.5], better by its own interval, not after Holm",
        "nothing": "0.0 [-0.4, 0.02], not distinguishable (0.7 would have shown)",
    }


def test_an_older_table_without_the_detectable_size_is_told_as_well():
    assert telling.told(TABLE.drop(columns="detectable").iloc[4]) == "0.0 [-0.4, 0.02], not distinguishable"


def test_a_comparison_that_is_not_there_is_refused():
    with pytest.raises(CausalPoseError, match="0 comparisons of arm 'sideways'.*up, down"):
        telling.comparison(TABLE, "sideways")
    with pytest.raises(CausalPoseError, match="2 comparisons of arm 'up'"):
        telling.comparison(pd.concat([TABLE, TABLE.iloc[:1]]), "up")


def test_table_marks_what_is_distinguishable():
    lines = telling.table(TABLE, ["up", "nothing"]).splitlines()
    assert lines[0] == "| difference | all | low light |"
    assert lines[2] == "| `up` − `none` | **+1.0 [0.5, 1.5]** | -0.2 [-1.0, 0.6] |"
    assert lines[3] == "| `nothing` − `none` | 0.0 [-0.4, 0.02] |  |"
    with pytest.raises(CausalPoseError, match="no comparison"):
        telling.table(TABLE, ["sideways"])


def test_a_list_names_the_arms_that_are_missing():
    text = telling.listed(TABLE, {"up": "more of it", "sideways": "another"})
    assert text.splitlines() == ["- more of it (`up` minus `none`): +1.0 [0.5, 1.5], better.", "- Not in this record: `sideways`."]


def test_no_record_is_none_and_a_broken_one_an_error(tmp_path):
    assert telling.found(tmp_path) is None and telling.found(tmp_path / "nowhere") is None
    (tmp_path / records.PROVENANCE).write_text("{}")
    with pytest.raises(CausalPoseError):
        telling.found(tmp_path)


def test_dials_name_arms_of_the_studies():
    shares, sizes = telling.kept_shares(), telling.merged_tokens()
    assert {share: name for share, name in shares["attention"].items() if share in (0.1, 0.3, 1.0)} == {
        0.1: "attention-rho-0.1", 0.3: "attention", 1.0: "all",
    }  # fmt: skip
    assert shares["random"][0.9] == "random-rho-0.9" and list(shares["random"]) == sorted(shares["random"])
    # 144 tokens, 43 kept as causal: 101 are left
    assert sizes["DPC-kNN"] == {0: "drop", 8: "dpc-knn-8", 16: "dpc-knn-16", 32: "dpc-knn-32", 48: "dpc-knn-48", 101: "keep"}
    names = {arm.name for study in (TCIS, CLUSTERING) for arm in study.arms}
    assert {name for series in (*shares.values(), *sizes.values()) for name in series.values()} <= names


def test_a_dial_holds_what_is_recorded():
    """Two clips of ten joints each: 6 and 8 right at seed 0 (70 %), all right at seed 1; the arm of the second setting is absent."""
    labels = {"study": "tcis", "variant": "attention", "dataset": "d", "condition": "clean", "clip": [0, 1], "counted": 10, "visible": 10}
    rights = [{"right@0.2": [6, 8]}, {"right@0.2": [10, 10]}]
    clips = pd.concat([pd.DataFrame(labels | {"seed": seed} | right) for seed, right in enumerate(rights)])
    record = records.Record(pd.DataFrame(), clips, None, ())
    found = telling.dial(record, {"attention": {0.3: "attention", 0.5: "attention-rho-0.5"}})
    assert found["setting"].tolist() == [0.3, 0.3] and np.allclose(found["score"], [70, 100])
    assert isinstance(record.measured, Measured)


def test_minutes_count_the_stages_below():
    """Both seeds of `two` stand on stage 1 cells of the grid, `one` on shipped weights; what was not trained takes none."""
    trained = [("s1", 60, "shipped"), ("s1b", 120, "shipped"), ("s2", 30, "s1"), ("s2b", 30, "s1b"), ("bare", 90, None)]
    cells = [{"cell": "stage", "key": key, "seconds": s, "init": below and {"key": below}} for key, s, below in trained]
    arms = [("one", "s1"), ("one", "s1b"), ("two", "s2"), ("two", "s2b"), ("start", "shipped"), ("bare", "bare")]
    cells += [{"cell": "evaluation", "key": f"e{n}", "seconds": 9, "weights": {"key": key}} for n, (_, key) in enumerate(arms)]
    facts = {"cells": cells, "entries": [{"variant": name, "evaluation": f"e{n}"} for n, (name, _) in enumerate(arms)]}
    record = SimpleNamespace(provenance=[facts])
    assert telling.minutes(record) == {"one": 1.5, "two": 2.0, "bare": 1.5}


def test_minutes_of_a_recorded_study():
    minutes = telling.minutes(records.read(Path(__file__).parents[2] / "ablations" / "results" / "tcis" / "book"))
    assert set(minutes) >= {arm.name for arm in TCIS.arms if arm.main} and min(minutes.values()) > 0
