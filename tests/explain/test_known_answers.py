"""Every method on a linear model whose right answer is known."""

import pytest
import torch

from causalpose.clip import Clip
from causalpose.explain import methods
from causalpose.explain.attributions import METHODS, Effort
from tests.explain.models import Linear

JOINT = "nose"


@pytest.fixture(scope="module")
def toy() -> Linear:
    return Linear().eval()


@pytest.fixture(scope="module")
def flat() -> Clip:
    """A clip whose tokens are plain squares of different greys."""
    bright = torch.rand(1, 3, 1, 4, 4, generator=torch.Generator().manual_seed(7))
    frames = bright.repeat_interleave(8, -2).repeat_interleave(8, -1).expand(1, 3, 3, 32, 32).contiguous()
    return Clip(
        frames, torch.zeros(1, 3, 15, 2), torch.ones(1, 3, 15, dtype=torch.uint8), torch.tensor([20.0]),
        torch.zeros(1, dtype=torch.uint8), torch.zeros(1, dtype=torch.long),
    )  # fmt: skip


def shares(toy: Linear, clip: Clip) -> dict[str, torch.Tensor]:
    """What each token is worth, by what a method measures: its weight, weight x brightness, weight x (brightness - the clip's mean)."""
    bright = toy.embed(clip.frames).flatten()
    weight = toy.scale * toy.attention[toy.row] * toy.weight
    return {name: part.view(1, 3, 4, 4) for name, part in
            {"weight": weight, "product": weight * bright, "loss": weight * (bright - bright.mean())}.items()}  # fmt: skip


EXPECTED = {
    "saliency": "weight", "smooth_grad": "weight", "input_x_gradient": "product", "grad_x_token": "product", "integrated_gradients": "loss",
    "feature_ablation": "loss", "shapley_sampling": "loss", "layer_integrated_gradients": "loss",
}  # fmt: skip


@pytest.mark.parametrize("method", EXPECTED)
def test_attributions_give_each_token_its_share(toy, flat, method):
    """Within 2 %: that much the log-probability bends."""
    expected = shares(toy, flat)[EXPECTED[method]]
    found = methods.explain(toy, flat, JOINT, method, effort=Effort(8, 4, 1))
    assert torch.allclose(found.values, expected.abs(), rtol=0.02, atol=2e-3 * expected.abs().max().item()), method
    if found.signed is not None:
        assert torch.allclose(found.signed, expected, rtol=0.02, atol=2e-3 * expected.abs().max().item())


def test_gradient_shap_is_the_mean_over_its_baselines(toy, flat):
    """With greys from black to white a token's expected share is weight x (brightness - 1/2); the drawn one is near it."""
    weight = shares(toy, flat)["weight"]
    expected = weight * (toy.embed(flat.frames).view(1, 3, 4, 4) - 0.5)
    found = methods.explain(toy, flat, JOINT, "gradient_shap", effort=Effort(8, 400, 1)).signed
    assert (found - expected).abs().max() < 0.08 * weight.abs().max()


def test_occlusion_is_the_mean_over_the_windows_of_each_pixel(toy, flat):
    """Windows of 8 x 8 pixels, moved by 4: by loops over windows and frames."""
    frames, mean = flat.frames, flat.frames.mean()
    value = toy(frames).heatmaps[0, 0].flatten().log_softmax(0)[0]
    total, count = torch.zeros(3, 32, 32), torch.zeros(3, 32, 32)
    for t in range(3):
        for y in range(0, 25, 4):
            for x in range(0, 25, 4):
                changed = frames.clone()
                changed[:, t, :, y : y + 8, x : x + 8] = mean
                total[t, y : y + 8, x : x + 8] += value - toy(changed).heatmaps[0, 0].flatten().log_softmax(0)[0]
                count[t, y : y + 8, x : x + 8] += 1
    expected = 3 * (total / count).abs().unflatten(2, (4, 8)).unflatten(1, (4, 8)).sum((2, 4))
    assert torch.allclose(methods.explain(toy, flat, JOINT, "occlusion").values[0], expected, atol=1e-4)


def test_grad_cam_averages_the_gradient_over_places(toy, flat):
    """Brightness times the mean weight: it cannot tell the places apart, on a linear model least of all."""
    expected = shares(toy, flat)["weight"].mean() * toy.embed(flat.frames).view(1, 3, 4, 4)
    assert torch.allclose(methods.explain(toy, flat, JOINT, "grad_cam").values, expected.clamp_min(0), rtol=0.02)


def test_attention_and_its_rollout_are_the_joints_row(toy, flat):
    row = toy.attention[toy.row].view(1, 3, 4, 4)
    own = torch.zeros(48)
    own[toy.row] = 1
    assert torch.allclose(methods.explain(toy, flat, JOINT, "encoder_attention").values, row)
    assert torch.allclose(methods.explain(toy, flat, JOINT, "attention_rollout").values, (row + own.view(1, 3, 4, 4)) / 2)


def test_gradient_attention_weighs_attention_by_its_gradient(toy, flat):
    """One block: (∇A ⊙ A)⁺, and here A times its gradient is the token's share."""
    expected = shares(toy, flat)["product"].clamp_min(0)
    assert torch.allclose(methods.explain(toy, flat, JOINT, "gradient_attention").values, expected, rtol=0.02, atol=1e-6)


def test_tcis_is_the_models_own_importance(flat):
    model = Linear(stage=2).eval()
    assert torch.equal(methods.explain(model, flat, "left_wrist", "tcis").values[0], model.importance[7])


def test_edges_of_a_step(toy, flat):
    """A step of height 1 at pixel column 16: Sobel gives 4 in the two columns beside it; token columns 1 and 2 hold one each."""
    step = torch.zeros_like(flat.frames)
    step[..., 16:] = 1
    found = methods.explain(
        toy, Clip(step, *(getattr(flat, n) for n in ("keypoints", "visibility", "scale", "condition", "index"))), JOINT, "edges"
    )
    expected = torch.zeros(1, 3, 4, 4)
    expected[..., 1:3] = 4 * 8
    assert torch.allclose(found.values, expected, atol=1e-4)


def test_no_method_is_left_out():
    tested = {*EXPECTED, "gradient_shap", "occlusion", "grad_cam", "encoder_attention", "attention_rollout", "gradient_attention", "tcis"}
    assert set(METHODS) | {"encoder_attention", "attention_rollout", "gradient_attention", "tcis"} <= tested
