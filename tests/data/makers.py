"""Small synthetic data sets in every format, made of rendered scenes: real figures whose joints are known to the pixel."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from causalpose.clip import Visibility
from causalpose.data.posetrack17 import IDS
from causalpose.scenes.world import World
from causalpose.skeletons import KeypointSet, keypoint_set

SIZE = (96, 72)  # height, width of a frame
BODY = keypoint_set("posetrack15")
_ALIASES = {"neck": "head_bottom", "face": "nose"}


@dataclass(frozen=True)
class Video:
    """Frames uint8 `[T, H, W, 3]`, keypoints `[T, K, 2]` in pixels and visibility `[T, K]` of one person, in the set posetrack15."""

    name: str
    frames: np.ndarray
    keypoints: np.ndarray
    visibility: np.ndarray

    def labels(self, names: KeypointSet) -> tuple[np.ndarray, np.ndarray]:
        """Keypoints and whether they are labelled (1 hidden, 2 visible), in another set by name; the belly is the torso's middle."""
        count = len(self.frames)
        points, state = np.zeros((count, len(names), 2)), np.zeros((count, len(names)), int)
        for slot, name in enumerate(names.keypoints):
            name = _ALIASES.get(name, name)
            if name == "belly":
                torso = [BODY.index(f"{side}_{part}") for side in ("left", "right") for part in ("shoulder", "hip")]
                points[:, slot], state[:, slot] = self.keypoints[:, torso].mean(1), 2
            elif name in BODY.keypoints:
                points[:, slot] = self.keypoints[:, BODY.index(name)]
                state[:, slot] = np.where(self.visibility[:, BODY.index(name)] == Visibility.VISIBLE, 2, 1)
        return points, state

    def box(self, frame: int) -> np.ndarray:
        """(x, y, w, h) of the joints plus 15 % all round, PoseTrack's rule."""
        low, high = self.keypoints[frame].min(0), self.keypoints[frame].max(0)
        return np.concatenate([low - 0.15 * (high - low), 1.3 * (high - low)])


def videos(count: int = 2, length: int = 5) -> list[Video]:
    """Easy scenes as short videos, named as PoseTrack names its own."""
    clips = World(*SIZE, frames=length, level="easy", seed=5).render(range(count))
    return [
        Video(f"{n + 1:06d}_bonn_train", clip.frames.permute(0, 2, 3, 1).numpy(), clip.keypoints.double().numpy(), clip.visibility.numpy())
        for n, clip in enumerate(clips[n] for n in range(count))
    ]


def _write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def _save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **({"quality": 95} if path.suffix == ".jpg" else {}))


def _category(names: KeypointSet, renamed: dict[str, str] | None = None) -> dict:
    renamed = renamed or {}
    return {"supercategory": "person", "id": 1, "name": "person", "keypoints": [renamed.get(k, k) for k in names.keypoints]}


def posetrack18(root: Path, made: list[Video], split: str = "train", *, edition: int = 18) -> Path:
    """PoseTrack 2018 (or 21, whose persons also have a `person_id`, and one of them only a box)."""
    names = keypoint_set("posetrack18")
    for video in made:
        points, state = video.labels(names)
        images, annotations = [], []
        for t, pixels in enumerate(video.frames):
            name = f"images/{split}/{video.name}/{t:06d}.jpg"
            _save(root / name, pixels)
            image_id = 20000000000 + int(video.name[:6]) * 10000 + t
            images.append({
                "id": image_id, "frame_id": image_id, "vid_id": video.name[:6], "nframes": len(video.frames), "file_name": name,
                "is_labeled": True, "ignore_regions_x": [[0, 4, 4]], "ignore_regions_y": [[0, 0, 4]],
            })  # fmt: skip
            flat = np.concatenate([points[t], (state[t] > 0)[:, None]], 1)
            annotation = {
                "id": image_id * 100, "image_id": image_id, "track_id": 3, "category_id": 1, "keypoints": flat.ravel().tolist(),
                "bbox": video.box(t).tolist(), "bbox_head": [1.0, 2.0, 9.0, 12.0], "scores": [],
            }  # fmt: skip
            annotations.append(annotation | ({"person_id": 77} if edition == 21 else {}))
            if edition == 21 and t == 0:
                other = {"id": image_id * 100 + 1, "image_id": image_id, "track_id": 4, "person_id": 78, "bbox": [2, 2, 20, 40]}
                annotations.append(other)
        folder = "posetrack_data" if edition == 21 else "annotations"
        content = {"images": images, "annotations": annotations, "categories": [_category(names)]}
        _write(root / folder / split / f"{video.name}.json", content)
    return root


def posetrack17(root: Path, made: list[Video], split: str = "train") -> Path:
    """PoseTrack 2017: annolist, annorect, annopoints; the first frame of each video is unlabelled."""
    for video in made:
        frames = []
        for t, pixels in enumerate(video.frames):
            name = f"images/bonn/{video.name[:11]}/{t + 1:08d}.jpg"
            _save(root / name, pixels)
            points = [
                {"id": [IDS.index(k)], "x": [float(x)], "y": [float(y)], "is_visible": [int(v == Visibility.VISIBLE)]}
                for k, (x, y), v in zip(BODY.keypoints, video.keypoints[t], video.visibility[t], strict=True)
            ]
            rect = {"x1": [10.0], "y1": [2.0], "x2": [22.0], "y2": [16.0], "track_id": [3], "annopoints": [{"point": points}]}
            region = {"point": [{"x": [0], "y": [0]}, {"x": [4], "y": [0]}, {"x": [4], "y": [4]}]}
            frames.append({
                "image": [{"name": name.replace("/", "\\/") if t % 2 else name}], "imgnum": [t + 1], "is_labeled": [int(t > 0)],
                "annorect": [rect] if t else [], "ignore_regions": [region] if t else [],
            })  # fmt: skip
        _write(root / "annotations" / split / f"{video.name[:11]}_relpath_5sec_trainsub.json", {"annolist": frames})
    return root


