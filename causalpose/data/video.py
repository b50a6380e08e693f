"""Frames in and out of video files (PyAV) and folders of images, one at a time, so that memory does not grow with the length."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from causalpose.data.files import read_image, replacing
from causalpose.errors import CausalPoseError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
DEFAULT_FPS = 25.0  # for folders of images, which know no rate


@dataclass(frozen=True)
class VideoInfo:
    """What is known before decoding: frames (None where the container does not say), rate, and the names of a folder's images."""

    frames: int | None
    fps: float
    names: tuple[str, ...] = ()


def image_files(folder: Path | str) -> list[Path]:
    """The images of a folder in natural order (frame 10 after frame 9)."""
    files = [path for path in Path(folder).iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")]
    if not files:
        raise CausalPoseError(f"{folder}: no images in this folder; looked for {', '.join(IMAGE_SUFFIXES)}")
    return sorted(
        files, key=lambda path: [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name) if part]
    )


def probe(path: Path | str) -> VideoInfo:
    """Describe a video file or a folder of images without decoding it."""
    path = Path(path)
    if path.is_dir():
        files = image_files(path)
        return VideoInfo(len(files), DEFAULT_FPS, tuple(file.name for file in files))
    with _open(path) as container:
        stream = _stream(path, container)
        rate = stream.average_rate or stream.guessed_rate
        return VideoInfo(stream.frames or None, float(rate) if rate else DEFAULT_FPS)


def read_frames(path: Path | str) -> Iterator[np.ndarray]:
    """Yield the frames of a video file or a folder of images as RGB uint8 `[H, W, 3]`, upright, one at a time.

    A file that breaks off in the middle raises at the place, naming the number of frames that could be read.
    """
    path = Path(path)
    if path.is_dir():
        for file in image_files(path):
            yield read_image(file)
        return
    count = 0
    with _open(path) as container:
        stream = _stream(path, container)
        stream.thread_type = "AUTO"
        try:
            for frame in container.decode(stream):
                # Phones store pictures lying and a rotation beside them; PyAV reports it (counter-clockwise degrees) without applying it.
                quarter = round(getattr(frame, "rotation", 0) / 90) % 4
                yield np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), quarter))
                count += 1
        except av.FFmpegError as error:
            raise CausalPoseError(
                f"{path}: decoding failed after {count} frames ({error.strerror}); the file is damaged or incomplete"
            ) from None
    if count == 0:
        raise CausalPoseError(f"{path}: the video holds no frame that can be decoded; the file is damaged or incomplete")


def write_video(path: Path | str, frames: Iterable[np.ndarray], fps: float = DEFAULT_FPS, quality: int = 20) -> int:
    """Write RGB uint8 frames of one size as an H.264 mp4, atomically; returns their number.

    `quality` is x264's constant rate factor: lower is better, 18 to 28 is usual. Odd sides are padded by one repeated
    row or column, for the format stores colour at half resolution.
    """
    rate = Fraction(fps).limit_denominator(1000)
    if rate <= 0:
        raise CausalPoseError(f"{path}: frames per second = {fps} must be positive")
    count, size = 0, None
    with replacing(path) as temporary:
        with av.open(str(temporary), "w", format="mp4", options={"movflags": "+faststart"}) as container:
            stream = container.add_stream("libx264", rate=rate, options={"crf": str(quality), "preset": "veryfast"})
            stream.pix_fmt = "yuv420p"
            for frame in frames:
                if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or (size is not None and frame.shape != size):
                    expected = "uint8 [H, W, 3]" if size is None else f"uint8 {list(size)} as the first"
                    raise CausalPoseError(f"{path}: frame {count} is {frame.dtype} {list(frame.shape)}, not {expected}")
                if size is None:
                    size = frame.shape
                    stream.height, stream.width = size[0] + size[0] % 2, size[1] + size[1] % 2
                padded = np.pad(frame, ((0, size[0] % 2), (0, size[1] % 2), (0, 0)), mode="edge")
                container.mux(stream.encode(av.VideoFrame.from_ndarray(padded, format="rgb24")))
                count += 1
            if count == 0:
                raise CausalPoseError(f"{path}: there is no frame to write")
            container.mux(stream.encode())
    return count


def _open(path: Path):
    if not path.exists():
        raise CausalPoseError(f"{path}: no such video file or folder of images")
    try:
        return av.open(str(path))
    except av.FFmpegError as error:
        raise CausalPoseError(f"{path}: cannot be opened as a video ({error.strerror}); give a video file or a folder of images") from None


def _stream(path: Path, container):
    if not container.streams.video:
        raise CausalPoseError(f"{path}: holds no video stream")
    return container.streams.video[0]
