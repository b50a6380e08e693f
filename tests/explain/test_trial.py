"""Selection on trial."""

import pytest
import torch

from causalpose.errors import CausalPoseError
from causalpose.explain import targets, trial, truth
from tests.explain.models import random_model


@pytest.fixture
def on_trial(clips):
    model, _ = random_model(2)
    with torch.no_grad():
        return model, model.embed(targets.inputs(model, clips)), clips


def test_swaps_choose_as_they_say_at_equal_number(on_trial):
    model, tokens, clips = on_trial
    config = model.config
    importance = model.forward_tokens(tokens, return_maps=True).maps["importance"].flatten(1)
    chosen = {name: trial.swapped(model, tokens, clips, name, 0.25)[1] for name in trial.SWAPS[:-1]}
    assert all(mask.sum(1).tolist() == [12, 12] for mask in chosen.values())
    top = importance.topk(12, 1).indices
    assert chosen["attention"].gather(1, top).all() and not (chosen["attention"] & chosen["bottom"]).any()
    body = truth.body_share(clips, config.grid).flatten(1)
    for mask, share in zip(chosen["oracle"], body, strict=True):
        assert share[mask].min() >= share[~mask].max() - 1e-6
    assert (chosen["random"][0] != chosen["random"][1]).any(), "each clip has a draw of its own"
    again, other = (trial.swapped(model, tokens, clips, "random", 0.25, seed=seed)[1] for seed in (0, 1))
    assert torch.equal(again, chosen["random"]) and not torch.equal(other, again)
    assert model.config == config, "the model is given back as it was"


def test_a_map_chooses_the_tokens_where_it_is_largest(on_trial):
    """However small its differences are; a map of another size is refused."""
    model, tokens, clips = on_trial
    values = 1e-12 * torch.rand(2, *tokens.shape[1:3], generator=torch.Generator().manual_seed(0)).unflatten(2, model.config.grid)
    mask = trial.swapped(model, tokens, clips, values, 0.25)[1]
    assert mask.sum(1).tolist() == [12, 12] and mask.gather(1, values.flatten(1).topk(12, 1).indices).all()
    with pytest.raises(CausalPoseError, match="one value a token"):
        trial.swapped(model, tokens, clips, values[:, :1], 0.25)


def test_exchanging_tokens_touches_the_others_only(on_trial):
    """Replaced by themselves nothing changes; with every token kept, replacements do not matter; else they do."""
    model, tokens, clips = on_trial
    own, _ = trial.swapped(model, tokens, clips, "attention", 0.25)
    # another batch is summed in another order, so equal means to a thousandth of a pixel
    assert torch.allclose(trial.exchanged(model, tokens, tokens, clips, "attention", 0.25), own, rtol=0, atol=1e-3)
    other = torch.randn_like(tokens)
    every, _ = trial.swapped(model, tokens, clips, "attention", 1.0)
    assert torch.allclose(trial.exchanged(model, tokens, other, clips, "random", 1.0), every)
    assert (trial.exchanged(model, tokens, other, clips, "oracle", 0.25) - own).abs().max() > 0.1


def test_accuracy_and_shift_by_hand(clips):
    """All joints right is 100; one of the counted joints moved by half the scale is wrong."""
    points = clips.keypoints[:, clips.target].clone()
    assert trial.accuracy(points, clips).tolist() == [100, 100]
    from causalpose.evaluation import pck

    counted = torch.as_tensor(pck.counted(clips.visibility[:, clips.target].numpy()))
    k = int(counted[0].nonzero()[0, 0])
    moved = points.clone()
    moved[0, k, 0] += 0.5 * clips.scale[0]
    n = int(counted[0].sum())
    assert trial.accuracy(moved, clips)[0].item() == pytest.approx(100 * (n - 1) / n)
    assert trial.shift(moved, points, clips).tolist() == pytest.approx([0.5 * clips.scale[0].item() / n, 0], rel=1e-5)


def test_only_stage_two_selects(clips):
    model, _ = random_model(1)
    with pytest.raises(CausalPoseError, match="a stage-1 model selects no tokens"):
        trial.swapped(model, torch.zeros(2, 3, 16, 32), clips, "random", 0.3)
    with pytest.raises(CausalPoseError, match="unknown choice 'best'"):
        trial.exchanged(random_model(2)[0], torch.zeros(2, 3, 16, 32), torch.zeros(2, 3, 16, 32), clips, "best", 0.3)
