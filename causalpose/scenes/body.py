"""The body: forward kinematics from a pose vector to 3-D points, and the limbs that are drawn around them (ours).

Body frame: x to the person's left, y up, z forward; the unit is the nominal body height (standing at rest, the figure measures
1.05 of it). Proportions follow common anthropometric tables (Winter, Biomechanics, table 4.1) to two digits.
"""

from enum import IntEnum

import torch
from torch import Tensor

from causalpose.scenes.causes import Stream
from causalpose.scenes.motion import ANGLES
from causalpose.skeletons import keypoint_set

KEYPOINTS = keypoint_set("posetrack15")


class Part(IntEnum):
    """What a pixel shows; the person's parts are `HEAD` to `RIGHT_SHANK`."""

    BACKGROUND = 0
    HEAD = 1
    TORSO = 2
    LEFT_UPPER_ARM = 3
    RIGHT_UPPER_ARM = 4
    LEFT_FOREARM = 5
    RIGHT_FOREARM = 6
    LEFT_THIGH = 7
    RIGHT_THIGH = 8
    LEFT_SHANK = 9
    RIGHT_SHANK = 10
    BYSTANDER = 11
    DISTRACTOR = 12
    OCCLUDER = 13


PERSON_PARTS = tuple(p for p in Part if Part.HEAD <= p <= Part.RIGHT_SHANK)

# Points of the kinematic chain: the 15 keypoints first, then helpers that only the renderer uses.
POINTS = (
    *KEYPOINTS.keypoints,
    "pelvis",
    "neck",
    "skull_low",
    "skull_high",
    "hair",
    "left_hand",
    "right_hand",
    "left_toe",
    "right_toe",
    "left_chest",
    "right_chest",
    "chest",
    "left_waist",
    "right_waist",
    "left_eye",
    "right_eye",
    "collar",
    "hem",
)
_P = {name: i for i, name in enumerate(POINTS)}
_A = {name: i for i, name in enumerate(ANGLES)}

# Lengths in body heights.
TRUNK, SHOULDER, HIP, UPPER_ARM, FOREARM, HAND, THIGH, SHANK, FOOT, SOLE = (
    0.30,
    0.112,
    0.058,
    0.172,
    0.150,
    0.065,
    0.245,
    0.240,
    0.110,
    0.035,
)


class Slot(IntEnum):
    """Which colour a limb wears."""

    SKIN = 0
    HAIR = 1
    SHIRT = 2
    TROUSERS = 3
    SHOES = 4
    SLEEVE = 5  # forearm: shirt or skin
    UPPER_SLEEVE = 6
    LEG = 7  # shank: trousers or skin
    FACE = 8
    PRINT = 9  # front of the shirt: what tells front from back at low resolution
    EYES = 10


def _limbs() -> tuple[tuple[str, str, float, float, Slot, Part], ...]:
    """(from, to, radius at from, radius at to, colour, part), radii in body heights."""
    rows = [
        ("left_chest", "left_waist", 0.058, 0.050, Slot.SHIRT, Part.TORSO),
        ("right_chest", "right_waist", 0.058, 0.050, Slot.SHIRT, Part.TORSO),
        ("chest", "pelvis", 0.074, 0.066, Slot.SHIRT, Part.TORSO),
        ("left_shoulder", "right_shoulder", 0.036, 0.036, Slot.SHIRT, Part.TORSO),
        ("left_hip", "right_hip", 0.058, 0.058, Slot.TROUSERS, Part.TORSO),
        ("neck", "head_bottom", 0.032, 0.030, Slot.SKIN, Part.HEAD),
        ("hair", "hair", 0.066, 0.066, Slot.HAIR, Part.HEAD),
        ("skull_low", "skull_high", 0.046, 0.056, Slot.FACE, Part.HEAD),
        ("nose", "nose", 0.014, 0.014, Slot.SKIN, Part.HEAD),
        ("left_eye", "right_eye", 0.016, 0.016, Slot.EYES, Part.HEAD),
        ("collar", "hem", 0.026, 0.022, Slot.PRINT, Part.TORSO),
    ]
    for side, upper, fore, thigh, shank in (
        ("left", Part.LEFT_UPPER_ARM, Part.LEFT_FOREARM, Part.LEFT_THIGH, Part.LEFT_SHANK),
        ("right", Part.RIGHT_UPPER_ARM, Part.RIGHT_FOREARM, Part.RIGHT_THIGH, Part.RIGHT_SHANK),
    ):
        rows += [
            (f"{side}_shoulder", f"{side}_elbow", 0.037, 0.028, Slot.UPPER_SLEEVE, upper),
            (f"{side}_elbow", f"{side}_wrist", 0.028, 0.020, Slot.SLEEVE, fore),
            (f"{side}_wrist", f"{side}_hand", 0.020, 0.019, Slot.SKIN, fore),
            (f"{side}_hip", f"{side}_knee", 0.057, 0.041, Slot.TROUSERS, thigh),
            (f"{side}_knee", f"{side}_ankle", 0.040, 0.026, Slot.LEG, shank),
            (f"{side}_ankle", f"{side}_toe", 0.027, 0.021, Slot.SHOES, shank),
        ]
    return tuple(rows)


