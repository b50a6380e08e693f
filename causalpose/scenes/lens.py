"""Lens and sensor: defocus, motion blur by sub-frame integration, light, noise and JPEG (ours).

Blur is an explicit sum of shifted pictures, and noise is built from the clip's own random bits, so that pixels do not
depend on how clips are batched.
"""

import cv2
import numpy as np
import torch
from torch import Tensor

from causalpose.scenes.causes import Stream

SUBFRAMES = 5


def assign_lens(stream: Stream, level: str) -> dict[str, Tensor]:
    """Defocus (Gaussian sigma in crop heights), shutter (frames that the shutter stays open), gain (1 is daylight), tint, vignette."""
    share = {"easy": 0.4, "default": 1.0, "hard": 1.8}[level]
    kind = stream.uniform()
    defocused, blurred, dark = (
        kind < 0.16 * share,
        (kind >= 0.16 * share) & (kind < 0.28 * share),
        (kind >= 0.28 * share) & (kind < 0.40 * share),
    )
    return {
        "defocus": torch.where(defocused, stream.uniform(0.008, 0.042), stream.uniform(0.0, 0.006)),
        "shutter": torch.where(blurred, stream.uniform(0.4, 2.5), torch.zeros(len(stream), dtype=torch.float64)),
        "gain": torch.where(dark, stream.uniform(0.10, 0.5), stream.uniform(0.75, 1.2)),
        "tint": stream.normal(0.05),
        "light": stream.uniform(-torch.pi, 0.0),
        "vignette": stream.uniform(0, 0.25),
    }


def lens_off(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """A sharp lens, an instant shutter, daylight."""
    zero = torch.zeros_like(values["defocus"])
    return values | {"defocus": zero, "shutter": zero, "gain": zero + 1, "tint": zero, "vignette": zero}


def assign_sensor(stream: Stream, level: str) -> dict[str, Tensor]:
    """Noise (standard deviation, full scale 1) and JPEG quality (0: not compressed)."""
    return {"noise": stream.uniform(0.0, 0.03), "jpeg": stream.chance(0.2) * stream.uniform(25, 90)}


def sensor_off(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """No noise, no compression."""
    return {name: torch.zeros_like(value) for name, value in values.items()}


def _shifted(picture: Tensor, offset: int, dim: int) -> Tensor:
    """The picture moved along a dimension, its edge repeated."""
    size = picture.shape[dim]
    return picture.index_select(dim, (torch.arange(size, device=picture.device) + offset).clamp(0, size - 1))


def defocus(frames: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur of `[B, T, 3, H, W]` by each clip's own sigma `[B]` in pixels, separable, truncated at 2.5 sigma."""
    reach = int(np.ceil(2.5 * float(sigma.max())))
    taps = torch.arange(-reach, reach + 1, dtype=torch.float64)
    weights = torch.exp(-0.5 * (taps / sigma[:, None].clamp(min=1e-3)) ** 2)
    weights *= taps.abs() <= torch.ceil(2.5 * sigma)[:, None]  # each clip its own reach, whatever the widest of the group needs
    weights = (weights / weights.sum(1, keepdim=True)).float()
    for dim in (-1, -2):
        out = torch.zeros_like(frames)
        for i in range(-reach, reach + 1):
            out += _shifted(frames, i, frames.ndim + dim) * weights[:, i + reach].view(-1, 1, 1, 1, 1).to(frames.device)
        frames = out
    return frames


def expose(frames: Tensor, lens: dict[str, Tensor]) -> Tensor:
    """Defocus, vignette, tint and gain on `[B, T, 3, H, W]` float32."""
    height, width = frames.shape[-2:]
    sigma = lens["defocus"] * height
    soft = (sigma > 0.2).nonzero()[:, 0]
    if len(soft):
        frames = frames.clone()
        # clips of like blur together: the tap count follows the widest of a group
        for group in soft[sigma[soft].argsort()].split(16):
            frames[group] = defocus(frames[group], sigma[group])
    column = lambda v: v.float().view(-1, 1, 1, 1, 1).to(frames.device)  # noqa: E731
    y = torch.linspace(-1, 1, height, device=frames.device)[:, None]
    x = torch.linspace(-1, 1, width, device=frames.device)[None]
    frames = frames * (1 - column(lens["vignette"]) * 0.5 * (x * x + y * y))
    balance = (
        torch.stack([1 + lens["tint"], torch.ones_like(lens["tint"]), 1 - lens["tint"]], -1)
        .float()[:, None, :, None, None]
        .to(frames.device)
    )
    return frames * balance * column(lens["gain"])


def sense(frames: Tensor, lens: dict[str, Tensor], sensor: dict[str, Tensor], stream: Stream) -> Tensor:
    """Noise (stronger in low light), 8-bit quantisation and JPEG: `[B, T, 3, H, W]` float32 to uint8."""
    B, shape = frames.shape[0], frames.shape[1:]
    count = int(np.prod(shape))
    level = torch.where(
        sensor["noise"] > 0, (sensor["noise"].square() + (0.05 * (1 - lens["gain"]).clamp(min=0)).square()).sqrt(), sensor["noise"]
    )
    noisy = (level > 0).nonzero()[:, 0]
    out = frames * 255
    if len(noisy):
        # four bytes summed are close to normal: mean 510, variance 4 (256² - 1) / 12
        bytes_ = stream.bits(-(-count // 2)).view(np.uint8).reshape(B, -1, 4)[noisy.numpy(), :count]
        grain = torch.from_numpy(bytes_.sum(-1, dtype=np.int16).astype(np.float32) - 510.0) * float((4 * (256**2 - 1) / 12) ** -0.5)
        scale = (level[noisy] * 255).float()[:, None]
        out[noisy] += (grain * scale).view(len(noisy), *shape).to(out.device)
    pictures = out.round_().clamp_(0, 255).to(torch.uint8)
    for b in (sensor["jpeg"] > 0).nonzero()[:, 0].tolist():
        quality = int(sensor["jpeg"][b].clamp(1, 100))
        for t in range(shape[0]):
            picture = pictures[b, t].permute(1, 2, 0).contiguous().cpu().numpy()
            _, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
            decoded = cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
            pictures[b, t] = torch.from_numpy(decoded).permute(2, 0, 1).to(pictures.device)
    return pictures
