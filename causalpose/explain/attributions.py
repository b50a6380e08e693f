"""Captum's attributions of the target (`targets`), brought to the token grid.

Gradient methods give a number a pixel and channel; the token's value is the sum of their absolute values over its pixels and channels.
Perturbation methods replace a token (or a window) by the baseline. Layer methods explain the backbone's tokens themselves.

Stage 2 selects tokens by a hard choice: its output jumps where the choice changes, and the straight-through gate hands gradient
methods a gradient of the *soft* choice. Integrated Gradients is therefore complete for stages 0 and 1 only; the error is in `facts`.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
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
from torch import Tensor, nn

from causalpose.clip import Clip
from causalpose.errors import CausalPoseError
from causalpose.explain import targets
from causalpose.explain.maps import Map, as_batch, token_sum
from causalpose.explain.targets import EveryJointScore, JointScore, TokenScore
from causalpose.skeletons import keypoint_set

AT_ONCE = 16  # perturbed clips in one forward pass
JOINTS_AT_ONCE = 5  # copies of a clip that a gradient method explains for a joint each
MEAN_COLOUR, MEAN_TOKEN = "the clip's mean colour", "the clip's mean token"


@dataclass(frozen=True)
class Effort:
    """How much a method may spend, in place of its accuracy.

    steps         of an integration path; samples: noisy copies of GradientSHAP and SmoothGrad; permutations: of Shapley sampling
    fine          occlusion windows are a token large and move by half a token; else two tokens large, moving by one: a fifth of the cost
    """

    steps: int = 32
    samples: int = 16
    permutations: int = 4
    fine: bool = True

    def __post_init__(self):
        for name in ("steps", "samples", "permutations"):
            if getattr(self, name) < 1:
                raise CausalPoseError(f"effort: {name} = {getattr(self, name)} must be at least 1")


FULL, LIGHT = Effort(), Effort(steps=8, samples=4, permutations=1, fine=False)
EFFORTS = {"full": FULL, "light": LIGHT}


@dataclass(frozen=True)
class Found:
    """Values `[B, T, rows, columns]`, not negative; the same with its sign where there is one (positive: evidence for the joint); facts."""

    values: Tensor
    signed: Tensor | None
    facts: dict


@dataclass(frozen=True)
class Asked:
    """Frames, what the score takes beside them (cells, truth, joints), token grid, effort."""

    frames: Tensor
    extra: tuple
    grid: tuple[int, int]
    effort: Effort


def mean_colour(frames: Tensor) -> Tensor:
    """The baseline of paths and perturbations: every pixel has the clip's mean colour, `[B, T, 3, H, W]`.

    Not black: a dark sleeve would then be the baseline itself and could never matter.
    """
    return frames.mean((1, 3, 4), keepdim=True).expand_as(frames).contiguous()


def mean_token(tokens: Tensor) -> Tensor:
    """The baseline of layer methods: every place has the clip's mean token, `[B, C, T, rows, columns]`."""
    return tokens.mean((2, 3, 4), keepdim=True).expand_as(tokens).contiguous()