LIMBS = _limbs()
LIMB_FROM = torch.tensor([_P[row[0]] for row in LIMBS])
LIMB_TO = torch.tensor([_P[row[1]] for row in LIMBS])
LIMB_RADII = torch.tensor([[row[2], row[3]] for row in LIMBS], dtype=torch.float64)
LIMB_SLOT = torch.tensor([int(row[4]) for row in LIMBS])
LIMB_PART = torch.tensor([int(row[5]) for row in LIMBS])


def _attached() -> Tensor:
    """bool `[K, parts]`: parts that may lie on top of a joint without hiding it."""
    table = torch.zeros(len(KEYPOINTS), len(Part), dtype=torch.bool)
    own = {
        "shoulder": ("UPPER_ARM",),
        "elbow": ("UPPER_ARM", "FOREARM"),
        "wrist": ("FOREARM",),
        "hip": ("THIGH",),
        "knee": ("THIGH", "SHANK"),
        "ankle": ("SHANK",),
    }
    for k, name in enumerate(KEYPOINTS.keypoints):
        side, _, joint = name.partition("_")
        parts = ["HEAD"] if joint not in own else [f"{side.upper()}_{p}" for p in own[joint]]
        table[k, [Part[p] for p in parts]] = True
        if joint in ("shoulder", "hip") or name == "head_bottom":
            table[k, Part.TORSO] = True
    return table


ATTACHED = _attached()


def assign(stream: Stream, level: str) -> dict[str, Tensor]:
    """The structural assignment of `body`: overall height (relative), girth and head size `[B]`, limb length factors `[B, 6]`."""
    return {
        "height": stream.uniform(0.9, 1.1),
        "girth": stream.uniform(0.8, 1.3),
        "head": stream.uniform(0.92, 1.14),
        "lengths": 1 + stream.normal(0.05, (6,)),  # upper arm, forearm, thigh, shank, shoulder width, trunk
    }


