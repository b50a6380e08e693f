"""`causalpose export`."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export", no_args_is_help=True)(export)


def export(
    *,
    checkpoint: Annotated[str, typer.Argument(metavar="CKPT", help="A run folder, a checkpoint or shipped weights such as tiny-stage2.")],
    out: Annotated[Path, typer.Option("--out", help="File to write: .onnx, or .pt2 for torch.export.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
) -> None:
    """Write a model as a graph that runs without this library.

    It takes clips [B, T, 3, H, W] (RGB in [0, 1]) of any batch size and gives heatmaps [B, K, h, w]; the keep rate is the model's.
    The graph is held against the model before it is kept.

    Example: causalpose export tiny-stage2 --out model.onnx
    """
    from causalpose.errors import CausalPoseError
    from causalpose.model.export import SUFFIXES, write
    from causalpose.training.checkpoint import load

    if out.exists() and not overwrite:
        raise CausalPoseError(f"{out} exists; replace it with --overwrite, or choose another name")
    if out.suffix not in SUFFIXES:
        raise CausalPoseError(f"cannot export to {out}: the suffix says the format, {' or '.join(SUFFIXES)}")
    model, config, _ = load(checkpoint)
    difference = write(model, out)
    T, m = 1 if config.model.stage == 0 else config.model.frames, config.model
    typer.echo(
        f"{out}: {SUFFIXES[out.suffix]}, frames [B, {T}, 3, {m.height}, {m.width}] to heatmaps "
        f"[B, K, {m.heatmap_size[0]}, {m.heatmap_size[1]}]; differs from the model by at most {difference:.1e} of the heatmaps' spread"
    )
