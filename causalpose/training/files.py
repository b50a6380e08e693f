"""What a run writes, atomically (`causalpose.data.files.replacing`): text, JSON and tensors. A run's folder has one writer."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from causalpose.data.files import replacing


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with replacing(path, alone=True) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, document: object) -> None:
    """Write a JSON file atomically, indented, keys in the order given."""
    write_text(path, json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def write_tensors(path: Path, tensors: dict[str, Tensor], document: dict) -> None:
    """Write a safetensors file atomically; `document` travels as JSON in its header, so tensors and facts can never part."""
    with replacing(path, alone=True) as temporary:
        save_file(tensors, temporary, metadata={"causalpose": json.dumps(document)})


def portable(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors on the CPU, contiguous, each with storage of its own, as safetensors asks."""
    return {name: tensor.detach().to("cpu", memory_format=torch.contiguous_format, copy=True) for name, tensor in tensors.items()}
