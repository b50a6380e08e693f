"""Where a map and the measured effects part company: numbers by hand, and words that follow them."""

from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from causalpose.experiments.attribution import failures, record
from causalpose.experiments.attribution.subject import COLUMNS, TEST_SEED
from causalpose.scenes.world import World

WORLD = World(height=64, width=48, frames=3, seed=TEST_SEED)


def test_spread_of_a_constant_a_point_and_a_half():
    assert failures.spread(torch.ones(3, 8, 6)) == pytest.approx(1)
    assert failures.spread(torch.eye(8)[:1]) == pytest.approx(1 / 8)
    assert failures.spread(torch.tensor([0.5, 0.25, 0.25, 0.0])) == pytest.approx(2**1.5 / 4)


def test_shown_names_the_limb_and_the_wall():
    clip = WORLD.do(occluders=None, distractors=None).render([0])
    labels, which = failures.shown(clip, 3, (8, 6))
    assert which.shape == (3, 8, 6) and labels[0] == "own-limb" and labels[-1] == "background"
    assert (which == 0).any() and (which == len(labels) - 1).float().mean() > 0.5
    assert not (which == labels.index("occluder")).any() and not (which == labels.index("other")).any()


def made(tcis, effect, ceiling=0.9):
    rows = pd.DataFrame([("maps", "stage2", 0, 0, "nose", "effect", "ceiling", ceiling)], columns=COLUMNS)
    worst = pd.DataFrame([("stage2", 0, 0, "nose", -0.2)], columns=["arm", "seed", "clip", "joint", "value"])
    empty = pd.DataFrame()
    return record.Record(rows, empty, empty, empty, empty, worst, {"tcis-0": tcis, "effect-0": effect}, {})


def test_describe_by_hand():
    tcis, effect = torch.full((3, 8, 6), 0.01), torch.zeros(3, 8, 6)
    tcis[1, 2, 3], effect[1, 5, 3], effect[0, 0, 0] = 0.02, 3.0, 1.0
    (row,) = failures.describe(made(tcis, effect), WORLD).itertuples()
    assert row.apart == 3 and row.effect_target == 0.75 and row.tcis_target == pytest.approx(0.49 / 1.45)
    assert row.tcis_spread > 0.98 and row.effect_spread < 0.02 and row.ceiling == 0.9
    said = failures.told(row)
    assert "3.0 tokens apart" in said and "holds 75% of the effects and 34% of the map" in said and "nearly flat" in said
    assert "noisy" not in said
    effect[0, 0, 0] = 4.0
    (row,) = failures.describe(made(effect, tcis, 0.2), WORLD).itertuples()
    assert row.apart != row.apart and "in another frame" in failures.told(row) and "noisy here (reliability 0.20)" in failures.told(row)
    assert "nearly flat" not in failures.told(row)


def occluded(relation, state, clips, value):
    return [("occluded", "stage1", 0, c, "nose", relation, f"effect_{state}_target", value + 0.01 * (c % 2)) for c in clips]


def test_hidden_joints_are_compared_on_common_clips():
    rows = pd.DataFrame(occluded("own-limb", "hidden", range(8), 0.5) + occluded("elsewhere", "hidden", range(1, 9), 0.1), columns=COLUMNS)
    own, rest = ("stage1", "hidden", "target", "own-limb"), ("stage1", "hidden", "target", "elsewhere")
    found = failures.hidden(rows, own, rest)
    assert found.clips == 7 and found.mean == pytest.approx(0.4)
    assert failures.verdict(found) == "more" and failures.verdict(failures.hidden(rows, rest, own)) == "less"
    assert failures.hidden(rows, own, ("stage2", *rest[1:])) is None and failures.verdict(None) == "too few clips"
    few = failures.hidden(rows[rows["clip"] < 6], own, rest)
    assert few.distinguishable and failures.verdict(few) == "too few clips"
    assert failures.verdict(replace(found, low=-1.0)) == "not distinguishable"


def test_a_clip_without_a_ceiling_says_nothing_of_noise():
    row = SimpleNamespace(
        joint="nose", state="visible", arm="stage2", seed=0, value=0.1, within=0.2, effect="background", tcis="background", apart=0.0,
        effect_target=0.5, tcis_target=0.5, tcis_spread=0.1, ceiling=float("nan"),
    )  # fmt: skip
    assert "noisy" not in failures.told(row) and "the same token" in failures.told(row)
