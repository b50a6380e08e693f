"""The graph of causes and their random streams."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from causalpose.errors import CausalPoseError
from causalpose.scenes.causes import GRAPH, LAYERS, Stream, cause
from causalpose.scenes.world import _ASSIGN, _OFF, NAMED

few = settings(max_examples=20, deadline=None, derandomize=True, database=None)
names = st.sampled_from(sorted(GRAPH))


def test_graph_is_complete_and_has_no_cycle():
    """Every parent is a cause or an earlier layer, every cause reaches a layer, and each has its assignment."""
    known = set(GRAPH)
    for layer, parents in LAYERS.items():
        assert set(parents) <= known, layer
        known.add(layer)
    for node in GRAPH.values():
        assert set(node.parents) <= set(GRAPH)
    assert {parent for parents in LAYERS.values() for parent in parents} >= set(GRAPH)
    assert set(_ASSIGN) == set(GRAPH)
    assert set(_OFF) == {name for name, node in GRAPH.items() if node.optional}


@pytest.mark.parametrize("name", sorted(GRAPH))
def test_parameters_that_do_may_set_exist_and_lie_in_their_bounds(name):
    """Each parameter of a cause is a value that its assignment draws, one number a clip, inside the bounds that `do` accepts."""
    for level in ("easy", "default", "hard"):
        values = _ASSIGN[name](Stream(3, np.arange(300), name), level)
        for parameter, low, high in GRAPH[name].parameters:
            drawn = values[parameter]
            assert drawn.shape == (300,) and drawn.dtype == torch.float64, parameter
            assert float(drawn.min()) >= low and float(drawn.max()) <= high, (level, parameter)


def test_named_settings_are_allowed_settings():
    for name, tables in NAMED.items():
        bounds = {parameter: (low, high) for parameter, low, high in GRAPH[name].parameters}
        for table in tables.values():
            for parameter, number in table.items():
                low, high = bounds[parameter]
                assert low <= number <= high


def test_unknown_cause_lists_the_known_ones():
    with pytest.raises(CausalPoseError, match="unknown cause 'weather'.*motion"):
        cause("weather")


@few
@given(seed=st.integers(0, 2**31), clip=st.integers(0, 2**40), name=names, place=st.integers(0, 4))
def test_a_row_does_not_depend_on_its_batch(seed, clip, name, place):
    """Clip n's numbers are the same alone and as row `place` of five, call after call."""
    others = np.arange(5) + 7
    others[place] = clip
    alone, together = Stream(seed, np.array([clip]), name), Stream(seed, others, name)
    for shape in ((), (3,), (2, 2)):
        assert torch.equal(alone.uniform(shape=shape)[0], together.uniform(shape=shape)[place])
        assert torch.equal(alone.normal(shape=shape)[0], together.normal(shape=shape)[place])


@few
@given(seed=st.integers(0, 1000), clip=st.integers(0, 1000), name=names)
def test_each_of_seed_clip_cause_and_salt_gives_another_row(seed, clip, name):
    """Eight draws of 53 random bits agree by chance with probability 2^-424: equal rows would be a defect."""
    row = lambda s, c, n, salt: tuple(Stream(s, np.array([c]), n, salt).uniform(shape=(8,))[0].tolist())  # noqa: E731
    other = "skin" if name != "skin" else "lens"
    rows = {
        row(seed, clip, name, 0),
        row(seed + 1, clip, name, 0),
        row(seed, clip + 1, name, 0),
        row(seed, clip, other, 0),
        row(seed, clip, name, 1),
    }
    assert len(rows) == 5
    assert row(seed, clip, name, 0) in rows  # and again the same


def test_calls_take_the_next_numbers_of_the_row():
    """A draw of six is two draws of three, and no number comes twice."""
    whole, split = (Stream(0, np.arange(4), "body") for _ in range(2))
    six = whole.uniform(shape=(6,))
    assert torch.equal(six, torch.cat([split.uniform(shape=(3,)), split.uniform(shape=(3,))], 1))
    assert len(set(six.flatten().tolist())) == 24


def test_uniform_is_uniform():
    """Chi-square over 20 bins of 40 000 draws: mean 19, standard deviation sqrt(38) = 6.2; 50 is five of those away.

    Taken along the row (one clip) and across clips (first draw of each): a poor hash shows in the second.
    """
    along = Stream(1, np.array([5]), "motion").uniform(shape=(40_000,))[0]
    across = Stream(1, np.arange(40_000), "motion").uniform()
    for draws in (along, across):
        counts = torch.histc(draws.float(), 20, 0, 1).double()
        assert float(((counts - 2000) ** 2 / 2000).sum()) < 50
        assert float(draws.min()) >= 0 and float(draws.max()) < 1
    # neighbours are uncorrelated: the standard error of a correlation of 40 000 pairs is 0.005
    for draws in (along, across):
        assert abs(float(torch.corrcoef(torch.stack([draws[:-1], draws[1:]]))[0, 1])) < 0.02


def test_streams_of_two_causes_are_uncorrelated():
    first, second = (Stream(0, np.arange(20_000), name).uniform() for name in ("motion", "background"))
    assert abs(float(torch.corrcoef(torch.stack([first, second]))[0, 1])) < 0.03


def test_normal_has_the_stated_deviation_and_bound():
    """Four uniforms on (-1, 1) have variance 4/3; times sqrt(3/4) that is 1, and the bound is 4 sqrt(3/4) = 3.46."""
    draws = Stream(2, np.arange(2000), "camera").normal(2.0, (20,))
    assert draws.shape == (2000, 20)
    assert float(draws.std()) == pytest.approx(2.0, abs=0.03)
    assert float(draws.mean()) == pytest.approx(0.0, abs=0.04)
    assert float(draws.abs().max()) <= 2 * 3.4642


def test_chance_and_pick_follow_their_weights():
    """Shares of 20 000 draws have a standard error below 0.0036: 0.015 is four of those."""
    stream = Stream(4, np.arange(20_000), "lens")
    assert float(stream.chance(0.3).mean()) == pytest.approx(0.3, abs=0.015)
    shares = torch.bincount(stream.pick(1, 0, 2, 1), minlength=4) / 20_000
    assert shares.tolist() == pytest.approx([0.25, 0.0, 0.5, 0.25], abs=0.015)
    assert int(shares[1] * 20_000) == 0
