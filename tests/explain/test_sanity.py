"""Randomised weights, part by part."""

import pytest
import torch

from causalpose.explain import sanity
from tests.explain.models import random_model


@pytest.mark.parametrize("stage, parts", [(0, ["head", "backbone"]), (2, ["head", "enhancement", "importance", "encoder", "backbone"])])
def test_the_cascade_goes_down_and_leaves_the_model_alone(stage, parts):
    model, _ = random_model(stage)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    steps = list(sanity.randomised(model, seed=3))
    assert [part for part, _ in steps] == parts
    for number, (_, changed) in enumerate(steps):
        for place, part in enumerate(parts):
            same = all(torch.equal(value, before[name]) for name, value in changed.state_dict().items() if name.startswith(part + "."))
            assert same == (place > number), (part, number)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_likeness():
    a = torch.arange(12.0).view(1, 1, 3, 4)
    assert sanity.likeness(a, a * 3 + 1).item() == pytest.approx(1) and sanity.likeness(a, -a).item() == pytest.approx(-1)
    flat = torch.ones_like(a)
    assert sanity.likeness(flat, flat * 2).item() == 1 and sanity.likeness(flat, a).item() == 0


def test_a_control_fails_and_a_gradient_passes(clips):
    model, _ = random_model(1)
    blind = list(sanity.cascade(model, clips[0], "nose", "edges").values())
    assert blind and blind == pytest.approx([1.0] * len(blind))
    assert sanity.cascade(model, clips[0], "nose", "grad_x_token")["backbone"] < 0.9
