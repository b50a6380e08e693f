"""The scenes' benchmark: a whole table of plausible numbers."""

import numpy as np
import pytest
import torch

from causalpose.benchmark import scenes
from causalpose.errors import CausalPoseError


@pytest.fixture(scope="module")
def table():
    before = torch.get_num_threads()
    made = scenes.scenes_benchmark(sizes=((16, 16), (32, 32)), clips=4, repeats=1)
    assert torch.get_num_threads() == before
    return made


def test_every_case_has_its_rows(table):
    assert tuple(table.columns) == scenes.COLUMNS and set(table["section"]) == {"scenes"}
    counts = table["case"].value_counts()
    assert counts["16x16, T=3"] == counts["32x32, T=3"] == 2 and counts["growth with pixels"] == 1
    assert not table.duplicated(["case", "quantity"]).any()


def test_numbers_are_numbers_and_ratios_divide(table):
    assert np.isfinite(table["value"]).all() and (table.loc[table["unit"] != "", "value"] > 0).all()
    given = table.dropna(subset="reference")
    assert len(given) >= 3 and np.allclose(given["ratio"], given["value"] / given["reference"])
    assert table.loc[table["reference"].isna(), "ratio"].isna().all()


def test_the_loader_takes_a_share_of_the_step(table):
    for quantity in ("loader's share of a step", "loader's share of a step, on the fly"):
        share = table.set_index("quantity").loc[quantity]
        assert 0 < share["value"] < 100 and share["reference"] == 5.0


@pytest.mark.parametrize("settings", [{"clips": 0}, {"repeats": 0}, {"sizes": ()}])
def test_bad_input_is_one_clear_line(settings):
    with pytest.raises(CausalPoseError, match="must each be at least one"):
        scenes.scenes_benchmark(**settings)
