"""Reading and writing files safely: JSON and images with one-line errors, and writes that are complete or absent."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from causalpose.errors import CausalPoseError


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it takes the place of `path`, on any failure it is removed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays, because video muxers choose the format by it.
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)  # mkstemp makes private files; the result should be an ordinary one
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


def read_image(path: Path | str) -> np.ndarray:
    """Decode a whole image as RGB uint8 `[H, W, 3]`; missing, truncated and unreadable files are errors (never grey patches)."""
    try:
        with Image.open(path) as image:
            return np.array(image.convert("RGB"))
    except FileNotFoundError:
        raise CausalPoseError(f"{path}: no such image file") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise CausalPoseError(f"{path}: cannot be decoded as an image ({error}); copy the file again") from None


def is_inside(name: str) -> bool:
    """Whether a relative file name stays below the folder it is joined to."""
    path = PurePosixPath(name)
    return bool(name) and not path.is_absolute() and ".." not in path.parts and "\\" not in name and ":" not in name and "\0" not in name
