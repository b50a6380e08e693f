"""The moving average."""

import pytest
import torch
from torch import nn

from causalpose.training.averaging import Average


def test_decay_by_hand():
    """Weight 0, then 1 at step 0 with keep min(0.9, 1/10) = 0.1: 0.9; then 1 at step 98 with keep min(0.9, 99/108) = 0.9: 0.91."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    average = Average(model, 0.9)
    nn.init.ones_(model.weight)
    average.update(0)
    assert average.values["weight"].item() == pytest.approx(0.9)
    average.update(98)
    assert average.values["weight"].item() == pytest.approx(0.91)


def test_applied_restores_to_the_bit():
    model = nn.Linear(3, 3).train()
    average = Average(model, 0.9)
    with torch.no_grad():
        model.weight.add_(1)
    before = model.weight.clone()
    with average.applied():
        assert not model.training
        assert torch.equal(model.weight, average.values["weight"])
        assert not torch.equal(model.weight, before)
    assert model.training and torch.equal(model.weight, before)


def test_no_average():
    model = nn.Linear(2, 2)
    average = Average(model, 0.0)
    average.update(0)
    assert average.values == {}
    with average.applied():
        pass
    assert torch.equal(average.state()["weight"], model.weight)
