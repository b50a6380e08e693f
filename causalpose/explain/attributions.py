"""Captum's attributions of the target (`targets`), brought to the token grid.

Gradient methods give a number a pixel and channel; the token's value is the sum of their absolute values over its pixels and channels.
Perturbation methods replace a token (or a window) by the baseline; Grad-CAM reads the backbone's tokens themselves.

Stage 2 selects tokens by a hard choice: its output jumps where the choice changes, and the straight-through gate hands gradient
methods a gradient of the *soft* choice. Integrated Gradients is therefore complete for stages 0 and 1 only; the error is in `facts`.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from captum.attr import FeatureAblation, GradientShap, InputXGradient, IntegratedGradients, LayerGradCam, Occlusion, Saliency
from torch import Tensor, nn

from causalpose.clip import Clip
from causalpose.errors import CausalPoseError
from causalpose.explain import targets
from causalpose.explain.maps import Map, token_sum
from causalpose.explain.targets import JointScore, TokenJointScore

STEPS = 32  # of Integrated Gradients' path
SAMPLES = 16  # of GradientSHAP
AT_ONCE = 16  # perturbed clips in one forward pass
MEAN_COLOUR = "the clip's mean colour"


def mean_colour(frames: Tensor) -> Tensor:
    """The baseline of paths and perturbations: every pixel has the clip's mean colour, `[B, T, 3, H, W]`.

    Not black: a dark sleeve would then be the baseline itself and could never matter.
    """
    return frames.mean((1, 3, 4), keepdim=True).expand_as(frames).contiguous()


def token_numbers(frames: Tensor, grid: tuple[int, int]) -> Tensor:
    """Captum's feature mask: the number of the token that each pixel belongs to, int64 `[1, T, 1, H, W]`."""
    T, H, W = frames.shape[1], *frames.shape[-2:]
    rows, columns = grid
    numbers = torch.arange(T * rows * columns, device=frames.device).view(1, T, 1, rows, columns)
    return numbers.repeat_interleave(H // rows, -2).repeat_interleave(W // columns, -1)


def _saliency(score: JointScore, frames: Tensor, extra: tuple, grid) -> tuple[Tensor, dict]:
    found = Saliency(score).attribute(frames, abs=True, additional_forward_args=extra)
    return token_sum(found, grid), {}


def _input_x_gradient(score: JointScore, frames: Tensor, extra: tuple, grid) -> tuple[Tensor, dict]:
    found = InputXGradient(score).attribute(frames, additional_forward_args=extra)
    return token_sum(found.abs(), grid), {}


def _integrated_gradients(score: JointScore, frames: Tensor, extra: tuple, grid) -> tuple[Tensor, dict]:
    found, delta = IntegratedGradients(score).attribute(
        frames,
        baselines=mean_colour(frames),
        additional_forward_args=extra,
        n_steps=STEPS,
        internal_batch_size=max(AT_ONCE, len(frames)),
        return_convergence_delta=True,
    )
    return token_sum(found.abs(), grid), {"baseline": MEAN_COLOUR, "steps": STEPS, "completeness_error": float(delta.abs().max())}


def _gradient_shap(score: JointScore, frames: Tensor, extra: tuple, grid) -> tuple[Tensor, dict]:
    greys = torch.linspace(0, 1, 5, device=frames.device).view(5, 1, 1, 1, 1).expand(5, *frames.shape[1:]).contiguous()
    found = GradientShap(score).attribute(frames, baselines=greys, n_samples=SAMPLES, stdevs=0.05, additional_forward_args=extra)
    return token_sum(found.abs(), grid), {"baseline": "five greys from black to white", "samples": SAMPLES, "noise_std": 0.05}


def _occlusion(score: JointScore, frames: Tensor, extra: tuple, grid) -> tuple[Tensor, dict]:
    height, width = frames.shape[-2] // grid[0], frames.shape[-1] // grid[1]
    step = (max(1, height // 2), max(1, width // 2))
    found = Occlusion(score).attribute(
        frames,
        sliding_window_shapes=(1, 3, height, width),
        strides=(1, 3, *step),
        baselines=mean_colour(frames),
        additional_forward_args=extra,
        perturbations_per_eval=AT_ONCE,
    )
    return token_sum(found.abs(), grid), {"baseline": MEAN_COLOUR, "window": [height, width], "stride": list(step)}


def _feature_ablation(score: JointScore, frames: Tensor, extra: tuple, grid) -> tuple[Tensor, dict]:
    found = FeatureAblation(score).attribute(
        frames,
        baselines=mean_colour(frames),
        feature_mask=token_numbers(frames, grid),
        additional_forward_args=extra,
        perturbations_per_eval=AT_ONCE,
    )
    # Every pixel of a token carries the token's one number: the sum would only count pixels.
    pixels = frames[0, 0].numel() // (grid[0] * grid[1])
    return token_sum(found.abs(), grid) / pixels, {"baseline": MEAN_COLOUR}


def _grad_cam(score: TokenJointScore, frames: Tensor, extra: tuple, grid) -> tuple[Tensor, dict]:
    """ReLU of Σ_c (mean over tokens of the gradient of channel c) · token_c, on the backbone's tokens of all frames."""
    found = LayerGradCam(score, score.probe).attribute(frames, additional_forward_args=extra, relu_attributions=True)
    values = found[:, 0]
    if score.model.config.stage == 0:
        # The other frames' tokens lead nowhere; averaging the gradient over places would give them a share of the target frame's.
        values = values * (torch.arange(values.shape[1], device=values.device) == values.shape[1] // 2)[:, None, None]
    return values, {"layer": "the backbone's tokens"}


def _grad_x_token(score: TokenJointScore, frames: Tensor, extra: tuple, grid) -> tuple[Tensor, dict]:
    """Grad-CAM without its averaging over places, which blurs a target that is itself a place: |Σ_c gradient_c · token_c| (HiResCAM)."""
    kept = {}

    def keep(module, args, output):
        kept["tokens"] = output
        return output

    handle = score.probe.register_forward_hook(keep)
    try:
        value = score(frames, *extra)
        gradient = torch.autograd.grad(value.sum(), kept["tokens"])[0]
    finally:
        handle.remove()
    return (gradient * kept["tokens"]).sum(1).abs().detach(), {"layer": "the backbone's tokens"}


_Method = Callable[[JointScore, Tensor, tuple, tuple[int, int]], tuple[Tensor, dict]]
METHODS: dict[str, tuple[type[JointScore], _Method]] = {
    "saliency": (JointScore, _saliency),
    "input_x_gradient": (JointScore, _input_x_gradient),
    "integrated_gradients": (JointScore, _integrated_gradients),
    "gradient_shap": (JointScore, _gradient_shap),
    "occlusion": (JointScore, _occlusion),
    "feature_ablation": (JointScore, _feature_ablation),
    "grad_cam": (TokenJointScore, _grad_cam),
    "grad_x_token": (TokenJointScore, _grad_x_token),
}


def attribution(model: nn.Module, clip: Clip, joint: str, method: str, *, seed: int = 0) -> Map:
    """Attribute a joint's target to the tokens of a clip, or of every clip of a batch.

    method    a name of `METHODS`; seed: of `gradient_shap`, the only one that draws
    The model's mode must be evaluation: dropped paths or masked tokens would be explained along with the clip.
    """
    if method not in METHODS:
        raise CausalPoseError(f"unknown attribution {method!r}; known: {', '.join(METHODS)}")
    if model.training:
        raise CausalPoseError(f"{method}: the model is in training mode; call model.eval() first")
    kind, function = METHODS[method]
    score = kind(model, joint)
    started = time.perf_counter()
    frames, truth = targets.inputs(model, clip), targets.oracle_truth(model, clip)
    cells = score.cells(frames, truth)
    extra = (cells,) if truth is None else (cells, truth)
    with _seeded(seed):
        values, facts = function(score, frames.requires_grad_(), extra, model.config.grid)
    values = values.detach().float().cpu()
    return Map(method, joint, values, time.perf_counter() - started, score.passes / len(frames), facts)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Captum draws from the global streams of NumPy and torch: seed both, and give the caller's back."""
    state = np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(state)  # noqa: NPY002