def _rotation(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Rotation matrices Ry·Rx·Rz from angles in radians (positive x pitches forward, i.e. up turns towards +z)."""
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    cx, sx, cy, sy, cz, sz = x.cos(), x.sin(), y.cos(), y.sin(), z.cos(), z.sin()
    rx = torch.stack([one, zero, zero, zero, cx, -sx, zero, sx, cx], -1).unflatten(-1, (3, 3))
    ry = torch.stack([cy, zero, sy, zero, one, zero, -sy, zero, cy], -1).unflatten(-1, (3, 3))
    rz = torch.stack([cz, -sz, zero, sz, cz, zero, zero, zero, one], -1).unflatten(-1, (3, 3))
    return ry @ rx @ rz


def _axes(flexion: Tensor, abduction: Tensor, side: float) -> tuple[Tensor, Tensor, Tensor]:
    """Direction `u` of a limb that hangs from a joint, the direction `g` in which flexion moves it, and `h` in which abduction does."""
    cf, sf, ca, sa = flexion.cos(), flexion.sin(), abduction.cos(), abduction.sin()
    u = torch.stack([side * sa, -ca * cf, ca * sf], -1)
    g = torch.stack([torch.zeros_like(cf), sf, cf], -1)
    h = torch.stack([side * ca, sa * cf, -sa * sf], -1)
    return u, g, h


def points(values: dict[str, Tensor], pose: Tensor) -> Tensor:
    """3-D points `[B, F, P, 3]` (order `POINTS`) of a posed body, the lowest one on the ground plane y = 0 (plus the pose's lift)."""
    radians = torch.deg2rad(pose)
    angle = lambda name: radians[..., _A[name]]  # noqa: E731
    at: dict[str, Tensor] = {}
    upper, fore, thigh, shank, shoulder, trunk = (values["lengths"][:, None, i, None] for i in range(6))
    zero = torch.zeros_like(angle("pitch"))
    root = _rotation(angle("pitch"), zero, zero)
    spine = root @ _rotation(angle("lean"), angle("turn"), angle("side"))
    pelvis_turn = root @ _rotation(zero, -0.4 * angle("turn"), zero)
    turned = lambda matrix, vector: (matrix @ vector[..., None])[..., 0]  # noqa: E731
    fixed = lambda matrix, *xyz: turned(matrix, torch.tensor(xyz, dtype=pose.dtype).expand(*pose.shape[:2], 3))  # noqa: E731

    at["pelvis"] = torch.zeros(*pose.shape[:2], 3, dtype=pose.dtype)
    at["neck"] = fixed(spine, 0, TRUNK, 0) * trunk
    at["chest"] = fixed(spine, 0, 0.78 * TRUNK, 0.006) * trunk
    skull = spine @ _rotation(angle("nod"), zero, zero)
    head = values["head"][:, None, None]
    at["head_bottom"] = at["neck"] + fixed(spine, 0, 0.022, 0.004)
    at["skull_low"] = at["head_bottom"] + fixed(skull, 0, 0.056, 0.018) * head
    at["skull_high"] = at["head_bottom"] + fixed(skull, 0, 0.094, 0.008) * head
    at["hair"] = at["head_bottom"] + fixed(skull, 0, 0.098, -0.012) * head
    at["head_top"] = at["head_bottom"] + fixed(skull, 0, 0.160, 0.0) * head
    at["nose"] = at["head_bottom"] + fixed(skull, 0, 0.066, 0.072) * head
    at["collar"] = at["chest"] + fixed(spine, 0, 0.01, 0.066)
    at["hem"] = fixed(spine, 0, 0.10, 0.062)
    for name, sign, initial in (("left", 1.0, "l"), ("right", -1.0, "r")):
        at[f"{name}_eye"] = at["head_bottom"] + fixed(skull, sign * 0.026, 0.088, 0.060) * head
        at[f"{name}_shoulder"] = at["neck"] * 0.94 + fixed(spine, sign * SHOULDER, 0, 0) * shoulder
        at[f"{name}_chest"] = at["neck"] * 0.80 + fixed(spine, sign * 0.62 * SHOULDER, 0, 0.004) * shoulder
        at[f"{name}_hip"] = fixed(pelvis_turn, sign * HIP, -0.01, 0) * shoulder
        at[f"{name}_waist"] = fixed(pelvis_turn, sign * 0.60 * HIP, 0.03, 0) * shoulder
        u, g, h = _axes(angle(f"{initial}_shoulder"), angle(f"{initial}_abduct"), sign)
        bend, twist = angle(f"{initial}_elbow")[..., None], angle(f"{initial}_twist")[..., None]
        lower = bend.cos() * u + bend.sin() * (twist.cos() * g + twist.sin() * h)
        at[f"{name}_elbow"] = at[f"{name}_shoulder"] + turned(spine, u) * (UPPER_ARM * upper)
        at[f"{name}_wrist"] = at[f"{name}_elbow"] + turned(spine, lower) * (FOREARM * fore)
        at[f"{name}_hand"] = at[f"{name}_wrist"] + turned(spine, lower) * HAND
        u, g, _ = _axes(angle(f"{initial}_hip"), angle(f"{initial}_spread"), sign)
        bend = angle(f"{initial}_knee")[..., None]
        lower, front = bend.cos() * u - bend.sin() * g, bend.sin() * u + bend.cos() * g
        at[f"{name}_knee"] = at[f"{name}_hip"] + turned(pelvis_turn, u) * (THIGH * thigh)
        at[f"{name}_ankle"] = at[f"{name}_knee"] + turned(pelvis_turn, lower) * (SHANK * shank)
        at[f"{name}_toe"] = at[f"{name}_ankle"] + turned(pelvis_turn, 0.93 * front + 0.30 * lower) * FOOT
    joints = torch.stack([at[name] for name in POINTS], 2)
    lowest = joints[..., 1].amin(-1) - SOLE
    joints[..., 1] += (radians[..., _A["lift"]].rad2deg() - lowest)[..., None]
    return joints * values["height"][:, None, None, None]
