"""Infidelity and sensitivity are Captum's, and right where the answer is known."""

import pytest
import torch
from captum.metrics import infidelity as captum_infidelity

from causalpose.errors import CausalPoseError
from causalpose.explain import faithfulness, methods, targets
from causalpose.explain.maps import Map
from tests.explain.models import LOOKED_AT, random_model


def test_the_map_of_the_only_token_is_faithful(one_token, clips):
    """A model that looks at one token: losing it costs the same whatever else is lost, so its one-hot map predicts every change exactly."""
    clip = clips[:1]
    frames = targets.inputs(one_token, clip)
    right, wrong = torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)
    right[0][LOOKED_AT], wrong[0, 0, 0, 0] = 0.3, 5.0
    maps = [Map("m", "nose", values, 0, 0) for values in (right, wrong)]
    found = faithfulness.infidelity(one_token, frames, maps, "nose", samples=64, seed=1)
    assert found[0].item() == pytest.approx(0, abs=1e-4) and found[1].item() > 0.3
    assert torch.equal(found, faithfulness.infidelity(one_token, frames, maps, "nose", samples=64, seed=1))
    with pytest.raises(CausalPoseError, match="one clip"):
        faithfulness.infidelity(one_token, targets.inputs(one_token, clips), maps, "nose")


def test_infidelity_is_captums(clips):
    """The same function of token presence and the same subsets, handed to Captum directly, map by map."""
    model, _ = random_model(1)
    frames = targets.inputs(model, clips[:1])
    maps = [methods.explain(model, clips[:1], "nose", name) for name in ("grad_x_token", "saliency")]
    found = faithfulness.infidelity(model, frames, maps, "nose", samples=8, seed=4)
    with torch.no_grad():
        tokens = model.embed(frames)
        cell = model.forward_tokens(tokens).heatmaps[:, 0].flatten(1).argmax(1)
        mean = tokens.mean((1, 2), keepdim=True)

        def function(z):
            mixed = mean + z.view(-1, 3, 16, 1) * (tokens - mean)
            return model.forward_tokens(mixed).heatmaps[:, 0].flatten(1).log_softmax(1)[:, cell[0]]

        generator = torch.Generator().manual_seed(4)
        chance = 0.05 + 0.45 * torch.rand(8, 1, generator=generator)
        masks = (torch.rand(8, 48, generator=generator) < chance).float()
        zero = (function(torch.ones(1, 48)) - function(1 - masks)).square().mean()
        for item, value in zip(maps, found, strict=True):
            attribution = (item.values if item.signed is None else item.signed).view(1, 48)
            expected = captum_infidelity(
                function, lambda z: (masks, z - masks), torch.ones(1, 48), attribution, n_perturb_samples=8, normalize=True
            )
            assert value.item() == pytest.approx((expected / zero).item(), rel=1e-3)


def test_sensitivity(clips):
    """A map that ignores the picture does not change; a gradient does; no noise, no change."""
    model, _ = random_model(1)
    assert faithfulness.sensitivity(model, clips[0], "nose", "centre") == 0
    assert faithfulness.sensitivity(model, clips[0], "nose", "saliency") > 0.01
    assert faithfulness.sensitivity(model, clips[0], "nose", "saliency", radius=1e-9) < 1e-3
