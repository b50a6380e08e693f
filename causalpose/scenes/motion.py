"""Motion: nine actions as key poses, interpolated over a phase, with each clip's own speed, width and style (ours).

A pose is a vector of `ANGLES` in degrees (and `lift`, the height of the feet above the ground in body heights). Signs:
flexion is forward (knees bend backward), abduction is away from the body, `twist` turns the plane in which an elbow bends.
"""

import torch
from torch import Tensor

from causalpose.scenes.causes import Stream

ANGLES = (
    "lean",
    "side",
    "turn",
    "nod",
    "l_shoulder",
    "l_abduct",
    "l_twist",
    "l_elbow",
    "r_shoulder",
    "r_abduct",
    "r_twist",
    "r_elbow",
    "l_hip",
    "l_spread",
    "l_knee",
    "r_hip",
    "r_spread",
    "r_knee",
    "pitch",
    "lift",
)
_INDEX = {name: i for i, name in enumerate(ANGLES)}
_LIMITS = {
    "lean": (-25, 70),
    "side": (-30, 30),
    "turn": (-50, 50),
    "nod": (-35, 45),
    "shoulder": (-60, 180),
    "abduct": (-10, 160),
    "twist": (-100, 130),
    "elbow": (0, 145),
    "hip": (-35, 125),
    "spread": (-15, 60),
    "knee": (0, 145),
    "pitch": (-95, 95),
    "lift": (0, 0.6),
}

_REST = {"l_abduct": 8, "r_abduct": 8, "l_elbow": 12, "r_elbow": 12, "l_spread": 4, "r_spread": 4, "l_knee": 4, "r_knee": 4}


def _pose(**angles: float) -> list[float]:
    """A pose vector: the rest pose with the named angles replaced; the plural names (`arms`, `elbows`, …) set both sides."""
    both = {
        "arms": "shoulder",
        "elbows": "elbow",
        "hips": "hip",
        "knees": "knee",
        "abducts": "abduct",
        "twists": "twist",
        "spreads": "spread",
    }
    values = dict(_REST)
    for name, value in angles.items():
        values |= {f"l_{both[name]}": value, f"r_{both[name]}": value} if name in both else {name: value}
    return [float(values.get(name, 0.0)) for name in ANGLES]


def _mirrored(pose: list[float]) -> list[float]:
    swap = [_INDEX[("r_" if n[0] == "l" else "l_") + n[2:]] if n[:2] in ("l_", "r_") else _INDEX[n] for n in ANGLES]
    sign = [-1.0 if n in ("side", "turn") else 1.0 for n in ANGLES]
    return [sign[i] * pose[swap[i]] for i in range(len(ANGLES))]


def _stride(*half: list[float]) -> list[list[float]]:
    """A gait: the given half cycle, then its mirror image."""
    return [*half, *map(_mirrored, half)]


# Four key poses an action, evenly spaced in phase. `cyclic` actions wrap; the others start standing and end held.
_ACTIONS: dict[str, tuple[bool, float, float, list[list[float]]]] = {
    # name: (cyclic, cycles a second, travel in body heights a second, key poses)
    "walk": (
        True,
        0.9,
        0.75,
        _stride(
            _pose(lean=4, l_hip=26, l_knee=4, r_hip=-20, r_knee=16, l_shoulder=-22, r_shoulder=24, elbows=22, turn=-6),
            _pose(lean=4, l_hip=4, l_knee=12, r_hip=14, r_knee=58, l_shoulder=2, r_shoulder=2, elbows=20),
        ),
    ),
    "run": (
        True,
        1.4,
        1.7,
        _stride(
            _pose(lean=14, l_hip=52, l_knee=42, r_hip=-26, r_knee=48, l_shoulder=-48, r_shoulder=42, elbows=92, lift=0.06, turn=-12),
            _pose(lean=14, l_hip=4, l_knee=24, r_hip=28, r_knee=112, l_shoulder=-8, r_shoulder=2, elbows=88, turn=0),
        ),
    ),
    "jump": (
        True,
        0.8,
        0.2,
        [
            _pose(lean=38, hips=78, knees=104, arms=-42, nod=-15),
            _pose(lean=6, hips=2, knees=6, arms=130, elbows=15, lift=0.12),
            _pose(lean=4, hips=26, knees=38, arms=168, elbows=12, abducts=18, lift=0.34, spreads=10),
            _pose(lean=22, hips=48, knees=66, arms=62, elbows=24),
        ],
    ),
    "squat": (
        True,
        0.45,
        0.0,
        [
            _pose(arms=8),
            _pose(lean=22, hips=62, knees=74, arms=52, spreads=12),
            _pose(lean=36, hips=108, knees=124, arms=84, spreads=20, nod=-18),
            _pose(lean=24, hips=66, knees=78, arms=58, spreads=12),
        ],
    ),
    "kick": (
        True,
        0.7,
        0.1,
        [
            _pose(lean=6, r_hip=-8, r_knee=26, l_shoulder=12, r_shoulder=-8, abducts=18),
            _pose(lean=12, r_hip=-32, r_knee=88, l_shoulder=40, r_shoulder=-34, abducts=30, l_knee=18, turn=10),
            _pose(lean=-12, r_hip=82, r_knee=10, l_shoulder=46, r_shoulder=-32, abducts=42, l_knee=12, turn=-10),
            _pose(lean=-4, r_hip=48, r_knee=46, l_shoulder=22, r_shoulder=-14, abducts=30),
        ],
    ),
    "wave": (
        True,
        1.1,
        0.0,
        [
            _pose(r_abduct=108, r_twist=90, r_elbow=64),
            _pose(r_abduct=118, r_twist=90, r_elbow=28, side=-4),
            _pose(r_abduct=110, r_twist=90, r_elbow=58),
            _pose(r_abduct=102, r_twist=90, r_elbow=104, side=4),
        ],
    ),
    "dance": (
        True,
        0.8,
        0.15,
        _stride(
            _pose(side=14, turn=22, l_abduct=112, l_twist=80, l_elbow=58, r_abduct=48, r_elbow=74, l_hip=22, l_knee=38, r_spread=18, nod=8),
            _pose(side=2, turn=6, abducts=72, twists=40, elbows=88, hips=30, knees=48, spreads=16),
        ),
    ),
    "fall": (
        False,
        0.5,
        0.2,
        [
            _pose(lean=4),
            _pose(pitch=28, lean=16, arms=52, elbows=30, r_hip=32, r_knee=42, abducts=24),
            _pose(pitch=66, lean=14, arms=104, elbows=44, hips=24, knees=52, abducts=30),
            _pose(pitch=86, lean=2, arms=132, elbows=62, hips=6, knees=18, nod=-20),
        ],
    ),
    "sit": (
        False,
        0.4,
        0.0,
        [
            _pose(arms=6),
            _pose(lean=34, hips=58, knees=58, arms=30, elbows=28),
            _pose(lean=22, hips=86, knees=86, arms=36, elbows=46, spreads=9),
            _pose(lean=3, hips=88, knees=88, arms=30, elbows=58, spreads=11),
        ],
    ),
}

