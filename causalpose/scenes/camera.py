"""The camera: where it stands, how it moves, and the top-down crop that follows from it (ours).

As in the field's top-down protocol the crop is the person's box at the *target* frame, enlarged by 25 % and brought to the
crop's aspect ratio; the same window cuts all `T` frames.
"""

import torch
from torch import Tensor

from causalpose.scenes.body import KEYPOINTS, POINTS, _rotation
from causalpose.scenes.causes import Stream

BOX_MARGIN = 0.15  # a PoseTrack box is about the keypoints' extent plus 15 % on each side (head, hands, feet)
ENLARGE = 1.25


def assign(stream: Stream, level: str) -> dict[str, Tensor]:
    """The structural assignment of `camera`; angles in degrees, lengths in body heights, pan in crop heights a frame."""
    high = {"easy": 8.0, "default": 20.0, "hard": 32.0}[level]
    shake = {"easy": 0.002, "default": 0.006, "hard": 0.012}[level]
    return {
        # half of the views are broadly frontal, as in filmed video; the others come from anywhere
        "yaw": torch.where(stream.chance(0.5) > 0, stream.normal(50.0), stream.uniform(-180, 180)),
        "pitch": stream.uniform(-4, high),
        "distance": stream.uniform(2.6, 7.0),
        "roll": stream.normal(3.5),
        "pan": stream.normal(0.018),
        "shake": stream.uniform(0, 2 * shake),
        "zoom": stream.uniform(0.86, 1.14),
        "offset": stream.normal(0.03, (2,)),
        "jolts": stream.normal(1.0, (16, 2)),
        "follow": stream.uniform(0.3, 1.0),
    }


def look(values: dict[str, Tensor], joints: Tensor, travel: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Perspective view of 3-D points: picture coordinates, depth, nearness.

    Picture coordinates `[B, F, P, 2]` have y down; their unit is the body height at the person's distance.

    `joints` `[B, F, P, 3]` in body heights, `travel` `[B, F]`: the way the person went, of which the camera follows a share.
    Depth `[B, F, P]` grows away from the camera, zero at the person's middle; `nearness` `[B, F, P]` is how much larger than there a
    thing looks.
    """
    degrees = torch.deg2rad
    zero = torch.zeros_like(values["yaw"])
    moved = joints.clone()
    moved[..., 2] += (travel * (1 - values["follow"][:, None]))[..., None]
    moved[..., 1] -= 0.5
    turn = _rotation(degrees(values["pitch"]), zero, zero) @ _rotation(zero, degrees(values["yaw"]), zero)
    seen = (turn[:, None, None] @ moved[..., None])[..., 0]
    nearness = values["distance"][:, None, None] / (values["distance"][:, None, None] - seen[..., 2]).clamp(min=0.5)
    x, y = seen[..., 0] * nearness, -seen[..., 1] * nearness
    cos, sin = degrees(values["roll"]).cos()[:, None, None], degrees(values["roll"]).sin()[:, None, None]
    return torch.stack([cos * x - sin * y, sin * x + cos * y], -1), -seen[..., 2], nearness


def drift(values: dict[str, Tensor], frame: Tensor) -> Tensor:
    """How far the picture has moved `[B, F, 2]`, in crop heights, at (possibly fractional) frame positions `[B, F]` from the target."""
    jolts = values["jolts"]
    position = (frame + jolts.shape[1] // 2).clamp(0, jolts.shape[1] - 1.001)
    first = position.floor().long()
    pick = lambda k: jolts.gather(1, k[..., None].expand(*k.shape, 2))  # noqa: E731
    jolt = torch.lerp(pick(first), pick(first + 1), (position - first)[..., None]) - jolts[:, jolts.shape[1] // 2][:, None]
    pan = torch.stack([values["pan"][:, None] * frame, torch.zeros_like(frame)], -1)
    return pan + values["shake"][:, None, None] * jolt


def crop(values: dict[str, Tensor], target: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """The window that the crop shows: `scale` `[B]` (pixels per picture unit) and `centre` `[B, 2]` in picture units.

    `target` `[B, K, 2]`: the keypoints at the target frame in picture units.
    """
    keypoints = target[:, : len(KEYPOINTS)]
    low, high = keypoints.amin(1), keypoints.amax(1)
    extent = (high - low).clamp(min=0.15) * (1 + 2 * BOX_MARGIN)
    tall = torch.maximum(extent[:, 1], extent[:, 0] * height / width) * ENLARGE * values["zoom"]
    centre = (low + high) / 2 + values["offset"] * tall[:, None]
    return height / tall, centre


assert POINTS[: len(KEYPOINTS)] == KEYPOINTS.keypoints