def token_numbers(frames: Tensor, grid: tuple[int, int]) -> Tensor:
    """Captum's feature mask: the number of the token that each pixel belongs to, int64 `[1, T, 1, H, W]`."""
    T, H, W = frames.shape[1], *frames.shape[-2:]
    rows, columns = grid
    numbers = torch.arange(T * rows * columns, device=frames.device).view(1, T, 1, rows, columns)
    return numbers.repeat_interleave(H // rows, -2).repeat_interleave(W // columns, -1)


def _pixels(found: Tensor, asked: Asked, **facts) -> Found:
    return Found(token_sum(found.abs(), asked.grid), token_sum(found, asked.grid), facts)


def _saliency(score: JointScore, asked: Asked) -> Found:
    found = Saliency(score).attribute(asked.frames, abs=True, additional_forward_args=asked.extra)
    return Found(token_sum(found, asked.grid), None, {})


def _input_x_gradient(score: JointScore, asked: Asked) -> Found:
    return _pixels(InputXGradient(score).attribute(asked.frames, additional_forward_args=asked.extra), asked)


def _integrated_gradients(score: JointScore, asked: Asked) -> Found:
    found, delta = IntegratedGradients(score).attribute(
        asked.frames,
        baselines=mean_colour(asked.frames),
        additional_forward_args=asked.extra,
        n_steps=asked.effort.steps,
        internal_batch_size=max(AT_ONCE, len(asked.frames)),
        return_convergence_delta=True,
    )
    return _pixels(found, asked, baseline=MEAN_COLOUR, steps=asked.effort.steps, completeness_error=float(delta.abs().max()))


def _smooth_grad(score: JointScore, asked: Asked) -> Found:
    noise = 0.1
    found = NoiseTunnel(Saliency(score)).attribute(
        asked.frames,
        nt_type="smoothgrad",
        nt_samples=asked.effort.samples,
        nt_samples_batch_size=max(1, AT_ONCE // len(asked.frames)),
        stdevs=noise,
        abs=True,
        additional_forward_args=asked.extra,
    )
    return Found(token_sum(found, asked.grid), None, {"samples": asked.effort.samples, "noise_std": noise})


def _gradient_shap(score: JointScore, asked: Asked) -> Found:
    frames, samples = asked.frames, asked.effort.samples
    greys = torch.linspace(0, 1, 5, device=frames.device).view(5, 1, 1, 1, 1).expand(5, *frames.shape[1:]).contiguous()
    found = GradientShap(score).attribute(frames, baselines=greys, n_samples=samples, stdevs=0.05, additional_forward_args=asked.extra)
    return _pixels(found, asked, baseline="five greys from black to white", samples=samples, noise_std=0.05)


def _occlusion(score: JointScore, asked: Asked) -> Found:
    height, width = asked.frames.shape[-2] // asked.grid[0], asked.frames.shape[-1] // asked.grid[1]
    step = (max(1, height // 2), max(1, width // 2)) if asked.effort.fine else (height, width)
    window = (height, width) if asked.effort.fine else (2 * height, 2 * width)
    score.remember(asked.frames.detach())
    found = Occlusion(score).attribute(
        asked.frames,
        sliding_window_shapes=(1, 3, *window),
        strides=(1, 3, *step),
        baselines=mean_colour(asked.frames),
        additional_forward_args=asked.extra,
        perturbations_per_eval=AT_ONCE,
    )
    return _pixels(found, asked, baseline=MEAN_COLOUR, window=list(window), stride=list(step))


def _feature_ablation(score: JointScore, asked: Asked) -> Found:
    score.remember(asked.frames.detach())
    found = FeatureAblation(score).attribute(
        asked.frames,
        baselines=mean_colour(asked.frames),
        feature_mask=token_numbers(asked.frames, asked.grid),
        additional_forward_args=asked.extra,
        perturbations_per_eval=AT_ONCE,
    )
    # Every pixel of a token carries the token's one number: the sum would only count pixels.
    signed = token_sum(found, asked.grid) / (asked.frames[0, 0].numel() // (asked.grid[0] * asked.grid[1]))
    return Found(signed.abs(), signed, {"baseline": MEAN_COLOUR})


def _on_tokens(score: JointScore, asked: Asked) -> tuple[TokenScore, Tensor]:
    layer = TokenScore(score)
    with torch.no_grad():
        tokens = layer.tokens(asked.frames)
    return layer, tokens.requires_grad_()


def _shapley_sampling(score: JointScore, asked: Asked) -> Found:
    layer, tokens = _on_tokens(score, asked)
    places = torch.arange(tokens[0, 0].numel(), device=tokens.device).view(1, 1, *tokens.shape[2:])
    found = ShapleyValueSampling(layer).attribute(
        tokens.detach(),
        baselines=mean_token(tokens.detach()),
        feature_mask=places,
        n_samples=asked.effort.permutations,
        additional_forward_args=asked.extra,
        perturbations_per_eval=AT_ONCE,
    )
    signed = found.flatten(0, -5)[:, 0]  # the channels of a token carry the same number
    return Found(signed.abs(), signed, {"baseline": MEAN_TOKEN, "permutations": asked.effort.permutations})


def _grad_cam(score: JointScore, asked: Asked) -> Found:
    """ReLU of Σ_c (mean over tokens of the gradient of channel c) · token_c, on the backbone's tokens of all frames."""
    layer, tokens = _on_tokens(score, asked)
    found = LayerGradCam(layer, layer.probe).attribute(tokens, additional_forward_args=asked.extra, relu_attributions=True)
    values = found[:, 0]
    if score.model.config.stage == 0:
        # The other frames' tokens lead nowhere; averaging the gradient over places would give them a share of the target frame's.
        values = values * (torch.arange(values.shape[1], device=values.device) == values.shape[1] // 2)[:, None, None]
    return Found(values, None, {"layer": "the backbone's tokens"})


def _grad_x_token(score: JointScore, asked: Asked) -> Found:
    """Grad-CAM without its averaging over places, which blurs a target that is itself a place: |Σ_c gradient_c · token_c| (HiResCAM)."""
    layer, tokens = _on_tokens(score, asked)
    gradient = torch.autograd.grad(layer(tokens, *asked.extra).sum(), tokens)[0]
    signed = (gradient * tokens).sum(1).detach()
    return Found(signed.abs(), signed, {"layer": "the backbone's tokens"})


def _layer_integrated_gradients(score: JointScore, asked: Asked) -> Found:
    layer, tokens = _on_tokens(score, asked)
    found, delta = LayerIntegratedGradients(layer, layer.probe).attribute(
        tokens,
        baselines=mean_token(tokens.detach()),
        additional_forward_args=asked.extra,
        n_steps=asked.effort.steps,
        internal_batch_size=max(AT_ONCE, len(tokens)),
        return_convergence_delta=True,
    )
    signed = found.sum(1)
    facts = {"layer": "the backbone's tokens", "baseline": MEAN_TOKEN, "steps": asked.effort.steps}
    return Found(signed.abs(), signed, facts | {"completeness_error": float(delta.abs().max())})


METHODS: dict[str, Callable[[JointScore, Asked], Found]] = {
    "saliency": _saliency,
    "input_x_gradient": _input_x_gradient,
    "integrated_gradients": _integrated_gradients,
    "smooth_grad": _smooth_grad,
    "gradient_shap": _gradient_shap,
    "occlusion": _occlusion,
    "feature_ablation": _feature_ablation,
    "shapley_sampling": _shapley_sampling,
    "grad_cam": _grad_cam,
    "grad_x_token": _grad_x_token,
    "layer_integrated_gradients": _layer_integrated_gradients,
}
# One forward pass tells about all joints, so that `every_joint` costs what one joint costs.
PERTURBING = ("occlusion", "feature_ablation", "shapley_sampling")


def attribution(model: nn.Module, clip: Clip, joint: str, method: str, *, seed: int = 0, effort: Effort = FULL) -> Map:
    """Attribute a joint's target to the tokens of a clip, or of every clip of a batch.

    method    a name of `METHODS`; seed: of `gradient_shap`, `smooth_grad` and `shapley_sampling`, which draw
    The model's mode must be evaluation: dropped paths or masked tokens would be explained along with the clip.
    """
    _check(model, method)
    score = JointScore(model, joint)
    started = time.perf_counter()
    frames, truth = targets.inputs(model, clip), targets.oracle_truth(model, clip)
    cells = score.cells(frames, truth)
    with _seeded(seed):
        found = METHODS[method](score, Asked(frames.requires_grad_(), (cells, truth), model.config.grid, effort))
    return _map(method, joint, found.values, found.signed, started, score.passes / len(frames), found.facts)


def every_joint(model: nn.Module, clip: Clip, method: str, *, seed: int = 0, effort: Effort = FULL) -> list[Map]:
    """The maps of all joints of *one* clip, in the order of the keypoint set.

    A perturbation method reads all joints from each forward pass; a gradient method takes several joints as one batch. The seconds and
    passes of a map are its share of the whole.
    """
    _check(model, method)
    if len(as_batch(clip).frames) != 1:
        raise CausalPoseError("every_joint explains one clip; pick one of the batch")
    names = keypoint_set(model.config.keypoints).keypoints
    score = EveryJointScore(model)
    started = time.perf_counter()
    frames, truth = targets.inputs(model, clip), targets.oracle_truth(model, clip)
    with torch.no_grad():
        score.passes += 1
        cells = targets.predicted_cells(model(frames, truth=truth).heatmaps)  # [1, K]
    with _seeded(seed):
        if method in PERTURBING:
            parts = [METHODS[method](score, Asked(frames.requires_grad_(), (cells, truth), model.config.grid, effort))]
        else:
            score, parts, before = JointScore(model, names[0]), [], score.passes
            for chosen in torch.arange(len(names), device=frames.device).split(JOINTS_AT_ONCE):
                copies = frames.expand(len(chosen), *frames.shape[1:]).contiguous().requires_grad_()
                shown = None if truth is None else truth.expand(len(chosen), -1, -1)
                parts.append(METHODS[method](score, Asked(copies, (cells[0, chosen], shown, chosen), model.config.grid, effort)))
            score.passes += before
    values = torch.cat([part.values for part in parts])
    signed = None if parts[0].signed is None else torch.cat([part.signed for part in parts])
    facts = parts[0].facts
    if "completeness_error" in facts:
        facts = facts | {"completeness_error": max(part.facts["completeness_error"] for part in parts)}
    whole = _map(method, "all", values, signed, started, score.passes, facts)
    share = len(names)
    return [
        Map(method, name, whole.values[k : k + 1], whole.seconds / share, whole.forward_passes / share, facts,
            None if whole.signed is None else whole.signed[k : k + 1])
        for k, name in enumerate(names)
    ]  # fmt: skip


def _check(model: nn.Module, method: str) -> None:
    if method not in METHODS:
        raise CausalPoseError(f"unknown attribution {method!r}; known: {', '.join(METHODS)}")
    if model.training:
        raise CausalPoseError(f"{method}: the model is in training mode; call model.eval() first")


def _map(method: str, joint: str, values: Tensor, signed: Tensor | None, started: float, passes: float, facts: dict) -> Map:
    values, signed = (None if part is None else part.detach().float().cpu() for part in (values, signed))
    return Map(method, joint, values, time.perf_counter() - started, passes, facts, signed)


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
