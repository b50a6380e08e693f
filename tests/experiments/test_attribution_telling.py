"""The attribution study in words: each sentence follows the interval that it is about, on made-up records."""

import pandas as pd

from causalpose.experiments.attribution import record, tables, telling
from causalpose.experiments.attribution.subject import COLUMNS
from causalpose.explain.attributions import METHODS
from causalpose.plotting.attribution import method_label


def rows(part, arm, method, score, value, clips=8, seeds=(0, 1)):
    return [(part, arm, seed, c, "nose", method, score, value + 0.01 * (c % 3)) for seed in seeds for c in range(clips)]


def made(*groups, clips=8):
    frame = pd.DataFrame([row for group in groups for row in group], columns=COLUMNS)
    facts = {
        "scale": "smoke",
        "commit": "0",
        "protocol": {"clips": "some", "selection": "none", "resamples": 2},
        "not_reached": {"maps": 3},
    }
    return record.Record(
        frame,
        tables.summary(frame, 200),
        tables.comparisons(frame),
        tables.revealed(frame),
        tables.called_out(frame),
        pd.DataFrame(),
        {},
        facts,
    )


def maps(score, **values):
    return [row for method, value in values.items() for row in rows("maps", "stage2", method, score, value)]


FOUND = made(maps("agreement", tcis=0.3, centre=0.5, saliency=0.8, random=0.0), maps("infidelity", tcis=0.3, centre=0.5, saliency=0.8))


def test_better_is_lower_where_lower_is_better():
    assert telling.groups(FOUND, "stage2", "agreement", "centre") == {"better": ["saliency"], "worse": ["tcis"], "not distinguishable": []}
    assert telling.groups(FOUND, "stage2", "infidelity", "centre") == {"better": ["tcis"], "worse": ["saliency"], "not distinguishable": []}
    table = telling.verdicts(FOUND)
    assert "| method | agreement with effects, all frames | infidelity |" in table
    assert "| TCIS | − | + |" in table and "| saliency | + | − |" in table and "| centre |" not in table
    assert "it is below the control `centre`" in telling.own_map(
        FOUND
    ) and "more than it, by the same intervals: saliency" in telling.own_map(FOUND)


def test_few_clips_are_said_to_be_few():
    short = made(rows("maps", "stage2", "tcis", "agreement", 0.3, clips=5), rows("maps", "stage2", "centre", "agreement", 0.5, clips=5))
    assert telling.few(short) and "establishes no order" in telling.caution(short) and "few clips, narrow" in telling.own_map(short)
    assert not telling.few(FOUND) and "by Holm's rule" in telling.caution(FOUND)


def test_parts_count_seeds_and_clips():
    text = telling.parts(FOUND)
    assert "| maps | `stage2` | 2 seeds × 8 clips |" in text and "did not reach: 3." in text
    assert telling.size(made(rows("sanity", "stage1", "tcis", "x", 0.1, clips=1, seeds=(0,))), "sanity") == "1 seed × 1 clip"


def test_a_shortcut_is_claimed_only_above_zero():
    def shortcut(biased):
        lean = [rows("shortcut", arm, "", "lean", value) for arm, value in (("biased", biased), ("unbiased", 0.0))]
        sticks = [rows("shortcut", arm, "saliency", "stick_auc", value) for arm, value in (("biased", 0.9), ("unbiased", 0.5))]
        return made(*lean, *sticks)

    assert telling.planted(shortcut(0.5)) and "was learned" in telling.leaning(shortcut(0.5))
    assert "**Reveal it**: saliency." in telling.revealed(shortcut(0.5))
    assert not telling.planted(shortcut(0.0)) and "no shortcut can be claimed" in telling.leaning(shortcut(0.0))
    assert "neither group can be called right or wrong" in telling.revealed(shortcut(0.0))
    assert "did not reach both twins" in telling.leaning(FOUND) and "no verdicts" in telling.revealed(FOUND)


def test_selectors_stand_side_by_side():
    swapped = [rows("selection", "stage2", name, "pck@0.3", value) for name, value in (("own", 60.0), ("random", 50.0), ("oracle", 60.0))]
    trained = pd.DataFrame(
        [("all", "PCK@0.2", "random", "attention", -3.0, -4.0, -2.0), ("all", "PCK@0.2", "oracle", "attention", 0.1, -0.2, 0.4)],
        columns=["condition", "metric", "variant", "against", "mean", "low", "high"],
    )
    swapped += [rows("selection", arm, "own", "pck@0.3", value) for arm, value in (("stage2-tcis", 58.0), ("stage2-effects", 61.0))]
    text = telling.selectors(made(maps("agreement", tcis=0.3, random=0.0, centre=0.5), *swapped), trained).splitlines()
    (chance,) = [line for line in text if line.startswith("| random")]
    assert "**-10.0 [-10.0, -10.0]**" in chance and "**-3.0 [-4.0, -2.0]**" in chance
    (best,) = [line for line in text if line.startswith("| oracle")]
    assert "| +0.0 [+0.0, +0.0] | +0.1 [-0.2, 0.4] |" in best and best.count("–") == 5
    (taught,) = [line for line in text if "measured effects" in line]
    assert taught.endswith("| **+3.0 [+3.0, +3.0]** (on the clips of this trial) |")
    assert "is **better than** *random*" in telling.selection(made(*swapped))


def test_placebos_that_reach_nothing_are_named_as_missing():
    assert telling.called_out(FOUND) == "The record's time did not reach the placebos."
    noisy = made(rows("maps", "untrained", "edges", "body_auc", 0.9), rows("maps", "untrained", "random", "body_auc", 0.55))
    assert "names `random`" in telling.called_out(noisy) and "as well: none" in telling.called_out(noisy)


def test_a_part_is_a_table_for_each_model():
    """Methods by their names, scores by their titles, and how many clips stand behind it."""
    table = telling.by_model(FOUND, "maps", {"agreement": "agrees", "absent": "not measured"})
    assert "| map | agrees | not measured |" in table and table.count("**`stage") == len(telling.measured(FOUND))
    assert "| saliency |" in table and all(line.endswith("| – |") for line in table.splitlines() if line.startswith("| saliency"))


def test_every_method_has_a_name_for_people():
    """No underscore is left, whatever the method is called."""
    assert method_label("input_x_gradient") == "input × gradient" and method_label("tcis") == "TCIS"
    assert not any("_" in method_label(name) for name in (*METHODS, *tables.CONTROLS, "effect"))
