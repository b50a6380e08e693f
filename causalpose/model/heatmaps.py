"""Heatmaps: from keypoints to targets and back.

The UDP convention holds throughout: a pixel's centre is at integer coordinates and the unit of length is the distance between
two pixel centres. A heatmap of `w` cells over an image of `W` pixels therefore puts cell `j` at pixel `j (W-1) / (w-1)`, so the
first and last cells sit exactly on the first and last pixels and nothing shifts when an image is flipped or resized
(Huang et al., *The Devil is in the Details*, CVPR 2020). The sub-cell refinement is DARK's (Zhang et al., CVPR 2020): a second-order
Taylor expansion of the log heatmap, which is exact for a Gaussian.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from causalpose.clip import Visibility
from causalpose.config import ModelConfig
from causalpose.errors import CausalPoseError

LOSSES = ("ce", "mse")
DECODERS: dict[str, str] = {
    "dark": "argmax and one Newton step on the log map (DARK), UDP coordinates",
    "quarter": "argmax and a quarter of a cell towards the higher neighbour, UDP coordinates",
    "argmax": "argmax, UDP coordinates",
}


def _check_kind(kind: str) -> None:
    if kind not in LOSSES:
        raise CausalPoseError(f"heatmap loss {kind!r} is not one of: {', '.join(LOSSES)}")


def cell_size(config: ModelConfig) -> tuple[float, float]:
    """Pixels (x, y) from one heatmap cell to the next."""
    rows, columns = config.heatmap_size
    return (config.width - 1) / (columns - 1), (config.height - 1) / (rows - 1)


def encode(keypoints: Tensor, visibility: Tensor, config: ModelConfig, sigma: float) -> tuple[Tensor, Tensor]:
    """Gaussian targets, centred with sub-cell precision.

    keypoints   `[..., K, 2]`, crop pixels (x, y); visibility `[..., K]`, values of `Visibility`; sigma in heatmap cells
    returns     targets `[..., K, h, w]` float32 with peak 1, and weights `[..., K]` float32 in {0, 1}

    A joint weighs nothing where it is unlabelled, outside the image, or its cell lies off the map. Occluded joints count: their
    position is known, and inferring them is what the model is for.
    """
    if sigma <= 0:
        raise CausalPoseError(f"heatmap sigma = {sigma} must be positive (in heatmap cells)")
    rows, columns = config.heatmap_size
    counted = counts(keypoints, visibility, config)
    cells = keypoints.float() / keypoints.new_tensor(cell_size(config))
    cells = torch.where(counted[..., None], cells, torch.zeros_like(cells))  # unlabelled joints may hold anything, nan included

    def profile(centre: Tensor, length: int) -> Tensor:
        offset = torch.arange(length, device=keypoints.device, dtype=torch.float32) - centre[..., None]
        return torch.exp(offset.square() * (-0.5 / sigma**2))

    # A Gaussian is the product of its profiles: h + w exponentials a joint instead of h·w.
    targets = profile(cells[..., 1], rows)[..., :, None] * profile(cells[..., 0], columns)[..., None, :]
    return targets, counted.float()


def counts(keypoints: Tensor, visibility: Tensor, config: ModelConfig) -> Tensor:
    """Which joints count, bool `[..., K]`: labelled, inside the image, and with their cell on the map. Arguments as in `encode`."""
    rows, columns = config.heatmap_size
    cells = keypoints.float() / keypoints.new_tensor(cell_size(config))
    size = keypoints.new_tensor((columns, rows))
    on_map = ((cells >= -0.5) & (cells < size - 0.5)).all(-1)
    return on_map & (visibility != Visibility.UNLABELLED) & (visibility != Visibility.OUTSIDE)


def loss(logits: Tensor, targets: Tensor, weights: Tensor, kind: str = "ce", number: Tensor | None = None) -> Tensor:
    """Mean loss over the joints that count; `number` of them, where this is a shard of a batch and the mean is to be the whole one's.

    logits, targets `[..., K, h, w]`; weights `[..., K]`. `ce`: softmax cross-entropy over the h·w cells against the target
    normalised to sum one (the map is a distribution over places); `mse`: mean squared difference over the cells (ViTPose).
    With no counted joint the loss is zero (and its gradient too), never nan.
    """
    _check_kind(kind)
    if logits.shape != targets.shape:
        raise CausalPoseError(f"heatmap logits {tuple(logits.shape)} and targets {tuple(targets.shape)} differ in shape")
    logits, targets = logits.float().flatten(-2), targets.flatten(-2)
    if kind == "ce":
        # -sum p (x - logsumexp x) = logsumexp x - sum p x, without forming the log-softmax of every cell
        expected = (targets * logits).sum(-1) / targets.sum(-1).clamp_min(1e-12)
        each = torch.logsumexp(logits, -1) - expected
    else:
        each = F.mse_loss(logits, targets, reduction="none").mean(-1)
    return (each * weights).sum() / (weights.sum() if number is None else number).clamp_min(1.0)


def decode(logits: Tensor, config: ModelConfig, kind: str = "ce", decoder: str = "dark") -> tuple[Tensor, Tensor]:
    """Keypoints and confidences of heatmaps.

    logits    `[..., K, h, w]`, a head's output
    decoder   one of `DECODERS`. `dark` is as precise as the map is a Gaussian; `quarter` (the rule of SimpleBaseline and HRNet) errs by at
              most a quarter of a cell on an undisturbed peak, whatever its shape; `argmax` by half a cell
    returns   keypoints `[..., K, 2]` float32, crop pixels (x, y); scores `[..., K]` float32: the largest softmax probability
              for a model trained with `ce` (in (0, 1]), the largest value for `mse`

    With `dark` the largest cell is refined by one Newton step on the log map, at most one cell long. At the border the expansion is taken
    about the nearest inner cell, so a joint on the first row is as precise as one in the middle.
    """
    _check_kind(kind)
    if decoder not in DECODERS:
        raise CausalPoseError(f"heatmap decoder {decoder!r} is not one of: {', '.join(DECODERS)}")
    rows, columns = config.heatmap_size
    if logits.shape[-2:] != (rows, columns):
        raise CausalPoseError(f"heatmaps are {tuple(logits.shape[-2:])} cells, but the configuration says {(rows, columns)}")
    values = logits.detach().float().flatten(-2)
    peak, index = values.max(-1)
    if kind == "ce":
        scores, log_map = torch.exp(peak - torch.logsumexp(values, -1)), values  # log-softmax but for a constant
    else:
        scores, log_map = peak, values.clamp_min(1e-10).log()
    y, x = index // columns, index % columns
    step = values.new_tensor(cell_size(config))
    if decoder == "argmax":
        return torch.stack((x, y), -1) * step, scores
    if decoder == "quarter":
        return torch.stack((x + _quarter(values, index, x, 1, columns), y + _quarter(values, index, y, columns, rows)), -1) * step, scores

    centre_y, centre_x = y.clamp(1, rows - 2), x.clamp(1, columns - 2)
    centre = centre_y * columns + centre_x
    around = torch.tensor([dy * columns + dx for dy in (-1, 0, 1) for dx in (-1, 0, 1)], device=logits.device)
    v = log_map.gather(-1, centre[..., None] + around).unbind(-1)  # the 3x3 neighbourhood, row by row
    gx, gy = (v[5] - v[3]) / 2, (v[7] - v[1]) / 2
    hxx, hyy = v[5] - 2 * v[4] + v[3], v[7] - 2 * v[4] + v[1]
    hxy = (v[8] - v[6] - v[2] + v[0]) / 4
    det = hxx * hyy - hxy.square()
    is_peak = (det > 1e-9) & (hxx < 0)  # else the surface has no maximum here and the cell itself is the answer
    safe = torch.where(is_peak, det, torch.ones_like(det))
    step_x = (hxy * gy - hyy * gx) / safe
    step_y = (hxy * gx - hxx * gy) / safe

    def refine(cell: Tensor, centre: Tensor, step: Tensor, length: int) -> Tensor:
        moved = (centre + step - cell).clamp(-1, 1)
        return (cell + torch.where(is_peak, moved, torch.zeros_like(moved))).clamp(-0.5, length - 0.5)

    cells = torch.stack((refine(x, centre_x, step_x, columns), refine(y, centre_y, step_y, rows)), -1)
    return cells * step, scores


def _quarter(values: Tensor, index: Tensor, cell: Tensor, stride: int, length: int) -> Tensor:
    """A quarter of a cell towards the higher of the two neighbours along one axis; nothing at the border, or where they are equal."""
    last = values.shape[-1] - 1
    before, after = (values.gather(-1, (index + way * stride).clamp(0, last)[..., None])[..., 0] for way in (-1, 1))
    return 0.25 * torch.sign(after - before) * ((cell > 0) & (cell < length - 1))