def coco(root: Path, made: list[Video], split: str = "val2017") -> Path:
    """COCO keypoints: every frame a still, hidden joints v = 1, a crowd in the first image."""
    names = keypoint_set("coco17")
    images, annotations = [], []
    for video in made:
        points, state = video.labels(names)
        for t, pixels in enumerate(video.frames):
            image_id = len(images) + 1
            images.append({"id": image_id, "file_name": f"{image_id:012d}.jpg", "height": SIZE[0], "width": SIZE[1]})
            _save(root / split / images[-1]["file_name"], pixels)
            flat = np.concatenate([points[t] * (state[t] > 0)[:, None], state[t][:, None]], 1)
            annotations.append({
                "id": len(annotations) + 1, "image_id": image_id, "category_id": 1, "iscrowd": 0, "area": 900.0,
                "keypoints": flat.ravel().tolist(), "num_keypoints": int((state[t] > 0).sum()), "bbox": video.box(t).tolist(),
            })  # fmt: skip
    annotations.append({
        "id": len(annotations) + 1, "image_id": 1, "category_id": 1, "iscrowd": 1, "area": 50.0, "keypoints": [0] * 51, "bbox": [0, 0, 9, 9]
    })  # fmt: skip
    content = {"images": images, "annotations": annotations, "categories": [_category(names)]}
    _write(root / "annotations" / f"person_keypoints_{split}.json", content)
    _write(root / "annotations" / f"instances_{split}.json", {"images": [], "annotations": [], "categories": []})
    return root


def jhmdb_json(root: Path, made: list[Video]) -> Path:
    """Sub-JHMDB as toolboxes convert it: coordinates from one, the face called head; the first video is for training."""
    names = keypoint_set("jhmdb15")
    for side, chosen in (("train", made[:1]), ("test", made[1:])):
        images, annotations = [], []
        for number, video in enumerate(chosen):
            points, _ = video.labels(names)
            for t, pixels in enumerate(video.frames):
                name, image_id = f"Rename_Images/walk/{video.name}/{t + 1:05d}.png", number * 10000 + t + 1
                _save(root / name, pixels)
                images.append({"id": image_id, "file_name": name, "nframes": len(video.frames), "height": SIZE[0], "width": SIZE[1]})
                flat = np.concatenate([points[t] + 1, np.full((15, 1), 2.0)], 1)
                annotations.append({
                    "id": 7 * 10**9 + image_id, "image_id": image_id, "track_id": 0, "category_id": 1, "keypoints": flat.ravel().tolist(),
                    "bbox": (video.box(t) + [1, 1, 0, 0]).tolist(), "scores": [],
                })  # fmt: skip
        content = {"images": images, "annotations": annotations, "categories": [_category(names, {"face": "head"})]}
        _write(root / "annotations" / f"Sub1_{side}.json", content)
    return root


def jhmdb_mat(root: Path, made: list[Video], *, masks: bool = False) -> Path:
    """Sub-JHMDB as its authors distribute it; in split 2 the sides are exchanged."""
    lines = {1: [], 2: [], 3: []}
    for number, video in enumerate(made):
        points, _ = video.labels(keypoint_set("jhmdb15"))
        for t, pixels in enumerate(video.frames):
            _save(root / "Rename_Images" / "walk" / video.name / f"{t + 1:05d}.png", pixels)
        folder = root / "joint_positions" / "walk" / video.name
        folder.mkdir(parents=True, exist_ok=True)
        fields = {"pos_img": points.transpose(2, 1, 0) + 1, "scale": np.ones((1, len(points))), "viewpoint": "E"}
        savemat(folder / "joint_positions.mat", fields, do_compression=True)
        if masks:
            part = np.zeros((*SIZE, len(points)), np.uint8)
            part[20:60, 10:30] = 1
            (root / "puppet_mask" / "walk" / video.name).mkdir(parents=True, exist_ok=True)
            savemat(root / "puppet_mask" / "walk" / video.name / "puppet_mask.mat", {"part_mask": part}, do_compression=True)
        for split in lines:
            lines[split].append(f"{video.name}.avi {1 + (number + (split == 2)) % 2} ")
    for split, content in lines.items():
        file = root / "sub_splits" / f"walk_test_split_{split}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(content) + "\n")
    return root


def detections(path: Path, boxes: list[tuple[int, list[float], float]]) -> Path:
    """A detection file of (image id, box, score)."""
    rows = [{"image_id": image_id, "category_id": 1, "bbox": box, "score": score} for image_id, box, score in boxes]
    _write(path, [*rows, {"image_id": boxes[0][0], "category_id": 18, "bbox": [1, 1, 5, 5], "score": 0.99}])
    return path
