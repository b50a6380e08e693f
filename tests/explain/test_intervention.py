"""Measured effects are what re-rendering does."""

import math

import pytest
import torch

from causalpose.errors import CausalPoseError
from causalpose.explain import intervention, targets
from causalpose.explain.intervention import agreement, effect_map
from tests.explain.models import LOOKED_AT, random_model


def test_paste_is_the_worlds_local_intervention(world):
    tokens = torch.rand(2, 3, 4, 4) < 0.3
    factual, other = world.pair([0, 1], background=7)
    assert torch.equal(intervention.paste(factual.frames, other.frames, tokens), world.local([0, 1], tokens, background=7).frames)


def test_a_model_that_looks_at_one_token(one_token, world):
    """The effect is confined to the token, and there it is log p(other brightness) - log p(brightness) with p = e^3kx / (e^3kx + 255)."""
    found = effect_map(one_token, world, [0, 1], resamples=2, seed=5)
    t, row, column = LOOKED_AT
    rest = found.change.clone()
    rest[:, :, t, row, column] = 0
    assert rest.abs().max() < 1e-6
    pictures = [world] + [world.resample(*intervention.CONTENT, salt=salt) for salt in (5001, 5002)]
    bright = [
        p.render([0, 1]).frames[:, t, :, row * 8 : row * 8 + 8, column * 8 : column * 8 + 8].float().mean((1, 2, 3)) / 255 for p in pictures
    ]
    for k, joint in ((0, "nose"), (7, "left_wrist")):
        before, *after = (3 * (k + 1) * x - (torch.exp(3 * (k + 1) * x) + 255).log() for x in bright)
        changes = torch.stack([a - before for a in after])
        assert torch.allclose(found.change[:, k, t, row, column], changes.mean(0), atol=1e-4)
        assert torch.allclose(found.size[:, k, t, row, column], changes.abs().mean(0), atol=1e-4)
        assert torch.allclose(found.error[:, k, t, row, column], (changes[0] - changes[1]).abs() / 2, atol=1e-4)
        assert torch.equal(found.of(joint), found.size[:, k])
    assert found.forward_passes == 1 + 2 * 48


def test_a_token_of_a_real_model(world):
    """One region pasted by hand into the whole clip, through the whole model, changes the target as the map says."""
    model, _ = random_model(2)
    found = effect_map(model, world, [3], causes=("background", "motion"), resamples=1, batch=5)
    factual, other = world.render([3]), world.resample("background", "motion", salt=1).render([3])
    t, row, column = 1, 2, 1
    frames = factual.frames.clone()
    frames[:, t, :, 16:24, 8:16] = other.frames[:, t, :, 16:24, 8:16]
    with torch.no_grad():
        before, after = model(factual.frames).heatmaps, model(frames).heatmaps
    cells = targets.predicted_cells(before)
    change = targets.log_probability(after, cells) - targets.log_probability(before, cells)
    assert change.abs().max() > 0.01
    assert torch.allclose(found.change[0, :, t, row, column], change[0], atol=1e-4)
    assert found.error.isnan().all() and found.of("all").shape == (1, 3, 4, 4)


def test_what_a_world_sets_by_hand_stays_set(world):
    """Without occluders, drawing occluders anew changes no pixel; with them it does."""
    model, _ = random_model(1)
    without = world.do(occluders=None)
    assert effect_map(model, without, [0], causes=("occluders",), resamples=1).size.max() < 1e-5
    assert effect_map(model, world.do(occluders="many"), [0], causes=("occluders",), resamples=1).size.max() > 1e-3
    assert torch.equal(intervention.redrawn(world, ["motion"], 3).render([0]).frames, world.resample("motion", salt=3).render([0]).frames)


def test_agreement_by_hand():
    """Ranks 1 2 3 4 against 2 1 3 4: 1 - 6·(1 + 1) / (4·15) = 0.8; against the reverse order -1; a constant ranks nothing."""
    a = torch.tensor([1.0, 2, 3, 4]).view(1, 1, 2, 2)
    b = torch.tensor([20.0, 10, 30, 99]).view(1, 1, 2, 2)
    assert agreement(a, b).item() == pytest.approx(0.8)
    assert agreement(a, -a).item() == pytest.approx(-1)
    assert math.isnan(agreement(torch.ones_like(a), b).item())
    with pytest.raises(CausalPoseError, match="must both be"):
        agreement(a, b[0])


def test_the_shift_is_how_far_the_expected_keypoint_moves(world):
    """The same region pasted by hand; the mean of the softmax over cells, in pixels (31/15 apart on a 32-pixel frame of 16 cells)."""
    model, _ = random_model(1)
    found = effect_map(model, world, [3], causes="surroundings", resamples=2, batch=7)
    assert found.causes == intervention.SURROUNDINGS
    t, row, column, moves = 1, 1, 2, []
    factual = world.render([3])
    for salt in (1, 2):
        frames = factual.frames.clone()
        frames[:, t, :, 8:16, 16:24] = world.resample(*found.causes, salt=salt).render([3]).frames[:, t, :, 8:16, 16:24]
        with torch.no_grad():
            both = model(torch.cat([factual.frames, frames])).heatmaps.flatten(2).softmax(2).unflatten(2, (16, 16))
        cells = torch.arange(16.0)
        places = torch.stack([(both.sum(2) * cells).sum(2), (both.sum(3) * cells).sum(2)], -1) * 31 / 15
        moves.append((places[1] - places[0]).norm(dim=-1))
    assert torch.allclose(found.shift[0, :, t, row, column], (moves[0] + moves[1]) / 2, atol=1e-4) and moves[0].max() > 0.01
    assert torch.allclose(found.shift_error[0, :, t, row, column], (moves[0] - moves[1]).abs() / 2, atol=1e-4)


def test_surroundings_leave_the_keypoints_alone(world):
    factual, other = world.render([0, 1]), intervention.redrawn(world, intervention.SURROUNDINGS, 3).render([0, 1])
    assert torch.equal(factual.keypoints, other.keypoints) and not torch.equal(factual.frames, other.frames)


def test_top_overlap_by_hand():
    """Of ten tokens the largest two are 8 and 9; the map has 9 and 3 on top: one of two. A constant map gets chance, 2/10."""
    effect = torch.arange(10.0).view(1, 1, 2, 5)
    found = torch.zeros(10)
    found[[9, 3]] = 1.0
    assert intervention.top_overlap(found.view(1, 1, 2, 5), effect, 0.2).item() == pytest.approx(0.5)
    assert intervention.top_overlap(torch.ones(1, 1, 2, 5), effect, 0.2).item() == pytest.approx(0.2)
    assert math.isnan(intervention.top_overlap(effect, torch.ones(1, 1, 2, 5)).item())
    with pytest.raises(CausalPoseError, match="share = 1"):
        intervention.top_overlap(effect, effect, 1)


def test_wrong_input(world):
    model, _ = random_model(1)
    with pytest.raises(CausalPoseError, match=r"unknown causes \['wind'\]"):
        effect_map(model, world, [0], causes=("wind",))
    with pytest.raises(CausalPoseError, match="resamples = 0"):
        effect_map(model, world, [0], resamples=0)
    with pytest.raises(CausalPoseError, match="training mode"):
        effect_map(model.train(), world, [0])
