"""The scalar that is explained, stated once: the log-probability of a joint's predicted cell (ours).

A heatmap's softmax is a distribution over its `h·w` cells. The target is the log of the probability that it gives to the cell it finds
likeliest *on the clean clip*. The cell is fixed before anything is changed, so a perturbed clip is asked "is the joint still there?" and
not "where is it now?". The log makes the target a difference of logits, without the saturation of a probability near one.
"""

import torch
from torch import Tensor, nn

from causalpose.clip import Clip
from causalpose.errors import CausalPoseError
from causalpose.explain.maps import as_batch
from causalpose.explain.truth import body_share
from causalpose.skeletons import keypoint_set

DEFINITION = "log-probability (log-softmax over the heatmap) of the joint's predicted cell, fixed from the unchanged clip; no flip test"


def joint_index(model: nn.Module, joint: str) -> int:
    """A joint's position by name, in the model's keypoint set; an unknown name is an error that lists the known ones."""
    return keypoint_set(model.config.keypoints).index(joint)


def inputs(model: nn.Module, clip: Clip) -> Tensor:
    """The clip's frames on the model's device as float32 in [0, 1], `[B, T, 3, H, W]`."""
    frames = as_batch(clip).frames
    if frames.shape[1] != model.config.frames and model.config.stage:
        raise CausalPoseError(f"the clip has {frames.shape[1]} frames, but this model takes {model.config.frames}")
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    return frames.to(device).float() / 255 if frames.dtype == torch.uint8 else frames.to(device).float()


def oracle_truth(model: nn.Module, clip: Clip) -> Tensor | None:
    """The body shares `[B, T, N]` that a model with the `oracle` selector must be given; None for all others."""
    if model.config.stage != 2 or model.config.fte.selector != "oracle":
        return None
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    return body_share(as_batch(clip), model.config.grid).flatten(2).to(device)


def predicted_cells(logits: Tensor) -> Tensor:
    """The likeliest cell of each heatmap: `[..., h, w]` -> int64 `[...]`, counted row by row."""
    return logits.flatten(-2).argmax(-1)


def log_probability(logits: Tensor, cells: Tensor) -> Tensor:
    """Log-softmax of heatmaps `[..., h, w]` at the given cells `[...]`."""
    return logits.float().flatten(-2).log_softmax(-1).gather(-1, cells[..., None])[..., 0]


class JointScore(nn.Module):
    """The target as a function of the frames, in the form that Captum takes; counts the clips that pass.

    forward(frames `[B, T, 3, H, W]`, cells `[B]`, truth `[B, T, N]` or None) -> `[B]`
    """

    def __init__(self, model: nn.Module, joint: str):
        super().__init__()
        self.model, self.joint, self.passes = model, joint_index(model, joint), 0

    def forward(self, frames: Tensor, cells: Tensor, truth: Tensor | None = None) -> Tensor:
        self.passes += len(frames)
        return log_probability(self.model(frames, truth=truth).heatmaps[:, self.joint], cells)

    @torch.no_grad()
    def cells(self, frames: Tensor, truth: Tensor | None = None) -> Tensor:
        """The joint's predicted cell in each clip, `[B]`."""
        self.passes += len(frames)
        return predicted_cells(self.model(frames, truth=truth).heatmaps[:, self.joint])


class TokenJointScore(JointScore):
    """The same target with the backbone's tokens passing through `probe` as `[B, C, T, rows, columns]`: a layer for Grad-CAM to read."""

    def __init__(self, model: nn.Module, joint: str):
        super().__init__(model, joint)
        self.probe = nn.Identity()

    def forward(self, frames: Tensor, cells: Tensor, truth: Tensor | None = None) -> Tensor:
        self.passes += len(frames)
        tokens = self.model.embed(frames).unflatten(2, self.model.config.grid)  # [B, T, rows, columns, C]
        tokens = self.probe(tokens.permute(0, 4, 1, 2, 3)).permute(0, 2, 3, 4, 1).flatten(2, 3)
        return log_probability(self.model.forward_tokens(tokens, truth=truth).heatmaps[:, self.joint], cells)
