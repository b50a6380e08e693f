"""Read a weights file of another project as named tensors, without ever running what it holds.

safetensors files hold numbers only. A `.pth` file is a pickle: it is read with `weights_only=True`, which builds tensors and plain
containers and refuses everything else.
"""

import argparse
import struct
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from causalpose.errors import CausalPoseError

# Where projects put the weights inside a training checkpoint, in the order in which they are looked for (DINO: the teacher is the model).
_WRAPPERS = ("teacher", "state_dict", "model", "module")


def read(path: Path) -> dict[str, Tensor]:
    """Tensors by their published names, on the CPU, in the file's number type.

    Errors, all `CausalPoseError`: an empty file, a web page or a Git LFS pointer under the name of weights, a damaged or truncated
    file, a pickle that holds code or whole objects, a file without tensors.
    """
    with open(path, "rb") as file:
        start = file.read(64)
    _refuse_other_kinds(path, start)
    if is_safetensors(start):
        tensors = _read_safetensors(path)
    else:
        tensors = _unwrap(_read_pytorch(path))
    if not tensors:
        raise CausalPoseError(f"{path} holds no tensors by name; it is no weights file (an optimiser state or a whole object, perhaps)")
    return tensors


def is_safetensors(start: bytes) -> bool:
    """Whether a file that begins like this is safetensors: eight bytes of length, then a JSON object."""
    return len(start) > 8 and start[8:9] == b"{" and 2 <= struct.unpack("<Q", start[:8])[0] <= 100_000_000


def _refuse_other_kinds(path: Path, start: bytes) -> None:
    text = start.lstrip().lower()
    known = is_safetensors(start) or start.startswith((b"PK\x03\x04", b"\x80"))  # zip and bare pickle are PyTorch's two forms
    if not start:
        raise CausalPoseError(f"weights file {path} is empty; download it again")
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        raise CausalPoseError(f"{path} is a web page, not weights: a login or error page answered the download; fetch it in a browser")
    if text.startswith(b"version https://git-lfs"):
        raise CausalPoseError(f"{path} is a Git LFS pointer, not the weights themselves; run `git lfs pull` in its repository")
    if not known:
        raise CausalPoseError(f"{path} is no weights file: it is neither safetensors nor a PyTorch file")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError) as error:
        raise CausalPoseError(f"weights file {path} is truncated or damaged ({error}); download it again") from None


def _read_pytorch(path: Path) -> object:
    try:
        # Training scripts store their command line beside the weights; a Namespace is a bag of values and runs nothing.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        refused = _refused(str(error))
        if refused:
            raise CausalPoseError(
                f"{path} holds Python objects beside tensors ({refused}), and unpickling those could run any code, so it is not loaded; "
                "where you trust its origin, store the tensors alone (safetensors.torch.save_file) and give that file"
            ) from None
        raise CausalPoseError(f"weights file {path} is damaged ({str(error).splitlines()[-1][:120]}); download it again") from None
    except (RuntimeError, EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError, UnicodeDecodeError, OSError) as error:
        reason = str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__
        raise CausalPoseError(f"weights file {path} is truncated or damaged ({reason}); download it again") from None


def _refused(message: str) -> str | None:
    """The name of what `weights_only` would not build, from its message; None when it failed for another reason."""
    for mark in ("GLOBAL ", "Unsupported class "):
        if mark in message:
            return message.split(mark, 1)[1].split()[0].strip("`'.,")
    return None


def _unwrap(document: object) -> dict[str, Tensor]:
    for _ in range(3):
        inner = next((document[key] for key in _WRAPPERS if isinstance(document.get(key), Mapping)), None) if _named(document) else None
        if inner is None:
            break
        document = inner
    return {name: value for name, value in document.items() if isinstance(value, Tensor)} if _named(document) else {}


def _named(document: object) -> bool:
    return isinstance(document, Mapping) and all(isinstance(key, str) for key in document)
