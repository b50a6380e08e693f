"""The scalar that is explained, stated once: the log-probability of a joint's predicted cell (ours).

A heatmap's softmax is a distribution over its `h·w` cells. The target is the log of the probability that it gives to the cell it finds
likeliest *on the clean clip*. The cell is fixed before anything is changed, so a perturbed clip is asked "is the joint still there?" and
not "where is it now?". The log makes the target a difference of logits, without the saturation of a probability near one.
"""

import torch
from torch import Tensor, nn

from causalpose.clip import Clip
from causalpose.config import ModelConfig
from causalpose.errors import CausalPoseError
from causalpose.explain.maps import as_batch
from causalpose.explain.truth import body_share
from causalpose.model import heatmaps
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


def expected_keypoints(logits: Tensor, config: ModelConfig) -> Tensor:
    """Mean place of each heatmap's distribution, `[..., h, w]` -> `[..., 2]` in crop pixels (x, y): it moves where a maximum jumps."""
    probability = logits.float().flatten(-2).softmax(-1).unflatten(-1, logits.shape[-2:])
    step_x, step_y = heatmaps.cell_size(config)
    x = torch.arange(logits.shape[-1], device=logits.device) * step_x
    y = torch.arange(logits.shape[-2], device=logits.device) * step_y
    return torch.stack((probability.sum(-2) @ x, probability.sum(-1) @ y), -1)


class JointScore(nn.Module):
    """The target as a function of the frames, in the form that Captum takes; counts the clips that pass.

    forward(frames `[B, T, 3, H, W]`, cells `[B]`, truth `[B, T, N]` or None, joints `[B]` or None) -> `[B]`; `joints` explains another
    joint in every clip of the batch.

    After `remember(frames)` of one clip, clips that need no gradient are embedded only in the frames in which they differ from it.
    """

    def __init__(self, model: nn.Module, joint: str):
        super().__init__()
        self.model, self.joint, self.passes = model, joint_index(model, joint), 0
        self._clean: tuple[Tensor, Tensor] | None = None

    def forward(self, frames: Tensor, cells: Tensor, truth: Tensor | None = None, joints: Tensor | None = None) -> Tensor:
        self.passes += len(frames)
        return self.read(self.heatmaps(frames, truth), cells, joints)

    def read(self, logits: Tensor, cells: Tensor, joints: Tensor | None = None) -> Tensor:
        """The target in heatmaps `[B, K, h, w]`, `[B]`."""
        chosen = logits[:, self.joint] if joints is None else logits[torch.arange(len(logits), device=logits.device), joints]
        return log_probability(chosen, cells)

    @torch.no_grad()
    def remember(self, frames: Tensor) -> None:
        """Keep the tokens of one clip `[1, T, 3, H, W]`; of a batch there is nothing to keep."""
        self._clean = (frames, self.model.embed(frames)) if len(frames) == 1 else None

    def heatmaps(self, frames: Tensor, truth: Tensor | None = None) -> Tensor:
        """The model's heatmaps `[B, K, h, w]`."""
        if self._clean is None or torch.is_grad_enabled():
            return self.model(frames, truth=truth).heatmaps
        clean, tokens = self._clean
        changed = (frames != clean).flatten(2).any(-1)  # [B, T]
        tokens = tokens.repeat(len(frames), 1, 1, 1)
        if changed.any():
            tokens[changed] = self.model.embed(frames[changed][:, None])[:, 0]
        return self.model.forward_tokens(tokens, truth=truth).heatmaps

    @torch.no_grad()
    def cells(self, frames: Tensor, truth: Tensor | None = None) -> Tensor:
        """The joint's predicted cell in each clip, `[B]`."""
        self.passes += len(frames)
        return predicted_cells(self.model(frames, truth=truth).heatmaps[:, self.joint])


class EveryJointScore(JointScore):
    """The targets of all joints at once: cells `[B, K]` -> `[B, K]`; what perturbation methods need, since a forward pass gives all."""

    def __init__(self, model: nn.Module):
        super().__init__(model, keypoint_set(model.config.keypoints).keypoints[0])

    def read(self, logits: Tensor, cells: Tensor, joints: Tensor | None = None) -> Tensor:
        return log_probability(logits, cells)


class TokenScore(nn.Module):
    """The target as a function of the backbone's tokens `[B, C, T, rows, columns]`, which pass through `probe`: a layer to explain.

    `score` says which joint's (or all joints') target is read and counts the passes.
    """

    def __init__(self, score: JointScore):
        super().__init__()
        self.score, self.model, self.probe = score, score.model, nn.Identity()

    def tokens(self, frames: Tensor) -> Tensor:
        """The clip's backbone tokens in the form that `forward` takes."""
        return self.model.embed(frames).unflatten(2, self.model.config.grid).permute(0, 4, 1, 2, 3)  # [B, C, T, rows, columns]

    def forward(self, tokens: Tensor, cells: Tensor, truth: Tensor | None = None, joints: Tensor | None = None) -> Tensor:
        self.score.passes += len(tokens)
        tokens = self.probe(tokens).permute(0, 2, 3, 4, 1).flatten(2, 3)  # [B, T, N, C]
        return self.score.read(self.model.forward_tokens(tokens, truth=truth).heatmaps, cells, joints)
