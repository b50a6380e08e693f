"""Atomic file writes: a reader, or a run killed at any moment, sees the old file or the new one and never a part of one."""

import json
import os
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor


def _replace(temporary: Path, path: Path) -> None:
    with open(temporary, "rb+") as handle:
        os.fsync(handle.fileno())  # the data must be on the disk before the name points at it
    temporary.chmod(0o644)  # safetensors writes private files; weights are to be read by others
    os.replace(temporary, path)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    _replace(temporary, path)


def write_json(path: Path, document: object) -> None:
    """Write a JSON file atomically, indented, keys in the order given."""
    write_text(path, json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def write_tensors(path: Path, tensors: dict[str, Tensor], document: dict) -> None:
    """Write a safetensors file atomically; `document` travels as JSON in its header, so tensors and facts can never part."""
    temporary = path.with_name(path.name + ".tmp")
    save_file(tensors, temporary, metadata={"causalpose": json.dumps(document)})
    _replace(temporary, path)


def portable(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors on the CPU, contiguous, each with storage of its own, as safetensors asks."""
    return {name: tensor.detach().to("cpu", memory_format=torch.contiguous_format, copy=True) for name, tensor in tensors.items()}
