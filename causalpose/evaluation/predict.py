"""Poses for a whole video: windows of frames in, a PoseTrack18 file and, with a drawing function, an overlay video out.

Every frame is read once and memory holds one window of pictures, however long the video is; of the frames behind it only the poses stay
(about 1 kB a person), until they are written. The crop of all frames of a window uses the *target frame's* box, as the field
does. Wherever a frame is cropped by the same box as for the target before, its tokens are used again, which is exact: without boxes (the
crop is the whole frame) and with a box that stays, each frame passes the backbone once. A box that moves with every frame cuts every
picture of the window anew, and then nothing can be used again.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from causalpose.clip import Visibility
from causalpose.data import posetrack, video
from causalpose.data.crops import crop_matrix, cut, to_image
from causalpose.data.labels import Frame, Person, PoseSequence, box_around
from causalpose.data.posetrack import FILE_SET
from causalpose.errors import CausalPoseError
from causalpose.evaluation import poses
from causalpose.evaluation.boxes import Boxes, Tracked, read_boxes
from causalpose.model.cmpose import CMPose
from causalpose.skeletons import keypoint_set, remap

Draw = Callable[[np.ndarray, Frame], np.ndarray]


@dataclass
class _Held:
    """A decoded frame in the window and, by crop, its backbone tokens `[1, N, C]` (straight, and mirrored for the flip test)."""

    image: np.ndarray
    tokens: dict[bytes, list[Tensor]] = field(default_factory=dict)


@torch.inference_mode()
def predict_video(
    model: CMPose,
    path: Path | str,
    out: Path | str,
    *,
    boxes: Path | str | None = None,
    follow: bool = False,
    draw: Draw | None = None,
    dilation: int = 2,
    flip_test: bool = True,
    kind: str = "ce",
    device: torch.device | str = "cpu",
    progress: bool = False,
) -> dict:
    """Predict every person in every frame of a video file or folder of images.

    Writes `out/<name>.json` (PoseTrack18, 17 slots, ears empty, confidences in `scores`) and, where `draw(image, frame) -> image` is given
    (`causalpose.plotting.overlay.FrameDrawer`, for one), `out/<name>.mp4`. `boxes` is a file as in
    `causalpose.evaluation.boxes`; None takes the whole frame as one person's box. With `follow`, a frame for which the file says nothing
    (all but the first, say, or all where there is no file) takes its boxes from the poses of the frame before; a person that is lost (few
    confident joints, or outside the picture) is dropped, and with nobody left and no file the whole frame is searched again. Image ids and
    names are those of a PoseTrack18 boxes file, so the result can be scored against it. Returns the written paths and counts; `crops` is
    how many crops passed the backbone (each once more, mirrored, for the flip test).
    """
    if model.config.stage == 2 and model.config.fte.selector == "oracle":
        raise CausalPoseError(
            "predict: this model's selector is 'oracle', which needs the true body masks; choose a model with another selector"
        )
    path, out = Path(path), Path(out)
    info = video.probe(path)
    given = None if boxes is None else read_boxes(boxes)
    if given is not None:
        given.check(info.names, path)
    name = path.name if path.is_dir() else path.stem
    model.to(device).eval()
    predictor = _Predictor(model, given, flip_test, kind, torch.device(device), follow)
    length = model.config.frames if model.config.stage else 1
    frames: list[Frame] = []

    def run() -> Iterator[np.ndarray]:
        windows = _windows(video.read_frames(path), length, dilation)
        for number, window in enumerate(tqdm(windows, total=info.frames, desc="predict", unit="frame", disable=not progress)):
            image = window[length // 2].image
            file_name = info.names[number] if info.names else None
            persons = predictor.persons(window, number, file_name)
            own = (number, f"{name}/{file_name or f'{number:06d}.jpg'}")
            image_id, image_name = (given.image(number, file_name) if given is not None else None) or own
            frames.append(Frame(image_id, image_name, True, persons, size=image.shape[:2]))
            yield image if draw is None else draw(image, frames[-1])

    result: dict = {}
    if draw is None:
        deque(run(), maxlen=0)
    else:
        result["video"] = out / f"{name}.mp4"
        video.write_video(result["video"], run(), info.fps)
    result["json"] = out / f"{name}.json"
    protocol = {
        "boxes": ("whole frame" if boxes is None else Path(boxes).name) + (", then the pose of the frame before" if follow else ""),
        "flip_test": flip_test, "frames": length, "dilation": dilation,
        "keypoints": model.config.keypoints, "fps": info.fps,
    }  # fmt: skip
    posetrack.write(result["json"], PoseSequence(name, tuple(frames)), protocol)
    persons = sum(len(frame.persons) for frame in frames)
    return result | {"frames": len(frames), "persons": persons, "crops": predictor.embedded}


def _windows(frames: Iterable[np.ndarray], length: int, dilation: int) -> Iterator[list[_Held]]:
    """For each frame in turn, its window of `length` frames `dilation` apart; at the ends the first or last frame is repeated."""
    reach = length // 2 * dilation
    held: deque[_Held] = deque()
    start = target = 0  # number of the first held frame, and of the frame in the window's middle
    source, more = iter(frames), True
    while True:
        while more and start + len(held) <= target + reach:
            image = next(source, None)
            more = image is not None
            if more:
                held.append(_Held(image))
        last = start + len(held) - 1
        if target > last:
            return
        yield [held[min(max(target + offset, 0), last) - start] for offset in range(-reach, reach + 1, dilation)]
        target += 1
        while start < target - reach:
            held.popleft()
            start += 1


def _next_box(person: Person, shape: tuple[int, int]) -> np.ndarray | None:
    """Where a person is looked for in the next frame: its joints' box with PoseTrack's margin; None where it is lost.

    Joints count that are at least half as confident as the pose's best one (*ours*: confidences of two models do not compare). Lost is who
    has fewer than four of them, a box of under eight pixels, or its middle outside the picture.
    """
    confident = (person.visibility > 0) & (person.scores >= 0.5 * person.scores.max())
    box = box_around(person.keypoints, confident.astype(np.uint8)) if confident.sum() >= 4 else None
    if box is None or max(box[2:]) < 8:
        return None
    x, y = box[:2] + box[2:] / 2
    return box if 0 <= x < shape[1] and 0 <= y < shape[0] else None


class _Predictor:
    """One model applied to windows."""

    def __init__(self, model: CMPose, boxes: Boxes | None, flip_test: bool, kind: str, device: torch.device, follow: bool = False):
        self.model, self.boxes, self.flip_test, self.kind, self.device = model, boxes, flip_test, kind, device
        self.follow = follow
        self.before: list[Tracked] = []  # the boxes that the last frame's poses give
        self.names = keypoint_set(model.config.keypoints)
        self.embedded = 0  # crops that passed the backbone, mirrored ones not counted

    def persons(self, window: list[_Held], number: int, file_name: str | None) -> tuple[Person, ...]:
        """The persons of the window's middle frame."""
        tracked = [] if self.boxes is None else self.boxes.at(number, file_name)
        if not tracked and self.follow:
            tracked = self.before
        if tracked:
            found = self._boxed(window, tracked)
        else:
            found = (self._whole_frame(window),) if self.boxes is None else ()
        if self.follow:
            shape = window[len(window) // 2].image.shape[:2]
            self.before = [(person.track_id, box) for person in found if (box := _next_box(person, shape)) is not None]
        return found

    def _boxed(self, window: list[_Held], tracked: list[Tracked]) -> tuple[Person, ...]:
        config = self.model.config
        return self._cropped(window, tracked, [crop_matrix(box, config.height, config.width) for _, box in tracked])

    def _whole_frame(self, window: list[_Held]) -> Person:
        config = self.model.config
        height, width = window[0].image.shape[:2]
        box = np.array([0.0, 0.0, width - 1.0, height - 1.0])
        return self._cropped(window, [(0, box)], [crop_matrix(box, config.height, config.width, enlarge=1.0)])[0]

    def _cropped(self, window: list[_Held], tracked: list[Tracked], matrices: list[np.ndarray]) -> tuple[Person, ...]:
        """The poses of tracks whose crops have these matrices."""
        self._embed(window, matrices)
        keys = [matrix.tobytes() for matrix in matrices]
        views = []
        for v in range(2 if self.flip_test else 1):
            clips = torch.stack([torch.cat([held.tokens[key][v] for held in window]) for key in keys])
            views.append(self.model.forward_tokens(clips).heatmaps)
        points, scores = self._poses(views)
        return tuple(
            self._person(track, box, p, s, matrix) for (track, box), p, s, matrix in zip(tracked, points, scores, matrices, strict=True)
        )

    def _embed(self, window: list[_Held], matrices: list[np.ndarray]) -> None:
        """Tokens of every frame in the window under every crop: kept ones, the missing ones in one pass, and no others."""
        crops = {matrix.tobytes(): matrix for matrix in matrices}
        missing = []
        for held in {id(held): held for held in window}.values():
            held.tokens = {key: tokens for key, tokens in held.tokens.items() if key in crops}
            missing += [(held, key) for key in crops if key not in held.tokens]
        if not missing:
            return
        pictures = torch.stack([self._crop(held.image, crops[key]) for held, key in missing])[:, None].to(self.device)
        views = [self.model.embed(view) for view in ((pictures, pictures.flip(-1)) if self.flip_test else (pictures,))]
        self.embedded += len(missing)
        for number, (held, key) in enumerate(missing):
            # Copies: a slice would keep the whole batch in memory for as long as one of its frames is needed.
            held.tokens[key] = [view[number].clone() for view in views]

    def _crop(self, image: np.ndarray, matrix: np.ndarray) -> Tensor:
        config = self.model.config
        return torch.from_numpy(cut(image, matrix, config.height, config.width)).permute(2, 0, 1)

    def _poses(self, views: list[Tensor]) -> tuple[np.ndarray, np.ndarray]:
        maps = poses.to_maps(views[0], self.kind)
        if self.flip_test:
            maps = (maps + poses.unflip(poses.to_maps(views[1], self.kind), self.model.config)) / 2
        points, scores = poses.poses(maps, self.model.config, self.kind)
        return points.cpu().numpy(), scores.cpu().numpy()

    def _person(self, track: int, box: np.ndarray, points: np.ndarray, scores: np.ndarray, matrix: np.ndarray) -> Person:
        """A pose `[K, 2]` in crop pixels as a person in image pixels with PoseTrack18's 17 slots."""
        table = np.concatenate([to_image(points, matrix), scores[:, None]], 1)
        table = remap(table, self.names, FILE_SET, np.nan)
        known = np.isfinite(table).all(1) & ~np.isin(FILE_SET.keypoints, FILE_SET.unused)
        table = np.where(known[:, None], table, 0.0)
        visibility = np.where(known, Visibility.VISIBLE, Visibility.UNLABELLED).astype(np.uint8)
        return Person(track, table[:, :2], visibility, box, None, table[:, 2])
