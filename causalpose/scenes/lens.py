"""Lens and sensor: defocus, motion blur by sub-frame integration, light, noise and JPEG (ours).

Blur is an explicit sum of shifted pictures, in a fixed order, and noise is built from the clip's own random bits, so that pixels do not
depend on how clips are batched.
"""

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from causalpose.scenes.blocks import blocks
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


def _blurred(picture: Tensor, weights: Tensor, stride: int) -> Tensor:
    """Rows of numbers `[b, L]` blurred along places `stride` numbers apart, with each row's own odd number of weights `[b, taps]`.

    Place `i` of the result belongs to place `i + reach * stride` of the picture; the last places, for want of a right neighbour, are not
    computed. The taps are added one after the other, so a sum does not depend on what stands beside it.
    """
    taps = weights.shape[1]
    length = picture.shape[1] - (taps - 1) * stride
    out = torch.empty_like(picture)
    total, term = out[:, :length], torch.empty_like(picture)[:, :length]
    for i in range(taps):
        torch.mul(picture[:, i * stride : i * stride + length], weights[:, i : i + 1], out=total if i == 0 else term)
        if i:
            total += term
    return out


def defocus(frames: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur of `[B, T, 3, H, W]` by each clip's own sigma `[B]` in pixels, cut at 2.5 sigma; edges are repeated."""
    height, width = frames.shape[-2:]
    out = torch.empty_like(frames)
    for block in blocks(len(frames), frames[0].numel(), frames.device):
        own = sigma[block]
        reach = int(np.ceil(2.5 * float(own.max())))
        taps = torch.arange(-reach, reach + 1, dtype=torch.float64)
        weights = torch.exp(-0.5 * (taps / own[:, None].clamp(min=1e-3)) ** 2)
        weights *= taps.abs() <= torch.ceil(2.5 * own)[:, None]  # each clip its own reach, whatever the widest of the block needs
        weights = (weights / weights.sum(1, keepdim=True)).float().to(frames.device)
        b, planes = len(own), frames.shape[1] * frames.shape[2]
        wide = pad(frames[block].reshape(b, planes, height, width), (reach, reach, 0, 0), mode="replicate")
        across = _blurred(wide.flatten(1), weights, 1).view(b, planes, height, -1)[..., :width]
        tall = pad(across, (0, 0, reach, reach), mode="replicate")
        down = _blurred(tall.flatten(1), weights, width).view(b, planes, -1, width)[:, :, :height]
        out[block] = down.view(b, *frames.shape[1:])
    return out


def expose(frames: Tensor, lens: dict[str, Tensor]) -> Tensor:
    """Defocus, vignette, tint and gain on `[B, T, 3, H, W]` float32."""
    height, width = frames.shape[-2:]
    sigma = lens["defocus"] * height
    soft = (sigma > 0.2).nonzero()[:, 0]
    soft = soft[sigma[soft].argsort()]  # clips of like blur together: the taps follow the widest of a block
    out = frames.clone()
    out[soft] = defocus(frames[soft], sigma[soft]) if len(soft) else out[soft]
    column = lambda v: v.float().view(-1, 1, 1, 1, 1).to(frames.device)  # noqa: E731
    y = torch.linspace(-1, 1, height, device=frames.device)[:, None]
    x = torch.linspace(-1, 1, width, device=frames.device)[None]
    tint, gain, vignette = lens["tint"], column(lens["gain"]), column(lens["vignette"])
    balance = torch.stack([1 + tint, torch.ones_like(tint), 1 - tint], -1).float()[:, None, :, None, None].to(frames.device)
    for block in blocks(len(out), out[0].numel(), frames.device):
        out[block].mul_(1 - vignette[block] * 0.5 * (x * x + y * y)).mul_(balance[block]).mul_(gain[block])
    return out


def _grain(stream: Stream, count: int) -> Tensor:
    """Near-normal noise of mean 0 and standard deviation 1, float32 `[B, count]`."""
    # four bytes summed are close to normal: mean 510, variance 4 (256² - 1) / 12; both halves of a word are summed at once
    words = stream.bits(-(-count // 2)).view(np.uint32)[:, :count]
    pairs = (words & np.uint32(0x00FF00FF)) + ((words >> np.uint32(8)) & np.uint32(0x00FF00FF))
    total = (pairs & np.uint32(0xFFFF)) + (pairs >> np.uint32(16))
    return (torch.from_numpy(total.view(np.int32)).float() - 510.0).mul_(float((4 * (256**2 - 1) / 12) ** -0.5))


def sense(frames: Tensor, lens: dict[str, Tensor], sensor: dict[str, Tensor], stream: Stream) -> Tensor:
    """Noise (stronger in low light), 8-bit quantisation and JPEG: `[B, T, 3, H, W]` float32 to uint8."""
    B, shape = frames.shape[0], frames.shape[1:]
    count = int(np.prod(shape))
    level = torch.where(
        sensor["noise"] > 0, (sensor["noise"].square() + (0.05 * (1 - lens["gain"]).clamp(min=0)).square()).sqrt(), sensor["noise"]
    )
    noisy = (level > 0).nonzero()[:, 0]
    pictures = torch.empty(frames.shape, dtype=torch.uint8, device=frames.device)
    for block in blocks(B, count, frames.device):
        out = (frames[block] * 255).view(-1, count)
        noisy = (level[block] > 0).nonzero()[:, 0]
        if len(noisy):
            grain = _grain(stream.of(slice(block.start, block.stop)), count)[noisy]
            out[noisy] += grain.mul_((level[block][noisy] * 255).float()[:, None]).to(out.device)
        pictures[block] = out.round_().clamp_(0, 255).view(-1, *shape)
    for b in (sensor["jpeg"] > 0).nonzero()[:, 0].tolist():
        quality = int(sensor["jpeg"][b].clamp(1, 100))
        for t in range(shape[0]):
            picture = pictures[b, t].permute(1, 2, 0).contiguous().cpu().numpy()
            _, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
            decoded = cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
            pictures[b, t] = torch.from_numpy(decoded).permute(2, 0, 1).to(pictures.device)
    return pictures
