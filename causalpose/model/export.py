"""The inference path as one graph: `torch.export` and ONNX, held against the model itself.

The graph takes clips `[B, T, 3, H, W]` (float32 RGB in [0, 1]) and gives heatmap logits `[B, K, h, w]`, for any batch size. The keep rate
is fixed: how many tokens are causal is part of the graph, which ones is computed.
"""

import io
import tempfile
from contextlib import redirect_stdout
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from causalpose.config import ModelConfig
from causalpose.errors import CausalPoseError
from causalpose.model.cmpose import CMPose

SUFFIXES = {".pt2": "torch.export", ".onnx": "ONNX"}
# Rounding grows through the layers; in units of the heatmaps' own spread.
TOLERANCE = 1e-3


class Inference(nn.Module):
    """A model as a function of frames alone, in evaluation mode."""

    def __init__(self, model: CMPose):
        super().__init__()
        self.model = model.eval()

    def forward(self, frames: Tensor) -> Tensor:
        """frames `[B, T, 3, H, W]`, float in [0, 1] -> heatmap logits `[B, K, h, w]` of the target frame."""
        return self.model(frames).heatmaps


def example(config: ModelConfig, batch: int = 2, seed: int = 0) -> Tensor:
    """Noise clips of a model's shape, `[B, T, 3, H, W]` in [0, 1]."""
    T = 1 if config.stage == 0 else config.frames
    return torch.rand(batch, T, 3, config.height, config.width, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def export(model: CMPose) -> ExportedProgram:
    """The graph of a model on the CPU. The `oracle` selector needs ground truth, so a model that has it cannot be exported."""
    if model.config.stage == 2 and model.config.fte.selector == "oracle":
        raise CausalPoseError("fte.selector = 'oracle' needs the ground truth at inference; a graph of frames alone does not exist")
    inference, frames = Inference(model.cpu()), example(model.config)
    inference(frames)  # what is computed once and kept (the tie-breaks of evaluation) must be there before tracing
    return torch.export.export(inference, (frames,), dynamic_shapes=({0: Dim("batch", min=1, max=4096)},), strict=False)


@torch.no_grad()
def write(model: CMPose, path: Path) -> float:
    """Export a model to `path`, `.pt2` (read by `torch.export.load`) or `.onnx`; returns the largest difference to the model.

    The difference is measured on two batches of other sizes, in units of the heatmaps' standard deviation. A graph that differs by more
    than `TOLERANCE` is not kept, and an existing file is replaced only by a good one.
    """
    if path.suffix not in SUFFIXES:
        raise CausalPoseError(f"cannot export to {path}: the suffix says the format, {' or '.join(SUFFIXES)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    program = export(model)
    # Beside the path, so that moving is renaming; under its own name, by which an ONNX graph refers to the weights that lie beside it when
    # they are over 1.5 GB.
    with tempfile.TemporaryDirectory(prefix=f".{path.stem}-", dir=path.parent) as folder:
        temporary = Path(folder) / path.name
        if path.suffix == ".pt2":
            torch.export.save(program, temporary)
            run = torch.export.load(temporary).module()
        else:
            run = _onnx(program, temporary)
        difference = max(_difference(model, run, example(model.config, batch, seed=batch)) for batch in (1, 3))
        if not difference <= TOLERANCE:
            raise CausalPoseError(
                f"the exported graph differs from the model by {difference:.2g} of the heatmaps' spread (at most {TOLERANCE:g} is kept); "
                f"{path} was not written"
            )
        weights, old = (file.with_name(file.name + ".data") for file in (temporary, path))
        beside = weights.exists()
        if beside:
            weights.replace(old)
        temporary.replace(path)
        if path.suffix == ".onnx" and not beside:
            old.unlink(missing_ok=True)  # those of the graph that was here before
    return difference


def _difference(model: CMPose, run, frames: Tensor) -> float:
    expected = model(frames).heatmaps
    return ((run(frames) - expected).abs().max() / expected.std()).item()


def _onnx(program: ExportedProgram, path: Path):
    """Write ONNX; returns a function that runs the file in ONNX Runtime."""
    try:
        with redirect_stdout(io.StringIO()):  # the exporter reports its own progress
            made = torch.onnx.export(program, dynamo=True, input_names=["frames"], output_names=["heatmaps"])
        made.save(path)
        made.initialize_inference_session()
    except ImportError as error:
        raise CausalPoseError(f"ONNX export needs the packages onnx, onnxscript and onnxruntime ({error})") from None
    return lambda frames: made(frames)[0]