ACTIONS: tuple[str, ...] = tuple(_ACTIONS)
FRAME_SECONDS = 1 / 12  # time between two frames of a clip

_KEYS = torch.tensor([_ACTIONS[a][3] for a in ACTIONS], dtype=torch.float64)  # [9, 4, A]
_CYCLIC = torch.tensor([_ACTIONS[a][0] for a in ACTIONS])
_RATE = torch.tensor([_ACTIONS[a][1] for a in ACTIONS], dtype=torch.float64)
_TRAVEL = torch.tensor([_ACTIONS[a][2] for a in ACTIONS], dtype=torch.float64)
_LOW, _HIGH = (torch.tensor([_LIMITS[n.split("_")[-1]][side] for n in ANGLES], dtype=torch.float64) for side in (0, 1))
_MIRROR_INDEX = torch.tensor([int(i) for i in _mirrored([float(i) for i in range(len(ANGLES))])]).abs()
_MIRROR_SIGN = torch.tensor(_mirrored([1.0] * len(ANGLES)), dtype=torch.float64)


def assign(stream: Stream, level: str) -> dict[str, Tensor]:
    """The structural assignment of `motion`: action, phase, speed, amplitude, mirror `[B]` and a personal style `[B, A]` in degrees."""
    spread = {"easy": 5.0, "default": 9.0, "hard": 13.0}[level]
    return {
        "action": stream.pick(*[1.0] * len(ACTIONS)).double(),
        "phase": stream.uniform(),
        "speed": stream.uniform(0.5, 1.6),
        "amplitude": stream.uniform(0.7, 1.25),
        "mirror": stream.chance(0.5),
        "style": stream.normal(spread, (len(ANGLES),)),
    }


def poses(values: dict[str, Tensor], times: Tensor) -> tuple[Tensor, Tensor]:
    """Pose vectors `[B, F, A]` in degrees and the way travelled `[B, F]` in body heights.

    `times` `[B, F]` are seconds from the target frame.
    """
    action = values["action"].long().clamp(0, len(ACTIONS) - 1)
    keys, cyclic = _KEYS[action], _CYCLIC[action][:, None]
    phase = values["phase"][:, None] + times * (_RATE[action] * values["speed"])[:, None]
    position = torch.where(cyclic, torch.remainder(phase, 1.0) * 4, phase.clamp(0, 1) * 3)  # held actions do not wrap
    first = position.floor().long().clamp(max=3)
    second = torch.where(cyclic, (first + 1) % 4, (first + 1).clamp(max=3))
    ease = 0.5 - 0.5 * torch.cos(torch.pi * (position - first))
    index = lambda k: keys.gather(1, k[..., None].expand(*k.shape, len(ANGLES)))  # noqa: E731
    pose = torch.lerp(index(first), index(second), ease[..., None])
    rest = _KEYS[0].new_tensor(_pose())
    pose = rest + (pose - rest) * values["amplitude"][:, None, None]
    style = values["style"].clone()
    style[:, _INDEX["pitch"]] *= 0.3
    style[:, _INDEX["lift"]] = 0
    pose = (pose + style[:, None]).clamp(_LOW, _HIGH)
    mirrored = pose[..., _MIRROR_INDEX] * _MIRROR_SIGN
    pose = torch.where(values["mirror"][:, None, None] > 0.5, mirrored, pose)
    return pose, times * (_TRAVEL[action] * values["speed"])[:, None]
