"""Keypoint sets: names, order, limbs, left/right pairs and OKS sigmas, in one place.

Every data source says which set it uses; `remap` carries coordinates from one set to another by *name*, so an order can
never be mixed up silently.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from causalpose.errors import CausalPoseError


@dataclass(frozen=True)
class KeypointSet:
    """An ordered set of named keypoints.

    `limbs` are pairs of names to draw as bones; `sigmas` are the OKS constants (COCO's where COCO defines them; PoseTrack
    reuses COCO's for the shared joints, and the points of the head take the eyes').
    """

    name: str
    keypoints: tuple[str, ...]
    limbs: tuple[tuple[str, str], ...]
    sigmas: tuple[float, ...]
    unused: tuple[str, ...] = field(default=())

    def __post_init__(self):
        if len(self.sigmas) != len(self.keypoints):
            raise CausalPoseError(f"keypoint set {self.name}: {len(self.keypoints)} keypoints but {len(self.sigmas)} sigmas")

    def __len__(self) -> int:
        return len(self.keypoints)

    def index(self, keypoint: str) -> int:
        """Position of a keypoint by name; an unknown name is an error that lists the known ones."""
        try:
            return self.keypoints.index(keypoint)
        except ValueError:
            raise CausalPoseError(f"keypoint set {self.name} has no keypoint {keypoint!r}; it has: {', '.join(self.keypoints)}") from None

    @cached_property
    def flip_order(self) -> tuple[int, ...]:
        """Index of each keypoint's mirror image: `keypoints[:, flip_order]` swaps left and right."""

        def mirror(name: str) -> str:
            if name.startswith("left_"):
                return "right_" + name[5:]
            return "left_" + name[6:] if name.startswith("right_") else name

        return tuple(self.keypoints.index(mirror(name)) for name in self.keypoints)

    @cached_property
    def limb_indices(self) -> tuple[tuple[int, int], ...]:
        """`limbs` as pairs of positions."""
        return tuple((self.keypoints.index(a), self.keypoints.index(b)) for a, b in self.limbs)


_COCO = {
    "nose": 0.026,
    "left_eye": 0.025,
    "right_eye": 0.025,
    "left_ear": 0.035,
    "right_ear": 0.035,
    "left_shoulder": 0.079,
    "right_shoulder": 0.079,
    "left_elbow": 0.072,
    "right_elbow": 0.072,
    "left_wrist": 0.062,
    "right_wrist": 0.062,
    "left_hip": 0.107,
    "right_hip": 0.107,
    "left_knee": 0.087,
    "right_knee": 0.087,
    "left_ankle": 0.089,
    "right_ankle": 0.089,
}
# PoseTrack's two head points and JHMDB's neck, belly and face have no COCO constant. The common toolboxes (mmpose) give the points of the
# head the eyes' (PoseTrack's stand in the eyes' slots) and the belly the hips'.
_SIGMAS = _COCO | {"head_bottom": 0.025, "head_top": 0.025, "neck": 0.025, "belly": 0.107, "face": 0.025}

_BODY = (
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)
_BODY_LIMBS = (
    ("left_shoulder", "right_shoulder"),
    ("left_shoulder", "left_elbow"),
    ("left_elbow", "left_wrist"),
    ("right_shoulder", "right_elbow"),
    ("right_elbow", "right_wrist"),
    ("left_shoulder", "left_hip"),
    ("right_shoulder", "right_hip"),
    ("left_hip", "right_hip"),
    ("left_hip", "left_knee"),
    ("left_knee", "left_ankle"),
    ("right_hip", "right_knee"),
    ("right_knee", "right_ankle"),
)
_HEAD_LIMBS = (("head_top", "nose"), ("nose", "head_bottom"), ("head_bottom", "left_shoulder"), ("head_bottom", "right_shoulder"))


def _make(name: str, keypoints: tuple[str, ...], limbs: tuple[tuple[str, str], ...], unused: tuple[str, ...] = ()) -> KeypointSet:
    return KeypointSet(name, keypoints, limbs, tuple(_SIGMAS[k] for k in keypoints), unused)


_JHMDB = (
    "neck",
    "belly",
    "face",
    "right_shoulder",
    "left_shoulder",
    "right_hip",
    "left_hip",
    "right_elbow",
    "left_elbow",
    "right_knee",
    "left_knee",
    "right_wrist",
    "left_wrist",
    "right_ankle",
    "left_ankle",
)

KEYPOINT_SETS: dict[str, KeypointSet] = {
    s.name: s
    for s in (
        # The 15 joints that PoseTrack evaluates, in its file order without the two ear placeholders. Scenes use it too.
        _make("posetrack15", ("nose", "head_bottom", "head_top", *_BODY), _HEAD_LIMBS + _BODY_LIMBS),
        # The 17 slots of a PoseTrack18 file: the ears are placeholders that nobody labelled.
        _make(
            "posetrack18",
            ("nose", "head_bottom", "head_top", "left_ear", "right_ear", *_BODY),
            _HEAD_LIMBS + _BODY_LIMBS,
            unused=("left_ear", "right_ear"),
        ),
        _make(
            "coco17",
            tuple(_COCO),
            (
                ("nose", "left_eye"),
                ("nose", "right_eye"),
                ("left_eye", "left_ear"),
                ("right_eye", "right_ear"),
                ("left_ear", "left_shoulder"),
                ("right_ear", "right_shoulder"),
                *_BODY_LIMBS,
            ),
        ),
        _make(
            "jhmdb15",
            _JHMDB,
            (
                ("face", "neck"),
                ("neck", "belly"),
                ("neck", "left_shoulder"),
                ("neck", "right_shoulder"),
                ("belly", "left_hip"),
                ("belly", "right_hip"),
                *(limb for limb in _BODY_LIMBS if limb[0].split("_")[1] != "shoulder" or limb[1].endswith("elbow")),
            ),
        ),
    )
}


def keypoint_set(name: str) -> KeypointSet:
    """Look a keypoint set up by name."""
    try:
        return KEYPOINT_SETS[name]
    except KeyError:
        raise CausalPoseError(f"unknown keypoint set {name!r}; known: {', '.join(KEYPOINT_SETS)}") from None


def remap(values: np.ndarray, source: KeypointSet, target: KeypointSet, fill: float = 0.0) -> np.ndarray:
    """Carry per-keypoint values `[..., K_source, D]` to another set `[..., K_target, D]` by name.

    Keypoints that the source lacks, or does not label (`unused`), are filled with `fill`: give visibility 0 there.
    """
    if values.shape[-2] != len(source):
        raise CausalPoseError(f"values hold {values.shape[-2]} keypoints, but {source.name} has {len(source)}")
    out = np.full((*values.shape[:-2], len(target), values.shape[-1]), fill, dtype=values.dtype)
    for i, name in enumerate(target.keypoints):
        if name in source.keypoints and name not in source.unused:
            out[..., i, :] = values[..., source.keypoints.index(name), :]
    return out
