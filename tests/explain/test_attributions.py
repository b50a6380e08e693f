"""The library's attributions are Captum's, brought to tokens."""

import numpy as np
import pytest
import torch
from captum.attr import (
    FeatureAblation,
    GradientShap,
    InputXGradient,
    IntegratedGradients,
    LayerGradCam,
    LayerIntegratedGradients,
    NoiseTunnel,
    Occlusion,
    Saliency,
    ShapleyValueSampling,
)

from causalpose.errors import CausalPoseError
from causalpose.explain import attributions, targets
from causalpose.explain.attributions import METHODS, attribution, every_joint
from causalpose.explain.maps import token_sum
from causalpose.skeletons import keypoint_set
from tests.explain.models import LOOKED_AT, random_model

JOINT, WRIST = "left_wrist", 7


def by_hand(pixels: torch.Tensor, patch: int = 8) -> torch.Tensor:
    """Sums over patches with loops."""
    B, T, _, H, W = pixels.shape
    out = torch.zeros(B, T, H // patch, W // patch)
    for row in range(H // patch):
        for column in range(W // patch):
            out[:, :, row, column] = pixels[..., row * patch : (row + 1) * patch, column * patch : (column + 1) * patch].sum((2, 3, 4))
    return out


@pytest.fixture(scope="module", params=[1, 2])
def model(request):
    return random_model(request.param)[0]


def direct(model, clips):
    """A plain function of the frames for Captum, with the cells fixed by hand."""
    frames = (clips.frames.float() / 255).requires_grad_()
    logits = model(frames).heatmaps[:, WRIST].flatten(1)
    cells = logits.argmax(1)

    def function(x, cells):
        return model(x).heatmaps[:, WRIST].flatten(1).log_softmax(1).gather(1, cells[:, None])[:, 0]

    return function, frames, cells


def test_saliency_is_captums(model, clips):
    function, frames, cells = direct(model, clips)
    expected = by_hand(Saliency(function).attribute(frames, additional_forward_args=(cells,)).abs())
    found = attribution(model, clips, JOINT, "saliency")
    assert torch.allclose(found.values, expected, atol=1e-6, rtol=1e-5)
    assert found.values.shape == (2, 3, 4, 4) and found.forward_passes == 2 and found.seconds > 0
    assert found.values.max() > 0


def test_integrated_gradients_are_captums_and_complete(clips):
    """On the stated target the attributions sum to f(x) - f(baseline): within 2 % at 256 steps. At the library's fewer steps, `facts` holds
    the error there is."""
    model, _ = random_model(1)
    function, frames, cells = direct(model, clips)
    baseline = frames.detach().mean((1, 3, 4), keepdim=True).expand_as(frames).contiguous()
    with torch.no_grad():
        rise = function(frames, cells) - function(baseline, cells)
    assert rise.abs().max() > 1, "the case is too weak to tell"

    def path(steps):
        return IntegratedGradients(function).attribute(frames, baseline, additional_forward_args=(cells,), n_steps=steps).detach()

    fine, coarse = path(256), path(attributions.FULL.steps)
    assert (fine.flatten(1).sum(1) - rise).abs().max() < 0.02 * rise.abs().max()
    found = attribution(model, clips, JOINT, "integrated_gradients")
    assert torch.allclose(found.values, by_hand(coarse.abs()), atol=1e-6, rtol=1e-4)
    assert found.facts["completeness_error"] == pytest.approx((coarse.flatten(1).sum(1) - rise).abs().max().item(), abs=1e-3)


def test_feature_ablation_is_captums_and_each_tokens_own_drop(clips):
    """The value of token (1, 2, 0) is the drop of the target when its 8 x 8 pixels get the mean colour."""
    model, _ = random_model(1)
    function, frames, cells = direct(model, clips)
    frames = frames.detach()
    baseline = attributions.mean_colour(frames)
    numbers = attributions.token_numbers(frames, (4, 4))
    assert numbers.shape == (1, 3, 1, 32, 32) and numbers.unique().tolist() == list(range(48))
    pixels = FeatureAblation(function).attribute(frames, baseline, additional_forward_args=(cells,), feature_mask=numbers)
    found = attribution(model, clips, JOINT, "feature_ablation")
    assert torch.allclose(found.values, by_hand(pixels.abs()).detach() / 192, atol=1e-6, rtol=1e-4)
    changed = frames.clone()
    changed[:, 1, :, 16:24, 0:8] = baseline[:, 1, :, 16:24, 0:8]
    drop = (function(frames, cells) - function(changed, cells)).abs()
    assert torch.allclose(found.values[:, 1, 2, 0], drop.detach(), atol=1e-5)


def test_layer_methods_are_captums_on_the_backbones_tokens(clips):
    """Called on a plain function of the tokens and on a layer within it."""
    model, _ = random_model(1)
    layer = targets.TokenScore(targets.JointScore(model, JOINT))
    tokens = layer.tokens(targets.inputs(model, clips)).detach().requires_grad_()
    cells = model(clips.frames).heatmaps[:, WRIST].flatten(1).argmax(1)
    cam = LayerGradCam(layer, layer.probe).attribute(tokens, additional_forward_args=(cells,), relu_attributions=True)
    assert torch.allclose(attribution(model, clips, JOINT, "grad_cam").values, cam[:, 0].detach(), atol=1e-6)
    baseline = tokens.detach().mean((2, 3, 4), keepdim=True).expand_as(tokens)
    path = LayerIntegratedGradients(layer, layer.probe).attribute(tokens, baseline, additional_forward_args=(cells,), n_steps=32)
    found = attribution(model, clips, JOINT, "layer_integrated_gradients")
    assert torch.allclose(found.signed, path.sum(1).detach(), atol=1e-6, rtol=1e-4)
    with torch.no_grad():
        rise = layer(tokens, cells) - layer(baseline, cells)
    fine = attribution(model, clips, JOINT, "layer_integrated_gradients", effort=attributions.Effort(steps=256))
    assert torch.allclose(fine.signed.flatten(1).sum(1), rise, atol=0.02 * rise.abs().max().item()), "complete, as on pixels"
    assert found.facts["completeness_error"] >= fine.facts["completeness_error"]


def test_drawing_methods_are_captums_with_the_same_seed(model, clips):
    """SmoothGrad, GradientSHAP and Shapley sampling: the same seed, the same draws, the same numbers."""
    one = clips[:1]
    function, frames, cells = direct(model, one)
    torch.manual_seed(5)
    smooth = NoiseTunnel(Saliency(function)).attribute(
        frames, nt_samples=16, nt_samples_batch_size=16, stdevs=0.1, abs=True, additional_forward_args=(cells,)
    )
    assert torch.allclose(attribution(model, one, JOINT, "smooth_grad", seed=5).values, by_hand(smooth.detach()), atol=1e-6, rtol=1e-4)
    torch.manual_seed(5)
    np.random.seed(5)
    greys = torch.linspace(0, 1, 5).view(5, 1, 1, 1, 1).expand(5, *frames.shape[1:])
    shap = GradientShap(function).attribute(frames, greys, n_samples=16, stdevs=0.05, additional_forward_args=(cells,))
    assert torch.allclose(
        attribution(model, one, JOINT, "gradient_shap", seed=5).values, by_hand(shap.abs().detach()), atol=1e-6, rtol=1e-4
    )
    layer = targets.TokenScore(targets.JointScore(model, JOINT))
    tokens = layer.tokens(frames).detach()
    baseline = tokens.mean((2, 3, 4), keepdim=True).expand_as(tokens)
    torch.manual_seed(5)
    shapley = ShapleyValueSampling(layer).attribute(
        tokens, baseline, feature_mask=torch.arange(48).view(1, 1, 3, 4, 4), n_samples=4, additional_forward_args=(cells,)
    )
    found = attribution(model, one, JOINT, "shapley_sampling", seed=5)
    assert torch.allclose(found.signed, shapley[:, 0], atol=1e-6, rtol=1e-5)
    with torch.no_grad():
        rise = layer(tokens, cells) - layer(baseline, cells)
    assert torch.allclose(found.signed.sum(), rise, atol=1e-3), "every permutation walks from the baseline to the clip"


def test_occlusion_and_input_x_gradient_are_captums(model, clips):
    function, frames, cells = direct(model, clips)
    product = InputXGradient(function).attribute(frames, additional_forward_args=(cells,))
    found = attribution(model, clips, JOINT, "input_x_gradient")
    assert torch.allclose(found.values, by_hand(product.abs().detach()), atol=1e-6, rtol=1e-4)
    assert torch.allclose(found.signed, by_hand(product.detach()), atol=1e-5, rtol=1e-4)
    for one in (clips[:1], clips):  # alone, unchanged frames are not embedded again
        function, frames, cells = direct(model, one)
        windows = Occlusion(function).attribute(
            frames,
            (1, 3, 16, 16),
            strides=(1, 3, 8, 8),
            baselines=attributions.mean_colour(frames.detach()),
            additional_forward_args=(cells,),
        )
        assert torch.allclose(
            attribution(model, one, JOINT, "occlusion", effort=attributions.LIGHT).values / 192,
            by_hand(windows.abs().detach()) / 192,  # a pixel's value, as Captum gives it: a token sums 8 x 8 pixels of three colours
            atol=1e-6,
            rtol=1e-5,
        )


@pytest.mark.parametrize("method", ["saliency", "feature_ablation", "shapley_sampling", "grad_cam", "layer_integrated_gradients"])
def test_every_joint_at_once_is_each_joint_alone(clips, method):
    model, _ = random_model(1)
    maps = every_joint(model, clips[1], method, seed=2)
    assert [found.joint for found in maps] == list(keypoint_set("posetrack15").keypoints)
    for found in (maps[0], maps[WRIST]):
        alone = attribution(model, clips[1], found.joint, method, seed=2)
        assert torch.allclose(found.values, alone.values, atol=1e-4, rtol=1e-3)
        assert found.forward_passes <= alone.forward_passes
    with pytest.raises(CausalPoseError, match="one clip"):
        every_joint(model, clips, method)


def test_a_single_frame_model_looks_at_one_frame(clips):
    model, _ = random_model(0)
    for method in ("saliency", "feature_ablation", "grad_cam", "grad_x_token"):
        values = attribution(model, clips, JOINT, method).values
        assert values[:, [0, 2]].max() < 1e-5 and values[:, 1].max() > 1e-4, method


@pytest.mark.parametrize("method", [name for name in METHODS if name != "grad_cam"])
def test_a_model_that_looks_at_one_token(one_token, clips, method):
    """Only what touches the token counts; overlapping windows reach its neighbours, but the token leads.

    Grad-CAM is left out: it averages the gradient over all tokens by its nature.
    """
    values = attribution(one_token, clips, JOINT, method).values
    t, row, column = LOOKED_AT
    rest = values.clone()
    rest[:, t, row, column] = 0
    assert (values[:, t, row, column] > 0).all()
    assert (rest.flatten(1).amax(1) < values[:, t, row, column]).all()
    if method != "occlusion":
        assert rest.abs().max() < 1e-6


def test_clips_of_a_batch_do_not_mix(model, clips):
    both = attribution(model, clips, JOINT, "input_x_gradient").values
    alone = attribution(model, clips[1], JOINT, "input_x_gradient").values
    assert torch.allclose(both[1:], alone, atol=1e-5, rtol=1e-4)


def test_chance_is_seeded_and_the_global_streams_stay(model, clips):
    state, numpy_state = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    first, again, other = (attribution(model, clips[0], JOINT, "gradient_shap", seed=s).values for s in (3, 3, 4))
    assert torch.equal(first, again) and not torch.allclose(first, other, rtol=1e-3)
    assert torch.equal(torch.random.get_rng_state(), state) and (np.random.get_state()[1] == numpy_state).all()


def test_parameters_are_left_alone(clips):
    model, _ = random_model(2)
    attribution(model, clips, JOINT, "saliency")
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_oracle_models_are_given_their_truth(clips):
    model, _ = random_model(2, "model.fte.selector=oracle")
    assert attribution(model, clips, JOINT, "feature_ablation").values.max() > 0


def test_wrong_input(clips):
    model, _ = random_model(1)
    with pytest.raises(CausalPoseError, match="unknown attribution 'lime'; known: saliency"):
        attribution(model, clips, JOINT, "lime")
    with pytest.raises(CausalPoseError, match="has no keypoint 'wrist'"):
        attribution(model, clips, "wrist", "saliency")
    with pytest.raises(CausalPoseError, match=r"call model.eval\(\)"):
        attribution(model.train(), clips, JOINT, "saliency")


def test_token_sum():
    pixels = torch.rand(2, 3, 3, 16, 24)
    assert torch.allclose(token_sum(pixels, (2, 3)), by_hand(pixels))
