"""Backbone and head against Hugging Face's VitPose with the same weights: same numbers out, and not slower."""

import importlib
import tempfile
from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import save_file

from causalpose.benchmark.timing import COLUMNS, alternate, faster, row
from causalpose.config import preset
from causalpose.errors import CausalPoseError
from causalpose.model.cmpose import CMPose
from causalpose.weights.loading import initialise


@torch.no_grad()
def vitpose_benchmark(*, name: str = "base", depth: int | None = None, images: int = 5, turns: int = 5, progress=None) -> pd.DataFrame:
    """Single frames through both, as a frame of `COLUMNS`: milliseconds a batch of `images`, and the largest difference of a logit.

    name    preset; depth: blocks, the preset's own where None. Weights are random; ours are theirs, loaded from a file.
    Error: the package transformers is not installed.
    """
    try:
        transformers = importlib.import_module("transformers")  # what the library itself needs is declared; this is for comparison only
    except ImportError:
        raise CausalPoseError("the package transformers is not installed") from None
    layers = [] if depth is None else ["model.backbone.name=vit", f"model.backbone.depth={depth}"]
    config = preset(name, ["model.stage=0", "model.frames=1", "model.keypoints=coco17", *layers]).model
    b = config.backbone
    torch.manual_seed(0)
    backbone = transformers.VitPoseBackboneConfig(
        image_size=[config.height, config.width], patch_size=[b.patch, b.patch], hidden_size=b.width, num_hidden_layers=b.depth,
        num_attention_heads=b.heads, mlp_ratio=4, out_indices=[b.depth], out_features=[f"stage{b.depth}"],
    )  # fmt: skip
    whole = transformers.VitPoseConfig(backbone_config=backbone, use_simple_decoder=False, num_labels=17)
    theirs = transformers.VitPoseForPoseEstimation(whole).eval()
    ours = CMPose(config).eval()
    with tempfile.TemporaryDirectory(prefix="causalpose-vitpose-") as folder:
        path = Path(folder) / "model.safetensors"
        save_file({key: tensor.contiguous() for key, tensor in theirs.state_dict().items()}, path)
        initialise(ours, path)
    frames = torch.rand(images, 1, 3, config.height, config.width)
    normalised = ours.backbone.prepare(frames)
    apart = (ours(frames).heatmaps - theirs(normalised).heatmaps).abs().max().item()
    seconds = alternate({"ours": lambda: ours(frames), "theirs": lambda: theirs(normalised)}, turns, progress)
    case = f"ViTPose-{name} {config.height}x{config.width}, {images} images"
    return pd.DataFrame(
        [
            faster("vitpose", case, "backbone and head", seconds["ours"], seconds["theirs"]),
            row("vitpose", case, "largest difference of a heatmap's logit", apart, ""),
        ],
        columns=list(COLUMNS),
    )
