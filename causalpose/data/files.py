"""Reading and writing files safely: JSON and images with one-line errors, and writes that are complete or absent."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from PIL import Image

from causalpose.errors import CausalPoseError

# No format that starts another program (PostScript), whatever a file's name says.
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM")
_END_OF_JPEG = b"\xff\xd9"
_FLAGS = {
    factor: flag | cv2.IMREAD_IGNORE_ORIENTATION
    for factor, flag in (
        (1, cv2.IMREAD_COLOR),
        (2, cv2.IMREAD_REDUCED_COLOR_2),
        (4, cv2.IMREAD_REDUCED_COLOR_4),
        (8, cv2.IMREAD_REDUCED_COLOR_8),
    )
}
_LONGEST_NAME, _LONGEST_PATH = 255, 1024  # bytes: what file systems take


@contextmanager
def replacing(path: Path | str, *, alone: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it takes the place of `path`, on any failure it is removed.

    A reader, or a run killed at any moment, sees the old file or the new one and never a part of one.
    alone   nobody else writes this file: the temporary then has one name, so that what a killed run left of it is overwritten instead of
            piling up, and it is made by the writer
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if alone:
        temporary = path.with_name(path.name + ".tmp")
    else:
        # The suffix stays, because video muxers choose the format by it.
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())  # the data must be on the disk before the name points at it
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)  # mkstemp and safetensors make private files; the result should be an ordinary one
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path | str, value: object) -> None:
    """Write JSON atomically; not-a-number is refused, for no other reader would take it."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, allow_nan=False), encoding="utf-8")


def read_json(path: Path | str) -> object:
    """Read a JSON file; a missing or broken one is a CausalPoseError with the place."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CausalPoseError(f"{path}: no such file") from None
    except OSError as error:
        raise CausalPoseError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise CausalPoseError(f"{path}: not a text file in UTF-8") from None
    except json.JSONDecodeError as error:
        raise CausalPoseError(
            f"{path}: not valid JSON at line {error.lineno}, column {error.colno} ({error.msg}); is the file complete?"
        ) from None
    except (RecursionError, ValueError) as error:  # nested thousands deep, or a number of thousands of digits
        raise CausalPoseError(f"{path}: not sensible JSON ({str(error)[:80]})") from None


def read_image(path: Path | str, reduction: int = 1) -> np.ndarray:
    """Decode a whole image as RGB uint8 `[H, W, 3]`; missing, truncated and unreadable files are errors (never grey patches).

    With `reduction` 2, 4 or 8 a JPEG is decoded at that fraction of its size (rounded up), which costs far less: pixel `i` is then the
    mean of the pixels `reduction * i` to `reduction * (i + 1) - 1`. Other formats know no such thing and come in full: see `reducible`.
    """
    path = Path(path)
    if path.exists() and not path.is_file():  # a pipe or a device would wait for ever
        raise CausalPoseError(f"{path}: cannot be decoded as an image (not an ordinary file)")
    try:
        with Image.open(path, formats=_FORMATS) as image:  # reads the head only, and refuses pictures of absurd size
            if image.format == "JPEG" and image.mode == "RGB":
                content = np.fromfile(path, np.uint8)
                # OpenCV is a fifth faster and gives the same pixels, but fills what a cut file lacks with grey: only whole files go there.
                if content[-2:].tobytes() == _END_OF_JPEG:
                    decoded = cv2.imdecode(content, _FLAGS[reduction])
                    if decoded is not None:
                        return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB, dst=decoded)
            if reduction > 1 and image.format == "JPEG":
                image.draft("RGB", (image.width // reduction, image.height // reduction))
            return np.array(image if image.mode == "RGB" else image.convert("RGB"))
    except FileNotFoundError:
        raise CausalPoseError(f"{path}: no such image file") from None
    except Exception as error:  # what a decoder raises on a damaged file has no common type
        raise CausalPoseError(f"{path}: cannot be decoded as an image ({str(error)[:120]}); copy the file again") from None


def reducible(name: Path | str) -> bool:
    """Whether an image file can be decoded at a fraction of its size."""
    return Path(name).suffix.lower() in (".jpg", ".jpeg")


def is_inside(name: str) -> bool:
    """Whether a relative file name stays below the folder it is joined to."""
    path = PurePosixPath(name)
    try:
        length, longest = len(name.encode()), max((len(part.encode()) for part in path.parts), default=0)
    except UnicodeEncodeError:  # half of a surrogate pair: no file system takes it
        return False
    fits = length <= _LONGEST_PATH and 0 < longest <= _LONGEST_NAME
    return fits and not path.is_absolute() and ".." not in path.parts and not set(name) & set("\\:\0")
