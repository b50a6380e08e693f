"""Deletion and insertion on a model that looks at one token."""

import pytest
import torch

from causalpose.errors import CausalPoseError
from causalpose.explain import perturbation, targets
from causalpose.explain.maps import Map
from tests.explain.models import LOOKED_AT, random_model


def one_hot(place) -> Map:
    values = torch.zeros(1, 3, 4, 4)
    values[0][place] = 1.0
    return Map("m", "left_wrist", values, 0, 0)


def test_ranking_breaks_ties_by_draw_and_not_by_place():
    values = torch.tensor([[0.0, 5, 0, 0, 7, 0]])
    first, other = perturbation.ranking(values, 0), perturbation.ranking(values, 3)
    assert first[0, :2].tolist() == [4, 1] == other[0, :2].tolist()
    assert sorted(first[0].tolist()) == list(range(6)) and first.tolist() != other.tolist()


def test_areas_by_hand(one_token, clips):
    """The map that knows the token deletes it at the first step, 1/48, and inserts it at the first step.

    With points at 0, 1/4 and 1, r the ratio of the probability without the token: deletion (1 + r)/8 + 3 r/4, insertion (r + 1)/8 + 3/4.
    """
    clip = clips[:1]
    frames = targets.inputs(one_token, clip)
    other = one_token.embed(frames) * 0
    right = one_hot(LOOKED_AT)
    wrong = Map("m", "left_wrist", 1 - right.values, 0, 0)
    found = perturbation.deletion_insertion(one_token, frames, [right, wrong], "left_wrist", other, fractions=(0.25,))
    deletion, insertion = found
    seen = one_token.embed(frames)[0, LOOKED_AT[0], LOOKED_AT[1] * 4 + LOOKED_AT[2], 0].double()
    p = torch.exp(24 * seen) / (torch.exp(24 * seen) + 255)
    r = (1 / 256) / p
    assert deletion[0].item() == pytest.approx(float((1 + r) / 8 + 0.75 * r), rel=1e-4)
    assert insertion[0].item() == pytest.approx(float((1 + r) / 8 + 0.75), rel=1e-4)
    assert deletion[1] > deletion[0] and insertion[1] < insertion[0]


def test_substrates(world):
    model, _ = random_model(1)
    clips = world.render([0, 1])
    frames = targets.inputs(model, clips)
    clean = model.embed(frames)
    mean = perturbation.substrate(model, frames, "mean_token")
    assert torch.allclose(mean[0, 1, 3], clean[0].mean((0, 1)), atol=1e-5)
    for kind in ("blur", "background"):
        found = perturbation.substrate(model, frames, kind, world, [0, 1])
        assert found.shape == clean.shape and not torch.allclose(found, clean, atol=1e-3)
    with pytest.raises(CausalPoseError, match="needs a world"):
        perturbation.substrate(model, frames, "background")
    with pytest.raises(CausalPoseError, match="unknown substrate 'black'"):
        perturbation.substrate(model, frames, "black")
    with pytest.raises(CausalPoseError, match="between 0 and 1"):
        perturbation.deletion_insertion(model, frames[:1], [one_hot((0, 0, 0))], "nose", clean[:1], fractions=(1.5,))


def test_the_empty_stage_shows_no_person(world):
    with_person, without = world.render([0, 1]), world.render([0, 1], person=False)
    person = (with_person.parts >= 1) & (with_person.parts <= 10)
    assert person.any() and not ((without.parts >= 1) & (without.parts <= 10)).any()
    assert torch.equal(with_person.keypoints, without.keypoints)
